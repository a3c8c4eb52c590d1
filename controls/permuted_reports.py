"""Negative control: how well does the phantom experiment retrieve, and does it fall to chance with shuffled pairs?

Makes one cohort, trains and tests `--seeds` runs on it, then one control run whose reports are permuted among the
training patients and which is tested on true pairs. Prints every run, the mean, chance and ceiling.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from bimcvr.cli import main
from bimcvr.data.manifest import read_manifest, write_manifest
from bimcvr.data.splits import assign_splits

FRACTIONS = (0.8, 0.1, 0.1)
EXPERIMENT = ["--config", "experiments/phantom/base.yaml", "--config", "experiments/phantom/quick.yaml"]


def permuted(path: Path, seed: int) -> Path:
    """Write a manifest in which every training patient has another one's reports; val and test stay true."""
    manifest = read_manifest(path)
    split = assign_splits(manifest, "patient_hash", fractions=FRACTIONS)
    table = manifest.table.assign(split=split.names)
    train = table["split"] == "train"
    patients = table.loc[train, "patient_id"].unique()
    order = np.random.default_rng(seed).permutation(len(patients))
    # a cycle through a random order: nobody keeps the own report
    donor = dict(zip(patients[order], patients[np.roll(order, 1)], strict=True))
    first = table[train].drop_duplicates("patient_id").set_index("patient_id")
    for column in ("report", "report_id", "facts", "labels"):
        table[column] = [
            str(first.at[donor[patient], column]) if own else kept
            for patient, own, kept in zip(table["patient_id"], train, table[column], strict=True)
        ]
    out = path.with_name("permuted.csv")
    write_manifest(pd.DataFrame(table), out)
    return out


def run(manifest: Path, runs: Path, name: str, seed: int, extra: list[str]) -> dict[str, Any]:
    """Train and test once, or read the result if it is there already."""
    found = sorted((runs / name).glob(f"*-{seed}/result.json"))
    if not found:
        words = [
            *EXPERIMENT,
            "--data.manifest",
            str(manifest),
            "--runs",
            str(runs),
            "--experiment",
            name,
            "--seed_everything",
            str(seed),
            "--trainer.logger",
            "false",
            *extra,
        ]
        for verb, checkpoint in (("fit", "last"), ("test", "best")):
            if main([verb, *words, "--checkpoint", checkpoint]):
                raise SystemExit(f"{verb} of {name}, seed {seed}, failed")
        found = sorted((runs / name).glob(f"*-{seed}/result.json"))
    result: dict[str, Any] = json.loads(found[-1].read_text(encoding="utf-8"))
    return result


def line(name: str, result: dict[str, Any]) -> str:
    """Describe one run's R@10 in both directions."""
    metrics, intervals = result["metrics"], result["intervals"]
    assert isinstance(metrics, dict)
    assert isinstance(intervals, dict)
    parts = [
        f"{way} R@10 {metrics[way]['R@10']:.1f} % [{intervals[way]['R@10'][0]:.1f}, {intervals[way]['R@10'][1]:.1f}] "
        f"R@1 {metrics[way]['R@1']:.1f} % MdR {metrics[way]['MdR']:.1f}"
        for way in ("text_to_image", "image_to_text")
    ]
    return f"{name:<10}" + "   ".join(parts)


def benchmark() -> None:
    """Run everything and print it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cohort_seed", type=int, default=53)
    parser.add_argument("--patients", type=int, default=2000)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path("runs/phantom_retrieval"))
    arguments, extra = parser.parse_known_args()
    cohort = arguments.out / f"cohort-{arguments.patients}-{arguments.cohort_seed}"
    main(["phantom", str(cohort), "--patients", str(arguments.patients), "--seed", str(arguments.cohort_seed)])
    results = [run(cohort / "manifest.csv", arguments.out, "quick", seed, extra) for seed in range(arguments.seeds)]
    control = run(permuted(cohort / "manifest.csv", 0), arguments.out, "permuted", 0, extra)
    print(
        f"\nPHANTOM (synthetic data), cohort seed {arguments.cohort_seed}, {arguments.patients} patients; test: "
        f"{results[0]['n_queries']} volumes of {results[0]['n_patients']} patients, "
        f"split {results[0]['about']['split_strategy']}"
    )
    print(f"chance {results[0]['chance']}\nceiling {results[0]['ceiling']}")
    for seed, result in enumerate(results):
        print(line(f"seed {seed}", result))
    for way in ("text_to_image", "image_to_text"):
        values = [result["metrics"][way]["R@10"] for result in results]
        print(f"mean of {len(values)} seeds, {way}: R@10 {np.mean(values):.1f} % (sd {np.std(values):.1f})")
    print(line("permuted", control))


if __name__ == "__main__":
    benchmark()
