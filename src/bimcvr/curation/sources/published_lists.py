"""Volumes that published lists name as unusable, and how a source leaves them out.

A list is what somebody found out, so each entry says whose list it is. A source leaves a listed volume out before it is
read, whatever is in the file; its option `keep_listed` takes them all in, for a protocol that counts them.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from bimcvr.curation.archives.file_tree import is_volume, stem_of
from bimcvr.curation.study import SetAside


class Listing(NamedTuple):
    """Why a list names a volume.

    Attributes:
        reason: a short name to count by.
        source: whose list it is, as the end of "is named by".
        problem: what the list says about the volume.
    """

    reason: str
    source: str
    problem: str


_RADFINDER = "RadFinder's loader of {} (github.com/lmb-freiburg/radfinder, src/radfinder/data/{}.py, 2026)"
_CT_RATE, _INSPECT = _RADFINDER.format("CT-RATE", "ct_rate"), _RADFINDER.format("INSPECT", "inspect")


def _broken(source: str, problem: str, names: str) -> dict[str, Listing]:
    return dict.fromkeys(names.split(), Listing("listed_broken", source, problem))


# that 1267_a_4, 11755_a_3 and 11755_a_4 have no slice spacing is also in CT-RATE's discussion 97 on the model hub, and
# HLIP leaves out the same three (github.com/Zch0414/hlip, src/hlip_train/data_chest_ct.py)
CT_RATE_BROKEN = _broken(
    _CT_RATE,
    "no orientation can be computed from its header",
    "train_11755_a_2 train_11755_a_3 train_11755_a_4 train_1267_a_4",
) | _broken(
    _CT_RATE,
    "it is too small for voxels of 0.5 × 0.5 × 1 mm in patches",
    "train_3821_a_5 train_9792_a_1 train_9792_a_2 train_9792_a_3 train_9792_a_4",
)
INSPECT_BROKEN = _broken(
    _INSPECT,
    "it has four axes",
    "PE877f77 PE8636b5 PE9f353a PE874dae PE864a1e PE452aba3 PE9f680b PE9f63cb PE9f6ce4 PE9f6d6e PE9f536a PEc255bb"
    " PE9f417d",
) | _broken(
    _INSPECT,
    "its orientation in the patient cannot be told from its header",
    "PE864879 PE86493f PE8774e7 PE9f6db8 PE9f59c5 PE9f45c6 PE9f4c0d",
)


def read_list(path: Path, pattern: re.Pattern[str], listing: Listing) -> tuple[dict[str, Listing], list[SetAside]]:
    """Read a text file with the name or path of a volume in each line.

    Args:
        path: the file.
        pattern: what a volume's name without suffix looks like.
        listing: what the list says about each volume.

    Returns:
        The listing of each name without suffix, and the lines that name no volume.
    """
    listed: dict[str, Listing] = {}
    set_aside = []
    lines = path.read_text(encoding="utf-8-sig", errors="replace").splitlines()
    for number, line in enumerate(lines, 1):
        name = line.strip().replace("\\", "/").rsplit("/", 1)[-1]
        stem = stem_of(name) if is_volume(name) else name
        if pattern.fullmatch(stem):
            listed[stem] = listing
        elif name:
            label = f"{path.name}: line {number}"
            set_aside.append(SetAside(label, "unreadable_row", f"{path}, line {number} names no volume. Correct it."))
    return listed, set_aside


def left_out(file: Path, listing: Listing) -> SetAside:
    """Return the entry of a volume that a list names."""
    return SetAside(
        stem_of(file.name),
        listing.reason,
        f"{file} is named by {listing.source}: {listing.problem}. It was left out; set keep_listed to take it in.",
    )


def listed_columns(name: str, listed: Mapping[str, Listing]) -> dict[str, str]:
    """Return the manifest's column `listed` of a volume that is taken in although a list names it; else nothing."""
    return {"listed": listed[name].reason} if name in listed else {}
