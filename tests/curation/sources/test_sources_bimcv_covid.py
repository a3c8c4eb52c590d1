"""The raw layout: each cell of the hand-typed tables, in a tree and in tar parts."""

import hashlib
import shutil
import tarfile
from collections import Counter
from pathlib import Path

import pytest

from bimcvr.curation.sources.bimcv.bimcv_covid import BimcvCovid19
from bimcvr.curation.study import SetAside, SourceStudy

ASIDE = Counter(
    {
        "unknown_rotation": 1,
        "unreadable_list": 1,
        "duplicate_row": 1,
        "no_key": 1,
        "missing_file": 1,
        "unreadable_tags": 1,
    }
)


def split(found: list[SourceStudy | SetAside]) -> tuple[dict[str, SourceStudy], list[SetAside]]:
    studies = {item.columns["file_report_id"]: item for item in found if isinstance(item, SourceStudy)}
    return studies, [item for item in found if isinstance(item, SetAside)]


def packed(root: Path) -> Path:
    """Pack the tree into the archives that it is downloaded as: tables apart, one part a cohort."""
    for cohort in ("covid19_posi", "covid19_neg"):
        archives = {
            f"{cohort}_head.tar.gz": "derivatives/**/*.tsv",
            f"{cohort}_subjects.tar.gz": "participants.tsv",
            f"{cohort}_sessions_tsv.tar.gz": "sub-*/*_sessions.tsv",
            f"{cohort}_subjects_1.tgz": "sub-*/ses-*/**/*.*",
        }
        for name, pattern in archives.items():
            if not any((root / cohort).glob(pattern)):
                continue
            with tarfile.open(root / name, "w:gz") as tar:
                for file in sorted((root / cohort).glob(pattern)):
                    tar.add(file, file.relative_to(root))
        shutil.rmtree(root / cohort)
    return root


def test_cells_are_read_as_typed(bimcv_covid19: Path) -> None:
    source = BimcvCovid19(str(bimcv_covid19))
    studies, aside = split(list(source.studies()))
    assert Counter(item.reason for item in aside) == ASIDE
    assert source.passed_over == {".png": 1}
    first = studies["ses-E08301"]
    assert first.study_id == "sub-S04201_ses-E08301_acq-1_run-2_bp-chest_ct"
    assert (first.patient_id, first.report_id, first.language, first.shard) == ("sub-S04201", "ses-E08301", "es", "")
    assert (first.report, first.labels) == ("derrame pleural derecho sin nódulos", ("pleural effusion",))
    # the tags' age stands for the table's; the volume lies as the rotation's table does not say
    assert first.columns == {
        "file_patient_id": "sub-S04201",
        "file_report_id": "ses-E08301",
        "sex": "F",
        "age": "56",
        "cohort": "positive",
        "manufacturer": "SIEMENS",
        "model": "Sensation 64",
        "kernel": "B70f/2",
        "kvp": "120",
        "slice_thickness": "1.5",
        "pixel_spacing": "0.7/0.7",
        "rotation": "type_1",
        "rotation_in_header": "no",
        "localizations": "loc right",
        "labels_by_sentence": '[["pleural effusion", "loc right"], ["exclude"]]',
        "label_cuis": "C0032227",
        "localization_cuis": "C0444532",
    }


def test_no_persons_tag_comes_through(bimcv_covid19: Path) -> None:
    found = repr(list(BimcvCovid19(str(bimcv_covid19)).studies()))
    for personal in ("Soler", "Ana", "H-123456", "19640102", "INVENTADO", "Nadie", "20200415"):
        assert personal not in found


def test_reports_come_from_either_table(bimcv_covid19: Path) -> None:
    by_labels, _ = split(list(BimcvCovid19(str(bimcv_covid19)).studies()))
    assert by_labels["ses-E08302"].report == "Dolor torácico, d'origen incierto.\nNeumotórax izquierdo de 3,5 cm."
    assert by_labels["ses-E08303"].report == ""
    assert (by_labels["ses-E08400"].report, by_labels["ses-E08400"].patient_id) == (
        "radiografía de tórax normal",
        "sub-S09999",
    )
    assert by_labels["ses-E08400"].columns["cohort"] == "negative"
    assert (by_labels["ses-E08302"].columns["age"], by_labels["ses-E08302"].columns["kvp"]) == ("90+", "100")
    by_sessions, _ = split(list(BimcvCovid19(str(bimcv_covid19), report="sessions").studies()))
    assert by_sessions["ses-E08301"].report == "TC de tórax: derrame pleural derecho.\nSin nódulos."
    assert by_sessions["ses-E08400"].report == "radiografía de tórax normal"


def test_tar_parts_give_the_same_studies(bimcv_covid19: Path) -> None:
    loose, loose_aside = split(list(BimcvCovid19(str(bimcv_covid19)).studies()))
    source = BimcvCovid19(str(packed(bimcv_covid19)))
    assert source.shards() == ["covid19_neg_subjects_1.tgz", "covid19_posi_subjects_1.tgz"]
    studies, aside = split(list(source.studies()))
    assert {key: (item.report, item.labels, item.columns) for key, item in studies.items()} == {
        key: (item.report, item.labels, item.columns) for key, item in loose.items()
    }
    assert sorted(item.reason for item in aside) == sorted(item.reason for item in loose_aside)
    assert source.passed_over == {".png": 1}
    assert {item.shard for item in studies.values()} == set(source.shards())


def test_checksums_and_listings_are_verified(bimcv_covid19: Path) -> None:
    root = packed(bimcv_covid19)
    part = root / "covid19_posi_subjects_1.tgz"
    right = hashlib.sha1(part.read_bytes(), usedforsecurity=False).hexdigest()
    (root / "sha1sum.txt").write_text(f"{right}  {part.name}\n{'0' * 40} *./covid19_neg_subjects_1.tgz\n")
    lost = "covid19_posi/sub-S04777/ses-E08777/mod-rx/sub-S04777_ses-E08777_run-1_bp-chest_ct.nii.gz"
    Path(f"{part}.tar-tvf.txt").write_text(
        f"-rw-r--r-- user/users 123456 2020-06-01 10:00 {lost}\n"
        f"drwxr-xr-x user/users 0 2020-06-01 10:00 covid19_posi/\n"
    )
    studies, aside = split(list(BimcvCovid19(str(root)).studies()))
    assert set(studies) == {"ses-E08301", "ses-E08302", "ses-E08303"}
    reasons = Counter(item.reason for item in aside)
    assert (reasons["checksum"], reasons["missing_file"]) == (1, 2)
    assert any(item.name.endswith(lost) for item in aside)
    assert len(split(list(BimcvCovid19(str(root), verify=False).studies()))[0]) == 4


@pytest.mark.parametrize(
    "name", ["bimcv_covid19_posi_subjects_12.tgz", "covid19_posi_subjects_part03.tar.gz", "part-1.tar"]
)
def test_names_of_parts(tmp_path: Path, name: str) -> None:
    (tmp_path / name).touch()
    for tables in (
        "covid19_posi_head.tar.gz",
        "covid19_neg_metadata.tar.gz",
        "covid19_neg_derivative.tar.gz",
        "covid19_posi_subjects.tar.gz",
        "bimcv_covid19_posi_sessions_tsv_iter1.tgz",
        "bimcv_covid19_posi_head_iter1.tgz",
    ):
        (tmp_path / tables).touch()
    assert BimcvCovid19(str(tmp_path)).shards() == [name]
