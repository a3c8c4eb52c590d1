"""The noise ceiling: what a perfect reader would reach on a split that contains wrong reports."""

from collections.abc import Sequence

import torch
from torch import Tensor

from bimcvr.contracts import Gallery
from bimcvr.metrics.per_query import rank_metrics
from bimcvr.metrics.ranking.ranks import DIRECTIONS, Ranks, right_answers


def noise_ceiling_metrics(gallery: Gallery, ks: Sequence[int], rule: str = "report") -> dict[str, dict[str, float]]:
    """Return the metrics of the oracle of `oracle_ranks` on the rows of a gallery, by direction.

    Args:
        gallery: The rows; its `elsewhere` marks the rows whose report belongs to another volume.
        ks: The K of R@K.
        rule: Which answers are right: a key of `metrics.ranking.ranks.RULES`.
    """
    oracle = oracle_ranks(
        right_answers(gallery, rule), torch.as_tensor(gallery.same_text), torch.as_tensor(gallery.elsewhere)
    )
    return {direction: rank_metrics(ranks, ks) for direction, ranks in zip(DIRECTIONS, oracle, strict=True)}


def oracle_ranks(group: Tensor, same_text: Tensor, elsewhere: Tensor) -> tuple[Ranks, Ranks]:
    """Return the ranks of an oracle that reads every volume and every report without error.

    A report that does not belong to its volume (another patient's, a failed translation, an X-ray's) says nothing
    about it: on such a row the oracle guesses at random. On every other row it finds the right answer, but cannot tell
    it from other rows with the same words: a text is tied among the volumes of sound rows with that text, a volume
    among all reports with that text.

    Args:
        group: (N,) int64; rows with the same number are right answers of each other.
        same_text: (N,) int64; rows with the same number have the same normalised text.
        elsewhere: (N,) bool, rows whose report does not belong to their volume.

    Returns:
        The ranks of the N texts over images, and of the N images over texts.

    Example:
        >>> rows = torch.arange(4)
        >>> elsewhere = torch.tensor([False, False, False, True])
        >>> oracle_ranks(rows, rows, elsewhere)[0].expected.tolist()
        [1.0, 1.0, 1.0, 2.5]
    """
    _, text_of = torch.unique(same_text, return_inverse=True)
    _, group_of = torch.unique(group, return_inverse=True)
    # right answers with the same text share the tie
    _, pair_of = torch.unique(group_of * len(group) + text_of, return_inverse=True)
    right = torch.bincount(group_of)[group_of]
    alike, right_alike = (torch.bincount(number)[number] for number in (text_of, pair_of))
    alike_sound, right_alike_sound = (
        torch.bincount(number[~elsewhere], minlength=len(number))[number] for number in (text_of, pair_of)
    )
    zero, total = torch.zeros_like(right), len(group)
    by_text = Ranks(
        above=zero,
        tied_wrong=torch.where(elsewhere, total - right, alike_sound - right_alike_sound),
        tied_right=torch.where(elsewhere, right, right_alike_sound.clamp(min=1)),
    )
    by_image = Ranks(
        above=zero,
        tied_wrong=torch.where(elsewhere, total - right, alike - right_alike),
        tied_right=torch.where(elsewhere, right, right_alike),
    )
    return by_text, by_image
