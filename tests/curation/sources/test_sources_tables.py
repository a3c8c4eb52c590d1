"""Tables cell by cell: encodings, lists, formulas, spoilt rows; and which tags become columns."""

import csv
import io
import json
import re
from pathlib import Path

import pydicom
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bimcvr.curation.archives.file_tree import ids_of, stem_of
from bimcvr.curation.sources.dicom_metadata import TAGS, age_in_years, columns_of_header, columns_of_json
from bimcvr.curation.sources.table_reader import parse_codes, parse_list, parse_sentences, read_table
from bimcvr.data.text_table import is_missing

TEXT = "id,texto\n1,opacidad en pulmón izquierdo\n2,ñandú\n"


@pytest.mark.parametrize(
    ("encoding", "reasons"), [("utf-8", []), ("utf-8-sig", []), ("utf-16", []), ("latin-1", ["encoding"])]
)
def test_encodings(tmp_path: Path, encoding: str, reasons: list[str]) -> None:
    (tmp_path / "x.csv").write_bytes(TEXT.encode(encoding))
    table = read_table(tmp_path / "x.csv")
    assert [cells["texto"] for _, cells in table.rows] == ["opacidad en pulmón izquierdo", "ñandú"]
    assert [item.reason for item in table.set_aside] == reasons


