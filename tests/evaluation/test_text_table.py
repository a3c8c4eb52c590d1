"""A result as text: columns apart, figures with the decimals that they need."""

import re

import numpy as np
import torch

from bimcvr.contracts import Gallery
from bimcvr.evaluation.embeddings import Embeddings
from bimcvr.evaluation.result import Resampling, build_result
from bimcvr.evaluation.text_table import format_result
from bimcvr.metrics.ranking.ranks import DIRECTION_TITLES


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
    lines = format_result(result).splitlines()
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
    assert len({len(line) for line in lines[start : start + 6]}) == 1
    assert not any("grid" in line for line in lines)
    cut = {"volumes": 40, "cut": 3, "worst_share": 0.253, "no_lungs_found": 0}
    about |= {"grid": [96, 192, 192], "spacing_mm": [3.0, 2.0, 2.0], "grid_centre": "volume", "lungs_cut": cut}
    lines = format_result(result).splitlines()
    assert "grid: 96 × 192 × 192 at 3 × 2 × 2 mm" in lines
    assert "WARNING: the grid cuts away more than 1 % of the lungs in 3 of 40 volumes, at worst 25%" in lines
