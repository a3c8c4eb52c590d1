"""AMOS-MM: `imagesTr/amos_0001.nii.gz`, `imagesVa/…`, and `report_generation_train_val.json` with their reports.

The JSON file has a list `training` and a list `validation`; each entry names its `image` and has its report as findings
of chest, abdomen, pelvis and an impression (layout: github.com/bowang-lab/AMOS-MM-Solution, scripts/prepare_data.py).
The archives have three volumes twice, amos_7008, amos_7312 and amos_7333, in `imagesTr` and `imagesVa`; the reports put
them into `validation`. A volume is therefore only taken from where its entry says, and of two entries with one name the
one of `validation` counts: no volume is trained on and validated on.
"""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from bimcvr.curation.archives.file_tree import files_below, is_inside, is_volume, stem_of
from bimcvr.curation.archives.unread import unread_archives
from bimcvr.curation.sources.single_shard import SingleShardSource
from bimcvr.curation.study import SetAside, SourceStudy
from bimcvr.data.reading.refused import escaped
from bimcvr.errors import UserError

TABLE = "report_generation_train_val.json"
# validation first, since its entries count
_SPLITS = {"validation": "val", "training": "train"}
_REGIONS = ("chest", "abdomen", "pelvis")


class _Entry(NamedTuple):
    """An entry of the JSON file: its place in it, the image's path, and the texts of its report."""

    place: str
    split: str
    image: str
    regions: tuple[tuple[str, str], ...]
    impression: str


class AmosMM(SingleShardSource):
    """Reads AMOS-MM.

    Volumes with four axes are the reader's to refuse: nothing says which of their phases a report describes.

    Args:
        root: the folder with `imagesTr`, `imagesVa` and the JSON file.
        table: the name of the JSON file.

    Raises:
        UserError: there is no such folder or file.
    """

    def __init__(self, root: str, table: str = TABLE) -> None:
        self.root = Path(root)
        self.table = self.root / table
        if not self.root.is_dir():
            raise UserError(f"There is no folder {self.root}. Give AMOS-MM's folder, the one with imagesTr in it.")
        if not self.table.is_file():
            raise UserError(
                f"There is no file {self.table}. Download AMOS-MM's reports, or name their file as `table`."
            )

    def read(self) -> Iterator[SourceStudy | SetAside]:
        """Yield the studies of `training`, then those of `validation`, then the volumes without a report."""
        files, set_aside = files_below(self.root)
        yield from set_aside
        yield from unread_archives(files, ())
        entries, set_aside = _read_entries(self.table)
        yield from set_aside
        chosen: dict[str, _Entry] = {}
        for entry in (entry for split in _SPLITS for entry in entries if entry.split == split):
            name = stem_of(entry.image)
            other = chosen.setdefault(name, entry)
            if other is not entry:
                yield SetAside(
                    entry.place, "duplicate_row", f"{self.table}: {entry.place} names {name}, as {other.place} does."
                )
        for entry in entries:
            if chosen[stem_of(entry.image)] is entry:
                yield self._study(entry)
        wanted = {os.path.normpath(self.root / entry.image) for entry in chosen.values()}
        for file in files:
            if not is_volume(file.name) or os.path.normpath(file) in wanted:
                continue
            place = file.relative_to(self.root).as_posix()
            if stem_of(file.name) in chosen:
                image = chosen[stem_of(file.name)].image
                message = f"{file} has the name of {image}, which is the one that the reports name. Delete it."
                yield SetAside(place, "ambiguous_name", message)
            else:
                yield SetAside(place, "no_row", f"{file} has no entry in {self.table.name}, so it has no report.")

    def _study(self, entry: _Entry) -> SourceStudy | SetAside:
        name, volume = stem_of(entry.image), self.root / entry.image
        if not is_inside(volume, self.root):
            message = f"{self.table}: {entry.place} names {entry.image}, which is outside {self.root}."
            return SetAside(name, "outside_root", message)
        if not volume.is_file():
            message = f"{self.table}: {entry.place} names {entry.image}, which is not below {self.root}. Download it."
            return SetAside(name, "missing_file", message)
        texts = [text for _, text in entry.regions] + [entry.impression]
        return SourceStudy(
            study_id=name,
            volume=volume,
            report="\n".join(filter(None, texts)),
            language="en",
            report_id=name,
            columns={"archive_split": _SPLITS[entry.split]},
            regions=entry.regions,
        )


def _read_entries(path: Path) -> tuple[list[_Entry], list[SetAside]]:
    """Read the entries in the order of the file; what has another form is set aside."""
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"), object_pairs_hook=_without_repetition)
        if not isinstance(content, dict) or not any(isinstance(content.get(split), list) for split in _SPLITS):
            raise ValueError(f"it has no list {' or '.join(_SPLITS)}")
    except (ValueError, RecursionError) as error:
        # the decoder's message quotes nothing of the file; other errors are our own
        reason = "it is nested too deeply" if isinstance(error, RecursionError) else error
        message = f"{path} cannot be read as AMOS-MM's reports ({reason}). Download it again."
        return [], [SetAside(path.name, "unreadable_table", message)]
    entries, set_aside = [], []
    for split in reversed(_SPLITS):
        items = content.get(split, [])
        for number, item in enumerate(items if isinstance(items, list) else []):
            place = f"{split}[{number}]"
            try:
                entries.append(_entry(place, split, item))
            except ValueError as error:
                set_aside.append(SetAside(place, "unreadable_row", f"{path}: {place} {error}. Correct it."))
        if not isinstance(items, list):
            set_aside.append(SetAside(split, "unreadable_row", f"{path}: {split} is no list. Download it again."))
    return entries, set_aside


def _entry(place: str, split: str, item: Any) -> _Entry:
    """Return an entry.

    Raises:
        ValueError: a part is missing or of another type; the message is the end of a sentence about the entry.
    """
    image = _text(item, "image").replace("\\", "/")
    if not is_volume(image) or not image.isprintable():
        raise ValueError("names no .nii.gz file as its image")
    report = _object(_object(item, "labels"), "report")
    findings = _object(report, "findings")
    unknown = findings.keys() - set(_REGIONS)
    if unknown:
        raise ValueError(f"has findings of {len(unknown)} parts of the body other than {', '.join(_REGIONS)}")
    regions = tuple((region, text) for region in _REGIONS if (text := _text(findings, region)))
    return _Entry(place, split, image, regions, _text(report, "impression"))


def _object(item: Any, name: str) -> dict[str, Any]:
    value = _part(item, name)
    if not isinstance(value, dict):
        raise ValueError(f"has no '{name}'" if value is None else f"has a '{name}' that is no object")
    return value


def _text(item: Any, name: str) -> str:
    """Return a text, stripped; empty if there is none."""
    value = _part(item, name)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise ValueError(f"has a '{name}' that is no text")
    # JSON can write half a character, which no file can hold
    if escaped(value) != value:
        raise ValueError(f"has a '{name}' with half a character (a lone surrogate)")
    return value.strip()


def _part(item: Any, name: str) -> Any:
    if not isinstance(item, dict):
        raise ValueError(f"has something other than an object around '{name}'")
    return item.get(name)


def _without_repetition(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) < len(pairs):
        raise ValueError("a key stands twice in one object, of which only the last would count")
    return content
