"""The verb `cache`: resize the volumes of a manifest ahead of training."""

from pathlib import Path

from bimcvr.commands.stdout import say
from bimcvr.data.cache.cut_lungs import CutLungs, cut_lungs
from bimcvr.data.cache.fill import default_folder, describe_refused, fill_cache, write_refused
from bimcvr.data.cache.volume_cache import VolumeCache
from bimcvr.data.hu.model_grid import Centre, ModelGrid
from bimcvr.data.manifest import Manifest, read_manifest
from bimcvr.data.reading.grid import MAX_VOXELS, GridRules, NiftiForm
from bimcvr.errors import UserError


def cache(
    manifest: Path,
    size: tuple[int, int, int] = (96, 224, 224),
    spacing: tuple[float, float, float] | None = None,
    centre: Centre = "volume",
    root: Path | None = None,
    cache: Path | None = None,
    jobs: int = -1,
    verify: bool = False,
    nifti_form: NiftiForm = "auto",
    max_voxels: int = MAX_VOXELS,
) -> int:
    """Bring every volume of a manifest onto the model's grid and keep it on disk, so that training only reads.

    Stop it and start it again at any time: what is done stays done. Volumes that cannot be read are listed with
    their reasons and written to `refused.csv` in the cache folder. A grid with a spacing may cut volumes: those that
    lose more than 1 % of their lungs are counted and listed in `cut_lungs.csv`.

    Args:
        manifest: the manifest, a CSV file.
        size: the model's grid: slices, rows and columns, like `[96, 224, 224]`.
        spacing: mm from slice to slice, row to row and column to column, like `[3, 1.5, 1.5]`: volumes are resampled to
            it, and cropped or padded with air to the size; by default the whole volume is resized to the size.
        centre: what the middle of a grid with a spacing is laid on: the middle of the volume, or the body.
        root: the folder that the manifest's `volume` column is relative to; the manifest's own by default.
        cache: the folder of volumes resized to the model's grid; `cache` beside the manifest by default.
        jobs: parallel processes; -1 for one per CPU core.
        verify: also read every cached volume and compare it with its checksum.
        nifti_form: what decides how a NIfTI file's voxels lie: auto takes the sform and refuses a file whose sform and
            qform disagree; sform or qform takes that one.
        max_voxels: larger volumes are refused.
    """
    table = read_manifest(manifest, root)
    grid = ModelGrid(size, spacing, centre)
    volume_cache = VolumeCache(cache or default_folder(table), grid, GridRules(nifti_form, max_voxels))
    entries, refused = fill_cache(table, table.accepted(), volume_cache, jobs)
    if verify:
        refused |= _damaged(entries, volume_cache)
    write_refused(table, refused, volume_cache.folder / "refused.csv")
    say(
        f"{len(entries) - len(refused.keys() & entries.keys())} of {len(table.accepted())} volumes are in"
        f" {volume_cache.folder} at {grid}."
    )
    whole = {row: entry for row, entry in entries.items() if row not in refused}
    if spacing and whole:
        _say_cut(cut_lungs(volume_cache, whole), table, volume_cache.folder / "cut_lungs.csv")
    if refused:
        say(f"{len(refused)} were refused, listed in {volume_cache.folder / 'refused.csv'}:")
        say(describe_refused(table, refused))
    return 3 if refused else 0


def _say_cut(lungs: CutLungs, table: Manifest, path: Path) -> None:
    lungs.write(table, path)
    facts = lungs.facts()
    unknown, kept = facts["no_lungs_found"], facts["volumes"] - facts["cut"] - facts["no_lungs_found"]
    if cut := lungs.describe(table):
        say(cut)
    if unknown:
        say(f"{unknown} volumes are cut by the grid, and no lungs were found in them.")
    say(f"{kept} of {facts['volumes']} volumes lose no more than 1 % of their lungs; the others are listed in {path}.")


def _damaged(entries: dict[int, Path], cache: VolumeCache) -> dict[int, str]:
    damaged = {}
    for row, entry in entries.items():
        try:
            cache.read(entry, verify=True)
        except UserError as error:
            damaged[row] = f"damaged: {error}"
    return damaged
