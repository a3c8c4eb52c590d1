"""A picture of a map of relevance: three slices of the volume through its highest place."""

from pathlib import Path

import numpy as np

from bimcvr.atomic_files import replacing
from bimcvr.data.reading.volume import Volume
from bimcvr.data.slice_pictures import CHEST_WINDOW, grey, slices_at
from bimcvr.models.localisation.spread import SourceMap

NO_DIAGNOSIS = "where the model looks, no diagnosis"


def draw_map(volume: Volume, found: SourceMap, title: str, path: Path) -> None:
    """Draw axial, coronal and sagittal slices in grey, and over them in colour what speaks for the query.

    Args:
        volume: at full resolution.
        found: the map on its voxels.
        title: what was asked for.
        path: the PNG to write.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10.5, 4.0), dpi=110, facecolor="black")
    FigureCanvasAgg(figure)
    figure.suptitle(f"{title}\n{NO_DIAGNOSIS}", color="white", fontsize=10, parse_math=False)
    panels = figure.subplots(1, 3)
    positive = np.clip(found.values, 0, None)
    positive /= max(float(positive.max()), 1e-30)
    pictures = slices_at(grey(volume.hu, CHEST_WINDOW), volume.spacing, found.peak)
    maps = slices_at(positive, volume.spacing, found.peak)
    for panel, (picture, aspect), (colour, _) in zip(panels, pictures, maps, strict=True):
        panel.imshow(picture, cmap="gray", vmin=0, vmax=255, aspect=aspect, interpolation="nearest")
        panel.imshow(colour, cmap="inferno", vmin=0, vmax=1, alpha=0.6 * colour, aspect=aspect)
        panel.set_axis_off()
    # of axial and coronal slices; the sagittal one has the patient's front on its left
    for panel in panels[:2]:
        panel.text(0.02, 0.5, "R", color="yellow", fontsize=9, transform=panel.transAxes)
    figure.subplots_adjust(0.005, 0.01, 0.995, 0.86, wspace=0.02)
    with replacing(path) as temporary:
        figure.savefig(temporary, facecolor="black", format="png")
