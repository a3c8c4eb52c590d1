"""A tiny cohort on disk and options for a run of seconds on it."""

import locale
import socket
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import SimpleITK as sitk

from helpers.cli import TINY

LOCALE = locale.setlocale(locale.LC_CTYPE)
SIDES, LEVELS = ("right", "left"), ("upper", "middle", "lower")


@pytest.fixture(scope="session")
def tiny_cohort(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A manifest of 30 small volumes with a bright ball whose place the report tells; split by hand."""
    folder = tmp_path_factory.mktemp("cohort")
    rng = np.random.default_rng(0)
    rows = []
    for number in range(30):
        side, level = number % 2, number // 2 % 3
        volume = rng.normal(-800, 30, (18, 20, 20))
        volume[2 + 5 * level : 6 + 5 * level, 8:13, 3 + 9 * side : 8 + 9 * side] = 60 + number
        image = sitk.GetImageFromArray(volume.astype(np.int16))
        image.SetSpacing((3.0, 3.0, 4.0))
        sitk.WriteImage(image, str(folder / f"s{number}.nii.gz"))
        rows.append(
            {
                "study_id": f"s{number}",
                "volume": f"s{number}.nii.gz",
                "report": (
                    f"There is a nodule in the {SIDES[side]} {LEVELS[level]} zone, case number {number} of the series."
                ),
                "patient_id": f"p{number}",
                "labels": "nodule;" + SIDES[side],
                "split": "train" if number < 16 else "val" if number < 23 else "test",
            }
        )
    pd.DataFrame(rows).to_csv(folder / "manifest.csv", index=False)
    return folder / "manifest.csv"


@pytest.fixture
def tiny_config(tmp_path: Path, tiny_cohort: Path) -> list[str]:
    """Options for a run of seconds on the tiny cohort, with its runs in the test's own folder."""
    (tmp_path / "tiny.yaml").write_text(TINY)
    return [
        "--config",
        str(tmp_path / "tiny.yaml"),
        "--data.manifest",
        str(tiny_cohort),
        "--runs",
        str(tmp_path / "runs"),
    ]


@pytest.fixture(scope="session", autouse=True)
def own_state(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder of what this account remembers, away from the real one."""
    folder = tmp_path_factory.mktemp("state")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(folder))
        yield folder


@pytest.fixture(autouse=True)
def same_locale() -> None:
    """Undo what SimpleITK's writer does to LC_CTYPE in fixtures: `open` would read ASCII in whatever test is next."""
    locale.setlocale(locale.LC_CTYPE, LOCALE)


@pytest.fixture
def unused_port() -> int:
    """A TCP port on this machine that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
