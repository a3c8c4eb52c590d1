"""Reading manifests, and which rows share a report."""

import tracemalloc
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bimcvr.data.evaluation_rows import evaluation_gallery, split_rows
from bimcvr.data.manifest import Manifest, read_manifest, report_groups, write_manifest
from bimcvr.data.splits import assign_splits
from bimcvr.errors import UserError


def manifest_of(**columns: list[str]) -> Manifest:
    count = len(next(iter(columns.values())))
    base = {
        "study_id": [f"s{i}" for i in range(count)],
        "volume": ["v"] * count,
        "report": [f"text {i}" for i in range(count)],
    }
    return Manifest(pd.DataFrame({**base, **columns}, dtype=str), Path("m.csv"), Path("."))


def written(tmp_path: Path, **columns: list[str]) -> Path:
    write_manifest(manifest_of(**columns).table, tmp_path / "m.csv")
    return tmp_path / "m.csv"


def test_three_columns_suffice(tmp_path: Path) -> None:
    manifest = read_manifest(written(tmp_path, report=["a, b", 'quoted "x"\nline']))
    assert manifest.column("report") == ["a, b", 'quoted "x"\nline']
    assert manifest.column("patient_id") == ["", ""]
    assert manifest.volume_path(0) == tmp_path / "v"


def test_html_entities_of_reports_are_decoded(tmp_path: Path) -> None:
    path = written(tmp_path, report=["Derrame pl&eacute;urico, 5&nbsp;mm", "A & B"], report_original=["&#191;TEP?", ""])
    manifest = read_manifest(path)
    assert manifest.column("report") == ["Derrame pléurico, 5 mm", "A & B"]
    assert manifest.column("report_original") == ["¿TEP?", ""]


def test_text_is_never_read_as_a_number_or_as_missing(tmp_path: Path) -> None:
    manifest = read_manifest(written(tmp_path, study_id=["001", "NA"], report=["NaN", "1.0"]))
    assert manifest.column("study_id") == ["001", "NA"]
    assert manifest.column("report") == ["NaN", "1.0"]


@pytest.mark.parametrize(
    "content",
    [
        b"\xef\xbb\xbfstudy_id;volume;report;note\r\n1;1.nii;un texto, con coma;x\r\n",
        b'sep=,\nstudy_id,volume,report\n1,1.nii,"un texto, con coma"\n',
        b"sep=;\r\nstudy_id;volume;report\r\n1;1.nii;un texto, con coma\r\n",
        "study_id\tvolume\treport\r\n1\t1.nii\tun texto, con coma\r\n".encode("utf-16"),
    ],
)
def test_tables_as_spreadsheets_write_them(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "m.csv").write_bytes(content)
    manifest = read_manifest(tmp_path / "m.csv")
    assert manifest.column("study_id") == ["1"]
    assert manifest.column("report") == ["un texto, con coma"]


@pytest.mark.parametrize("missing", ["nan", "None", "NULL", "<NA>"])
def test_the_text_of_a_missing_value_is_no_patient_and_no_report(tmp_path: Path, missing: str) -> None:
    count = 40
    path = written(tmp_path, patient_id=[missing] * count, report_id=[missing] * count)
    with pytest.warns(UserWarning, match=f"patient_id of 40 rows is '{missing}'"):
        manifest = read_manifest(path)
    assert set(manifest.column("patient_id")) == set(manifest.column("report_id")) == {""}
    assert len(set(report_groups(manifest))) == count
    with pytest.warns(UserWarning, match="names no patients"):
        assert len(set(assign_splits(manifest, None).names)) == 3


@pytest.mark.parametrize(
    ("text", "culprit"),
    [
        ("study_id,volume,raport\na,b,c\n", "'report'.*'raport'"),
        ("study_id,volume,report\n", "no rows"),
        ("study_id,volume,report\na,b,c\na,d,e\n", "'a' appears in rows 1, 2"),
        ("study_id,volume,report\na,,c\n", r"row 1 \(study_id 'a'\): 'volume' is empty"),
        ("study_id,volume,report,split\na,b,c,training\n", r"row 1 \(study_id 'a'\): the split 'training' is unknown"),
        ('study_id,volume,report,split\na,b,"c\n\nd",train\nb,b,"c\nd",training\n', r"row 2 \(study_id 'b'\)"),
        (
            "study_id,volume,report,status\na,b,c,okay\n",
            "the status 'okay' is unknown. Use one of ok, rejected, review",
        ),
        ("study_id,volume,report,split,split \na,b,c,test,train\n", "'split' twice"),
        ("study_id,volume,report\na,b,SECRET, text\nb,b,SECRET, text\n", "more cells than the header"),
        ("study_id,volume,report\na,b,SECRET,\nb,b,SECRET,\n", "more cells than the header"),
        ("study_id,volume,report\na,b,SECRET\nb,b,SECRET, text\n", "more cells than the header"),
        ("study_id,volume,report,split,status\na,b,SECRET, text,train\n", "is unknown"),
        ("study_id,volume,report,status\na,b,c,a SECRET finding\n", "the status is unknown"),
        ("a,b,SECRET text\nc,d,SECRET text\n", "first row must name the columns"),
        ("", "cannot be read as a UTF-8 CSV file: it is empty"),
        (
            'study_id,volume,report\np1,1,"SECRET text\np2,2,"No effusion"\np3,3,Third.\n',
            "line 2 cannot be read.*unclosed",
        ),
        ('study_id,volume,report\np1,1,"SECRET text\np2,2,No effusion"\np3,3,Third.\n', "line 2 has a quotation mark"),
        ("study_id,volume,report,report\na,b,SECRET,other\n", "'report' twice"),
        ("study_id,volume,report\na,b,SECRET\0text\n", "line 2 contains a null byte"),
    ],
)
def test_a_bad_manifest_names_the_culprit(tmp_path: Path, text: str, culprit: str) -> None:
    path = tmp_path / "m.csv"
    path.write_text(text)
    with pytest.raises(UserError, match=culprit) as told:
        read_manifest(path)
    assert "SECRET" not in str(told.value)


