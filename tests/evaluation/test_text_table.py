"""A result as text: columns apart, figures with the decimals that they need."""

import re

import numpy as np
import pytest
import torch

from bimcvr.contracts import Gallery
from bimcvr.evaluation import raw_vs_audited
from bimcvr.evaluation.columns import columns
from bimcvr.evaluation.embeddings import Embeddings
from bimcvr.evaluation.result import Resampling, build_result
from bimcvr.evaluation.text_table import format_result
from bimcvr.metrics.ranking.ranks import DIRECTION_TITLES
from helpers.full_result import full_result


def test_columns_stay_apart_and_the_sd_of_mrr_is_readable() -> None:
    size = 40
    about = {
        "synthetic": False,
        "split": "test",
        "split_strategy": "column",
        "manifest_hash": "h",
        "seed": 0,
        "embeddings": ["m.npz"],
    }
    names = [f"s{i}" for i in range(size)]
    gallery = Gallery(
        rows=np.arange(size),
        study_id=names,
        group=np.arange(size),
        same_text=np.arange(size),
        elsewhere=np.zeros(size, dtype=bool),
        flagged=np.zeros(size, dtype=bool),
        patient=names,
        labels=[frozenset()] * size,
        description={},
    )
    runs = [
        Embeddings(names, *torch.randn(2, size, 4, generator=torch.Generator().manual_seed(seed))) for seed in range(2)
    ]
    result = {
        **build_result(runs, gallery, (1, 10), Resampling(0, 50)),
        "about": about,
        "ceiling": {direction: {"MRR": 0.5} for direction in DIRECTION_TITLES},
    }
    result["seeds_sd"]["text_to_image"]["MRR"] = 0.037
    lines = format_result(result, 120).splitlines()
    start = next(i for i, line in enumerate(lines) if "ceiling" in line)
    assert re.split(r" {2,}", lines[start].strip()) == [
        *DIRECTION_TITLES.values(),
        "chance",
        *(f"ceiling {direction}" for direction in DIRECTION_TITLES.values()),
    ]
    for line in lines[start + 1 : start + 6]:
        name, *cells = re.split(r" {2,}", line.rstrip())
        assert len(cells) == (5 if name == "MRR" else 3), line
    assert "] (0.037)" in next(line for line in lines if line.startswith("MRR"))
    end = lines[start].index("chance") + len("chance")
    assert all(len(line[:end].rstrip()) == end for line in lines[start : start + 6]), "the columns end at one place"
    assert not any("grid" in line for line in lines)
    cut = {"volumes": 40, "cut": 3, "worst_share": 0.253, "no_lungs_found": 0}
    about |= {"grid": [96, 192, 192], "spacing_mm": [3.0, 2.0, 2.0], "grid_centre": "volume", "lungs_cut": cut}
    lines = format_result(result, 120).splitlines()
    assert "grid: 96 × 192 × 192 at 3 × 2 × 2 mm" in lines
    assert "WARNING: the grid cuts away more than 1 % of the lungs in 3 of 40 volumes, at worst 25%" in lines


def test_every_line_fits_and_the_tables_are_aligned(monkeypatch: pytest.MonkeyPatch) -> None:
    """A result with everything: at 80 and at 120 columns no line is longer, and the retrieval figures come first."""
    monkeypatch.setattr(raw_vs_audited, "SUBSETS", 3)
    result = full_result()
    for width in (80, 120):
        lines = format_result(result, width).splitlines()
        assert max(map(len, lines)) <= width
        assert lines.index(next(line for line in lines if line.startswith("R@1 "))) < 10
        assert len(format_result({**result, "compared_with": [], "audited": {}, "pools": []}, width).splitlines()) < 45
    text = format_result(result, 120)
    (head,) = [line for line in text.splitlines() if line.split() == ["this", "other", "difference", "p"]]
    row = text.splitlines()[text.splitlines().index(head) + 1]
    assert row.split()[:4] == ["text", "→", "image", "R@1"]
    assert len(head) == len(row)
    assert "≤ 0.0196" in text, "the least p of 50 rounds is a bound"
    assert "3 rarer labels are in the result's file and page" in text


def test_columns_that_do_not_fit_follow_below() -> None:
    rows = [["trial", "val/score", "a long name", "lr"], ["1", "0.5", "1e-3", "2"], ["2", "0.25", "1e-4", "3"]]
    assert columns(rows, 30) == [
        "trial  val/score  a long name",
        "1            0.5         1e-3",
        "2           0.25         1e-4",
        "",
        "trial  lr",
        "1       2",
        "2       3",
    ]
