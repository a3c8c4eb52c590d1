"""The torchmetrics class that collects a split's embeddings over all processes; the score that selects checkpoints."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torchmetrics import Metric

from bimcvr.errors import UserError
from bimcvr.metrics.per_query import KS, rank_metrics
from bimcvr.metrics.ranking.rank_engine import rank_both


def both_directions(image: Tensor, text: Tensor, group: Tensor, ks: Sequence[int] = KS) -> dict[str, dict[str, float]]:
    """Return the metrics of `text_to_image` and `image_to_text`.

    Args:
        image: (N, E) floating point.
        text: (N, E), row i belongs to row i of `image`.
        group: (N,) int64; rows with the same number are right answers of each other.
        ks: the K of R@K.

    Raises:
        UserError: An embedding is not finite or has length zero.
    """
    text_to_image, image_to_text = rank_both(image, text, group)
    return {"text_to_image": rank_metrics(text_to_image, ks), "image_to_text": rank_metrics(image_to_text, ks)}


def selection_score(metrics: dict[str, dict[str, float]]) -> float:
    """Return the score that selects checkpoints: the mean of R@1, R@5 and R@10 over both directions, in percent.

    A K above the gallery is absent from `metrics` and from the mean; R@1 is always there.

    Args:
        metrics: by direction, the metrics by name.

    Example:
        >>> selection_score({"text_to_image": {"R@1": 10.0, "MdR": 9.0}, "image_to_text": {"R@1": 20.0}})
        15.0
    """
    recalls = [direction[f"R@{k}"] for direction in metrics.values() for k in KS if f"R@{k}" in direction]
    return sum(recalls) / len(recalls)


class CrossModalRetrieval(Metric):
    """R@K, MRR, MdR and MnR of a whole split, in both directions, with the same result in every process.

    The state has one slot for each row of the split. Rows that Lightning's sampler repeats to give all processes the
    same number, the order of batches and processes without a row therefore change nothing.

    Args:
        size: N, the number of rows of the split.
        dim: E, the width of the embeddings.
        group: (N,) int64; rows with the same number are right answers of each other.
        ks: the K of R@K.

    Example:
        >>> metric = CrossModalRetrieval(size=2, dim=2, group=torch.arange(2))
        >>> metric.update(torch.tensor([1, 0]), torch.eye(2), torch.eye(2))
        >>> metric.compute()["text_to_image"]
        {'R@1': 100.0, 'MRR': 1.0, 'MdR': 1.0, 'MnR': 1.0}
    """

    full_state_update = False
    is_differentiable = False
    higher_is_better = True

    image: Tensor
    text: Tensor
    seen: Tensor

    def __init__(self, size: int, dim: int, group: Tensor, ks: Sequence[int] = KS) -> None:
        super().__init__()
        if group.shape != (size,):
            raise ValueError(f"group has shape {tuple(group.shape)}, not ({size},)")
        # not a buffer: DDP broadcasts buffers in every forward pass, which hangs on unequal batch counts
        self.group = group
        self.ks = tuple(ks)
        self.add_state("image", torch.zeros(size, dim), dist_reduce_fx=first_filled)
        self.add_state("text", torch.zeros(size, dim), dist_reduce_fx=first_filled)
        self.add_state("seen", torch.zeros(size, dtype=torch.long), dist_reduce_fx="max")

    def update(self, index: Tensor, image: Tensor, text: Tensor) -> None:
        """Store a batch; a row that is already there is replaced.

        Args:
            index: (B,) int64, positions in the split, from 0 to N−1.
            image: (B, E) embeddings of the volumes.
            text: (B, E) embeddings of the reports.

        Raises:
            ValueError: An index is outside of the split.
        """
        if len(index) and not (0 <= int(index.min()) and int(index.max()) < len(self.seen)):
            raise ValueError(f"index outside of 0 … {len(self.seen) - 1}")
        self.image[index] = image.detach().to(self.image)
        self.text[index] = text.detach().to(self.text)
        self.seen[index] = 1

    def compute(self) -> dict[str, dict[str, float]]:
        """Return `{"text_to_image": {"R@1": …, "MdR": …, "MnR": …}, "image_to_text": {…}}`, R@K in percent.

        Raises:
            UserError: A row was never embedded, or an embedding is not finite or has length zero.
        """
        self._refuse_gaps()
        return both_directions(self.image, self.text, self.group, self.ks)

    def embeddings(self) -> tuple[Tensor, Tensor]:
        """Return the embeddings (N, E) of images and texts of all processes; every process has to call it.

        Raises:
            UserError: A row was never embedded.
        """
        with self.sync_context():
            self._refuse_gaps()
            return self.image.clone(), self.text.clone()

    def _refuse_gaps(self) -> None:
        missing = (self.seen == 0).nonzero().flatten().tolist()
        if missing:
            raise UserError(
                f"{len(missing)} of {len(self.seen)} rows of the split were never embedded (first: row "
                f"{missing[0]}), and metrics over a part would not be comparable: leave "
                "--trainer.limit_val_batches and --trainer.limit_test_batches at 1.0"
            )


def first_filled(stacked: Tensor) -> Tensor:
    """Reduce the processes' tables (P, N, E) to one (N, E): for each row the first that is not all zero.

    Rows that several processes hold are copies. Taking one of them is exact; a sum divided by their number is not
    (three times a float32 is rounded).
    """
    first = (stacked != 0).any(dim=2).int().argmax(dim=0)
    return stacked[first, torch.arange(stacked.shape[1], device=stacked.device)]
