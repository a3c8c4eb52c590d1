"""The released layout: each cell of the hand-typed table, in folders and in zips."""

import os
import shutil
import zipfile
from collections import Counter
from pathlib import Path

import pytest

from bimcvr.curation.archives.unpack import Keep
from bimcvr.curation.sources.bimcv.bimcv_r import BimcvR
from bimcvr.curation.study import SetAside, SourceStudy
from bimcvr.errors import UserError

TAKEN = [
    "sub-S03101_ses-E07001_run-1",
    "sub-S03101_ses-E07001_acq-2_run-3",
    "sub-S03102_ses-E07002_run-1",
    "sub-S03105_ses-E07005_run-2",
    "sub-S03104_ses-E07004_run-1",
]
REASONS = {
    "ambiguous_name": 1,
    "missing_file": 1,
    "unreadable_list": 2,
    "formula": 1,
    "duplicate_row": 1,
    "no_path": 1,
    "no_row": 1,
}


def split(found: list[SourceStudy | SetAside]) -> tuple[list[SourceStudy], list[SetAside]]:
    return [item for item in found if isinstance(item, SourceStudy)], [
        item for item in found if isinstance(item, SetAside)
    ]


def zipped(root: Path) -> Path:
    """Pack the folders as they are downloaded."""
    for folder in [*root.glob("CT*"), root / "meta"]:
        name = "meta_1" if folder.name == "meta" else folder.name
        with zipfile.ZipFile(root / f"{name}.zip", "w") as packed:
            for file in sorted(folder.rglob("*.*")):
                packed.write(file, file.relative_to(root))
        shutil.rmtree(folder)
    return root


def test_every_row_and_file_is_accounted_for(bimcv_r: Path) -> None:
    studies, aside = split(list(BimcvR(str(bimcv_r)).studies()))
    assert [study.study_id.removesuffix("_bp-chest_ct") for study in studies] == TAKEN
    assert Counter(item.reason for item in aside) == REASONS
    assert next(item.name for item in aside if item.reason == "missing_file") == "BIMCV_meta.csv: line 5"
    assert all(study.volume.is_file() and study.volume.name == f"{study.study_id}.nii.gz" for study in studies)


def test_cells_are_read_as_typed(bimcv_r: Path) -> None:
    studies, _ = split(list(BimcvR(str(bimcv_r)).studies()))
    first, second, negative, english_only, broken = studies
    assert (first.patient_id, first.report_id, first.shard, first.language) == ("sub-S03101", "ses-E07001", "CT1", "es")
    assert first.report == "se observa derrame pleural derecho con nódulo en lóbulo superior izquierdo de 12 mm"
    assert (
        first.translation
        == 'Right pleural effusion is observed with a nodule of 12 mm in the left upper lobe, "stable".'
    )
    assert first.labels == ("pleural effusion", "nodule")
    assert first.columns == {
        "table_line": "2",
        "file_patient_id": "sub-S03101",
        "file_report_id": "ses-E07001",
        "cohort": "positive",
        "localizations": "loc right;loc left upper lobe",
        "label_cuis": "C0032227;C0034079",
        "localization_cuis": "C0444532;C1261076",
        "labels_by_sentence": '[["pleural effusion", "loc right"], ["nodule", "loc left upper lobe"]]',
    }
    assert second.translation == "Something wrong with the data! #################"
    assert second.report_id == first.report_id
    assert (negative.patient_id, negative.columns["file_patient_id"]) == ("sub-S09999", "sub-S03102")
    assert (negative.report_id, negative.columns["file_report_id"]) == ("ses-E19999", "ses-E07002")
    assert negative.columns["cohort"] == "negative"
    assert (english_only.report, english_only.language, english_only.translation) == (
        "Only the English text is there",
        "en",
        "",
    )
    assert (broken.labels, broken.columns["label_cuis"], broken.report) == (
        (),
        "C0521530",
        "consolidación en base izquierda",
    )


def test_zips_give_the_same_studies(bimcv_r: Path) -> None:
    loose, loose_aside = split(list(BimcvR(str(bimcv_r)).studies()))
    packed, packed_aside = split(list(BimcvR(str(zipped(bimcv_r))).studies()))

    def key(study: SourceStudy) -> tuple[object, ...]:
        return (study.study_id, study.report, study.shard, study.labels, tuple(study.columns.items()))

    assert [key(study) for study in packed] == [key(study) for study in loose]
    assert [item.reason for item in packed_aside] == [item.reason for item in loose_aside]


