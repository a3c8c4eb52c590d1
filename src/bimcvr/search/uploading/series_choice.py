"""The series of an unpacked upload: hospital exports hold a scout and several kernels, and one of them is meant."""

from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bimcvr.data.reading.refused import RefusedVolume

_TAGS = ("SeriesInstanceUID", "SeriesNumber", "SeriesDescription", "Modality", "ConvolutionKernel", "SliceThickness")
_LONGEST = 64


@dataclass(frozen=True)
class Series:
    """One of several series of an upload.

    Attributes:
        series: its number, by which it is chosen.
        description: as the scanner has it; empty where the header has none, as the texts that follow.
        modality: `CT` and others.
        slices: how many slices there are.
        kernel: of the reconstruction.
        thickness_mm: of a slice.
    """

    series: int
    description: str
    modality: str
    slices: int
    kernel: str
    thickness_mm: str


class SeveralSeries(RefusedVolume):
    """An upload has several series that could be meant; `series` says which."""

    def __init__(self, series: list[Series]) -> None:
        super().__init__(
            "several_series",
            "The upload",
            f"has {len(series)} series.",
            "Choose one of them (`series` in the address).",
        )
        self.series = series


def list_series(folder: Path) -> list[Series]:
    """Describe the series of a folder of slices, numbered in the order of series number and UID.

    Args:
        folder: the unpacked upload.
    """
    return [_describe(number, headers) for number, headers in enumerate(_by_series(folder).values(), 1)]


def keep_series(folder: Path, number: int) -> None:
    """Delete the slices of all series but one; what is no DICOM stays.

    Args:
        folder: the unpacked upload.
        number: of the series, as in `list_series`.

    Raises:
        RefusedVolume: there is no such series.
    """
    series = list(_by_series(folder).values())
    if number > len(series):
        raise RefusedVolume("no_dicom", "The upload", f"has no series {number}.", f"Choose one of {len(series)}.")
    for other, headers in enumerate(series, 1):
        for path, _ in headers if other != number else ():
            path.unlink()


def _by_series(folder: Path) -> dict[tuple[int, str], list[tuple[Path, Any]]]:
    import pydicom

    from bimcvr.data.reading.dicom_series import is_dicom

    series = defaultdict(list)
    for path in sorted(folder.iterdir()):
        if is_dicom(path):
            header = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=list(_TAGS))
            series[_number(header), str(header.get("SeriesInstanceUID", ""))].append((path, header))
    return dict(sorted(series.items()))


def _describe(number: int, slices: list[tuple[Path, Any]]) -> Series:
    texts = {tag: str(slices[0][1].get(tag) or "")[:_LONGEST] for tag in _TAGS}
    return Series(
        series=number,
        description=texts["SeriesDescription"],
        modality=texts["Modality"],
        slices=len(slices),
        kernel=texts["ConvolutionKernel"],
        thickness_mm=texts["SliceThickness"],
    )


def _number(header: Any) -> int:
    try:
        return int(header.get("SeriesNumber") or 0)
    except (TypeError, ValueError):
        return 0
