"""Precision at K for keyword queries, ties in expectation."""

from collections.abc import Sequence

import torch
from torch import Tensor

from bimcvr.metrics.ranks import TIE
from bimcvr.metrics.vectors import CHUNK, UnitVectors

KS = (20, 50, 100)
"""The K of P@K in the paper's keyword table."""


def keyword_precision(
    prompt: Tensor, image: Tensor, relevant: Tensor, ks: Sequence[int] = KS
) -> list[dict[str, float]]:
    """Return for each prompt P@K and the prevalence, in percent; a K above the gallery is left out.

    P@K is the share of relevant images among the K best, in expectation over a random order of ties: images
    within 1e-6 of the K-th best score (float64 cosines) share the places that the better ones leave.

    Args:
        prompt: (P, E) floating point, one embedding a keyword.
        image: (N, E) floating point.
        relevant: (P, N) bool, which images bear the keyword.
        ks: the K of P@K.

    Returns:
        P times `{"P@20": …, "P@50": …, "prevalence": …}`.

    Raises:
        UserError: An embedding is not finite or has length zero.

    Example:
        >>> image = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 2.0], [-1.0, 0.0]])
        >>> keyword_precision(image[:1], image, torch.tensor([[True, True, False, False]]), ks=(1, 2, 9))
        [{'P@1': 100.0, 'P@2': 75.0, 'prevalence': 50.0}]
    """
    if relevant.shape != (len(prompt), len(image)):
        raise ValueError(f"relevant has shape {tuple(relevant.shape)}, not ({len(prompt)}, {len(image)})")
    score = _cosines(prompt.detach(), image.detach())
    share = relevant.cpu().double()
    best = score.sort(descending=True).values
    figures = {f"P@{k}": _precision(score, share, best[:, k - 1 : k], k) for k in ks if k <= len(image)}
    figures["prevalence"] = share.mean(1)
    return [{name: 100 * value[i].item() for name, value in figures.items()} for i in range(len(prompt))]


def _precision(score: Tensor, share: Tensor, last: Tensor, k: int) -> Tensor:
    """Return P@k (P,) from scores and relevance (P, N) and the k-th best score `last` (P, 1)."""
    above = score - last > TIE
    tied = (score - last).abs() <= TIE
    places = (k - above.sum(1)).double()
    return ((share * above).sum(1) + places * (share * tied).sum(1) / tied.sum(1)) / k


def _cosines(prompt: Tensor, image: Tensor) -> Tensor:
    """Return all cosines (P, N) in float64, on the CPU."""
    cpu = torch.device("cpu")
    asked, images = UnitVectors(prompt, "prompt", cpu), UnitVectors(image, "image", cpu)
    parts = [slice(i, i + CHUNK) for i in range(0, len(image), CHUNK)]
    return torch.cat([asked.exact(slice(None)) @ images.exact(part).T for part in parts], dim=1)
