"""The volumes of a cohort on disk: a folder claimed for one seed, volumes made in parallel."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bimcvr.phantom.image.acquisition import Scan

# counts up whenever the same seed would give other volumes or reports
RECIPE = 3


def claim_folder(directory: Path, seed: int) -> None:
    """Note the cohort's seed in its folder, so that volumes of two cohorts never mix."""
    import json

    from bimcvr.atomic_files import write_json
    from bimcvr.errors import UserError

    note, mine = directory / "phantom.json", {"seed": seed, "recipe": RECIPE}
    if note.is_file():
        theirs = json.loads(note.read_text(encoding="utf-8"))
        if theirs != mine:
            raise UserError(
                f"{directory} holds another phantom cohort (seed {theirs.get('seed')}, recipe "
                f"{theirs.get('recipe')}; wanted: seed {seed}, recipe {RECIPE}). Choose another "
                "folder, or delete that one."
            )
    elif (directory / "manifest.csv").exists():
        raise UserError(f"{directory} has a manifest.csv that is no phantom's. Choose another folder.")
    write_json(note, mine)


def make_volumes(wanted: "dict[Path, Scan]", jobs: int) -> None:
    """Write the volumes that are not there yet, in parallel, under a progress bar."""
    from rich.progress import track

    lacking = [(path, scan) for path, scan in wanted.items() if not path.is_file()]
    if lacking:
        for _ in track(_parallel(lacking, jobs), description="Phantom volumes", total=len(lacking)):
            pass


def _parallel(work: "list[tuple[Path, Scan]]", jobs: int) -> Iterator[Any]:
    from joblib import Parallel, delayed

    results: Iterator[Any] = Parallel(n_jobs=jobs, return_as="generator_unordered", batch_size=8)(
        delayed(_make)(path, scan) for path, scan in work
    )
    return results


def _make(path: Path, scan: "Scan") -> None:
    from bimcvr.phantom.image.acquisition import make_volume, write_volume

    write_volume(make_volume(scan), path)
