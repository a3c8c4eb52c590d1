"""Lungs that a grid cuts away: said by `cache` and in training, listed, and stated by a result."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import SimpleITK as sitk

from bimcvr.cli import main
from bimcvr.data.cache.cut_lungs import CutLungs
from bimcvr.data.loading.datamodule import CTReportDataModule
from bimcvr.data.manifest import read_manifest


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trunk, the same with its lungs higher up, and legs; voxels of 4 mm."""
    folder = tmp_path_factory.mktemp("lungs")
    z, y, x = np.mgrid[:50, :60, :80]
    y, x = y - 29.5, x - 39.5
    body = np.where((y / 25) ** 2 + (x / 36) ** 2 < 1, 40, -1000)
    inside = (y / 16) ** 2 + ((abs(x) - 17) / 13) ** 2 < 1
    volumes = {
        "middle": np.where(inside & (z > 14) & (z < 35), -800, body),
        "above": np.where(inside & (z > 24) & (z < 45), -800, body),
        "legs": body,
    }
    for name, hu in volumes.items():
        image = sitk.GetImageFromArray(hu.astype(np.int16))
        image.SetSpacing((4.0, 4.0, 4.0))
        sitk.WriteImage(image, str(folder / f"{name}.nii.gz"))
    table = pd.DataFrame({"study_id": list(volumes), "volume": [f"{name}.nii.gz" for name in volumes]})
    table.assign(report="A report.", split="test").to_csv(folder / "manifest.csv", index=False)
    return folder / "manifest.csv"


def test_cache_counts_and_lists_them(manifest: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["cache", str(manifest), "--spacing", "[4, 4, 4]", "--jobs", "1"]
    assert main([*words, "--size", "[30, 60, 80]"]) == 0
    said = capsys.readouterr().out
    assert "cuts away more than 1% of the lungs in 1 of 3 volumes (share outside: above 25%)" in said
    assert "1 volumes are cut by the grid, and no lungs were found in them." in said
    assert "1 of 3 volumes lose no more than 1 % of their lungs" in said
    listed = pd.read_csv(manifest.parent / "cache/cut_lungs.csv").set_index("study_id")["share_outside"]
    assert listed["above"] == pytest.approx(0.25, abs=0.001)
    assert list(listed.index) == ["above", "legs"]
    assert np.isnan(listed["legs"])
    assert main([*words, "--size", "[50, 60, 80]"]) == 0
    assert "3 of 3 volumes lose no more than 1 % of their lungs" in capsys.readouterr().out


def test_training_warns_and_results_state_them(manifest: Path) -> None:
    data = CTReportDataModule(str(manifest), size=(30, 60, 80), spacing=(4.0, 4.0, 4.0))
    data.prepare_data()
    with pytest.warns(UserWarning, match="1 of 3 volumes .share outside: above 25%"):
        data.setup("test")
    about = data.gallery("test").description
    assert about["lungs_cut"] == {
        "volumes": 3,
        "cut": 1,
        "worst_share": pytest.approx(0.25, abs=0.001),
        "no_lungs_found": 1,
    }
    assert (about["grid"], about["spacing_mm"], about["grid_centre"]) == ([30, 60, 80], [4.0, 4.0, 4.0], "volume")
    whole = CTReportDataModule(str(manifest), size=(30, 60, 80))
    whole.prepare_data()
    whole.setup("test")
    about = whole.gallery("test").description
    assert "lungs_cut" not in about
    assert (about["grid"], about["spacing_mm"], about["grid_centre"]) == ([30, 60, 80], None, None)


def test_many_are_named_worst_first(manifest: Path) -> None:
    lungs = CutLungs({0: 0.02, 1: 0.5, 2: None})
    assert list(lungs.cut) == [1, 0]
    assert "in 2 of 3 volumes (share outside: above 50% and 1 more)" in lungs.describe(read_manifest(manifest), most=1)
    assert CutLungs({0: 0.01, 1: 0.0}).describe(read_manifest(manifest)) == ""
    assert lungs.only([2, 9]).facts() == {"volumes": 1, "cut": 0, "worst_share": 0.0, "no_lungs_found": 1}
