"""The whole road on a phantom cohort, as a newcomer would go it: make, train, test, search."""

import json
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from bimcvr.files import replacing

QUERY = "large right pleural effusion"


def demo(
    directory: Path = Path("demo"),
    experiment: Sequence[Path] = (Path("experiments/phantom/base.yaml"), Path("experiments/phantom/quick.yaml")),
    patients: int = 2000,
    seed: int = 0,
) -> int:
    """Make a phantom cohort, train on it, test, and search it with one sentence.

    Args:
        directory: where cohort, cache, runs and pictures go; what is there already is used again.
        experiment: YAML files as given to fit.
        patients: size of the cohort.
        seed: of cohort and training.
    """
    from bimcvr.cli import main

    began = time.perf_counter()
    cohort, runs = directory / f"phantom-{patients}-{seed}", directory / "runs"
    options = [word for path in experiment for word in ("--config", str(path))]
    options += ["--data.manifest", str(cohort / "manifest.csv"), "--experiment", "demo", "--runs", str(runs)]
    options += ["--seed_everything", str(seed)]
    for title, words in (
        ("1/4 a cohort of phantom CTs with reports", ["phantom", str(cohort), "--patients", str(patients), "--seed", str(seed)]),
        ("2/4 train", ["fit", *options, "--ckpt_path", "last"]),
        ("3/4 test", ["test", *options, "--ckpt_path", "best"]),
    ):
        print(f"\n=== {title} ===", flush=True)
        code = main(words)
        if code:
            return code
    run = max((runs / "demo").glob(f"*-{seed}"))
    print(f'\n=== 4/4 search: "{QUERY}" ===', flush=True)
    _search(run, directory / "demo.png")
    words = ["evaluate", str(run / "embeddings.npz"), "--manifest", str(run / "manifest.csv"), "--root", str(cohort)]
    print(f"a page on the result, its failures with pictures: python -m bimcvr {' '.join(words)} --page {directory / 'result.html'}")
    print(f"\n{(time.perf_counter() - began) / 60:.1f} minutes in all")
    return 0


def _search(run: Path, picture: Path) -> None:
    """Print the five test studies closest to the query, and draw their middle slices."""
    from bimcvr.data.manifest import read_manifest
    from bimcvr.metrics.embeddings import load_embeddings

    about = json.loads((run / "result.json").read_text(encoding="utf-8"))["about"]
    manifest = read_manifest(run / "manifest.csv", Path(about["manifest"]).parent)
    embeddings = load_embeddings(run / "embeddings.npz")
    score = _unit(embeddings.image.numpy()) @ _unit(_embed(Path(about["checkpoint"]), QUERY))[0]
    row_of = {study: row for row, study in enumerate(manifest.column("study_id"))}
    best = [row_of[embeddings.study_id[place]] for place in np.argsort(-score)[:5]]
    lines = [f"{rank}. {manifest.column('study_id')[row]}  score {value:.3f}  {manifest.column('labels')[row].replace(';', ', ')}"
             for rank, (row, value) in enumerate(zip(best, np.sort(score)[::-1], strict=False), start=1)]
    print("\n".join(lines))
    volumes = [manifest.volume_path(row) for row in best]
    _draw(volumes, lines, picture)
    print(f"picture of their middle slices: {picture}")


def _embed(checkpoint: Path, text: str) -> np.ndarray:
    import torch

    from bimcvr.models.retriever import Retriever

    model = Retriever.load_from_checkpoint(checkpoint, map_location="cpu").eval()
    with torch.inference_mode():
        embedded: np.ndarray = model.embed_text([text]).numpy()
    return embedded


def _unit(vectors: np.ndarray) -> np.ndarray:
    unit: np.ndarray = vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)
    return unit


def _draw(volumes: list[Path], titles: list[str], picture: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    from bimcvr.data.preview import middle_slices
    from bimcvr.data.volume import read_volume

    figure, axes = plt.subplots(3, len(volumes), figsize=(3 * len(volumes), 8.5))
    for column, (path, title) in enumerate(zip(volumes, titles, strict=True)):
        volume = read_volume(path)
        for row, (image, aspect) in enumerate(middle_slices(volume.hu, volume.spacing)):
            axes[row, column].imshow(image, cmap="gray", vmin=-1000, vmax=400, aspect=aspect)
            axes[row, column].set_axis_off()
        head, labels = title.rsplit("  ", 1)
        axes[0, column].set_title(head.replace("  ", "\n") + "\n" + "\n".join(labels.split(", ")), fontsize=8, va="bottom")
    figure.suptitle(f'Phantom (synthetic data): top five of the test split for "{QUERY}"; left of picture = patient\'s right', fontsize=11)
    figure.tight_layout()
    with replacing(picture) as temporary:
        figure.savefig(temporary, dpi=80)
    plt.close(figure)
