"""A small index with patients, dates, series facts and near-duplicates, for the lists of the search page."""

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from bimcvr.search.index.schema import StudyRecord
from helpers.index_factory import make_index, study

COUNT = 24
GEOMETRY = {"native_size": [18, 20, 20], "native_spacing": [4.0, 3.0, 3.0], "obliquity": 0.0}


def picture(number: int) -> bytes:
    """A JPEG in a grey of its own."""
    out = io.BytesIO()
    Image.fromarray(np.full((64, 64), 40 + 8 * number, dtype=np.uint8)).save(out, "JPEG")
    return out.getvalue()


def listed_study(number: int) -> StudyRecord:
    """Study `s<number>` of patient `p<number // 2>`.

    s8 has the report of s0, s12 the volume's vector of s4, and s13 (of another patient than s5) the checksum of s5.
    """
    made = study(
        f"s{number}",
        study_date="" if number == 3 else f"2020{number % 12 + 1:02d}{number + 1:02d}",
        kernel="B70f" if number % 2 else "B30f",
        slice_thickness="1.25",
        contrast_agent="yes" if number % 3 == 0 else "",
        sex="F" if number < 12 else "M",
        sha256={5: "5" * 64, 13: "5" * 64}.get(number, ""),
        **({"report": study("s0").cells["report"].upper()} if number == 8 else {}),
    )
    image = study("s4").image if number == 12 else made.image
    pictures = dict.fromkeys(("axial", "coronal", "sagittal"), picture(number))
    return replace(made, image=image, geometry=GEOMETRY, thumbnails=pictures, source="")


def make_listed(folder: Path) -> Path:
    """Write the index."""
    return make_index(folder, [listed_study(number) for number in range(COUNT)])