def test_bytes_that_windows_does_not_know_are_read_too(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_bytes(b"id,texto\n1,\xf3\x81\n")
    assert read_table(tmp_path / "x.csv").set_aside[0].message.count("Latin-1") == 1


@pytest.mark.parametrize("raw", [b"", b"\n \n", b"\0" * 50, b"id,te\0xto\n1,a\n"])
def test_empty_and_binary_files_are_set_aside(tmp_path: Path, raw: bytes) -> None:
    (tmp_path / "x.csv").write_bytes(raw)
    table = read_table(tmp_path / "x.csv")
    assert ([item.reason for item in table.set_aside], table.rows) == (["unreadable_table"], ())


@pytest.mark.parametrize(
    "cell",
    [
        "=1+1",
        "=cmd|' /C calc'!A0",
        "@SUM(A1)",
        "-2+3+cmd|'x'!A0",
        "+IMPORTXML(A1)",
        "  =A1",
        '=HYPERLINK("http://x y")',
        "=NOW()",
    ],
)
def test_formulas_are_set_aside(tmp_path: Path, cell: str) -> None:
    (tmp_path / "x.tsv").write_text(f"id\ttexto\n1\t{cell}\n2\tbien\n")
    table = read_table(tmp_path / "x.tsv")
    assert [cells["id"] for _, cells in table.rows] == ["2"]
    assert [(item.name, item.reason) for item in table.set_aside] == [("x.tsv: line 2", "formula")]


@pytest.mark.parametrize(
    "cell",
    [
        "- nódulo de 5 mm (LSD)",
        "-1024",
        "+",
        "-3.5",
        "@",
        "a=b",
        "- sin cambios!",
        "-1000 HU",
        "+/- 2 mm",
        "-Nódulo(s) en LSD, estable desde el control.",
        "-NÓDULO(S)",
        "=== HALLAZGOS === sin derrame",
        "=> nódulo de 5 mm",
        "=normal",
        "+Contraste(iv): sin hallazgos valorables hoy",
        "-Nódulo|masa, estable!",
    ],
)
def test_prose_and_numbers_are_no_formulas(tmp_path: Path, cell: str) -> None:
    (tmp_path / "x.tsv").write_text(f"id\ttexto\n1\t{cell}\n")
    assert read_table(tmp_path / "x.tsv").rows[0][1]["texto"] == cell


def test_spoilt_rows_are_set_aside_with_their_line(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text(
        'id,texto\n1,"dos\nlíneas"\n2\n3,a,b\n\n4,bien\n5,"nunca cerrado\n' + "x" * (1 << 20) + "\n6,perdido\n"
    )
    table = read_table(tmp_path / "x.csv")
    assert [(line, cells["id"]) for line, cells in table.rows] == [(2, "1"), (7, "4"), (10, "6")]
    assert [item.name for item in table.set_aside] == [f"x.csv: line {line}" for line in (4, 5, 8, 9)]
    assert "unclosed" in table.set_aside[2].message


@pytest.mark.parametrize(
    ("second", "lines"),
    [
        ('p2,"No effusion."', [2]),
        ("p2,No effusion.", [2]),
        # closed by the next row, which then is doubtful too
        ('p2,No effusion."', [2, 3]),
    ],
)
def test_an_open_quotation_mark_costs_its_own_row_only(tmp_path: Path, second: str, lines: list[int]) -> None:
    (tmp_path / "x.csv").write_text(
        f'id,texto\np1,"Large nodule\n{second}\np3,"Third\nreport, of two lines."\np4,Fourth\n'
    )
    table = read_table(tmp_path / "x.csv")
    assert [item.name for item in table.set_aside] == [f"x.csv: line {line}" for line in lines]
    assert {item.reason for item in table.set_aside} == {"unreadable_row"}
    texts = {cells["id"]: cells["texto"] for _, cells in table.rows}
    assert texts == {
        **({} if 3 in lines else {"p2": "No effusion."}),
        "p3": "Third\nreport, of two lines.",
        "p4": "Fourth",
    }


def test_quotation_marks_inside_cells_are_text(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text('id,texto\n1,5" wide\n2,"a tube of 5"""\n3,"5""\n4,"a, ""b"""\n')
    table = read_table(tmp_path / "x.csv")
    assert [cells["texto"] for _, cells in table.rows] == ['5" wide', 'a tube of 5"', 'a, "b"']
    assert [item.name for item in table.set_aside] == ["x.csv: line 4"]


def test_a_null_byte_costs_its_own_row_only(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_bytes(b"id,texto\n1,a\0b\n2,bien\n" + bytes(40))
    table = read_table(tmp_path / "x.csv")
    assert [cells["id"] for _, cells in table.rows] == ["2"]
    assert [item.name for item in table.set_aside] == ["x.csv: line 2", "x.csv: line 4"]


def test_two_columns_of_one_name_must_agree(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("id,Report,Report,\n1,same,same,\n2,one,another,\n")
    table = read_table(tmp_path / "x.csv")
    assert [cells for _, cells in table.rows] == [{"id": "1", "Report": "same"}]
    assert [(item.name, item.reason) for item in table.set_aside] == [
        ("x.csv: Report", "duplicate_column"),
        ("x.csv: line 3", "duplicate_column"),
    ]


@pytest.mark.parametrize(
    "content",
    [
        b"\xef\xbb\xbfid;texto\r\n1;uno, dos\r\n",
        b'sep=,\nid,texto\n1,"uno, dos"\n',
        "id\ttexto\r\n1\tuno, dos\r\n".encode("utf-16"),
        "id;texto\r\n1;uno, dos\r\n".encode("utf-16-le"),
    ],
)
def test_separators_and_encodings_of_spreadsheets(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.csv").write_bytes(content)
    assert [cells for _, cells in read_table(tmp_path / "x.csv", ("id",)).rows] == [{"id": "1", "texto": "uno, dos"}]


def test_no_report_text_in_what_is_set_aside(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("id,Report\n1,=LEFT(A1)&'secreto médico'\n2,secreto,médico\n")
    assert all("secreto" not in item.message for item in read_table(tmp_path / "x.csv").set_aside)


def test_lists() -> None:
    assert parse_list("['pleural effusion', ' nodule ', '', \"d'un\"]") == ["pleural effusion", "nodule", "d'un"]
    assert (parse_list(""), parse_list("[]"), parse_list("nan")) == ([], [], [])
    assert parse_codes("[C0032227, C0034079,]") == ["C0032227", "C0034079"]
    assert parse_codes("['C0032227']") == ["C0032227"]
    # as numpy writes arrays
    assert parse_list("['nodule'\n 'pleural effusion' \"d'un\"]") == ["nodule", "pleural effusion", "d'un"]
    assert parse_codes("['C0032227' 'C0034079']") == ["C0032227", "C0034079"]
    assert json.loads(parse_sentences("['a', ' loc b', '', '', 'c', '']")) == [["a", "loc b"], ["c"]]


@pytest.mark.parametrize(
    "cell",
    [
        "['a', 'b'",
        "['a', 'b' 'c']",
        "['a' 'b' ... 'z']",
        "__import__('os').system('true')",
        "{'a': 1}",
        "[1, 2]",
        "['a'] * 9",
        "[" * 5000,
        "['a'," * 30000,
        "plain words",
        "['\\x']",
    ],
)
def test_what_is_no_list_of_texts_is_an_error(cell: str) -> None:
    with pytest.raises(ValueError, match="list") as error:
        parse_list(cell)
    # no memory address and no text of the cell
    assert " at 0x" not in str(error.value)


@given(st.lists(st.text(max_size=20), max_size=8))
def test_lists_come_back(items: list[str]) -> None:
    assert parse_list(repr(items)) == [item.strip() for item in items if not is_missing(item)]


def test_names() -> None:
    assert stem_of("/raid/x/sub-S1_ses-E2_ct.nii.gz") == "sub-S1_ses-E2_ct"
    assert stem_of("C:\\x\\a.b.NII.GZ") == "a.b"
    assert ids_of("/a/sub-S9_ses-E9/sub-S03048_ses-E20387_acq-2_run-4_bp-chest_ct.nii.gz") == (
        "sub-S03048",
        "ses-E20387",
    )
    assert ids_of("scan1.nii.gz") == ("", "")


@pytest.mark.parametrize(
    ("text", "years"),
    [
        ("056Y", "56"),
        ("018M", "1"),
        ("[56]", "56"),
        ("56.0", "56"),
        ("['091Y']", "90+"),
        ("'90'", "90+"),
        ("091Y", "90+"),
        ("", ""),
        ("old", ""),
        ("[40, 41]", ""),
    ],
)
def test_ages(text: str, years: str) -> None:
    assert age_in_years(text) == years


def test_only_listed_tags_become_columns(tmp_path: Path) -> None:
    header = pydicom.Dataset()
    header.Manufacturer, header.KVP, header.ConvolutionKernel, header.PixelSpacing = (
        "SIEMENS",
        "120",
        ["I30f", "2"],
        [0.7, 0.7],
    )
    header.PatientName, header.PatientID, header.PatientBirthDate, header.PatientSex = (
        "Soler^Ana",
        "77",
        "19500101",
        "F",
    )
    header.InstitutionName, header.SeriesDescription, header.StudyDate = "Hospital", "thorax for Dr. X", "20200101"
    expected = {"manufacturer": "SIEMENS", "kvp": "120", "kernel": "I30f/2", "pixel_spacing": "0.7/0.7", "sex": "F"}
    assert columns_of_header(header) == expected
    (tmp_path / "x.json").write_text(header.to_json())
    assert columns_of_json(tmp_path / "x.json") == expected


def test_no_listed_tag_is_about_a_person() -> None:
    """DICOM's basic confidentiality profile (PS3.15, table E.1-1) removes or replaces these.

    Age and sex are kept by our rule.
    """
    personal = {
        "PatientName",
        "PatientID",
        "PatientBirthDate",
        "PatientAddress",
        "OtherPatientIDs",
        "InstitutionName",
        "StationName",
        "ReferringPhysicianName",
        "OperatorsName",
        "AccessionNumber",
        "StudyDate",
        "SeriesDescription",
        "StudyDescription",
        "ProtocolName",
        "PatientComments",
        "DeviceSerialNumber",
        "StudyInstanceUID",
    }
    assert not personal & set(TAGS)
    for keyword, (tag, _) in TAGS.items():
        assert pydicom.datadict.keyword_for_tag(tag) == keyword


def test_values_typed_by_hand_are_left_out(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text(
        json.dumps(
            {
                "Manufacturer": "a" * 65,
                "ManufacturerModelName": "x\ny",
                "KVP": {"vr": "DS"},
                "ContrastBolusAgent": "=cmd|",
                "FilterType": ["BODY", None],
                "PatientPosition": "None",
                "SliceThickness": "2.50000",
            }
        )
    )
    assert columns_of_json(tmp_path / "x.json") == {"slice_thickness": "2.5"}


@given(quoting=st.sampled_from([csv.QUOTE_ALL, csv.QUOTE_MINIMAL]), place=st.floats(0, 0.999), lines=st.integers(1, 3))
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_lost_quotation_mark_mixes_no_two_rows(tmp_path: Path, quoting: int, place: float, lines: int) -> None:
    stream = io.StringIO()
    writer = csv.writer(stream, quoting=quoting, lineterminator="\n")  # type: ignore[arg-type]
    writer.writerow(["id", "report", "note"])
    for number in range(1, 7):
        text = "\n".join(f'finding-{number}, "stable", line {line}' for line in range(lines))
        writer.writerow([f"p{number}", text if number % 3 else "", f"note-{number}, end"])
    text = stream.getvalue()
    marks = [position for position, character in enumerate(text) if character == '"' and position > 30]
    position = marks[int(place * len(marks))]
    (tmp_path / "x.csv").write_text(text[:position] + text[position + 1 :])
    table = read_table(tmp_path / "x.csv")
    assert table.set_aside
    taken = [cells for _, cells in table.rows if re.fullmatch(r"p\d", cells["id"])]
    assert len(taken) >= 4
    for cells in taken:
        numbers = set(re.findall(r"(?:finding|note)-(\d)", "".join(cells.values())))
        assert numbers == {cells["id"][1:]}


@pytest.mark.parametrize(
    "content",
    [
        'study_id,volume,report\nana,ana.nii.gz,"one\nbea,bea.nii.gz,two"\ncia,cia.nii.gz,three\n',
        'study_id,volume,report\ns1,a.nii.gz,"one\nsub-02_x,b.nii.gz,two"\ns3,c.nii.gz,three\n',
        'report,study_id,volume\n"one,s1,a.nii.gz\ntwo",s2,b.nii.gz\nthree,s3,c.nii.gz\n',
        'report,study_id,volume\n"one\nmore,s1,a.nii.gz\ntwo",s2,b.nii.gz\nthree,s3,c.nii.gz\n',
    ],
)
def test_a_swallowed_row_is_seen_wherever_its_key_is(content: str, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(content)
    table = read_table(tmp_path / "t.csv", ("study_id", "volume", "report"))
    assert [cells["report"] for _, cells in table.rows] == ["three"]
    assert {item.reason for item in table.set_aside} == {"unreadable_row"}


def test_reports_of_several_lines_are_no_swallowed_rows(tmp_path: Path) -> None:
    report = "Findings, none:\n1, 2 mm, 3 cm\nno, yes, no\nimage.5, 6, x"
    for names in ("study_id,volume,report", "report,study_id,volume", "study_id,report,volume"):
        cells = {"study_id": "s1", "volume": "a.nii.gz", "report": f'"{report}"'}
        (tmp_path / "t.csv").write_text(f"{names}\n{','.join(cells[name] for name in names.split(','))}\n")
        ((_, row),) = read_table(tmp_path / "t.csv", ("study_id",)).rows
        assert row["report"] == report


def test_joined_tables_invisible_marks_and_bars(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("\ufeffstudy_id|report\ns1\u200b|a, b\n\ufeffstudy_id|report\ns2|c\n")
    table = read_table(tmp_path / "t.csv", ("study_id", "report"))
    assert [cells["study_id"] for _, cells in table.rows] == ["s1", "s2"]
    assert [
        item.message.endswith("line 3 repeats the header: two tables were joined.") for item in table.set_aside
    ] == [True]


@pytest.mark.parametrize("cell", ["-nan", "#N/A N/A", r"\N", "(null)", "#REF!", "<null>", "?", "[]", "2.01801E+11"])
def test_what_stands_for_no_id(cell: str) -> None:
    assert is_missing(cell)
    assert not any(map(is_missing, ("P1", "1E5", "2018", "nana", "12-3")))
