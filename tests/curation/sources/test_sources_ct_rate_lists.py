"""CT-RATE's second release, the lists that name volumes, and RadGenome-ChestCT's sentences."""

from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import pandas as pd
import pytest

from bimcvr.curation.sources.ct_rate import CtRate
from bimcvr.curation.sources.published_lists import CT_RATE_BROKEN
from bimcvr.curation.sources.radgenome import read_regions
from bimcvr.curation.study import SetAside, SourceStudy
from bimcvr.data.cache.volume_cache import VolumeCache
from bimcvr.data.hu.model_grid import ModelGrid
from bimcvr.data.reading.volume import read_volume
from bimcvr.errors import UserError
from curation.sources.conftest import Curated

Writer = Callable[[Path], Path]
Curate = Callable[..., Curated]
NAMES = ("train_1_a_1", "train_1_a_2", "train_2_a_1", "train_11755_a_2", "train_9792_a_4", "valid_7_a_1")


@pytest.fixture
def root(tmp_path: Path, volume: Writer) -> Path:
    """The second release: a chest with two reconstructions, a head, two broken volumes, one of validation."""
    root = tmp_path / "CT-RATE/dataset"
    for name in NAMES:
        split, patient, scan, _ = name.split("_")
        folder = root / f"{split}_fixed/{split}_{patient}/{split}_{patient}_{scan}"
        volume(folder / f"{name}.nii.gz")
    reports, metadata = root / "radiology_text_reports", root / "metadata"
    reports.mkdir()
    metadata.mkdir()
    for split, table in (("train", "train"), ("valid", "validation")):
        names = [name for name in NAMES if name.startswith(split)]
        (reports / f"{table}_reports.csv").write_text(
            "VolumeName,Findings_EN,Impressions_EN\n"
            + "".join(f"{name}.nii.gz,Lungs of {name} are clear today.,Normal.\n" for name in names)
        )
        (metadata / f"{table}_metadata.csv").write_text(
            "VolumeName,Manufacturer,XYSpacing,RescaleIntercept,RescaleSlope,ZSpacing\n"
            + "".join(f'{name}.nii.gz,Philips,"[0.7, 0.7]",-1024,2,2.5\n' for name in names)
        )
    # with and without the folders, as both are around
    (metadata / "no_chest_train.txt").write_text("train_2_a_1.nii.gz\n\nnotes\n")
    (metadata / "no_chest_valid.txt").write_text("dataset/valid_fixed/valid_8/valid_8_a/valid_8_a_1.nii.gz\n")
    return root


def test_the_second_release_is_never_rescaled(root: Path, volume: Writer, curate: Curate) -> None:
    """HU in the file, a table that says slope 2 and intercept -1024: what is cached are the file's values."""
    volume(root / "train/train_1/train_1_a/train_1_a_1.nii.gz")
    done = curate("CtRate", root, "--size", "[3, 4, 5]")
    row = done.rows["train_1_a_1"]
    assert "train_fixed" in row["volume"]
    assert (row["release"], row["header_spacing"], row["manufacturer"]) == ("fixed", "agrees", "Philips")
    assert not {"rescale_slope", "rescale_intercept"} & row.keys()
    file = done.out / row["volume"]
    stored = np.asarray(nibabel.load(file).dataobj)
    hu = read_volume(file).hu
    assert (hu.min(), hu.max()) == (stored.min(), stored.max())
    assert hu.max() - hu.min() < 1500
    cache = VolumeCache(done.out / "cache", ModelGrid((3, 4, 5)))
    cached = cache.read(cache.entry(file, row["sha256"]))
    assert (cached.hu.min(), cached.hu.max()) == (stored.min(), stored.max())


def test_the_shipped_file(root: Path, curate_shipped: Callable[[str, Path], Curated]) -> None:
    rows = curate_shipped("ct_rate", root).rows
    assert {name: (row["archive_split"], row["source"]) for name, row in rows.items()} == {
        "train_1_a_1": ("train", "CT-RATE"),
        "train_1_a_2": ("train", "CT-RATE"),
        "valid_7_a_1": ("val", "CT-RATE"),
    }


def test_what_lists_name_is_left_out_with_the_list(root: Path, curate: Curate) -> None:
    done = curate("CtRate", root)
    assert done.code == 3
    assert sorted(done.rows) == ["train_1_a_1", "train_1_a_2", "valid_7_a_1"]
    assert done.aside == {
        "train_2_a_1": "listed_no_chest",
        "train_11755_a_2": "listed_broken",
        "train_9792_a_4": "listed_broken",
        "no_chest_train.txt: line 3": "unreadable_row",
    }
    messages = pd.read_csv(done.out / "set_aside.csv", index_col="name")["message"]
    assert "no_chest_train.txt" in messages["train_2_a_1"]
    assert "RadFinder" in messages["train_9792_a_4"]


