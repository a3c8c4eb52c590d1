#!/usr/bin/env bash
# Install a wheel in an empty environment and use it in an empty folder, outside of any checkout.
# usage: smoke.sh DIST [VENV]: DIST holds one bimcvr-*.whl and constraints.txt
set -euo pipefail
dist=$(realpath "$1")
venv=$(realpath -m "${2:-$(mktemp -d)/venv}")
python3 -m venv "$venv"
wheel=$(ls "$dist"/bimcvr-*.whl)
"$venv/bin/python" -m pip install --quiet --progress-bar off --constraint "$dist/constraints.txt" "${wheel}[search,minilm]"

cd "$(mktemp -d)"
unset PYTHONPATH
export WANDB_MODE=disabled PATH="$venv/bin:$PATH"
python - <<'PYTHON'
import sys
import bimcvr

assert not {"torch", "pandas"} & set(sys.modules), "import bimcvr loads torch or pandas"
assert "site-packages" in bimcvr.__file__, bimcvr.__file__
PYTHON
bimcvr --version
bimcvr --help

# anybody's embeddings: here random vectors, so that every figure is at chance
bimcvr phantom cohort --patients 30
python - <<'PYTHON'
import csv
import numpy as np

with open("cohort/manifest.csv", newline="") as file:
    ids = [row["study_id"] for row in csv.DictReader(file)]
random = np.random.default_rng(0)
image, text = random.normal(size=(2, len(ids), 16)).astype("float32")
np.savez("random.npz", study_id=np.array(ids), image=image, text=text)
PYTHON
bimcvr evaluate random.npz --manifest cohort/manifest.csv --out result.json
test -s result.json

bimcvr demo --patients 60
echo "the wheel works: 1 passed, 0 failed"
