"""The volumes of a cohort on disk: a folder for one seed, volumes made in parallel."""

from pathlib import Path
from typing import TYPE_CHECKING

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


def make_volumes(wanted: "dict[Path, Scan]", jobs: int) -> None:
    """Write the volumes that are not there yet, in parallel, under a progress bar."""
    from rich.progress import track

    from bimcvr.parallel import in_parallel

    missing = [(path, scan) for path, scan in wanted.items() if not path.is_file() or not path.stat().st_size]
    if missing:
        done = in_parallel(_make, missing, jobs, ordered=False, batch_size=8)
        for _ in track(done, description="Phantom volumes", total=len(missing)):
            pass


def _make(path: Path, scan: "Scan") -> None:
    from bimcvr.phantom.image.acquisition import make_volume, write_volume

    write_volume(make_volume(scan), path)
