"""A thumbnail shows the volume upright, in its true proportions."""

from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from defective import write
from PIL import Image

from bimcvr.curation.audit.output.thumbnail import thumbnail_jpeg


def pixels(jpeg: bytes) -> np.ndarray:
    return np.asarray(Image.open(BytesIO(jpeg)), dtype=float) / 255


def test_a_thumbnail_shows_the_patient_s_right_on_its_left(tmp_path: Path) -> None:
    hu = np.full((40, 60, 60), -1000, dtype=np.int16)
    # bright: towards the head, the front and the patient's right
    hu[14:, :36, :36] = 400
    picture = pixels(thumbnail_jpeg(write(tmp_path / "v.nii", hu, (6.0, 2.0, 2.0)), height=80))
    assert picture.shape[0] == 80
    # 120 × 120 mm, then twice 240 mm high and 120 mm broad
    axial, coronal, sagittal = picture[:, :80], picture[:, 84:124], picture[:, 128:]
    assert sagittal.shape == (80, 40)
    for panel in (axial, coronal, sagittal):
        rows, columns = panel.shape
        assert panel[: rows // 2, : columns // 2].mean() == pytest.approx(1, abs=0.05)
        assert panel[3 * rows // 4 :, 3 * columns // 4 :].mean() == pytest.approx(0, abs=0.05)


def test_an_absurd_spacing_gives_no_absurd_picture(tmp_path: Path) -> None:
    path = write(tmp_path / "v.nii", np.zeros((40, 30, 30), dtype=np.int16), (300.0, 1.0, 1.0))
    picture = pixels(thumbnail_jpeg(path, height=64))
    assert picture.shape[:2] == (64, 64 + 4 + 16 + 4 + 16)
