"""What does a preset reach on phantoms on which nothing was chosen, and does it fall to chance with shuffled pairs?

    python controls/permuted_reports.py
    python controls/permuted_reports.py --preset fine --cohort_seed 71 --jobs 2

Makes one cohort, trains and tests `--seeds` runs on it, then one control run whose reports are permuted among the
training patients and which is tested on true pairs. Writes every run, the mean and chance as a table in Markdown.
Options that this script does not know go to all runs; those in `--control_options '…'` go to the control alone. A run
that is there already is read.
"""

import argparse
import json
import os
import shlex
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from control_figures import table

from bimcvr.cli import main
from bimcvr.data.manifest import read_manifest, write_manifest
from bimcvr.data.splits import assign_splits

FRACTIONS = (0.8, 0.1, 0.1)
PRESETS = {
    "quick": ("base", "quick"),
    "strong": ("base", "quick", "strong"),
    "fine": ("base", "quick", "strong", "fine"),
}


def permuted(path: Path, seed: int) -> Path:
    """Write a manifest in which every training patient has another one's reports; val and test stay true."""
    manifest = read_manifest(path)
    split = assign_splits(manifest, "patient_hash", fractions=FRACTIONS)
    rows = manifest.table.assign(split=split.names)
    train = rows["split"] == "train"
    patients = rows.loc[train, "patient_id"].unique()
    order = np.random.default_rng(seed).permutation(len(patients))
    # a cycle through a random order: nobody keeps the own report
    donor = dict(zip(patients[order], patients[np.roll(order, 1)], strict=True))
    first = rows[train].drop_duplicates("patient_id").set_index("patient_id")
    for column in ("report", "report_id", "facts", "labels"):
        rows[column] = [
            str(first.at[donor[patient], column]) if own else kept
            for patient, own, kept in zip(rows["patient_id"], train, rows[column], strict=True)
        ]
    out = path.with_name("permuted.csv")
    write_manifest(pd.DataFrame(rows), out)
    return out


class Runs:
    """Runs of one preset, each in processes of its own.

    Args:
        folder: where they are kept.
        preset: its name.
        jobs: how many run side by side; they share the cores.
        extra: further options of `fit` and `test`.
    """

    def __init__(self, folder: Path, preset: str, jobs: int, extra: list[str]) -> None:
        self._folder, self._jobs, self._extra = folder, jobs, extra
        self._files = [f"experiments/phantom/{name}.yaml" for name in PRESETS[preset]]

    def result(self, manifest: Path, name: str, seed: int, extra: list[str]) -> dict[str, Any]:
        """Train and test once, or read the result if it is there already."""
        found = sorted((self._folder / name).glob(f"*-{seed}/result.json"))
        if not found:
            files = [word for file in self._files for word in ("--config", file)]
            runs = ["--runs", str(self._folder), "--experiment", name, "--trainer.logger", "false"]
            words = [*files, *runs, "--data.manifest", str(manifest), "--seed_everything", str(seed)]
            threads = max(1, (os.cpu_count() or 1) // self._jobs)
            log = self._folder / f"{name}-{seed}.log"
            print(f"{name}, seed {seed}: see {log}", flush=True)
            with log.open("a", encoding="utf-8") as out:
                for verb, checkpoint in (("fit", "last"), ("test", "best")):
                    command = [sys.executable, "-m", "bimcvr", verb, *words, *self._extra, *extra]
                    code = subprocess.run(
                        [*command, "--checkpoint", checkpoint],
                        stdout=out,
                        stderr=subprocess.STDOUT,
                        env={**os.environ, "OMP_NUM_THREADS": str(threads)},
                        check=False,
                    ).returncode
                    if code:
                        raise SystemExit(f"{verb} of {name}, seed {seed}, failed: see {log}")
            found = sorted((self._folder / name).glob(f"*-{seed}/result.json"))
        result: dict[str, Any] = json.loads(found[-1].read_text(encoding="utf-8"))
        return result

    def results(self, wanted: list[tuple[Path, str, int, list[str]]]) -> list[dict[str, Any]]:
        """Return the results of several runs, in this order."""
        with ThreadPoolExecutor(self._jobs) as pool:
            return list(pool.map(lambda run: self.result(*run), wanted))


def control() -> None:
    """Run everything, print the table, and write it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", choices=sorted(PRESETS), default="quick")
    parser.add_argument("--cohort_seed", type=int, default=53)
    parser.add_argument("--patients", type=int, default=2000)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--control_options", type=shlex.split, default=[])
    parser.add_argument("--out", type=Path, default=Path("runs/phantom_retrieval"))
    arguments, extra = parser.parse_known_args()
    cohort = arguments.out / f"cohort-{arguments.patients}-{arguments.cohort_seed}"
    main(["phantom", str(cohort), "--patients", str(arguments.patients), "--seed", str(arguments.cohort_seed)])
    name = arguments.preset
    runs = Runs(arguments.out, name, arguments.jobs, extra)
    wanted: list[tuple[Path, str, int, list[str]]] = [
        (cohort / "manifest.csv", name, seed, []) for seed in range(arguments.seeds)
    ]
    wanted.append((permuted(cohort / "manifest.csv", 0), f"{name}-permuted", 0, arguments.control_options))
    *results, shuffled = runs.results(wanted)
    about = results[0]["about"]
    text = (
        f"PHANTOM (synthetic data), cohort seed {arguments.cohort_seed}, {arguments.patients} patients, preset {name}; "
        f"split {about['split']} by {about['split_strategy']}: N = {results[0]['n_queries']} volumes of "
        f"{results[0]['n_patients']} patients\n\n{table(results, shuffled)}\n"
    )
    (arguments.out / f"{name}.md").write_text(text, encoding="utf-8")
    print(f"\n{text}")


if __name__ == "__main__":
    control()
