"""The verb `cache`: resize the volumes of a manifest ahead of training."""

from pathlib import Path

from bimcvr.commands.stdout import say
from bimcvr.data.cache.fill import default_folder, describe_refused, fill_cache, write_refused
from bimcvr.data.cache.volume_cache import VolumeCache
from bimcvr.data.manifest import read_manifest
from bimcvr.data.reading.grid import MAX_VOXELS, GridRules, NiftiForm
from bimcvr.errors import UserError


def cache(
    manifest: Path,
    size: tuple[int, int, int] = (96, 224, 224),
    root: Path | None = None,
    cache: Path | None = None,
    jobs: int = -1,
    verify: bool = False,
    nifti_form: NiftiForm = "auto",
    max_voxels: int = MAX_VOXELS,
) -> int:
    """Resize every volume of a manifest to the model's grid and keep it on disk, so that training only reads.

    Stop it and start it again at any time: what is done stays done. Volumes that cannot be read are listed with
    their reasons and written to `refused.csv` in the cache folder.

    Args:
        manifest: the manifest, a CSV file.
        size: the model's grid: slices, rows and columns, like `[96, 224, 224]`.
        root: the folder that the manifest's `volume` column is relative to; the manifest's own by default.
        cache: the folder of volumes resized to the model's grid; `cache` beside the manifest by default.
        jobs: parallel processes; -1 for one per CPU core.
        verify: also read every cached volume and compare it with its checksum.
        nifti_form: what decides how a NIfTI file's voxels lie: auto takes the sform and refuses a file whose sform and
            qform disagree; sform or qform takes that one.
        max_voxels: larger volumes are refused.
    """
    table = read_manifest(manifest, root)
    volume_cache = VolumeCache(cache or default_folder(table), size, GridRules(nifti_form, max_voxels))
    entries, refused = fill_cache(table, table.accepted(), volume_cache, jobs)
    if verify:
        refused |= _damaged(entries, volume_cache)
    write_refused(table, refused, volume_cache.folder / "refused.csv")
    say(
        f"{len(entries) - len(refused.keys() & entries.keys())} of {len(table.accepted())} volumes are in"
        f" {volume_cache.folder} at {size}."
    )
    if refused:
        say(f"{len(refused)} were refused, listed in {volume_cache.folder / 'refused.csv'}:")
        say(describe_refused(table, refused))
    return 3 if refused else 0


def _damaged(entries: dict[int, Path], cache: VolumeCache) -> dict[int, str]:
    damaged = {}
    for row, entry in entries.items():
        try:
            cache.read(entry, verify=True)
        except UserError as error:
            damaged[row] = f"damaged: {error}"
    return damaged
