"""Tiny volumes, and the hand-typed fixtures with volumes beside their tables."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import SimpleITK as sitk

from bimcvr.cli import main

FIXTURES = Path(__file__).parent.parent / "fixtures"


@pytest.fixture
def volume() -> Callable[[Path], Path]:
    """Writes a volume of a few voxels at a path."""

    def write(path: Path) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        seed = sum(path.name.encode())
        image = sitk.GetImageFromArray(np.random.default_rng(seed).integers(-1000, 400, (3, 4, 5)).astype(np.int16))
        image.SetSpacing((0.7, 0.7, 2.5))
        sitk.WriteImage(image, str(path), True)
        return path

    return write


@pytest.fixture
def bimcv_r(tmp_path: Path, volume: Callable[[Path], Path]) -> Path:
    """The hand-typed released layout, unpacked, with its volumes."""
    root = tmp_path / "bimcv_r"
    shutil.copytree(FIXTURES / "bimcv_r", root)
    for name in (
        "CT1/ct/sub-S03101_ses-E07001_run-1",
        "CT1/ct/sub-S03101_ses-E07001_acq-2_run-3",
        "CT2/ct/sub-S03102_ses-E07002_run-1",
        "CT10/ct/sub-S03104_ses-E07004_run-1",
        "CT2/ct/sub-S03105_ses-E07005_run-2",
        "CT1/ct/sub-S03106_ses-E07006_run-1",
        "CT2/ct/sub-S03106_ses-E07006_run-1",
        "CT2/ct/sub-S03199_ses-E07099_run-1",
    ):
        volume(root / f"{name}_bp-chest_ct.nii.gz")
    return root


@pytest.fixture
def bimcv_covid19(tmp_path: Path, volume: Callable[[Path], Path]) -> Path:
    """The hand-typed raw layout, unpacked, with its volumes and an X-ray."""
    root = tmp_path / "bimcv_covid19"
    shutil.copytree(FIXTURES / "bimcv_covid19", root)
    for name in (
        "covid19_posi/sub-S04201/ses-E08301/mod-rx/sub-S04201_ses-E08301_acq-1_run-2",
        "covid19_posi/sub-S04202/ses-E08302/mod-rx/sub-S04202_ses-E08302_run-1",
        "covid19_posi/sub-S04202/ses-E08303/mod-rx/sub-S04202_ses-E08303_run-1",
        "covid19_neg/sub-S04300/ses-E08400/mod-rx/sub-S04300_ses-E08400_run-1",
    ):
        volume(root / f"{name}_bp-chest_ct.nii.gz")
    (root / "covid19_posi/sub-S04201/ses-E08301/mod-rx/sub-S04201_ses-E08301_run-1_bp-chest_vp-pa_dx.png").write_bytes(
        b"\x89PNG"
    )
    return root


@dataclass(frozen=True)
class Curated:
    """What a run of `curate` left."""

    code: int
    out: Path

    @property
    def rows(self) -> dict[str, dict[str, str]]:
        """The manifest's rows by study."""
        table = pd.read_csv(self.out / "manifest.csv", dtype=str, keep_default_na=False)
        return {row["study_id"]: row for row in table.to_dict("records")}

    @property
    def aside(self) -> dict[str, str]:
        """Name and reason of what was set aside."""
        table = pd.read_csv(self.out / "set_aside.csv", dtype=str, keep_default_na=False)
        assert all(text.endswith(".") for text in table["message"])
        return dict(zip(table["name"], table["reason"], strict=True))


@pytest.fixture
def curate(tmp_path: Path) -> Callable[..., Curated]:
    """Runs the verb: `curate("AmosMM", root, "--source.table", "x.json")`."""

    def run(source: str, root: Path, *words: str) -> Curated:
        out = tmp_path / "out"
        named = ["--source", f"bimcvr.curation.{source}", "--source.root", str(root), "--out", str(out)]
        return Curated(main(["curate", *named, "--jobs", "1", *words]), out)

    return run


@pytest.fixture
def curate_shipped(tmp_path: Path) -> Callable[[str, Path], Curated]:
    """Runs a file of `experiments/curate` on a folder, with a tiny cache: `curate_shipped("merlin", root)`."""

    def run(name: str, root: Path) -> Curated:
        out = tmp_path / "shipped"
        words = ["--config", f"experiments/curate/{name}.yaml", "--source.root", str(root), "--out", str(out)]
        return Curated(main(["curate", *words, "--size", "[3, 4, 5]", "--jobs", "1"]), out)

    return run
