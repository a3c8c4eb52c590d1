"""The verb `preview`: a picture of what the model sees, cached volumes and training views, before any training."""

import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bimcvr.atomic_files import replacing, require_writable
from bimcvr.commands.stdout import say
from bimcvr.data.slice_pictures import middle_slices
from bimcvr.errors import UserError, printable

if TYPE_CHECKING:
    from bimcvr.data.loading.datamodule import CTReportDataModule


def preview(
    manifest: Path,
    config: Sequence[Path] = (),
    out: Path = Path("preview.png"),
    studies: int = 6,
    root: Path | None = None,
) -> int:
    """Draw what the model sees: for each study the volume on the model's grid and its training views.

    Rows are studies; columns are middle slices (axial, coronal, sagittal) of the unaugmented volume and of each view,
    in radiological convention: the patient's right is on the left of the picture. The last column is the beginning of
    the study's report.

    Args:
        manifest: the manifest, a CSV file.
        config: a YAML file of settings; repeat the option for several files, of which the last one decides. They are
            those of `fit`, and only their `data` is used.
        out: where the result is written: a PNG file.
        studies: how many studies are drawn, taken from `train` at equal steps.
        root: the folder that the manifest's `volume` column is relative to; the manifest's own by default.
    """
    data = _data_of(config, {"manifest": str(manifest)} | ({"root": str(root)} if root else {}))
    if out.suffix.lower() != ".png":
        raise UserError(f"--out {out}: the picture is a PNG. Give a name that ends in .png.")
    require_writable(out.parent, "--out")
    data.prepare_data()
    data.setup("fit")
    dataset = data.train_dataset()
    positions = np.linspace(0, len(dataset) - 1, min(studies, len(dataset)), dtype=int)
    ids = data.manifest.column("study_id")
    reports = data.manifest.column("report")
    rows = [
        (
            ids[dataset.rows[i]],
            reports[dataset.rows[i]],
            dataset.sample(int(i))["volume"][0],
            dataset.sample((0, int(i)))["views"][0],
        )
        for i in positions
    ]
    spacing = [dataset.spacing(int(i)) for i in positions]
    _draw(rows, spacing, out, data.manifest.is_phantom)
    say(f"{len(rows)} studies of the split train, grid {data.cache.grid}, window {list(data.window)} HU: {out}")
    return 0


def _data_of(config: Sequence[Path], given: dict[str, str]) -> "CTReportDataModule":
    from jsonargparse import ArgumentError, ArgumentParser

    from bimcvr.data.loading.datamodule import CTReportDataModule
    from bimcvr.parsing.config_errors import explain, read_config

    merged: dict[str, Any] = {}
    for path in config:
        data = read_config(path).get("data") or {}
        if not isinstance(data, dict):
            raise UserError(
                f"The configuration {path} has a `data` that is no mapping: it needs keys such as `data.size`."
            )
        merged |= data
    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(CTReportDataModule, "data")
    try:
        resolved = parser.parse_object({"data": merged | given})
    except ArgumentError as error:
        files = [f"--config={path}" for path in config]
        raise UserError(explain(str(error), [action.dest for action in parser._actions], files)) from error
    made: CTReportDataModule = parser.instantiate(resolved).data
    return made


def _draw(
    rows: list[tuple[str, str, Any, Any]], spacing: list[tuple[float, float, float]], out: Path, phantom: bool
) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    columns = 3 * (1 + len(rows[0][3]))
    figure, axes = plt.subplots(
        len(rows),
        columns + 1,
        figsize=(1.6 * columns + 4, 1.75 * len(rows)),
        squeeze=False,
        width_ratios=[1.0] * columns + [2.5],
    )
    names = ["unaugmented", *(f"view A{number + 1}" for number in range(len(rows[0][3])))]
    for line, ((study, report, volume, views), mm) in enumerate(zip(rows, spacing, strict=True)):
        for block, seen in enumerate([volume, *views]):
            for plane, (image, aspect) in enumerate(middle_slices(seen[0].numpy(), mm)):
                axis = axes[line, 3 * block + plane]
                axis.imshow(image, cmap="gray", vmin=0, vmax=1, aspect=aspect, interpolation="nearest")
                axis.set_axis_off()
                if line == 0:
                    axis.set_title(f"{names[block]}\n{('axial', 'coronal', 'sagittal')[plane]}", fontsize=7)
        beside = axes[line, columns]
        beside.set_axis_off()
        shown = textwrap.wrap(printable(report), 58, max_lines=12, placeholder=" …")
        # a report may have dollar signs, which matplotlib would take for mathematics
        beside.text(0, 1, "\n".join(shown), fontsize=6, va="top", transform=beside.transAxes, parse_math=False)
        axes[line, 0].text(0.02, 0.02, study, fontsize=6, color="yellow", transform=axes[line, 0].transAxes)
    kind = " (phantom: synthetic data)" if phantom else ""
    figure.suptitle(f"What the model sees{kind}; left of picture = patient's right", fontsize=8)
    figure.tight_layout(pad=0.3, rect=(0, 0, 1, 1 - 0.3 / figure.get_figheight()))
    with replacing(out) as temporary:
        figure.savefig(temporary, dpi=110)
    plt.close(figure)
