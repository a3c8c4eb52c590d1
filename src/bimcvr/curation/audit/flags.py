"""The meaning and the threshold of each flag, in words for people; the numbers are those of the checks."""

from typing import NamedTuple

from bimcvr.curation.audit import report_checks, volume_checks

COHORT_FLAGS = ("duplicate_volume", "patient_in_two_splits")
VOLUME_FLAGS = (
    "too_small",
    "missing_voxels",
    "slice_spacing",
    "field_of_view",
    "orientation",
    "mixed_slices",
    "not_chest",
    "not_hu",
)


REFUSALS = {
    "missing_file": "there is no such file or folder",
    "no_access": "the system does not let it be read",
    "empty_file": "the file is empty",
    "truncated": "the file ends too soon",
    "damaged": "the file's content does not match its own checksum",
    "trailing_data": "the file is longer than its header says",
    "git_lfs_pointer": "a pointer of Git LFS instead of the file",
    "unknown_format": "an unknown image format",
    "unreadable": "the file cannot be decoded",
    "not_a_volume": "a single slice, or more than three axes",
    "too_large": "the header claims more voxels than any scanner produces",
    "colour": "several values per voxel: a picture or a scanned report",
    "no_spacing": "the header has no voxel size",
    "no_orientation": "the header does not state the orientation of the voxels in the patient",
    "contradictory_header": "the header contradicts itself about sides or voxel size",
    "intensity_function": "the header states a conversion that leaves open whether the voxels are HU",
    "sheared_grid": "the axes are not at right angles",
    "gantry_tilt": "tilted slices that were not corrected",
    "no_rescale": "the values are not in HU, and the header does not say how to convert them",
    "pixel_format": "pixels that are stored in a way that is not read",
    "unread_slices": "files that look like slices cannot be read",
    "missing_slices": "slices are missing",
    "variable_gaps": "the distances between slices differ",
    "duplicate_positions": "two slices have the same position",
    "shifted_slices": "the slices are shifted relative to each other",
    "mixed_geometry": "the slices have different sizes or directions",
    "no_position": "the slices have no position",
    "no_dicom": "the folder contains no DICOM slices",
    "several_series": "the folder contains several series",
    "multi_frame": "several frames in one DICOM file",
    "not_ct": "not a CT",
    "localizer": "a localizer, not a scan",
    "monochrome1": "black and white are inverted (MONOCHROME1)",
}
"""The reader's reasons for refusing a volume, which are also flags, and their meaning."""


class FlagMeaning(NamedTuple):
    """The meaning of a flag.

    Attributes:
        side: what is wrong: the report, volume, cohort or file.
        what: the defect, in one line.
        threshold: when the flag is raised.
    """

    side: str
    what: str
    threshold: str


def is_flag(name: str) -> bool:
    """Return whether a name is a flag of the audit, or a reason for which the reader refuses a volume."""
    return name in _MEANINGS or name in REFUSALS


def meaning(flag: str) -> FlagMeaning:
    """Return the meaning of a flag.

    Args:
        flag: a flag of the audit, or the reader's reason for refusing a volume.
    """
    if flag in _MEANINGS:
        return _MEANINGS[flag]
    return FlagMeaning(
        "file",
        REFUSALS.get(flag, "the reader refuses the volume"),
        "it is not a volume in HU on a regular grid",
    )


def _range(limits: tuple[float, float]) -> str:
    return f"{limits[0]:,g} to {limits[1]:,g} mm"


_V, _R = volume_checks, report_checks
_MEANINGS = {
    "report_short": FlagMeaning(
        "report", "no report, or almost none", f"fewer than {_R.FEWEST_WORDS} words (the paper's filter)"
    ),
    "placeholder": FlagMeaning(
        "report",
        "a failed translation or a filler text in place of the report",
        f"worded like a failure message, or the same text for {_R.PLACEHOLDER_PATIENTS} or more patients that does not"
        " mention the body or was translated from different texts",
    ),
    "untranslated": FlagMeaning(
        "report",
        "the text is marked as English but is Spanish, entirely or in part",
        f"{_R.SPANISH_WORDS} or more Spanish function words, and {100 * _R.SPANISH_SHARE:.0f} % of the words",
    ),
    "wrong_modality": FlagMeaning(
        "report",
        "the report describes a chest radiograph, not a CT",
        "a radiograph is named, or two terms of radiographs occur and none of CT; examinations that are only compared"
        " with or recommended do not count",
    ),
    "duplicate_report": FlagMeaning(
        "report",
        "several patients have the same report",
        "the same words, or the same report_id, for two or more patients",
    ),
    "mismatch_ids": FlagMeaning(
        "report",
        "the ids in the file name contradict the table: the report belongs to another study",
        "sub- or ses- of the file name differ from patient_id or report_id, where both follow the same scheme",
    ),
    "too_small": FlagMeaning(
        "volume", "too few slices, rows or columns", f"fewer than {_V.SMALLEST} along an axis (the paper's filter)"
    ),
    "missing_voxels": FlagMeaning(
        "volume",
        "a large part of the volume is padding or blank",
        f"more than {100 * _V.MOST_MISSING:.0f} % of the voxels (the paper's filter)",
    ),
    "slice_spacing": FlagMeaning(
        "volume",
        "the distance between slices is implausible",
        f"outside {_range(_V.SPACING)}, or it makes the lungs higher than {_V.TALLEST_LUNGS:.0f} mm",
    ),
    "field_of_view": FlagMeaning(
        "volume",
        "the size of the volume in mm is not that of a trunk",
        f"width outside {_range(_V.BREADTH)}, depth outside {_range(_V.DEPTH)}, length outside {_range(_V.LENGTH)},"
        f" or the body outside {_range(_V.BODY)}",
    ),
    "orientation": FlagMeaning(
        "volume",
        "axes are exchanged or turned: the image is not oriented as the header says",
        f"slices not axial, axes off by more than {_V.OBLIQUITY:.0f}°, or the body upside down, back to front or on its"
        " side",
    ),
    "mixed_slices": FlagMeaning(
        "volume",
        "the slices do not belong together: parts of several series, copies, or values offset or scaled in some",
        f"a change of {_V.JUMP:.0f} HU from a slice to the next, or {_V.CONTRAST:g} times those around it;"
        f" {_V.COPIES} copied slices; or lungs at two heights",
    ),
    "not_chest": FlagMeaning(
        "volume",
        "probably not a scan of the chest",
        f"lung is less than {100 * _V.LUNG_SHARE:.0f} % of the body's cross-section everywhere, or extends over less"
        f" than {_V.LUNG_EXTENT:.0f} mm as in the top slices of an abdomen",
    ),
    "not_hu": FlagMeaning(
        "volume",
        "the values are not Hounsfield units",
        "rescaled twice, 0-based, 8-bit, shifted, inverted or windowed, judged by the values of air and soft tissue",
    ),
    "duplicate_volume": FlagMeaning(
        "cohort",
        "the same volume is in the manifest more than once",
        "the same voxels, whatever the header says; the first copy of one patient is not flagged, copies of several"
        " patients all are",
    ),
    "patient_in_two_splits": FlagMeaning(
        "cohort", "a patient is in more than one of train, val and test", "by patient_id"
    ),
}
