"""From a query to the slice of a phantom's finding, whose place is known: on the page, in its pictures, in `--html`."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pandas as pd
import pytest
import torch

from bimcvr.cli import main
from helpers.cli import newest_run
from helpers.page import ask, chromium, names, ready, slice_number, tab, until
from helpers.running_server import serving
from helpers.toy_modules import PatchMeans

pytestmark = pytest.mark.slow
QUERY = "There is a pacemaker."
CONFIG = """
experiment: bright
trainer: {accelerator: cpu, max_epochs: 1, limit_train_batches: 1, precision: 32-true, logger: false,
enable_progress_bar: false, enable_model_summary: false}
data: {size: [32, 32, 32], batch_size: 4, strategy: patient_hash, fractions: [0.4, 0.3, 0.3], num_workers: 0}
model:
  embed_dim: 12
  volume_encoder: {class_path: helpers.toy_modules.PatchMeans, init_args: {patch: [2, 2, 2]}}
  text_encoder: {class_path: helpers.toy_modules.HashText}
  fusion: bimcvr.models.FirstView
"""


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A manifest of phantoms."""
    folder = tmp_path_factory.mktemp("phantoms")
    assert main(["phantom", str(folder), "--patients", "24", "--seed", "4", "--jobs", "1"]) == 0
    return folder / "manifest.csv"


@pytest.fixture(scope="module")
def index(cohort: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An index of them, by a model that finds a pacemaker where a volume is brightest, as metal is."""
    folder = tmp_path_factory.mktemp("bright")
    (folder / "bright.yaml").write_text(CONFIG)
    words = ["--config", str(folder / "bright.yaml"), "--data.manifest", str(cohort), "--runs", str(folder / "runs")]
    assert main(["fit", *words]) == 0
    checkpoint = newest_run(folder / "runs") / "checkpoints/best.ckpt"
    from bimcvr.models.embedder import Embedder

    query = Embedder(checkpoint, "cpu", ["helpers"]).embed_texts([QUERY])[0]
    content = torch.load(checkpoint, weights_only=True)
    image = next(name for name in content["state_dict"] if name.startswith("project_image") and "weight" in name)
    content["state_dict"][image] = torch.from_numpy(query)[:, None] * PatchMeans().direction
    torch.save(content, checkpoint)
    out = folder / "index"
    words = ["--checkpoint", str(checkpoint), "--manifest", str(cohort), "--out", str(out), "--trust", "helpers"]
    assert main(["index", *words, "--jobs", "1"]) == 0
    return out


def slices_of(cohort: Path) -> dict[str, tuple[float, float, int]]:
    """The studies with a pacemaker: its first and last axial slice, from the feet, from 1 on, and their number."""
    found = {}
    for row in pd.read_csv(cohort, dtype=str, keep_default_na=False).to_dict("records"):
        places = [place for place in json.loads(row["places"] or "[]") if place["finding"] == "pacemaker"]
        if places:
            image = nibabel.load(cohort.parent / row["volume"])
            x, y, z = places[0]["centre"]  # LPS
            centre = np.linalg.inv(image.affine) @ [-x, -y, z, 1]
            half = places[0]["half_axes"][2] / abs(image.affine[2, 2])
            found[row["study_id"]] = (centre[2] + 1 - half, centre[2] + 1 + half, image.shape[2])
    return found


@pytest.fixture(scope="module")
def page(index: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with (
        chromium() as browser,
        serving(index, tmp_path_factory.mktemp("log") / "log", "--trust", "helpers") as running,
    ):
        yield from tab(browser, running.address)


def test_the_page_lands_on_the_finding(page: Any, cohort: Path) -> None:
    true = slices_of(cohort)
    assert len(true) >= 1
    ask(page, QUERY)
    case = next(name for name in names(page) if name in true)
    first, last, count = true[case]
    card = f'.card[data-case="{case}"]'
    page.locator(card).scroll_into_view_if_needed()
    until(page, f"""document.querySelector('{card} .thumbs')?.dataset.peak === 'shown'""")
    number, slices = map(int, page.inner_text(f"{card} .at >> nth=0").split("/"))
    assert slices == count
    # a token is 2 voxels of 32
    assert first - count / 16 <= number <= last + count / 16
    assert page.locator(f"{card} .map").count() == 3
    opacity = f"Number(getComputedStyle(document.querySelector('{card} .map')).opacity)"
    assert page.evaluate(opacity) == pytest.approx(0.45)
    page.uncheck("#show-peaks")
    assert page.evaluate(opacity) == 0
    page.check("#show-peaks")
    page.click(f"{card} .open")
    ready(page)
    assert first - count / 16 <= slice_number(page) <= last + count / 16
    assert abs(slice_number(page) - number) <= count / 32  # a voxel of the model


def test_the_written_page_shows_the_same_slices(index: Path, cohort: Path, tmp_path: Path) -> None:
    out = tmp_path / "page.html"
    assert main(["search", str(index), QUERY, "--html", str(out), "--top", "40", "--trust", "helpers"]) == 0
    text = out.read_text()
    for study, (first, last, count) in slices_of(cohort).items():
        number = int(re.search(rf"axial slice (\d+) of {count} of {study}, where the model looks most", text)[1])  # type: ignore[index]
        assert first - count / 16 <= number <= last + count / 16
    assert "no diagnosis" in text
