"""The paper's Fig. 2 (samples) and Fig. 3 (words) for any manifest, and the balance of labels over the splits."""

import textwrap
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bimcvr.atomic_files import replacing
from bimcvr.data.manifest import Manifest, split_list
from bimcvr.data.reading.grid import DEFAULT_RULES, GridRules
from bimcvr.data.reading.refused import RefusedVolume
from bimcvr.data.slice_pictures import CHEST_WINDOW, middle_slices
from bimcvr.errors import printable

if TYPE_CHECKING:
    from bimcvr.curation.statistics.tables import Statistics

_GRID = (128, 192, 192)


def draw_samples(
    manifest: Manifest,
    path: Path,
    unread: Collection[int] = (),
    studies: int = 8,
    rules: GridRules = DEFAULT_RULES,
) -> None:
    """Draw Fig. 2: middle slices of some volumes beside their labels, in radiological convention.

    The volumes are from different patients and chosen for different labels. Reports are not covered.

    Args:
        manifest: the dataset.
        path: the PNG to write.
        unread: rows whose volume cannot be read.
        studies: the number of volumes.
        rules: which grids are accepted.
    """
    figure, chosen = _figure(13, 1.62 * -(-studies // 2) + 0.5), choose_samples(manifest, studies, unread)
    panels = figure.subplots(-(-studies // 2), 8, squeeze=False, gridspec_kw={"width_ratios": [1, 1, 1, 1.1] * 2})
    figure.subplots_adjust(0.004, 0.005, 0.998, 1 - 0.42 / figure.get_figheight(), wspace=0.03, hspace=0.04)
    for panel in panels.ravel():
        panel.set_axis_off()
    for number, row in enumerate(chosen):
        _draw_sample(panels[number // 2, 4 * (number % 2) : 4 * (number % 2) + 4], manifest, row, rules)
    title = (
        _kind(manifest.is_phantom, manifest.has_patients)
        + "Samples: axial, coronal, sagittal; the patient's right is on the left"
    )
    figure.suptitle(title, fontsize=10, y=0.995)
    _save(figure, path)


def choose_samples(manifest: Manifest, studies: int, unread: Collection[int] = ()) -> list[int]:
    """Return up to `studies` accepted rows of different patients, whose labels repeat each other as little as possible.

    Rows without a flag are preferred.

    Args:
        manifest: the dataset.
        studies: the number of rows.
        unread: rows whose volume cannot be read.
    """
    labels, patients, flags = (manifest.column(name) for name in ("labels", "patient_id", "flags"))
    left = [row for row in manifest.accepted().tolist() if row not in unread]
    chosen: list[int] = []
    covered: set[str] = set()
    while left and len(chosen) < studies:
        best = max(
            left,
            key=lambda row: (
                not flags[row],
                len(split_list(labels[row]) - covered) - 0.4 * len(split_list(labels[row]) & covered),
            ),
        )
        chosen.append(best)
        covered |= split_list(labels[best])
        left = [row for row in left if row != best and (not patients[row] or patients[row] != patients[best])]
    return chosen


def draw_words(numbers: "Statistics", path: Path, bars: int = 25) -> None:
    """Draw Fig. 3: the most frequent words as bars, and as a cloud.

    Args:
        numbers: the result of `statistics_of`.
        path: the PNG to write.
        bars: the number of words in the bar chart.
    """
    figure = _figure(13, 5.2)
    left, right = figure.subplots(1, 2, gridspec_kw={"width_ratios": [1, 1.45]})
    top = list(numbers.words[:bars])[::-1]
    left.barh([word for word, _ in top], [count for _, count in top], color="#33658a")
    left.tick_params(labelsize=8)
    left.set_xlabel("occurrences in the reports", fontsize=8)
    left.spines[["top", "right"]].set_visible(False)
    left.set_title("Word frequency", fontsize=10)
    right.set_title("Word cloud", fontsize=10)
    draw_cloud(right, numbers.words[:90])
    figure.suptitle(
        _kind(numbers.phantom, numbers.has_patients) + "Words of the reports, without stop words and numbers",
        fontsize=10,
    )
    figure.tight_layout()
    _save(figure, path)


def draw_cloud(axis: Any, counts: Sequence[tuple[str, int]], width: float = 150.0, height: float = 100.0) -> None:
    """Draw a word cloud: frequent words are larger and closer to the centre.

    Args:
        axis: the matplotlib axis.
        counts: (word, occurrences), the most frequent first.
        width: of the cloud, in points of text.
        height: of the cloud.
    """
    from matplotlib.patches import PathPatch
    from matplotlib.textpath import TextPath
    from matplotlib.transforms import Affine2D

    axis.set(xlim=(-width / 2, width / 2), ylim=(-height / 2, height / 2), aspect="equal")
    axis.set_axis_off()
    colours = ("#33658a", "#86323b", "#2f6f4f", "#6a4c93", "#b5651d")
    steps = np.arange(0, 1600) * 0.12
    spiral = np.stack([steps * np.cos(steps) * 0.45, steps * np.sin(steps) * 0.28], axis=1)
    placed = np.empty((0, 4))
    for number, (word, count) in enumerate(counts):
        outline = TextPath((0, 0), word, size=11 * (count / counts[0][1]) ** 0.5)
        box = outline.get_extents()
        half = np.array([box.width, box.height]) / 2 + 0.9
        corners = np.concatenate([spiral - half, spiral + half], axis=1)
        free = (np.abs(corners) <= [width / 2, height / 2] * 2).all(axis=1)
        for left, low, right, high in placed:
            free &= (
                (corners[:, 2] <= left) | (corners[:, 0] >= right) | (corners[:, 3] <= low) | (corners[:, 1] >= high)
            )
        if free.any():
            first = int(np.argmax(free))
            placed = np.vstack([placed, corners[first]])
            shift = spiral[first] - [box.x0 + box.width / 2, box.y0 + box.height / 2]
            moved = Affine2D().translate(*shift).transform_path(outline)
            axis.add_patch(PathPatch(moved, color=colours[number % len(colours)], linewidth=0))


def draw_geometry(
    numbers: "Statistics",
    geometry: Sequence[tuple[int, int, int] | None],
    spacing: Sequence[tuple[float, float] | None],
    path: Path,
) -> None:
    """Draw histograms of the slices of a volume, of their distance, and of the voxels' size within a slice.

    Args:
        numbers: the result of `statistics_of`.
        geometry: width, height and slices of the accepted rows' volumes.
        spacing: mm within and between the slices of the same volumes.
        path: the PNG to write.
    """
    figure = _figure(13, 3.4)
    mm = np.asarray([one for one in spacing if one is not None], dtype=np.float64).reshape(-1, 2)
    values = {
        "slices of a volume": np.asarray([one[2] for one in geometry if one is not None], dtype=np.float64),
        "mm from slice to slice": mm[:, 1],
        "mm from voxel to voxel within a slice": mm[:, 0],
    }
    for axis, (name, found) in zip(figure.subplots(1, 3), values.items(), strict=True):
        axis.hist(found, bins=30, color="#33658a")
        axis.set_xlabel(name, fontsize=8)
        axis.set_ylabel("volumes", fontsize=8)
        axis.tick_params(labelsize=8)
        axis.spines[["top", "right"]].set_visible(False)
    figure.suptitle(
        f"{_kind(numbers.phantom, numbers.has_patients)}Slices and spacing of {len(mm)} volumes", fontsize=10
    )
    figure.tight_layout()
    _save(figure, path)


def draw_labels(numbers: "Statistics", path: Path, most: int = 30) -> None:
    """Draw the share of the volumes with each label, overall and in each split.

    Args:
        numbers: the result of `statistics_of`.
        path: the PNG to write.
        most: the number of labels.
    """
    labels = numbers.labels[:most][::-1]
    figure = _figure(9, 1.6 + 0.24 * len(labels))
    axis = figure.subplots()
    heights = np.arange(len(labels))
    axis.barh(heights, [100 * label.share for label in labels], color="#d5dde5", label="all")
    for split, colour in zip(numbers.splits, ("#33658a", "#b5651d", "#86323b"), strict=False):
        axis.plot(
            [100 * label.share_by_split[split] for label in labels], heights, "o", ms=4, color=colour, label=split
        )
    axis.set_yticks(heights, [f"{printable(label.label)} ({label.volumes})" for label in labels], fontsize=8)
    axis.set_xlabel("share of the volumes, %", fontsize=8)
    axis.set_ylim(-0.7, len(labels) - 0.3)
    axis.spines[["top", "right"]].set_visible(False)
    axis.legend(fontsize=8, loc="lower right")
    axis.set_title(
        _kind(numbers.phantom, numbers.has_patients) + "Labels and their balance over the splits", fontsize=9
    )
    figure.tight_layout()
    _save(figure, path)


def _kind(phantom: bool, has_patients: bool) -> str:
    if not phantom:
        return ""
    return "PHANTOMS (synthetic data) and patients. " if has_patients else "PHANTOM: synthetic data, no patient's. "


def _draw_sample(panels: Any, manifest: Manifest, row: int, rules: GridRules) -> None:
    from bimcvr.data.reading.resample import read_resized

    labels = ", ".join(sorted(split_list(manifest.cell("labels", row)))) or "no labels"
    name = manifest.cell("study_id", row)
    # ids have no spaces, so they are broken anywhere
    caption = "\n".join([*textwrap.wrap(name, 24)[:3], "", *textwrap.wrap(labels, 28)[:9]])
    panels[3].text(0.03, 0.97, caption, fontsize=7, va="top", transform=panels[3].transAxes)
    try:
        volume = read_resized(manifest.volume_path(row), _GRID, rules)
    except RefusedVolume as refusal:
        panels[1].text(
            0.5, 0.5, f"cannot be read:\n{refusal.reason}", fontsize=8, ha="center", transform=panels[1].transAxes
        )
        return
    for panel, (picture, aspect) in zip(panels, middle_slices(volume.hu, volume.spacing), strict=False):
        panel.imshow(
            picture, cmap="gray", vmin=CHEST_WINDOW[0], vmax=CHEST_WINDOW[1], aspect=aspect, interpolation="bilinear"
        )


def _figure(width: float, height: float) -> Any:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=110)
    FigureCanvasAgg(figure)
    return figure


def _save(figure: Any, path: Path) -> None:
    with replacing(path) as temporary:
        figure.savefig(temporary)
