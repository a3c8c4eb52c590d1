"""The map that the viewer lays over a case: in the right place of the viewer's volume, refused where there is none."""

import base64
import gzip
from io import BytesIO
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk
import torch
from PIL import Image
from starlette.testclient import TestClient

from bimcvr.contracts import TokenGrid
from bimcvr.data.hu.model_grid import ModelGrid
from bimcvr.data.loading.views import apply_window
from bimcvr.data.manifest import read_manifest
from bimcvr.data.reading.grid import GridRules
from bimcvr.data.reading.resample import read_on_grid
from bimcvr.data.reading.volume import read_volume
from bimcvr.models.embedder import Localised
from bimcvr.models.localisation.relevance import Relevance
from bimcvr.search.index.cohort_mean import load_mean
from bimcvr.search.index.viewer_volumes import write_nifti
from bimcvr.search.server.overlay import overlay
from helpers.page import ask, names, ready, slice_number, tab
from helpers.running_server import Made, Running


def decoded(content: str) -> nibabel.Nifti1Image:
    return nibabel.Nifti1Image.from_bytes(gzip.decompress(base64.b64decode(content)))


@pytest.mark.parametrize("code", ["LPS", "RAS", "SRA", "AIL"])
@pytest.mark.parametrize(
    "grid",
    [ModelGrid((12, 16, 20)), ModelGrid((20, 20, 20), (3.0, 3.0, 3.0)), ModelGrid((40, 40, 40), (2.0, 2.0, 2.0))],
)
def test_the_map_lies_over_what_the_viewer_shows(code: str, grid: ModelGrid, tmp_path: Path) -> None:
    hu = np.full((24, 28, 32), -1000, dtype=np.int16)
    hu[9:14, 15:20, 6:11] = 1000
    image = sitk.GetImageFromArray(hu)
    image.SetSpacing((1.5, 2.0, 2.5))
    image.SetOrigin((100.0, -30.0, 8.0))
    sitk.WriteImage(sitk.DICOMOrient(image, code), str(tmp_path / "ct.nii.gz"))
    seen = read_on_grid(tmp_path / "ct.nii.gz", grid)
    values = apply_window(seen.hu, (-1000, 1000)).numpy()[None]
    relevance = Relevance(
        values, TokenGrid(grid.size, (0.5, 0.5, 0.5), (1.0, 1.0, 1.0)), (1.0, 1.0, 1.0), np.array([0.25]), "tokens"
    )
    found = overlay(Localised(relevance, seen.placement, seen.spacing, GridRules()))
    write_nifti(read_volume(tmp_path / "ct.nii.gz"), tmp_path / "viewer.nii.gz")
    shown, laid = nibabel.load(tmp_path / "viewer.nii.gz"), decoded(found.map)
    bright = nibabel.affines.apply_affine(shown.affine, np.argwhere(shown.get_fdata() > 0))
    levels = laid.get_fdata()
    spots = nibabel.affines.apply_affine(laid.affine, np.argwhere(levels > 127))
    voxel = np.abs(np.diag(laid.affine)[:3])
    assert np.abs(spots.mean(0) - bright.mean(0)).max() < 0.6 * voxel.max()
    assert (np.abs(np.array(found.peak_mm) - bright.mean(0)) <= np.ptp(bright, axis=0) / 2 + voxel).all()
    assert levels.max() == 255
    assert (found.speaks, found.score) == (True, 0.25)


def test_a_map_that_speaks_against_everything_is_empty(tmp_path: Path) -> None:
    sitk.WriteImage(sitk.GetImageFromArray(np.zeros((6, 7, 8), np.int16)), str(tmp_path / "ct.nii.gz"))
    seen = read_on_grid(tmp_path / "ct.nii.gz", ModelGrid((6, 7, 8)))
    relevance = Relevance(
        -torch.rand(1, 6, 7, 8).numpy(),
        TokenGrid((6, 7, 8), (0.5, 0.5, 0.5), (1.0, 1.0, 1.0)),
        (1.0, 1.0, 1.0),
        np.array([-0.1]),
        "gradients",
    )
    found = overlay(Localised(relevance, seen.placement, seen.spacing, GridRules()))
    assert not found.speaks
    assert not decoded(found.map).get_fdata().any()