def test_blanks_and_capitals_do_not_change_what_a_cell_means(tmp_path: Path) -> None:
    manifest = read_manifest(
        written(
            tmp_path,
            report=[" as it stands ", "b", "c"],
            status=["OK", "ok ", " Rejected"],
            patient_id=["P1", "P1 ", "P2"],
            split=["Train", "train ", ""],
            **{"labels ": [" a;b", "", ""]},
        )
    )
    assert manifest.accepted().tolist() == [0, 1]
    assert manifest.column("patient_id") == ["P1", "P1", "P2"]
    assert manifest.column("split") == ["train", "train", ""]
    assert manifest.column("labels")[0] == "a;b"
    assert manifest.column("report")[0] == " as it stands "


def test_a_patient_in_two_splits_is_seen_through_blanks(tmp_path: Path) -> None:
    manifest = read_manifest(written(tmp_path, report=["a", "b"], patient_id=["P1", "P1 "], split=["train", "test"]))
    with pytest.raises(UserError, match="P1 has studies in more than one split"):
        assign_splits(manifest)


def test_cells_that_are_absent_at_a_rows_end_are_empty(tmp_path: Path) -> None:
    (tmp_path / "m.csv").write_text("study_id,volume,report,split,status\na,b,c,test\nb,b,c\n")
    assert read_manifest(tmp_path / "m.csv").column("status") == ["", ""]


def test_a_missing_manifest_names_its_path(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"nowhere\.csv"):
        read_manifest(tmp_path / "nowhere.csv")


def test_patients_stand_beside_phantoms() -> None:
    for source, phantom, patients in (
        (["phantom", "phantom"], True, False),
        (["phantom", ""], True, True),
        (["a", "b"], False, True),
    ):
        manifest = manifest_of(source=source)
        assert (manifest.is_phantom, manifest.has_patients) == (phantom, patients)
    assert manifest_of(report=["a"]).has_patients


def test_one_long_report_does_not_lengthen_all() -> None:
    manifest = manifest_of(
        report=["long " * 6000, "A  b.", "a B.", *(f"text {i % 7}" for i in range(1000))], split=["test"] * 1003
    )
    tracemalloc.start()
    try:
        same_text = evaluation_gallery(manifest, *split_rows(manifest, "test"), "test").same_text
        assert tracemalloc.get_traced_memory()[1] < 10e6
    finally:
        tracemalloc.stop()
    assert (same_text.dtype, same_text[1] == same_text[2], len(set(same_text.tolist()))) == (np.int64, True, 9)


def test_the_digest_follows_the_content_not_the_place(tmp_path: Path) -> None:
    first = read_manifest(written(tmp_path, report=["a", "b"]))
    (tmp_path / "other").mkdir()
    assert read_manifest(written(tmp_path / "other", report=["a", "b"])).digest == first.digest
    assert read_manifest(written(tmp_path, report=["a", "c"])).digest != first.digest


def test_rows_share_a_report_by_id_or_by_sound_text() -> None:
    same = "The lungs are clear and expanded."
    manifest = manifest_of(
        report=[same, same.upper(), "too short", "too short", "x", "y"],
        report_id=["", "r1", "", "", "r1", ""],
    )
    group = report_groups(manifest)
    assert group[0] == group[1] == group[4]  # text joins 0 and 1, the id joins 1 and 4
    assert group[2] != group[3]


def test_a_flagged_placeholder_proves_nothing() -> None:
    text = "Something wrong with the data ####"
    free = manifest_of(report=[text, text])
    flagged = manifest_of(report=[text, text], flags=["placeholder", "placeholder"])
    assert len(set(report_groups(free))) == 1
    assert len(set(report_groups(flagged))) == 2
