"""The files that have the voxels of a MetaImage or NRRD header (.mhd, .nhdr)."""

import glob
import re
from pathlib import Path

_KEYS = {
    ".mha": r"^[ \t]*ElementDataFile[ \t]*[=:](.*)$",
    ".mhd": r"^[ \t]*ElementDataFile[ \t]*[=:](.*)$",
    ".nrrd": r"^data ?file[ \t]*:(.*)$",
    ".nhdr": r"^data ?file[ \t]*:(.*)$",
}


def data_files(path: Path) -> list[Path]:
    """Return the voxel files that a header names, as far as they exist.

    A header names one file, a LIST of files, or a pattern like `slice%03d.raw`.

    Args:
        path: any file; only MetaImage and NRRD headers name others.
    """
    key = _KEYS.get(path.suffix.lower())
    if key is None:
        return []
    with path.open("rb") as stream:
        head = stream.read(1 << 20).decode("utf-8", errors="replace").replace("\r\n", "\n")
    if path.suffix.lower() in (".nrrd", ".nhdr"):
        # voxels follow the first empty line
        head = head.partition("\n\n")[0]
    match = re.search(key, head, re.MULTILINE | re.IGNORECASE)
    if match is None:
        return []
    value = match[1].strip()
    if value.upper() == "LOCAL":
        return []
    if value.upper().startswith("LIST"):
        names = head[match.end() :].split("\n")
    elif "%" in value:
        names = sorted(glob.glob(re.sub(r"%\d*[dui]", "*", value.split()[0]), root_dir=path.parent))
    else:
        names = [value]
    return [path.parent / name.strip() for name in names if name.strip() and (path.parent / name.strip()).is_file()]
