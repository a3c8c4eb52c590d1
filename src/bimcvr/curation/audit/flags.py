"""What the audit's flags mean and where their thresholds lie, in words for people.

The numbers are the detectors' own.
"""

from typing import NamedTuple

from bimcvr.curation.audit import report_checks, volume_checks

COHORT_FLAGS = ("duplicate_volume", "patient_in_two_splits")
VOLUME_FLAGS = ("too_small", "missing_voxels", "slice_spacing", "field_of_view", "orientation", "not_chest", "not_hu")


REFUSALS = {
    "missing_file": "there is no such file or folder",
    "empty_file": "the file is empty",
    "truncated": "the file ends too soon",
    "damaged": "the file's content does not match its own checksum",
    "git_lfs_pointer": "a pointer of Git LFS instead of the file",
    "unknown_format": "no image format that is known",
    "unreadable": "the file cannot be decoded",
    "not_a_volume": "a single slice, or more than three axes",
    "too_large": "the header claims more voxels than any scanner makes",
    "colour": "several values a voxel: a picture or a burned-in report",
    "no_spacing": "the header gives the voxels no size",
    "no_orientation": "the header does not say how the voxels lie in the patient",
    "sheared_grid": "the axes are not at right angles",
    "gantry_tilt": "tilted slices that were not corrected",
    "no_rescale": "the values are not in HU, and the header does not say how to make them so",
    "missing_slices": "slices are missing",
    "variable_gaps": "the slices lie at unequal distances",
    "duplicate_positions": "two slices lie at the same place",
    "shifted_slices": "the slices are shifted against each other",
    "mixed_geometry": "the slices are of different sizes or directions",
    "no_position": "the slices do not say where they lie",
    "no_dicom": "the folder holds no DICOM slices",
    "several_series": "the folder holds several series",
    "multi_frame": "several frames in one DICOM file",
    "not_ct": "not a CT",
    "localizer": "a localizer, not a scan",
    "monochrome1": "black and white are exchanged (MONOCHROME1)",
}
"""The reader's reasons to refuse a volume, which are flags too, and what they mean."""


class Meaning(NamedTuple):
    """What a flag says.

    Attributes:
        side: what it is held against: report, volume, cohort or file.
        what: what is wrong, in a line.
        threshold: when the flag is raised.
    """

    side: str
    what: str
    threshold: str


def meaning(flag: str) -> Meaning:
    """Return what a flag says; one that is not the audit's own is the reader's reason to refuse a volume."""
    if flag in _MEANINGS:
        return _MEANINGS[flag]
    return Meaning(
        "file",
        REFUSALS.get(flag, "the reader refuses the volume"),
        "no volume in HU on a regular grid can be made of it",
    )


def _range(limits: tuple[float, float]) -> str:
    return f"{limits[0]:,g} to {limits[1]:,g} mm"


_V, _R = volume_checks, report_checks
_MEANINGS = {
    "report_short": Meaning(
        "report", "no report, or next to none", f"fewer than {_R.FEWEST_WORDS} words (the paper's filter)"
    ),
    "placeholder": Meaning(
        "report",
        "a failed translation or an export's filler stands where the report should be",
        f"worded like a failure message, or one text of {_R.PLACEHOLDER_PATIENTS} patients or more that does not speak"
        " of the body or was translated from different ones",
    ),
    "untranslated": Meaning(
        "report",
        "the text claims to be English and is Spanish, wholly or in part",
        f"{_R.SPANISH_WORDS} Spanish words of grammar or more, and {100 * _R.SPANISH_SHARE:.0f} % of the words",
    ),
    "wrong_modality": Meaning(
        "report",
        "the report is one of a chest film, not of a CT",
        "a film is named, or two signs of a film stand and none of a CT; what is only compared with or advised does not"
        " count",
    ),
    "duplicate_report": Meaning(
        "report",
        "one report stands under several patients",
        "the same words, or the same report_id, under two patients or more",
    ),
    "mismatch_ids": Meaning(
        "report",
        "the ids in the file's name contradict the table's: the report is another study's",
        "sub- or ses- of the file name against patient_id and report_id, where both are of one scheme",
    ),
    "too_small": Meaning(
        "volume", "too few slices, rows or columns", f"fewer than {_V.SMALLEST} along an axis (the paper's filter)"
    ),
    "missing_voxels": Meaning(
        "volume",
        "a part of the volume is padding or blank",
        f"more than {100 * _V.MOST_MISSING:.0f} % of the voxels (the paper's filter)",
    ),
    "slice_spacing": Meaning(
        "volume",
        "the distance between slices cannot be true",
        f"outside {_range(_V.SPACING)}, or it makes the lungs higher than {_V.TALLEST_LUNGS:.0f} mm",
    ),
    "field_of_view": Meaning(
        "volume",
        "the volume is no trunk's size in mm",
        f"breadth outside {_range(_V.BREADTH)}, depth outside {_range(_V.DEPTH)}, length outside {_range(_V.LENGTH)},"
        f" or the body outside {_range(_V.BODY)}",
    ),
    "orientation": Meaning(
        "volume",
        "axes are exchanged or turned: the picture does not lie as the header says",
        f"slices not axial, axes off by more than {_V.OBLIQUITY:.0f}°, or the body upside down, back to front or on its"
        " side",
    ),
    "not_chest": Meaning(
        "volume",
        "probably not a scan of the chest",
        f"lung is less than {100 * _V.LUNG_SHARE:.0f} % of the body's cross-section everywhere, or shows over less than"
        f" {_V.LUNG_EXTENT:.0f} mm as in an abdomen's top slices",
    ),
    "not_hu": Meaning(
        "volume",
        "the values are not Hounsfield units",
        "rescaled twice, 0-based, 8-bit, shifted or windowed: by where air and soft tissue lie",
    ),
    "duplicate_volume": Meaning(
        "cohort",
        "the same volume stands twice",
        "the same voxels, whatever the header says; of one patient's copies the first stays unflagged, of several"
        " patients' none does",
    ),
    "patient_in_two_splits": Meaning(
        "cohort", "a patient stands in more than one of train, val and test", "by patient_id"
    ),
}
