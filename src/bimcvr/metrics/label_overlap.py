"""Which findings two studies share: of chosen pairs, and summed over a whole gallery."""

from dataclasses import dataclass

import torch
from torch import Tensor

from bimcvr.metrics.ranking.same_group import same_group

CHUNK = 256
"""Sets of labels compared with all others at a time."""


@dataclass(frozen=True)
class GalleryTotals:
    """What each query's whole gallery holds.

    Attributes:
        size: (Q,) float64, how many items.
        relevant: (Q,) float64, how many of them share a finding with the query.
        overlap: (Q,) float64, the sum of their Jaccard indices with the query's findings.
    """

    size: Tensor
    relevant: Tensor
    overlap: Tensor

    def of(self, rows: Tensor) -> "GalleryTotals":
        """Return the totals of the queries `rows` (R,)."""
        return GalleryTotals(self.size[rows], self.relevant[rows], self.overlap[rows])


def label_overlap(left: Tensor, right: Tensor) -> tuple[Tensor, Tensor]:
    """Compare sets of findings.

    Args:
        left: (..., A, L) float64, which of L findings each of A studies has, 0 or 1.
        right: (..., B, L) float64.

    Returns:
        `(relevant, overlap)`, both (..., A, B) float64: 1 where the two share a finding, and the Jaccard index, 0
        where neither has a finding.
    """
    shared = left @ right.mT
    either = left.sum(-1).unsqueeze(-1) + right.sum(-1).unsqueeze(-2) - shared
    return (shared > 0).double(), shared / either.clamp(min=1)


def gallery_totals(has_label: Tensor, patient: Tensor | None) -> GalleryTotals:
    """Sum the overlap of each study with all others, the study itself included.

    Args:
        has_label: (N, L) float64, which of L findings each study has, 0 or 1.
        patient: (N,) int64; with it, studies of the same patient are left out, the study itself included.
    """
    sets, number, count = torch.unique(has_label, dim=0, return_inverse=True, return_counts=True)
    sums = []
    for part in torch.split(sets, CHUNK):
        sums.append(torch.stack([values @ count.double() for values in label_overlap(part, sets)]))
    relevant, overlap = torch.cat(sums, dim=1)[:, number]
    size = torch.full_like(relevant, len(has_label))
    if patient is not None:
        for rows, same in same_group(patient, patient):
            own_relevant, own_overlap = label_overlap(has_label[rows], has_label[same])
            relevant[rows] -= own_relevant.sum(-1)
            overlap[rows] -= own_overlap.sum(-1)
            size[rows] -= same.shape[1]
    return GalleryTotals(size, relevant, overlap)
