"""Phantom archives in both layouts, unpacked and packed; and a small table with volumes of a few voxels."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import SimpleITK as sitk

from bimcvr.cli import main


@pytest.fixture(scope="session")
def archives(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`folders/` and `shards/`, each with `bimcv_r`, `bimcv_covid19` and their ledgers: 14 patients."""
    folder = tmp_path_factory.mktemp("archives")
    for packing in ("folders", "shards"):
        words = [
            "phantom",
            str(folder / "cohort"),
            "--patients",
            "14",
            "--seed",
            "5",
            "--jobs",
            "1",
            "--archive",
            packing,
        ]
        assert main(words) == 0
        (folder / packing).mkdir()
        for path in (folder / "cohort").glob("bimcv_*"):
            path.rename(folder / packing / path.name)
    return folder


@pytest.fixture
def archive(archives: Path, tmp_path: Path) -> Callable[[str, str], Path]:
    """Copies an archive, so that a test may change it: `archive("bimcv_r", "shards")`."""

    def copy(layout: str, packing: str) -> Path:
        return Path(shutil.copytree(archives / packing / layout, tmp_path / layout))

    return copy


REPORTS = (
    "Small nodule in the right upper lobe. No pleural effusion.",
    "Cardiomegaly with bilateral pleural effusion and no nodules.",
    "Diffuse emphysema of both lungs without any consolidation.",
    "Consolidation of the left lower lobe. The heart is normal.",
)


def write_volume(path: Path, seed: int = 0, side: int = 20) -> Path:
    """A volume of soft tissue around air, in HU."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    voxels = rng.normal(40, 20, (side, side, side))
    voxels[side // 4 : -side // 4, side // 4 : -side // 4, side // 4 : -side // 4] = rng.normal(-800, 30)
    image = sitk.GetImageFromArray(voxels.astype(np.int16))
    image.SetSpacing((15.0, 15.0, 10.0))
    sitk.WriteImage(image, str(path), True)
    return path


def write_table(folder: Path, count: int = 4, start: int = 0) -> Path:
    """A table of small volumes with distinct reports; it is extended by what it lacks."""
    rows = []
    for number in range(start + count):
        path = folder / f"v{number}.nii.gz"
        if not path.exists():
            write_volume(path, number)
        rows.append(
            {
                "study_id": f"s{number}",
                "volume": path.name,
                "report": f"{REPORTS[number % 4]} Study of series {number}.",
                "language": "en",
                "patient_id": f"p{number}",
            }
        )
    pd.DataFrame(rows).to_csv(folder / "table.csv", index=False)
    return folder / "table.csv"