def test_a_zip_that_was_unpacked_beside_itself_is_no_second_copy(bimcv_r: Path) -> None:
    with zipfile.ZipFile(bimcv_r / "CT1.zip", "w") as packed:
        for file in sorted((bimcv_r / "CT1").rglob("*.nii.gz")):
            packed.write(file, file.relative_to(bimcv_r))
    _, aside = split(list(BimcvR(str(bimcv_r)).studies()))
    assert Counter(item.reason for item in aside) == REASONS


@pytest.mark.parametrize(
    ("keep", "at_once", "left", "archives"),
    [
        ("all", 3, 3, ["CT1.zip", "CT10.zip", "CT2.zip"]),
        ("archives", 1, 0, ["CT1.zip", "CT10.zip", "CT2.zip"]),
        # of the other two archives, volumes were set aside
        ("nothing", 1, 0, ["CT1.zip", "CT2.zip"]),
    ],
)
def test_a_released_shard_is_deleted_as_far_as_keep_says(
    bimcv_r: Path, keep: Keep, at_once: int, left: int, archives: list[str]
) -> None:
    def unpacked() -> int:
        return len(list((bimcv_r / "unpacked").glob("CT*.zip")))

    source = BimcvR(str(zipped(bimcv_r)), keep=keep)
    on_disk = []
    for shard in source.shards():
        studies = [item for item in source.studies([shard]) if isinstance(item, SourceStudy)]
        assert all(study.volume.is_file() for study in studies)
        on_disk.append(unpacked())
        source.release(shard)
    assert max(on_disk) == at_once
    assert unpacked() == left
    assert sorted(path.name for path in bimcv_r.glob("CT*.zip")) == archives


def test_only_what_was_read_to_the_end_is_released(bimcv_r: Path) -> None:
    source = BimcvR(str(zipped(bimcv_r)), keep="nothing")
    studies = source.studies()
    first = next(item for item in studies if isinstance(item, SourceStudy))
    for shard in source.shards():
        source.release(shard)
    assert first.volume.is_file()
    assert len(list(bimcv_r.glob("CT*.zip"))) == 3


def test_single_shards_add_up_to_the_whole(bimcv_r: Path) -> None:
    source = BimcvR(str(zipped(bimcv_r)))
    assert source.shards() == ["CT1", "CT2", "CT10"]
    parts = [item for shard in source.shards() for item in source.studies([shard])]
    assert split(parts)[0] == split(list(source.studies()))[0]
    assert not list(source.studies([]))


def test_the_loaders_own_table(bimcv_r: Path) -> None:
    studies, _ = split(list(BimcvR(str(bimcv_r), table="curated_ct_report_path_En.csv").studies()))
    assert [(study.report, study.patient_id, study.language) for study in studies] == [
        ("Right pleural effusion, as the loader's own table has it.", "sub-S03101", "en")
    ]


def test_what_is_lacking_is_said(tmp_path: Path, bimcv_r: Path) -> None:
    with pytest.raises(UserError, match="no folder"):
        BimcvR(str(tmp_path / "absent"))
    with pytest.raises(UserError, match=r"it has BIMCV_meta.csv, curated"):
        list(BimcvR(str(bimcv_r), table="other.csv").studies())


def test_links_out_of_the_folder_and_broken_zips_are_set_aside(bimcv_r: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secret_ct.nii.gz"
    secret.write_bytes(b"secret")
    os.symlink(secret, bimcv_r / "CT1/ct/link_ct.nii.gz")
    os.symlink(tmp_path, bimcv_r / "everything")
    (bimcv_r / "CT7.zip").write_bytes(b"PK\x03\x04 and no more")
    studies, aside = split(list(BimcvR(str(bimcv_r)).studies()))
    reasons = Counter(item.reason for item in aside)
    assert (reasons["symlink"], reasons["bad_zip"], len(studies)) == (2, 1, len(TAKEN))


def test_a_damaged_table_in_a_zip_is_said(bimcv_r: Path) -> None:
    archive = zipped(bimcv_r) / "meta_1.zip"
    raw = bytearray(archive.read_bytes())
    raw[raw.index(b"BIMCV_meta.csv") + 300] ^= 0xFF
    archive.write_bytes(raw)
    with pytest.raises(UserError, match=r"BIMCV_meta.csv cannot be unpacked"):
        list(BimcvR(str(bimcv_r), table="BIMCV_meta.csv").studies())
    _, aside = split(list(BimcvR(str(bimcv_r)).studies()))
    assert aside[0].reason == "damaged"
