"""How long the command line takes to answer: help, and mistakes that end `fit` before Lightning is imported.

    python perf/start.py [--runs 7]

Each call is a process of its own; beside them, as the floor, Python alone, and Lightning's own import, which each of
them took before.
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

QUICK = ["fit", "--config", "experiments/phantom/base.yaml", "--config", "experiments/phantom/quick.yaml"]
CALLS = {
    "python alone": ["-c", "pass"],
    "import pytorch_lightning": ["-c", "import pytorch_lightning"],
    "bimcvr --help": ["-m", "bimcvr", "--help"],
    "bimcvr fit --help": ["-m", "bimcvr", "fit", "--help"],
    "a misspelt key": ["-m", "bimcvr", *QUICK, "--data.manifst", "m.csv"],
    "no such manifest": ["-m", "bimcvr", *QUICK, "--data.manifest", "absent.csv"],
    "a missing column": ["-m", "bimcvr", *QUICK, "--data.manifest", "columns.csv"],
    "no such class": ["-m", "bimcvr", *QUICK, "--model.fusion", "bimcvr.models.ChanelGate"],
}


def main() -> None:
    """Time all calls in turn, and print the medians."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=7)
    options = parser.parse_args()
    seconds: dict[str, list[float]] = {name: [] for name in CALLS}
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "columns.csv").write_text("study_id,report\ns1,There is a nodule.\n", encoding="utf-8")
        for _ in range(options.runs):
            for name, words in CALLS.items():
                began = time.perf_counter()
                subprocess.run([sys.executable, *words], cwd=folder, capture_output=True, check=False)
                seconds[name].append(time.perf_counter() - began)
    print(f"seconds, median of {options.runs}:")
    for name, taken in seconds.items():
        print(f"{name:<26}{statistics.median(taken):6.2f}")


if __name__ == "__main__":
    main()
