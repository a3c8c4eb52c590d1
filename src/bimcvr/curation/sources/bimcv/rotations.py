"""Third-party rotation tables for BIMCV-COVID19+ (`*-ct-rotate-transforms.csv`: series_id, transform_type).

Each type permutes the axes of the stored array (rilshok/BIMCV-COVID-19-interface, postprocessing.py) without regard to
the header: the author of the tables reads voxels and spacing only. The orientation of the result is not documented, and
later versions of that code leave out the positive cohort's table. A rotation is therefore evidence, not an instruction:
where the header already describes the same permutation, the header is right and nothing needs to be done; otherwise the
two contradict each other.
"""

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from bimcvr.curation.sources.table_reader import read_table
from bimcvr.curation.study import SetAside
from bimcvr.data.plain_names import plainly_named

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
    """Read rotation tables.

    Args:
        tables: the CSV files.

    Returns:
        The type by the name of the series, and the rows that were set aside.
    """
    rotations: dict[str, str] = {}
    set_aside: list[SetAside] = []
    for path in tables:
        table = read_table(path)
        set_aside += table.set_aside
        for line, cells in table.rows:
            series, kind = cells.get("series_id", "").strip(), cells.get("transform_type", "").strip()
            if series and kind in ORDER:
                rotations[series] = kind
            else:
                location = f"{path.name}: line {line}"
                set_aside.append(
                    SetAside(
                        location,
                        "unknown_rotation",
                        f"{location} names no series, or none of the types {', '.join(ORDER)}.",
                    )
                )
    return rotations, set_aside


def rotated(array: np.ndarray, kind: str) -> np.ndarray:
    """Return a view of an array, turned as the author of the tables turns it.

    Args:
        array: voxels, (x, y, z) as stored in the file.
        kind: the type of the rotation.
    """
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
    """Return whether a header already describes the permutation of axes that a rotation makes, flips aside.

    Permuted that way, the axes must run across, from front to back, and up the patient.

    Args:
        kind: the type of the rotation.
        volume: the file.

    Returns:
        None if the header cannot be read.
    """
    import SimpleITK as sitk

    reader = sitk.ImageFileReader()
    with plainly_named(volume) as readable:
        reader.SetFileName(str(readable))
        try:
            reader.ReadImageInformation()
        except RuntimeError:
            return None
    rank = reader.GetDimension()
    cosines = np.abs(np.asarray(reader.GetDirection()).reshape(rank, rank)[:3, :3])
    return [int(np.argmax(cosines[:, axis])) for axis in ORDER[kind]] == [0, 1, 2]
