"""The columns of a manifest, read from `manifest.schema.json` (https://datapackage.org/standard/table-schema/)."""

import json
from pathlib import Path
from typing import Any, NamedTuple

SCHEMA_FILE = Path(__file__).with_name("manifest.schema.json")


class ManifestColumn(NamedTuple):
    """What the schema says about one column.

    Attributes:
        name: as in the header.
        required: whether the header must name it.
        filled: whether every row must have a value.
        unique: whether no two rows may have the same value.
        allowed: the values that a filled cell may have, in lower case; empty if any.
        delimiter: what separates the items of a cell; empty if a cell is one value.
    """

    name: str
    required: bool
    filled: bool
    unique: bool
    allowed: tuple[str, ...]
    delimiter: str


def _column(field: dict[str, Any]) -> ManifestColumn:
    constraints = field.get("constraints", {})
    return ManifestColumn(
        name=field["name"],
        required=field["presence"] == "required",
        filled=constraints.get("required", False),
        unique=constraints.get("unique", False),
        allowed=tuple(constraints.get("enum", ())),
        delimiter=field.get("delimiter", ""),
    )


COLUMNS = {field["name"]: _column(field) for field in json.loads(SCHEMA_FILE.read_text(encoding="utf-8"))["fields"]}
