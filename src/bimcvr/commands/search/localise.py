"""The verb `localise`: where in one volume a model looks for a text."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from bimcvr.commands.stdout import say
from bimcvr.errors import UserError
from bimcvr.parsing.trust import split_trust

if TYPE_CHECKING:
    from bimcvr.models.embedder import Localised


def localise(
    volume: Path,
    query: str = "",
    checkpoint: Path | None = None,
    out: Path | None = None,
    png: Path | None = None,
    device: str | None = None,
    trust: str = "",
) -> int:
    """Say where in a volume a model looks for a text: a place in mm, and a map over the volume's own voxels.

    The map says how much each part of the volume adds to its score for the text. It is no diagnosis, and no outline of
    a finding: a model that was trained on whole reports may look at something that goes with a finding.

    Args:
        volume: a volume file or a DICOM folder: the one to look into.
        query: the text to look for, a sentence as reports have it, like "There is a nodule in the right upper lobe."
        checkpoint: the checkpoint of a trained model: the checkpoints/best.ckpt of a run.
        out: where the result is written: a NIfTI file (.nii or .nii.gz) with the map on the volume's own grid; none by
            default.
        png: also draw three slices through the place of the highest relevance, with the map over them, to this file.
        device: where the model runs: cpu or cuda; by default a GPU where there is one.
        trust: classes, modules or packages of others whose code a checkpoint may run, with commas between.

    Returns:
        The exit code.

    Raises:
        UserError: an option is missing, the volume cannot be read, or no map can be made of this model.
    """
    from bimcvr.atomic_files import require_writable
    from bimcvr.models.embedder import Embedder

    if not query.strip():
        raise UserError('localise needs --query: the text to look for, like "There is a right pleural effusion."')
    if checkpoint is None:
        raise UserError("localise needs --checkpoint: the checkpoints/best.ckpt of a run.")
    if out is not None and not out.name.endswith((".nii", ".nii.gz")):
        raise UserError(f"--out {out} is no NIfTI file: give it a name like {out.with_suffix('.nii.gz')}.")
    for option, path in (("--out", out), ("--png", png)):
        if path is not None:
            require_writable(path.parent, option)
    found = Embedder(checkpoint, device, split_trust(trust)).localise(volume, query)
    say("\n".join(describe(found)))
    if out is not None:
        found.map.write(out)
        say(f"map: {out}")
    if png is not None:
        from bimcvr.data.reading.volume import read_volume
        from bimcvr.models.localisation.picture import draw_map

        draw_map(read_volume(volume, found.rules), found.map, query, png)
        say(f"picture: {png}")
    return 0


def describe(found: "Localised") -> list[str]:
    """Say where the model looks, and how sure that place is."""
    from bimcvr.models.localisation.picture import NO_DIAGNOSIS

    placement, peak = found.map.placement, found.map.peak
    x, y, z = placement.to_patient(np.array(peak)).tolist()
    mm = " × ".join(f"{length:.0f}" for length in found.token_mm)
    of = {
        "maps": "maps of the encoder's stages",
        "tokens": "the encoder's tokens",
        "gradients": "gradients of the input",
    }[found.relevance.how]
    lines = [f"score {found.score:.3f} (cosine of the volume and the text)"]
    if found.map.values.max() <= 0:
        lines.append("no part of the volume speaks for the text; the place below speaks least against it")
    where = f"x {x:.1f}, y {y:.1f}, z {z:.1f} mm in the patient (LPS)" if np.isfinite(x) else "mm unknown: no origin"
    index = ", ".join(map(str, placement.file_index(np.array(peak))))
    lines += [
        f"highest relevance at {where}; voxel {index} of the file (x, y, z from 0); axial slice {peak[0] + 1} of"
        f" {placement.shape[0]} from the feet",
        f"map by {of}, {mm} mm each (slices, rows, columns): {NO_DIAGNOSIS}",
    ]
    return lines + ([f"note: {found.note}"] if found.note else [])
