"""Names of archive members: separators of Windows, hidden files, and paths that an archive may not write to."""

from pathlib import PurePosixPath


def member_path(name: str) -> str:
    """Return a member's path with one `/` between its folders; zips made on Windows can have backslashes."""
    return PurePosixPath(name.replace("\\", "/")).as_posix()


def is_hidden(name: str) -> bool:
    """Return whether a member is hidden, as on disk, or one of the copies of metadata that macOS adds to archives."""
    parts = PurePosixPath(name).parts
    return "__MACOSX" in parts or any(part.startswith(".") and part != ".." for part in parts)


def name_fault(name: str) -> tuple[str, str] | None:
    """Return reason and message for a path that an archive may not write to; None for any other.

    Args:
        name: the path, as `member_path` returns it.
    """
    if name.startswith("/") or name[1:2] == ":":
        return "absolute_path", "has an absolute path. An archive may only write into its own folder."
    if ".." in name.split("/") or "\0" in name or not name.strip("./"):
        return (
            "path_traversal",
            "has a path that leads out of its folder. An archive may only write into its own folder.",
        )
    return None
