"""The suite of peers end to end on phantoms, its towers small and of random weights, marked and kept apart."""

import csv
import importlib.util
from pathlib import Path

import pytest

from bimcvr.extras import is_installed
from helpers.cli import bimcvr
from helpers.peer_suite import write_peer_suite

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not is_installed("peers"), reason="the extra 'peers' is not installed (make test EXTRAS=dev,peers)"
    ),
]
PEERS = {"COLIPRI", "SPECTRE", "Merlin"}


def test_the_suite_of_peers_runs_on_phantoms(tmp_path: Path) -> None:
    ct_clip = importlib.util.find_spec("transformer_maskgit") is not None  # a user's checkout
    suite, out = write_peer_suite(tmp_path, ct_clip), tmp_path / "out"
    words = ("--suite", suite, "--out", out, "--resamples", "50", "--jobs", "1")
    done = bimcvr("benchmark", *words, timeout=900)
    assert done.returncode == 0, done.stdout + done.stderr
    titles = {f"{name}, {how}" for name in {*PEERS, *["CT-CLIP"] * ct_clip} for how in ("zero-shot", "trained head")}
    names = [f"gallery_{name}" for name in ("all", "diagonal", "one_per_patient", "one_per_report")]
    for name in (*names, "pools_8"):
        with (out / f"tables/random_weights_{name}.csv").open(encoding="utf-8") as stream:
            found = {line["Method"]: line for line in csv.DictReader(stream)}
        measured = {title for title, line in found.items() if line["source"] == "measured"}
        assert measured == {f"{title} (random weights)" for title in titles}
        assert all(found[title]["text → image R@1"] for title in measured)
        assert len({found[title]["grid"] for title in measured}) == len(titles) / 2, "each tower has its own"
        assert all(line["table"].startswith("RANDOM WEIGHTS, not results") for line in found.values())
    for path in (out / "tables").iterdir():
        text = path.read_text(encoding="utf-8")
        assert path.name.startswith("random_weights_") or not [title for title in titles if title in text], path.name
        assert "published" not in text, "the paper's figures are in no table beside other protocols"
    kept = list((tmp_path / "features").rglob("*.safetensors"))
    assert len({path.parent for path in kept}) == len(titles) / 2, "a head's features are kept by its tower"
