"""AMOS-MM: reports in JSON, volumes that stand in both archives, volumes with four axes."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest

from bimcvr.curation.sources.amos_mm import TABLE, AmosMM
from bimcvr.curation.study import SetAside, SourceStudy
from bimcvr.errors import UserError
from curation.sources.conftest import Curated

Writer = Callable[[Path], Path]


def entry(image: str, impression: str | None = "Nodule.", **findings: str | None) -> dict[str, Any]:
    return {
        "image": image,
        "meta": {"spacing": [0.7, 0.7, 2.5]},
        "labels": {"report": {"findings": findings, "impression": impression}},
    }


CONTENT = {
    "licence": "CC BY-ND 4.0",
    "training": [
        entry("imagesTr/amos_0001.nii.gz", chest=" Lungs are clear. ", abdomen="Liver is normal.", pelvis=None),
        entry("imagesTr/amos_0002.nii.gz", impression=None, abdomen="Cyst of the left kidney &lt; 1 cm."),
        entry("imagesTr/amos_7008.nii.gz", chest="Of training."),
    ],
    "validation": [entry("imagesVa/amos_7008.nii.gz", chest="Of validation.")],
}


@pytest.fixture
def root(tmp_path: Path, volume: Writer) -> Path:
    root = tmp_path / "amos_mm"
    for name in ("imagesTr/amos_0001", "imagesTr/amos_0002", "imagesTr/amos_7008", "imagesVa/amos_7008"):
        volume(root / f"{name}.nii.gz")
    (root / TABLE).write_text(json.dumps(CONTENT))
    return root


def read(root: Path, content: object = None) -> tuple[dict[str, SourceStudy], dict[str, SetAside]]:
    if content is not None:
        (root / TABLE).write_text(content if isinstance(content, str) else json.dumps(content))
    found = list(AmosMM(str(root)).studies())
    studies = {item.study_id: item for item in found if isinstance(item, SourceStudy)}
    return studies, {item.name: item for item in found if isinstance(item, SetAside)}


def reasons(root: Path, content: object = None) -> dict[str, str]:
    return {name: item.reason for name, item in read(root, content)[1].items()}


def test_the_manifest(root: Path, curate: Callable[..., Curated]) -> None:
    done = curate("AmosMM", root, "--assign_splits.strategy", "column")
    rows = done.rows
    assert list(rows) == ["amos_0001", "amos_0002", "amos_7008"]
    assert rows["amos_0001"]["report"] == "Lungs are clear.\nLiver is normal.\nNodule."
    assert rows["amos_0002"]["report"] == "Cyst of the left kidney < 1 cm."
    # the id that stands twice is of validation, from where its entry says
    assert (rows["amos_7008"]["report"], rows["amos_7008"]["split"]) == ("Of validation.\nNodule.", "val")
    assert rows["amos_7008"]["volume"].endswith("imagesVa/amos_7008.nii.gz")
    assert [row["split"] for row in rows.values()] == ["train", "train", "val"]
    assert {row["patient_id"] for row in rows.values()} == {""}
    assert (done.code, done.aside) == (
        3,
        {"training[2]": "duplicate_row", "imagesTr/amos_7008.nii.gz": "ambiguous_name"},
    )
    assert (done.out / "regions.csv").read_text() == (
        "study_id,region,text\n"
        "amos_0001,chest,Lungs are clear.\n"
        "amos_0001,abdomen,Liver is normal.\n"
        "amos_0002,abdomen,Cyst of the left kidney < 1 cm.\n"
        "amos_7008,chest,Of validation.\n"
    )


def test_the_shipped_file(root: Path, curate_shipped: Callable[[str, Path], Curated]) -> None:
    rows = curate_shipped("amos_mm", root).rows
    assert [(row["status"], row["split"], row["source"]) for row in rows.values()] == [
        ("ok", "train", "AMOS-MM"),
        ("ok", "train", "AMOS-MM"),
        ("rejected", "", "AMOS-MM"),
    ]


def test_a_volume_with_four_axes_is_rejected_by_the_reader(root: Path, curate: Callable[..., Curated]) -> None:
    four = nibabel.Nifti1Image(np.zeros((5, 4, 3, 2), dtype=np.int16), np.diag([0.7, 0.7, 2.5, 1]))
    four.set_sform(four.affine, code=1)
    nibabel.save(four, root / "imagesTr/amos_0001.nii.gz")
    done = curate("AmosMM", root)
    assert done.aside["amos_0001"] == "not_a_volume"
    assert (done.rows["amos_0001"]["status"], done.rows["amos_0002"]["status"]) == ("rejected", "ok")


def test_volumes_without_report_and_reports_without_volume(root: Path, volume: Writer) -> None:
    volume(root / "imagesTr/amos_0009.nii.gz")
    (root / "imagesTr/amos_0002.nii.gz").unlink()
    assert reasons(root) == {
        "training[2]": "duplicate_row",
        "amos_0002": "missing_file",
        "imagesTr/amos_0009.nii.gz": "no_row",
        "imagesTr/amos_7008.nii.gz": "ambiguous_name",
    }


@pytest.mark.parametrize("image", ["/etc/amos_1.nii.gz", "../amos_1.nii.gz", "imagesTr\\..\\..\\amos_1.nii.gz"])
def test_paths_out_of_the_folder(root: Path, image: str) -> None:
    assert reasons(root, {"training": [entry(image)]})["amos_1"] == "outside_root"


@pytest.mark.parametrize(
    ("item", "problem"),
    [
        ("amos_0001", "has something other than an object around 'image'"),
        ([], "has something other than an object around 'image'"),
        ({"labels": {}}, "names no .nii.gz file as its image"),
        ({"image": 5}, "has a 'image' that is no text"),
        (entry("imagesTr/amos_0001.png"), "names no .nii.gz file"),
        (entry("imagesTr/amos\0_0001.nii.gz"), "names no .nii.gz file"),
        ({"image": "imagesTr/amos_0001.nii.gz", "labels": []}, "has a 'labels' that is no object"),
        ({"image": "imagesTr/amos_0001.nii.gz", "labels": {"report": "text"}}, "has a 'report' that is no object"),
        (
            {"image": "imagesTr/amos_0001.nii.gz", "labels": {"report": {"findings": ["secret"]}}},
            "has a 'findings' that is no object",
        ),
        (entry("imagesTr/amos_0001.nii.gz", chest=7), "has a 'chest' that is no text"),  # type: ignore[arg-type]
        (entry("imagesTr/amos_0001.nii.gz", leg="secret"), "has findings of 1 parts of the body other than"),
        (entry("imagesTr/amos_0001.nii.gz", impression="\ud83d"), "has a 'impression' with half a character"),
    ],
)
def test_entries_of_another_form_are_set_aside(root: Path, item: object, problem: str) -> None:
    studies, aside = read(root, {"training": [item, CONTENT["training"][1]]})
    assert list(studies) == ["amos_0002"]
    assert aside["training[0]"].reason == "unreadable_row"
    assert problem in aside["training[0]"].message
    assert "secret" not in aside["training[0]"].message


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "<html>",
        "[]",
        '{"training": {}}',
        '{"test": []}',
        "[" * 100_000,
        '{"training": [], "training": []}',
        '{"training": [{"image": "a", "image": "b"}]}',
    ],
)
def test_a_file_that_is_no_table_of_reports(root: Path, content: str) -> None:
    studies, aside = read(root, content)
    assert not studies
    assert aside[TABLE].reason == "unreadable_table"


def test_bytes_that_are_no_text(root: Path) -> None:
    (root / TABLE).write_bytes(b"\xff\xfe\x00{}")
    assert reasons(root)[TABLE] == "unreadable_table"


def test_one_list_of_another_type_costs_that_list_only(root: Path) -> None:
    studies, aside = read(root, {"training": CONTENT["training"][:1], "validation": "none"})
    assert (list(studies), aside["validation"].reason) == (["amos_0001"], "unreadable_row")


def test_a_wrong_folder_is_an_error(root: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="There is no folder"):
        AmosMM(str(tmp_path / "none"))
    with pytest.raises(UserError, match=r"There is no file .*x\.json"):
        AmosMM(str(root), "x.json")
