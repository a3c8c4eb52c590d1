"""The volumes of a cohort on disk: a folder for one seed, volumes made in parallel."""

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from bimcvr.phantom.image.acquisition import Scan

# increase it whenever the same seed gives other volumes or reports
RECIPE = 3


def claim_folder(directory: Path, seed: int) -> None:
    """Write the seed of the cohort into its folder, so that volumes of two cohorts never mix.

    Args:
        directory: the folder of the cohort.
        seed: of the cohort.

    Raises:
        UserError: the folder has another cohort, or a manifest that is not a phantom's.
    """
    import json

    from bimcvr.atomic_files import write_json
    from bimcvr.errors import UserError

    note, cohort = directory / "phantom.json", {"seed": seed, "recipe": RECIPE}
    if note.is_file():
        existing = json.loads(note.read_text(encoding="utf-8"))
        if existing != cohort:
            raise UserError(
                f"{directory} has another phantom cohort (seed {existing.get('seed')}, recipe "
                f"{existing.get('recipe')}; wanted: seed {seed}, recipe {RECIPE}). Choose another "
                "folder, or delete that one."
            )
    elif (directory / "manifest.csv").exists():
        raise UserError(f"{directory} has a manifest.csv that is not a phantom's. Choose another folder.")
    write_json(note, cohort)


def make_volumes(directory: Path, wanted: "dict[str, Scan]", jobs: int, masks: bool = False) -> list[str]:
    """Write the volumes that are not there yet, and where their findings are, in parallel, under a progress bar.

    Args:
        directory: the folder of the cohort.
        wanted: path of the volume in it → its scan.
        jobs: parallel processes.
        masks: also write `masks/<patient>/<study>.nii.gz`, the voxels of the findings.

    Returns:
        Of each volume where its findings are, as the manifest's column `places` has it.
    """
    from rich.progress import track

    from bimcvr.parallel import in_parallel

    files = {scan.study_id: _Files.of(directory, volume, masks) for volume, scan in wanted.items()}
    missing = [(files[scan.study_id], scan) for scan in wanted.values() if files[scan.study_id].missing()]
    if missing:
        done = in_parallel(_make, missing, jobs, ordered=False, batch_size=8)
        for _ in track(done, description="Phantom volumes", total=len(missing)):
            pass
    return [files[scan.study_id].places.read_text(encoding="utf-8") for scan in wanted.values()]


class _Files(NamedTuple):
    """What is written of one volume."""

    volume: Path
    places: Path
    masks: Path | None

    @classmethod
    def of(cls, directory: Path, volume: str, masks: bool) -> "_Files":
        inside = Path(volume).relative_to("volumes")
        places = directory / "places" / inside.parent / f"{inside.name.removesuffix('.nii.gz')}.json"
        return cls(directory / volume, places, directory / "masks" / inside if masks else None)

    def missing(self) -> "list[Path]":
        """Return those that are not there."""
        return [path for path in self if path is not None and (not path.is_file() or not path.stat().st_size)]


def _make(files: _Files, scan: "Scan") -> None:
    from bimcvr.atomic_files import write_text
    from bimcvr.phantom.image.acquisition import make_volume, write_masks, write_volume
    from bimcvr.phantom.image.places import places_json

    volume, missing = make_volume(scan), files.missing()
    if files.masks in missing and files.masks is not None:
        write_masks(volume, files.masks)
    if files.places in missing:
        write_text(files.places, places_json(volume.findings, volume.grid))
    if files.volume in missing:
        write_volume(volume, files.volume)
