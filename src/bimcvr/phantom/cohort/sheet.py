"""A picture sheet of a phantom cohort, to look at before training on it."""

from pathlib import Path
from typing import Any

import numpy as np

from bimcvr.atomic_files import replacing
from bimcvr.data.manifest import Manifest
from bimcvr.phantom.reports.findings import PlantedFinding, from_json

STUDIES = 8
LUNG, MEDIASTINUM = (-1250.0, 250.0), (-160.0, 260.0)


def draw_sheet(manifest: Manifest, path: Path) -> None:
    """Draw studies with many findings: axial and coronal slices in lung and mediastinal windows.

    Radiological convention: the patient's right is on the left of every picture, marked R.

    Args:
        manifest: of a phantom cohort.
        path: the PNG to write.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    rows = choose_rows(manifest)
    lines = -(-len(rows) // 2)
    figure = Figure(figsize=(15, 2.15 * lines + 0.6), dpi=80, facecolor="black")
    FigureCanvasAgg(figure)
    figure.suptitle(
        "PHANTOM: synthetic CTs, no patient's. Axial and coronal, lung and mediastinal windows",
        color="white",
        fontsize=11,
        y=0.992,
    )
    panels = figure.subplots(lines, 8, squeeze=False)
    figure.subplots_adjust(0.003, 0.004, 0.997, 0.925, wspace=0.02, hspace=0.24)
    for panel in panels.ravel():
        panel.set_axis_off()
    for number, row in enumerate(rows):
        study_panels = panels[number // 2, 4 * (number % 2) : 4 * (number % 2) + 4]
        _draw_study(study_panels, manifest, int(row))
    with replacing(path) as temporary:
        figure.savefig(temporary, facecolor="black")


def choose_rows(manifest: Manifest) -> list[int]:
    """Return up to eight rows that show as many kinds of findings as possible, each once, few on each."""
    kinds = [{finding.finding for finding in from_json(cell)} for cell in manifest.column("planted")]
    reports = manifest.column("report_id")
    chosen: list[int] = []
    shown: set[str] = set()
    while len(chosen) < min(STUDIES, len(set(reports))):
        free = [row for row in range(len(kinds)) if reports[row] not in {reports[old] for old in chosen}]
        best = max(free, key=lambda row: len(kinds[row] - shown) - 0.4 * len(kinds[row] & shown))
        chosen.append(best)
        shown |= kinds[best]
    return chosen


def _draw_study(panels: Any, manifest: Manifest, row: int) -> None:
    hu, spacing = _read(manifest.volume_path(row))
    findings = from_json(manifest.cell("planted", row))
    depth, height, _ = hu.shape
    # slices through the hila, the heart, and the trachea where the spine does not hide the chest
    views = (
        (hu[int(0.60 * depth)], LUNG, spacing[1] / spacing[0]),
        (hu[int(0.42 * depth)], MEDIASTINUM, spacing[1] / spacing[0]),
        (hu[::-1, int(0.58 * height)], LUNG, spacing[2] / spacing[0]),
        (hu[::-1, int(0.47 * height)], MEDIASTINUM, spacing[2] / spacing[0]),
    )
    for panel, (picture, (low, high), aspect) in zip(panels, views, strict=True):
        panel.imshow(picture, cmap="gray", vmin=low, vmax=high, aspect=aspect, interpolation="bicubic")
        panel.text(0.02, 0.5, "R", color="yellow", fontsize=9, transform=panel.transAxes)
    words = [_name(finding) for finding in findings] or ["no finding"]
    panels[0].set_title(_wrapped(words), color="white", fontsize=7.5, loc="left", pad=3)


def _read(path: Path) -> tuple[np.ndarray, tuple[float, float, float]]:
    """Read a volume as (D, H, W) from foot to head, front to back, patient's right to left."""
    import SimpleITK as sitk

    image = sitk.DICOMOrient(sitk.ReadImage(str(path)), "LPS")
    return sitk.GetArrayFromImage(image), image.GetSpacing()


def _name(finding: PlantedFinding) -> str:
    size = f"{finding.size} mm" if isinstance(finding.size, int) else finding.size
    return " ".join(word for word in (size, finding.site, finding.finding) if word)


def _wrapped(words: list[str], width: int = 105) -> str:
    lines = [""]
    for word in words:
        longer = f"{lines[-1]}, {word}" if lines[-1] else word
        if len(longer) > width:
            lines.append(word)
        else:
            lines[-1] = longer
    return "\n".join(lines)
