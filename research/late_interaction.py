"""Does a second stage gain R@1: the sentences of a report against the tokens of a volume, over the first 100 hits?

    python research/late_interaction.py --root COHORT runs/phantom_fine/2026… [another run …]

For each run: the score of a report and a volume becomes cosine + w · mean over sentences of the best token's cosine, in
both directions, for the first 100 of each query. The weight w is chosen on `val` by R@1, and the split `test` is scored
with it. Prints both, and the difference with its 95 % interval over patients.
"""

import argparse
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

from bimcvr.data.loading.views import apply_window
from bimcvr.data.manifest import Manifest, read_manifest
from bimcvr.data.text.sentences import split_sentences
from bimcvr.models.embedder import Embedder

FIRST = 100
WEIGHTS = (0.0, 0.1, 0.2, 0.5, 1.0, 2.0, 4.0)


class Scores(NamedTuple):
    """Of N reports and N volumes.

    Attributes:
        whole: (N, N) cosines of reports (rows) and volumes.
        late: (N, N), the mean over a report's sentences of the best token's cosine.
        same: (N, N) bool, whether two rows have the same report: each is a right answer for the other.
        patients: N names.
    """

    whole: Tensor
    late: Tensor
    same: Tensor
    patients: np.ndarray


@torch.no_grad()
def scores_of(model: Embedder, manifest: Manifest, split: str) -> Scores:
    """Score all reports of a split with all its volumes."""
    table = manifest.table[manifest.table["split"] == split]
    retriever, images, tokens = model.retriever, [], []
    for name in table["volume"]:
        volume = apply_window(model.read(manifest.root / name).hu, model.window)[None, None]
        features = retriever.volume_encoder(volume)
        images.append(retriever.pool_views(features, features)[0])
        tokens.append(retriever.project_image(features.tokens[0]))
    image, token = normalize(torch.stack(images), dim=-1), normalize(torch.stack(tokens), dim=-1)
    reports = list(table["report"])
    whole = normalize(retriever.embed_texts(reports), dim=-1) @ image.T
    sentences = [split_sentences(report) for report in reports]
    distinct = sorted({sentence for one in sentences for sentence in one})
    vectors = dict(zip(distinct, normalize(retriever.embed_texts(distinct), dim=-1), strict=True))
    late = [
        torch.einsum("se,nte->snt", torch.stack([vectors[sentence] for sentence in one]), token).amax(2).mean(0)
        for one in sentences
    ]
    same = torch.tensor(np.equal.outer(np.array(reports), np.array(reports)))
    return Scores(whole, torch.stack(late), same, table["patient_id"].to_numpy())


def first_right(scores: Scores, weight: float, transposed: bool) -> np.ndarray:
    """Return which queries have a right answer first, (N,) bool: reports, or with `transposed` volumes."""
    whole, late = (scores.whole.T, scores.late.T) if transposed else (scores.whole, scores.late)
    border = whole.topk(min(FIRST, whole.shape[1]), dim=1).values[:, -1:]
    second = torch.where(whole >= border, whole + weight * late, -torch.inf)
    right = second.masked_fill(~scores.same, -torch.inf).amax(1)
    wrong = second.masked_fill(scores.same, -torch.inf).amax(1)
    return np.asarray((right > wrong).numpy())


def study(run: Path, root: Path) -> None:
    """Print R@1 of a run without and with the second stage."""
    model, manifest = Embedder(run / "checkpoints/best.ckpt", "cpu"), read_manifest(run / "manifest.csv", root)
    val, test = (scores_of(model, manifest, split) for split in ("val", "test"))
    ways = {"text → image": False, "image → text": True}
    chosen = max(WEIGHTS, key=lambda w: sum(first_right(val, w, way).mean() for way in ways.values()))
    print(f"{run.name}: weight {chosen:g}, chosen on val (N = {len(val.patients)})")
    patients, inverse = np.unique(test.patients, return_inverse=True)
    rng = np.random.default_rng(0)
    for name, way in ways.items():
        before, after = first_right(test, 0, way), first_right(test, chosen, way)
        change = after.astype(float) - before
        weights = rng.multinomial(len(patients), np.full(len(patients), 1 / len(patients)), 2000)[:, inverse]
        low, high = np.percentile(100 * (weights * change).sum(1) / weights.sum(1), [2.5, 97.5])
        print(
            f"  {name}: R@1 {100 * before.mean():.1f} → {100 * after.mean():.1f} %, difference "
            f"{100 * change.mean():+.1f} [{low:+.1f}, {high:+.1f}] (test, N = {len(before)}, chance "
            f"{100 * test.same.float().mean():.1f} %)"
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument(
        "--root", type=Path, required=True, help="the folder of the manifest that the runs were made with"
    )
    arguments = parser.parse_args()
    for folder in arguments.runs:
        study(folder, arguments.root)
