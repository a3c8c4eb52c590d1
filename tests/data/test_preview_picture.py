"""The picture of `preview` shows the beginning of each study's report beside its slices."""

from pathlib import Path

import numpy as np
import torch
from PIL import Image

from bimcvr.commands.dataset import preview


def test_the_report_stands_beside_the_slices(tmp_path: Path) -> None:
    volume = torch.zeros(1, 4, 8, 8)
    pictures = []
    for number, report in enumerate(("", "Cost $5 of $7: a nodule in the right upper lobe. " * 9)):
        path = tmp_path / f"{number}.png"
        preview._draw([("s1", report, volume, volume[None])], [(1.0, 1.0, 1.0)], path, False)
        with Image.open(path) as picture:
            pictures.append(np.asarray(picture.convert("L")))
    empty, written = pictures
    assert empty.shape == written.shape
    changed = np.flatnonzero((empty != written).any(0))
    assert len(changed) > 50
    assert changed.min() > 0.6 * empty.shape[1], "beside the slices, not over them"
