"""The error for a volume that cannot be used: a short reason to count by, and a message for the user."""

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path

from bimcvr.errors import UserError, without_addresses

_OF_ONE_FILE = (errno.EACCES, errno.EPERM, errno.EIO, errno.ESTALE, errno.ELOOP, errno.ENOTDIR, errno.ENAMETOOLONG)
FETCH_AGAIN = "Download it again from its source, or exclude the row."


class RefusedVolume(UserError):
    """A file or folder that cannot be turned into HU on a regular grid.

    Args:
        reason: a short name to count by, like `variable_gaps`.
        path: the file or DICOM folder.
        wrong: what is wrong with it, as the end of a sentence that begins with the path.
        remedy: what to do about it, as a sentence.

    Attributes:
        reason: the short name.
    """

    def __init__(self, reason: str, path: Path | str, wrong: str, remedy: str) -> None:
        # all four go to the base class: workers send exceptions pickled, and are rebuilt from these arguments
        super().__init__(reason, escaped(path), without_addresses(wrong), remedy)
        self.reason = reason

    def __str__(self) -> str:
        _, path, wrong, remedy = self.args
        return f"{path} {wrong} {remedy}"


def escaped(name: Path | str) -> str:
    r"""Return a name with `\xf3` for each byte that is in no encoding, so that it can be printed and written.

    Python reads such bytes as surrogate characters, which cannot be encoded.
    """
    text = os.fspath(name)
    try:
        return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    except UnicodeEncodeError:
        # a surrogate that does not stand for a byte, as JSON files can have
        return text.encode("utf-8", "backslashreplace").decode()


def killed_reader(path: Path) -> RefusedVolume:
    """Return the refusal of a volume whose reading killed the process."""
    wrong = "killed the process that read it, for lack of memory perhaps."
    return RefusedVolume("unreadable", path, wrong, "Read it alone on a machine with more memory, or exclude the row.")


@contextlib.contextmanager
def refusing_denied(path: Path) -> Iterator[None]:
    """Refuse one volume whose file the system does not let be read: a missing right, a broken link or disk.

    A full disk, missing memory or too many open files concern every volume and pass through.

    Args:
        path: the file or DICOM folder.

    Raises:
        RefusedVolume: with the reason `no_access`.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in _OF_ONE_FILE:
            raise
        remedy = "Ask its owner for the right to read it, or exclude the row."
        raise RefusedVolume("no_access", path, f"cannot be read ({error.strerror}).", remedy) from error


def no_spacing(path: Path, spacing: tuple[float, ...]) -> RefusedVolume:
    """Return the error for a file whose voxels have no valid size (mm)."""
    sizes = " × ".join(f"{mm:g}" for mm in spacing)
    return RefusedVolume(
        "no_spacing",
        path,
        f"has the voxel spacing {sizes} mm.",
        "Convert it again from DICOM, or write the right spacing into its header.",
    )


def sheared_grid(path: Path) -> RefusedVolume:
    """Return the error for a file whose axes are not at right angles."""
    return RefusedVolume(
        "sheared_grid",
        path,
        "has axes that are not at right angles (an uncorrected gantry tilt, or a registration kept in the header).",
        "Resample it to a rectangular grid first.",
    )
