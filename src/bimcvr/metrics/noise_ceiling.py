"""The noise ceiling: what an oracle reaches on a split whose rows are not all sound."""

from collections.abc import Sequence

import torch
from torch import Tensor

from bimcvr.contracts import Gallery
from bimcvr.metrics.per_query import figures
from bimcvr.metrics.ranks import WAYS, Ranks, right_answers


def ceiling_figures(gallery: Gallery, ks: Sequence[int], rule: str = "report") -> dict[str, dict[str, float]]:
    """Return the figures of the oracle of `noise_ceiling` on the rows of a gallery, by direction.

    Args:
        gallery: the rows; its `elsewhere` says whose report belongs elsewhere.
        ks: the K of R@K.
        rule: which answers are right, a key of `metrics.result.RULES`.
    """
    oracle = noise_ceiling(
        right_answers(gallery, rule), torch.as_tensor(gallery.same_text), torch.as_tensor(gallery.elsewhere)
    )
    return {way: figures(ranks, ks) for way, ranks in zip(WAYS, oracle, strict=True)}


def noise_ceiling(group: Tensor, same_text: Tensor, elsewhere: Tensor) -> tuple[Ranks, Ranks]:
    """Rank as an oracle would that reads every volume and every report without a fault.

    A row whose report belongs elsewhere (another patient's, a failed translation, an X-ray's) tells nothing of its
    volume: the oracle is at random on it. On a sound row it finds the right answer, but cannot tell it from the same
    words elsewhere: a text is tied among the volumes of sound rows with that text, a volume among all reports with
    that text.

    Args:
        group: (N,) int64; rows with the same number are right answers of each other.
        same_text: (N,) int64; rows with the same number have the same normalised text.
        elsewhere: (N,) bool, rows whose report belongs elsewhere.

    Returns:
        The ranks of the N texts over images, and of the N images over texts.

    Example:
        >>> n = torch.arange(4)
        >>> lost = torch.tensor([False, False, False, True])
        >>> noise_ceiling(n, n, lost)[0].expected.tolist()
        [1.0, 1.0, 1.0, 2.5]
    """
    _, text_of = torch.unique(same_text, return_inverse=True)
    _, group_of = torch.unique(group, return_inverse=True)
    # right answers with the same text: those that the tie is shared with
    _, pair_of = torch.unique(group_of * len(group) + text_of, return_inverse=True)
    right = torch.bincount(group_of)[group_of]
    alike, right_alike = (torch.bincount(of)[of] for of in (text_of, pair_of))
    alike_sound, right_alike_sound = (
        torch.bincount(of[~elsewhere], minlength=len(of))[of] for of in (text_of, pair_of)
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