def test_listed_volumes_can_be_kept(root: Path, curate: Curate) -> None:
    done = curate("CtRate", root, "--source.keep_listed", "true")
    assert sorted(done.rows) == sorted(NAMES)
    assert {name: row["listed"] for name, row in done.rows.items() if row["listed"]} == {
        "train_2_a_1": "listed_no_chest",
        "train_11755_a_2": "listed_broken",
        "train_9792_a_4": "listed_broken",
    }
    assert done.aside == {"no_chest_train.txt: line 3": "unreadable_row"}


def test_a_listed_volume_that_was_not_downloaded_is_not_missed(root: Path) -> None:
    for name in ("train_2_a_1", "train_11755_a_2", "train_1_a_2"):
        next(root.rglob(f"{name}.nii.gz")).unlink()
    aside = {item.name: item.reason for item in CtRate(str(root)).studies() if isinstance(item, SetAside)}
    assert aside["train_1_a_2.nii.gz"] == "missing_file"
    assert not {"train_2_a_1", "train_2_a_1.nii.gz", "train_11755_a_2.nii.gz"} & aside.keys()


def test_a_split_without_its_list_is_named(root: Path) -> None:
    (root / "metadata/no_chest_valid.txt").unlink()
    aside = {item.name: item.reason for item in CtRate(str(root)).studies() if isinstance(item, SetAside)}
    assert aside["no_chest_valid.txt"] == "missing_list"
    assert "no_chest_train.txt" not in aside


def test_the_broken_volumes_are_those_of_the_published_list() -> None:
    numbers = {"train_11755_a": "234", "train_1267_a": "4", "train_3821_a": "5", "train_9792_a": "1234"}
    assert set(CT_RATE_BROKEN) == {f"{scan}_{number}" for scan, of_scan in numbers.items() for number in of_scan}


def test_two_rows_for_one_volume(root: Path) -> None:
    table = root / "radiology_text_reports/train_reports.csv"
    table.write_text(table.read_text() + "train_1_a_1.nii.gz,Another report.,Nodule.\n,No name.,\n")
    found = list(CtRate(str(root)).studies())
    assert next(item.report for item in found if isinstance(item, SourceStudy)).startswith("Lungs of train_1_a_1")
    aside = {item.name: item.reason for item in found if isinstance(item, SetAside)}
    assert (aside["train_reports.csv: line 7"], aside["train_reports.csv: line 8"]) == ("duplicate_row", "no_key")


@pytest.fixture
def radgenome(tmp_path: Path) -> Path:
    files = tmp_path / "RadGenome/dataset/radgenome_files"
    files.mkdir(parents=True)
    (files / "train_region_report.csv").write_text(
        "Volumename,Anatomy,Sentence\n"
        "train_1_a_1.nii.gz,lung,There is a nodule of 5 mm.\n"
        "train_1_a_1.nii.gz,heart,Heart size is normal.\n"
        "train_1_a_1.nii.gz,lung,There is a nodule of 5 mm.\n"
        "train_1_a_1.nii.gz,lung,Seen by Dr. Ana Soler on 12/05/2020.\n"
        "train_1_a_1.nii.gz,,The bones are normal.\n"
        "train_404_a_1.nii.gz,lung,Clear.\n"
    )
    (files / "validation_region_report.csv").write_text(
        "Volumename,Anatomy,Sentence\nvalid_7_a_1.nii.gz,Esophagus,Normal &amp; thin.\n"
    )
    (files / "train_case_disorders.csv").write_text("anything\n")
    return tmp_path / "RadGenome"


def test_sentences_by_region_are_a_second_table(root: Path, radgenome: Path, curate: Curate) -> None:
    words = ("--source.regions", str(radgenome), "--anonymise", "bimcvr.curation.Anonymiser")
    done = curate("CtRate", root, *words)
    lines = (done.out / "regions.csv").read_text().splitlines()
    assert lines[0] == "study_id,region,text"
    assert lines[2:] == ["train_1_a_1,heart,Heart size is normal.", "valid_7_a_1,esophagus,Normal & thin."]
    assert lines[1].startswith("train_1_a_1,lung,There is a nodule of 5 mm. Seen by")
    assert "[NAME]" in lines[1]
    assert "[DATE]" in lines[1]
    assert "Soler" not in lines[1]
    assert done.rows["train_1_a_1"]["report"] == "Lungs of train_1_a_1 are clear today.\nNormal."
    assert (done.aside["train_404_a_1"], done.aside["train_region_report.csv"]) == ("unknown_volume", "no_region")
    log = pd.read_csv(done.out / "log/anonymise.csv")
    assert set(log[log["what"] == "regions: NAME"]["study_id"]) == {"train_1_a_1"}
    # without the second table, its result of an earlier run goes
    curate("CtRate", root)
    assert not (done.out / "regions.csv").exists()


def test_a_folder_without_tables_of_regions_is_an_error(radgenome: Path, root: Path) -> None:
    with pytest.raises(UserError, match=r"has no table train_region_report\.csv"):
        read_regions(root)
    with pytest.raises(UserError, match="There is no folder"):
        read_regions(root / "none")
    (radgenome / "dataset/radgenome_files/train_region_report.csv").write_text("Volumename,Anatomy\ntrain_1,lung\n")
    with pytest.raises(UserError, match="has no column Sentence"):
        read_regions(radgenome)