def test_the_api_says_where_the_model_looks(client: TestClient, made: Made) -> None:
    queries = [("text", "a nodule"), ("keyword", "nodule"), ("study", "SECRET-s3")]
    for mode, query in queries:
        answer = client.post("/api/relevance", json={"case": "SECRET-s4", "mode": mode, "query": query})
        assert answer.status_code == 200, answer.text
        found = answer.json()
        assert decoded(found["map"]).shape == (16, 16, 12)
        assert found["made_of"] == "gradients"
        assert -1 <= found["score"] <= 1
        # 20 × 20 × 18 voxels of 3 × 3 × 4 mm around the middle
        assert np.abs(found["peak_mm"])[2] < 36
    text = client.post("/api/relevance", json={"case": "SECRET-s4", "mode": "text", "query": "a nodule"}).json()
    scores = client.post("/api/scores", json={"mode": "text", "query": "a nodule"}).json()
    assert text["score"] == pytest.approx(scores["scores"][scores["cases"].index("SECRET-s4")], abs=1e-4)
    unknown = client.post("/api/relevance", json={"case": "nobody", "mode": "text", "query": "a nodule"})
    assert unknown.status_code == 404
    words = client.post("/api/relevance", json={"case": "SECRET-s4", "mode": "words", "query": "a nodule"})
    assert words.status_code == 422


def test_the_api_draws_slices_through_the_place(client: TestClient) -> None:
    asked = {"case": "SECRET-s4", "mode": "keyword", "query": "nodule"}
    slices = client.post("/api/relevance/slices", json=asked).json()["slices"]
    assert [(one["plane"], one["slices"]) for one in slices] == [("axial", 18), ("coronal", 20), ("sagittal", 20)]
    peak = client.post("/api/relevance", json=asked).json()["peak_mm"]
    # 20 × 20 × 18 voxels of 3 × 3 × 4 mm around the middle; from the feet, the front, the patient's right
    voxels = (peak[2] / 4 + 9, 10 - peak[1] / 3, 10 - peak[0] / 3)
    # the model sees 12 × 16 × 16 of them
    assert all(abs(one["number"] - 0.5 - place) <= 1.5 for one, place in zip(slices, voxels, strict=True))
    for one in slices:
        assert base64.b64decode(one["picture"]).startswith(b"\xff\xd8")
        over = Image.open(BytesIO(base64.b64decode(one["map"])))
        assert (over.mode, over.size) == ("RGBA", Image.open(BytesIO(base64.b64decode(one["picture"]))).size)
        assert over.getextrema()[3][1] > 200
    assert client.post("/api/relevance/slices", json={**asked, "case": "nobody"}).status_code == 404


def test_the_api_names_the_slice_that_differs_most(client: TestClient, made: Made) -> None:
    mean = load_mean(made.index)
    assert mean is not None
    assert mean.volumes == 30
    source = Path(read_manifest(made.manifest).column("volume")[4])
    found = client.get("/api/opening", params={"case": "SECRET-s4"}).json()
    assert found == {"slice": mean.most_different(read_on_grid(source, mean.grid)), "volumes": 30}
    assert client.get("/api/opening", params={"case": "nobody"}).status_code == 404


@pytest.mark.slow
def test_a_case_of_words_opens_where_it_differs_most(browser: Any, running: Running, client: TestClient) -> None:
    for page in tab(browser, running.address):
        page.select_option("#by", "words")
        ask(page, "case number 4")
        case = names(page)[0]
        page.click(".open >> nth=0")
        ready(page)
        expected = client.get("/api/opening", params={"case": case}).json()["slice"] + 1
        assert slice_number(page) == expected
        assert f"axial slice {expected} differs most from the mean of 30 volumes" in page.inner_text("#region")
        assert "no finding" in page.inner_text("#region")
        page.keyboard.press("Home")
        page.click("#region button")
        assert slice_number(page) == expected


def test_without_a_model_there_is_no_map(made: Made) -> None:
    service = made.service(with_model=False)
    with made.client(service) as client:
        answer = client.post("/api/relevance", json={"case": "SECRET-s4", "mode": "keyword", "query": "nodule"})
        assert answer.status_code == 422
        assert "without a model" in answer.json()["detail"]
    service.close()
