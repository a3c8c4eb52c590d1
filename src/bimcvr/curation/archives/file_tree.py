"""Listing the files of a folder in a fixed order, without links that lead out of it; and BIMCV's file names."""

import os
import re
from collections.abc import Iterable
from pathlib import Path

from bimcvr.curation.study import SetAside
from bimcvr.errors import system_problem

VOLUMES = (".nii.gz", ".nii")
_IDS = re.compile(r"(sub-[A-Za-z0-9]+)_(ses-[A-Za-z0-9]+)")


def files_below(root: Path, leave_out: Path | None = None) -> tuple[list[Path], list[SetAside]]:
    """List the files below a folder in sorted order; hidden files are left out.

    Args:
        root: the folder.
        leave_out: a folder below it that is not searched.

    Returns:
        The files, and what was set aside: folders that may not be read, symbolic links that lead out of the folder or
        are broken. Linked folders are not searched.
    """
    files: list[Path] = []
    set_aside: list[SetAside] = []
    top = root.resolve()

    def note(error: OSError) -> None:
        if isinstance(error, FileNotFoundError):
            return  # a folder that is not there has no files
        if Path(error.filename) == root:
            raise error
        place = os.path.relpath(error.filename, root)
        set_aside.append(SetAside(place, "no_access", system_problem(error)))

    for folder, folders, names in os.walk(root, onerror=note):
        current = Path(folder)
        for name in sorted(folders):
            if (current / name).is_symlink() and not _leads_inside(current / name, top):
                set_aside.append(_outside(current / name, root))
        folders[:] = sorted(
            name for name in folders if not (name.startswith(".") or name == "__MACOSX") and current / name != leave_out
        )
        for name in sorted(names):
            if name.startswith("."):
                continue
            if (current / name).is_symlink() and not _leads_inside(current / name, top):
                set_aside.append(_outside(current / name, root))
            else:
                files.append(current / name)
    return files, set_aside


def is_inside(path: Path, root: Path) -> bool:
    """Return whether a path, with its links resolved, is in a folder."""
    return path.resolve().is_relative_to(root.resolve())


def is_volume(name: str) -> bool:
    """Return whether a file is a NIfTI volume, by its name."""
    return name.lower().endswith(VOLUMES)


def volumes_by_name(files: Iterable[Path], root: Path) -> tuple[dict[str, Path], list[SetAside]]:
    """Return the volumes among some files by their names without suffix; a second one of a name is set aside.

    Args:
        files: files in a fixed order; other files than volumes are passed over.
        root: the folder that they lie in.
    """
    volumes: dict[str, Path] = {}
    set_aside = []
    for file in files:
        if is_volume(file.name) and volumes.setdefault(stem_of(file.name), file) != file:
            message = f"{file} has the same name as {volumes[stem_of(file.name)]}. Remove one."
            set_aside.append(SetAside(file.relative_to(root).as_posix(), "ambiguous_name", message))
    return volumes, set_aside


def stem_of(name: str) -> str:
    """Return a file's name without folders and without `.nii.gz`, `.nii` or its last suffix."""
    name = name.replace("\\", "/").rsplit("/", 1)[-1]
    for suffix in VOLUMES:
        if name.lower().endswith(suffix):
            return name[: -len(suffix)]
    return Path(name).stem


def ids_of(name: str) -> tuple[str, str]:
    """Return the subject and session that a BIMCV file name states, `("sub-S03048", "ses-E20387")`; empty if none."""
    match = _IDS.search(name.replace("\\", "/").rsplit("/", 1)[-1])
    return (match[1], match[2]) if match else ("", "")


def _leads_inside(link: Path, top: Path) -> bool:
    return link.exists() and link.resolve().is_relative_to(top)


def _outside(link: Path, root: Path) -> SetAside:
    problem = "leads out of the archive's folder" if link.exists() else "is broken"
    return SetAside(
        str(link.relative_to(root)),
        "symlink",
        f"{link} is a symbolic link that {problem}. Replace it by the file itself.",
    )
