"""CT-CLIP's towers give the vectors of its own code and of its own reading of files.

The code is a user's checkout: BIMCVR_CT_CLIP names its folder, whose README says what else to install.
"""

import importlib
import os
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from bimcvr.contracts import DataGrid
from bimcvr.data.hu.model_grid import ModelGrid
from bimcvr.data.loading.views import apply_window
from bimcvr.data.reading.resample import read_on_grid
from bimcvr.errors import UserError, WeightsAbsent
from bimcvr.models.peers.ct_clip import CtClipText, CtClipVolume
from helpers import peer_files
from helpers.network import turn_off
from helpers.peer_files import STORAGES, write_volume

CHECKOUT = Path(os.environ.get("BIMCVR_CT_CLIP", ""))
needs_checkout = pytest.mark.skipif(
    "BIMCVR_CT_CLIP" not in os.environ, reason="BIMCVR_CT_CLIP names no checkout of CT-CLIP"
)
WINDOW = (-1024.0, 1500.0)
SIZE, SPACING = (20, 60, 60), (1.5, 0.75, 0.75)
TEXTS = ['There is a "large" right pleural effusion (left: none).', "no nodule"]
REAL = {
    "aorta": "totalsegmentator/aorta_report/ct_cropped.nii.gz",
    "chest": "cip_chest/ct-64.nrrd",
    "lung": "elastix_lung/3DCT_lung_baseline_small.mha",
}


@pytest.fixture(scope="module")
def checkout() -> Any:
    with pytest.MonkeyPatch.context() as patch:
        for folder in ("transformer_maskgit", "CT_CLIP", "scripts"):
            patch.syspath_prepend(str(CHECKOUT / folder))
        yield patch


@pytest.fixture(scope="module")
def folder(checkout: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("ct_clip")
    with pytest.MonkeyPatch.context() as patch:
        turn_off(patch)
        MODELS[str(made)] = peer_files.write_ct_clip(made)
    return made


MODELS: dict[str, Any] = {}


@pytest.fixture
def model(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The model of its own class, whose code asks for a GPU by name."""
    here = SimpleNamespace(**{**vars(torch), "device": lambda *_: torch.device("cpu")})
    for name in ("ctvit", "attention"):
        monkeypatch.setattr(importlib.import_module(f"transformer_maskgit.{name}"), "torch", here)
    return MODELS[str(folder)]


@pytest.fixture
def tower(folder: Path) -> CtClipVolume:
    made = CtClipVolume(str(folder), random_weights=True, reduced=peer_files.CT_CLIP)
    made.accept_grid(DataGrid(SIZE, SPACING, WINDOW))
    return made


def ours(tower: CtClipVolume, path: Path) -> torch.Tensor:
    return apply_window(read_on_grid(path, ModelGrid(SIZE, SPACING)).hu, WINDOW)[None, None]


def theirs(path: Path) -> torch.Tensor:
    """Its own reading of a file, less all but the middle of the 240 × 480 × 480 that it pads to."""
    reader = importlib.import_module("data_inference_nii").CTReportDatasetinfer
    row = {
        "VolumeName": path.name,
        "RescaleSlope": 1,
        "RescaleIntercept": 0,
        "XYSpacing": "[0.75, 0.75]",
        "ZSpacing": 1.5,
    }
    whole = reader.nii_img_to_tensor(None, str(path), pd.DataFrame([row]))
    starts = [(length - own) // 2 for length, own in zip(whole.shape[1:], SIZE, strict=True)]
    return whole[(slice(None), *(slice(start, start + own) for start, own in zip(starts, SIZE, strict=True)))]


@needs_checkout
@pytest.mark.parametrize("storage", STORAGES)
def test_two_voxels_arrive_at_their_corners(tower: CtClipVolume, storage: str, tmp_path: Path) -> None:
    hu = np.full(SIZE, -1000, dtype=np.int16)
    hu[3, 2, 1], hu[18, 57, 56] = 1000, 500
    path = write_volume(tmp_path / "voxels.nii.gz", hu, SPACING, STORAGES[storage])
    shown = tower.prepare(ours(tower, path))[0, 0]
    assert tower.wanted.axes == "SLP"
    assert shown[3, 1, 2] == pytest.approx(1)
    assert shown[18, 56, 57] == pytest.approx(0.5)
    # a trap: its own reader takes the file's axes for the patient's, so only an LPS file is read rightly
    assert torch.allclose(theirs(path)[0], shown, atol=1e-6) == (storage == "LPS")


@needs_checkout
@pytest.mark.skipif("BIMCVR_REAL_DATA" not in os.environ, reason="BIMCVR_REAL_DATA names no folder of real volumes")
@pytest.mark.parametrize("name", REAL)
def test_a_real_volume_has_the_vector_of_its_own_code(
    tower: CtClipVolume, model: Any, name: str, tmp_path: Path
) -> None:
    source = Path(os.environ["BIMCVR_REAL_DATA"]) / REAL[name]
    hu = read_on_grid(source, ModelGrid((26, 64, 52), SPACING)).hu  # cropped and padded to the tower's
    path = write_volume(tmp_path / "real.nii.gz", hu, SPACING, STORAGES["LPS"])
    tokens = SimpleNamespace(input_ids=torch.tensor([[2, 3]]), attention_mask=torch.tensor([[1, 1]]))
    with torch.no_grad():
        _, expected, states = model(tokens, theirs(path)[None], "cpu", return_latents=True)
    found = tower(ours(tower, path))
    torch.testing.assert_close(found.cls, expected, rtol=0, atol=1e-4)
    own = CtClipVolume(str(tower.weights.files[0]), projected=False, random_weights=True, reduced=peer_files.CT_CLIP)
    own.accept_grid(DataGrid(SIZE, SPACING, WINDOW))
    torch.testing.assert_close(own(ours(own, path)).tokens, states.flatten(1, 3), rtol=0, atol=1e-4)


@needs_checkout
def test_texts_have_the_vectors_of_its_own_code(folder: Path, model: Any) -> None:
    from transformers import BertTokenizer

    tokenizer = BertTokenizer.from_pretrained(folder / "cxr-bert", do_lower_case=True)
    plain = ["There is a large right pleural effusion left: none.", TEXTS[1]]
    tokens = tokenizer(plain, return_tensors="pt", padding="max_length", truncation=True, max_length=512)
    with torch.no_grad():
        expected, _, _ = model(tokens, torch.zeros(2, 1, *SIZE), "cpu", return_latents=True)
    found = CtClipText(str(folder), str(folder / "cxr-bert"), random_weights=True, reduced=peer_files.CT_CLIP_TEXT)
    torch.testing.assert_close(found(TEXTS), expected, rtol=0, atol=1e-4)
    assert (expected[0] - expected[1]).abs().max() > 1e-3


def test_what_is_missing_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(WeightsAbsent, match=r"hf download --repo-type dataset ibrahimhamamci/CT-RATE"):
        CtClipVolume()
    with pytest.raises(WeightsAbsent, match="its owners grant access"):
        CtClipText(str(tmp_path / "none.pt"))
    monkeypatch.setitem(sys.modules, "transformer_maskgit.ctvit", None)
    monkeypatch.setitem(sys.modules, "transformer_maskgit", None)
    with pytest.raises(UserError, match=r"git clone https://github.com/ibrahimethemhamamci/CT-CLIP"):
        CtClipVolume(random_weights=True)
