"""The DICOM tags that become columns of the manifest: a fixed list about scanner and protocol.

Free text (series description, protocol name, comments), dates, institutions, stations and all identifiers are left out,
since they can identify people. Age and sex are kept, with ages over 89 years as one group, as in HIPAA's Safe Harbor
(45 CFR 164.514).
"""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

# keyword: (tag as DICOM's JSON model writes it, column)
TAGS: dict[str, tuple[str, str]] = {
    "Manufacturer": ("00080070", "manufacturer"),
    "ManufacturerModelName": ("00081090", "model"),
    "ConvolutionKernel": ("00181210", "kernel"),
    "KVP": ("00180060", "kvp"),
    "SliceThickness": ("00180050", "slice_thickness"),
    "SpacingBetweenSlices": ("00180088", "spacing_between_slices"),
    "PixelSpacing": ("00280030", "pixel_spacing"),
    "XRayTubeCurrent": ("00181151", "tube_current_ma"),
    "ExposureTime": ("00181150", "exposure_time_ms"),
    "Exposure": ("00181152", "exposure_mas"),
    "CTDIvol": ("00189345", "ctdi_vol"),
    "SpiralPitchFactor": ("00189311", "pitch"),
    "ReconstructionDiameter": ("00181100", "reconstruction_diameter"),
    "GantryDetectorTilt": ("00181120", "gantry_tilt"),
    "FilterType": ("00181160", "filter_type"),
    "PatientPosition": ("00185100", "patient_position"),
    "BodyPartExamined": ("00180015", "body_part"),
    "ContrastBolusAgent": ("00180010", "contrast_agent"),
    "RescaleSlope": ("00281053", "rescale_slope"),
    "RescaleIntercept": ("00281052", "rescale_intercept"),
    "PatientSex": ("00100040", "sex"),
    "PatientAge": ("00101010", "age"),
}
_OLDEST = 89
_LONGEST = 64
# a value with any other character was typed by hand and can contain anything
_PLAIN = re.compile(r"[\w .,;:/+\-()\[\]%^\\]*")


def columns_of_header(header: Any) -> dict[str, str]:
    """Return the listed tags of a pydicom header as columns."""
    return columns_of({keyword: header.get(keyword) for keyword in TAGS})


def columns_of_json(path: Path) -> dict[str, str]:
    """Return the listed tags of a .json sidecar as columns.

    Args:
        path: the file, keyed by tag (DICOM's JSON model) or by keyword.

    Raises:
        ValueError: the file is not a JSON object.
    """
    content = json.loads(path.read_text(encoding="utf-8", errors="replace"))
    if not isinstance(content, dict):
        raise ValueError("it is not a JSON object")
    values = {}
    for keyword, (tag, _) in TAGS.items():
        value = content.get(tag, content.get(keyword))
        values[keyword] = value.get("Value") if isinstance(value, Mapping) else value
    return columns_of(values)


def columns_of(values: Mapping[str, Any]) -> dict[str, str]:
    """Return the listed tags as columns, from values by DICOM keyword; absent and non-plain values are left out."""
    columns = {}
    for keyword, (_, column) in TAGS.items():
        text = _plain(values.get(keyword))
        if keyword == "PatientAge":
            text = age_in_years(text)
        elif keyword == "PatientSex":
            text = text[:1].upper() if text[:1].upper() in ("F", "M", "O") else ""
        if text:
            columns[column] = text
    return columns


def age_in_years(text: str) -> str:
    """Return an age in whole years, from `056Y`, `18M`, `[56]` or `56.0`; `90+` above 89, empty if it is no age."""
    match = re.fullmatch(r"\[?\s*'?(\d{1,3})(?:\.\d*)?([YMWD]?)'?\s*\]?", text.strip().upper())
    if not match:
        return ""
    number, unit = int(match[1]), match[2]
    years = number if unit in ("", "Y") else number // {"M": 12, "W": 52, "D": 365}[unit]
    return f"{_OLDEST + 1}+" if years > _OLDEST else str(years)


def _plain(value: Any) -> str:
    if value is None or isinstance(value, Mapping):
        return ""
    if not isinstance(value, str) and hasattr(value, "__iter__"):
        parts = [_plain(item) for item in value]
        return "/".join(parts) if all(parts) else ""
    text = str(value).strip()
    if re.fullmatch(r"-?\d+\.\d+", text):
        text = text.rstrip("0").rstrip(".")
    return text if len(text) <= _LONGEST and text.lower() not in ("none", "nan") and _PLAIN.fullmatch(text) else ""
