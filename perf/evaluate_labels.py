"""`evaluate` of N studies with labels, whole command, beside the same without labels.

    python perf/evaluate_labels.py [--studies 5000] [--runs 3]

Embeddings are random, 512 wide; 19 labels, two thirds as many patients as studies, 10,000 resamples.
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd

LABELS = [f"label {number}" for number in range(19)]


def write_inputs(folder: Path, studies: int) -> None:
    """Write embeddings and two manifests, with and without labels."""
    random = np.random.default_rng(0)
    image = random.standard_normal((studies, 512)).astype(np.float32)
    text = image + random.standard_normal((studies, 512)).astype(np.float32)
    ids = [f"s{number:05d}" for number in range(studies)]
    np.savez(folder / "embeddings.npz", image=image, text=text, study_id=np.array(ids))
    manifest = pd.DataFrame(
        {
            "study_id": ids,
            "patient_id": [f"p{number * 2 // 3}" for number in range(studies)],
            "volume": [f"{study}.nii.gz" for study in ids],
            "report": [f"Report of {study}." for study in ids],
            "split": "test",
        }
    )
    manifest.to_csv(folder / "plain.csv", index=False)
    chosen = random.random((studies, len(LABELS))) < 0.15
    manifest["labels"] = [";".join(np.array(LABELS)[row]) for row in chosen]
    manifest.to_csv(folder / "labelled.csv", index=False)


def main() -> None:
    """Time both in turn and print the medians."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--studies", type=int, default=5_000)
    parser.add_argument("--runs", type=int, default=3)
    options = parser.parse_args()
    seconds: dict[str, list[float]] = {"plain": [], "labelled": []}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_inputs(folder, options.studies)
        for _ in range(options.runs):
            for kind, taken in seconds.items():
                command = ["evaluate", "embeddings.npz", "--manifest", f"{kind}.csv", "--out", f"{kind}.json"]
                began = time.perf_counter()
                subprocess.run(
                    [sys.executable, "-m", "bimcvr", *command], cwd=folder, check=True, stdout=subprocess.DEVNULL
                )
                taken.append(time.perf_counter() - began)
    without, with_labels = (statistics.median(seconds[kind]) for kind in ("plain", "labelled"))
    print(
        f"evaluate of {options.studies:,} studies: {without:.1f} s without labels, {with_labels:.1f} s with"
        f" (median of {options.runs})"
    )


if __name__ == "__main__":
    main()
