"""Which other files hold the voxels of a MetaImage or NRRD header."""

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
    """Return the files that a header names and that are there.

    One, a LIST of them, or those of a pattern like `slice%03d.raw`.
    """
    key = _KEYS.get(path.suffix.lower())
    if key is None:
        return []
    with path.open("rb") as stream:
        head = stream.read(1 << 20).decode("utf-8", errors="replace").replace("\r\n", "\n")
    if path.suffix.lower() in (".nrrd", ".nhdr"):
        # behind the first empty line are voxels
        head = head.partition("\n\n")[0]
    found = re.search(key, head, re.MULTILINE | re.IGNORECASE)
    if found is None:
        return []
    named = found[1].strip()
    if named.upper() == "LOCAL":
        return []
    if named.upper().startswith("LIST"):
        names = head[found.end() :].split("\n")
    elif "%" in named:
        names = sorted(glob.glob(re.sub(r"%\d*[dui]", "*", named.split()[0]), root_dir=path.parent))
    else:
        names = [named]
    return [path.parent / name.strip() for name in names if name.strip() and (path.parent / name.strip()).is_file()]
