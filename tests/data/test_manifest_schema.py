"""The contract of a manifest: the schema, its copies in words, and the example."""

import csv
import json
import re
from pathlib import Path

import pytest

from bimcvr.data.manifest import SPLITS, read_manifest, split_list
from bimcvr.data.manifest_schema import COLUMNS, SCHEMA_FILE
from bimcvr.data.places import places_of

ROOT = Path(__file__).parents[2]
CONTRACT = ROOT / "data_manifests"


def test_the_copy_at_the_root_is_the_packages_schema() -> None:
    assert (CONTRACT / "manifest.schema.json").read_bytes() == SCHEMA_FILE.read_bytes()


@pytest.mark.parametrize("page", [CONTRACT / "README.md", next((ROOT / "docs").rglob("data.md"))])
def test_the_tables_name_the_columns_of_the_schema(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    table = text[text.index("| column |") :].partition("\n\n")[0]
    assert re.findall(r"^\| `(\w+)`", table, re.MULTILINE) == list(COLUMNS)


def test_the_reader_takes_its_rules_from_the_schema() -> None:
    assert [name for name, column in COLUMNS.items() if column.required] == ["study_id", "volume", "report"]
    assert [name for name, column in COLUMNS.items() if column.delimiter] == ["labels", "flags"]
    assert COLUMNS["split"].allowed == SPLITS == ("train", "val", "test")
    assert COLUMNS["status"].allowed == ("ok", "rejected", "review")


def test_the_example_is_a_manifest_with_documented_columns() -> None:
    manifest = read_manifest(CONTRACT / "example.csv")
    assert set(manifest.table.columns) <= set(COLUMNS)
    assert manifest.accepted().tolist() == [0, 1, 2, 3]
    assert split_list(manifest.column("flags")[4]) == {"slice_spacing", "too_small"}


def test_every_field_has_a_description_and_an_example_that_passes(tmp_path: Path) -> None:
    fields = json.loads(SCHEMA_FILE.read_text(encoding="utf-8"))["fields"]
    assert all(field["description"] for field in fields)
    rows = [[field["name"] for field in fields], [field["example"] for field in fields]]
    with (tmp_path / "m.csv").open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream, lineterminator="\n").writerows(rows)
    manifest = read_manifest(tmp_path / "m.csv")
    assert len(manifest) == 1
    assert [place.finding for place in places_of(manifest, 0)] == ["mass"]
