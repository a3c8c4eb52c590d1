"""The rotation tables that others made of BIMCV-COVID19+ (`*-ct-rotate-transforms.csv`: series_id, transform_type).

Each type is a change of the stored array's axes (rilshok/BIMCV-COVID-19-interface, postprocessing.py), made without a
look at the header: the tables' author reads voxels and spacing only. In which orientation the result lies they do not
say, and later versions of that code leave the positive cohort's table out. So a rotation is evidence, not an
instruction: where the header already names the same change of axes, it is right and nothing is to be done; else the two
contradict each other.
"""

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from bimcvr.curation.sources.csv_tables import read_table
from bimcvr.curation.study import SetAside

# type: for each axis of the result, the stored axis (of x, y, z) that it was; type_0 changes nothing
ORDER: dict[str, tuple[int, int, int]] = {
    "type_0": (0, 1, 2),
    "type_1": (2, 0, 1),
    "type_2": (0, 2, 1),
    "type_3": (1, 0, 2),
    "type_4": (0, 2, 1),
    "type_5": (1, 0, 2),
}
PATTERN = re.compile(r".*ct-rotate-transforms\.csv")


def read_rotations(tables: Sequence[Path]) -> tuple[dict[str, str], list[SetAside]]:
    """Read rotation tables: the type by the series' name."""
    rotations: dict[str, str] = {}
    aside: list[SetAside] = []
    for path in tables:
        table = read_table(path)
        aside += table.aside
        for line, cells in table.rows:
            series, kind = cells.get("series_id", "").strip(), cells.get("transform_type", "").strip()
            if series and kind in ORDER:
                rotations[series] = kind
            else:
                here = f"{path.name}: line {line}"
                aside.append(
                    SetAside(
                        here, "unknown_rotation", f"{here} names no series, or none of the types {', '.join(ORDER)}."
                    )
                )
    return rotations, aside


def rotated(array: np.ndarray, kind: str) -> np.ndarray:
    """Return an array with axes (x, y, z) as stored, turned as the tables' author turns it; a view."""
    if kind == "type_1":
        return np.rot90(np.rot90(array, 1, (1, 2)), 1)[..., ::-1]
    if kind == "type_2":
        return np.rot90(array, 1, (1, 2))[..., ::-1]
    if kind == "type_3":
        return np.rot90(array, 1, (0, 1))[..., ::-1]
    if kind == "type_4":
        return np.rot90(array, 1, (1, 2))[..., ::-1, ::-1]
    if kind == "type_5":
        return np.rot90(array, 1, (0, 1))
    return array


def agrees_with_header(kind: str, volume: Path) -> bool | None:
    """Tell whether a header already names the change of axes that a rotation makes, flips aside.

    Turned so, the axes must run across, from front to back, and up the patient.

    Returns:
        None if the header cannot be read.
    """
    import SimpleITK as sitk

    reader = sitk.ImageFileReader()
    reader.SetFileName(str(volume))
    try:
        reader.ReadImageInformation()
    except RuntimeError:
        return None
    rank = reader.GetDimension()
    cosines = np.abs(np.asarray(reader.GetDirection()).reshape(rank, rank)[:3, :3])
    return [int(np.argmax(cosines[:, axis])) for axis in ORDER[kind]] == [0, 1, 2]
