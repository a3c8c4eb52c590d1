"""The cohort as raw archives: both layouts read back by their readers, each planted fault what the ledger calls it."""

from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import SimpleITK as sitk

from bimcvr.commands.dataset.phantom import phantom
from bimcvr.curation.sources.bimcv.bimcv_covid import BimcvCovid19
from bimcvr.curation.sources.bimcv.bimcv_r import BimcvR
from bimcvr.curation.sources.bimcv.rotations import ORDER, rotated
from bimcvr.curation.study import SetAside, SourceStudy
from bimcvr.data.manifest import REPORT_FLAGS
from bimcvr.data.reading.volume import RefusedVolume, read_volume
from bimcvr.phantom.archive.defects import turn
from bimcvr.phantom.archive.nifti_file import NiftiFile, read_nifti
from bimcvr.phantom.archive.plan import PLACEHOLDER, plan_archive
from bimcvr.phantom.archive.table_cells import plain
from bimcvr.phantom.archive.write import LAYOUTS, write_archives
from bimcvr.phantom.cohort.studies import PhantomStudy, plan_patient
from bimcvr.phantom.reports.findings import FINDING_KINDS
from bimcvr.phantom.reports.personal import invent_person
from bimcvr.phantom.reports.spanish_report import NORMAL, PHRASES
from bimcvr.phantom.reports.vocabulary import NORMAL as ENGLISH_NORMAL

PATIENTS, SEED = 92, 4
READERS = {"bimcv_r": BimcvR, "bimcv_covid19": BimcvCovid19}
REFUSED = ("colour", "truncated", "empty_file", "no_orientation", "sheared_grid")


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cohort whose volumes are few: the archive of 100 volumes links to a handful."""
    folder = tmp_path_factory.mktemp("archive")
    phantom(folder / "few", 3, SEED, jobs=1)
    few = sorted((folder / "few/volumes").rglob("*.nii.gz"))
    for number, scan in enumerate(scan for study in studies() for scan in study.scans()):
        target = folder / "volumes" / f"sub-P{scan.patient + 1:04d}" / f"{scan.study_id}.nii.gz"
        target.parent.mkdir(parents=True, exist_ok=True)
        target.hardlink_to(few[number % len(few)])
    write_archives(folder, studies(), SEED, "shards", jobs=1)
    return folder


def studies() -> list[PhantomStudy]:
    return [study for patient in range(PATIENTS) for study in plan_patient(SEED, patient)]


def read(folder: Path, layout: str) -> tuple[list[SourceStudy], list[SetAside]]:
    found = list(READERS[layout](str(folder / layout)).studies())
    return [item for item in found if isinstance(item, SourceStudy)], [
        item for item in found if isinstance(item, SetAside)
    ]


def ledger(folder: Path, layout: str) -> pd.DataFrame:
    return pd.read_csv(folder / f"{layout}.ledger.csv", keep_default_na=False)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_volume_is_read_back(cohort: Path, layout: str) -> None:
    taken, aside = read(cohort, layout)
    truth = pd.read_csv(cohort / f"{layout}.truth.csv", keep_default_na=False).set_index("study_id")
    assert aside == []
    assert {study.study_id for study in taken} == set(truth.index)
    assert len(taken) == len(truth) == sum(study.runs for study in studies())
    for study in taken:
        row = truth.loc[study.study_id]
        assert study.report == plain(row["report_spanish"])
        assert study.columns["cohort"] == row["cohort"]
        if layout == "bimcv_r":
            assert study.translation == row["report_english"] or not study.report


@pytest.mark.parametrize("layout", LAYOUTS)
def test_each_fault_of_a_report_is_what_the_ledger_says(cohort: Path, layout: str) -> None:
    taken, _ = read(cohort, layout)
    flags = ledger(cohort, layout).groupby("study_id")["flag"].agg(set).to_dict()
    texts = Counter((study.report, study.columns["file_patient_id"]) for study in taken)
    for study in taken:
        mine = flags.get(study.study_id, set())
        told = (study.patient_id, study.report_id)
        stated = (study.columns["file_patient_id"], study.columns["file_report_id"])
        assert ("mismatch_ids" in mine) == (told != stated)
        assert ("report_short" in mine) == (len(study.report.split()) < 5)
        assert ("wrong_modality" in mine) == study.report.startswith(("rx ", "radiografía"))
        others = sum(count for (text, patient), count in texts.items() if text == study.report and patient != stated[0])
        assert ("duplicate_report" in mine) == (others > 0 and "report_short" not in mine)
        if layout == "bimcv_r":
            assert ("placeholder" in mine) == (study.translation == PLACEHOLDER)
    assert ("placeholder" in set().union(*flags.values())) == (layout == "bimcv_r")


def test_each_fault_of_a_volume_is_what_the_ledger_says(cohort: Path) -> None:
    volumes = {study.study_id: study.volume for study in read(cohort, "bimcv_r")[0]}
    rows = [row for row in ledger(cohort, "bimcv_r").itertuples() if not row.flag.startswith(REPORT_FLAGS)]
    for row in rows:
        if row.flag in REFUSED:
            with pytest.raises(RefusedVolume) as refusal:
                read_volume(volumes[row.study_id])
            assert refusal.value.reason == row.flag
            continue
        volume = read_volume(volumes[row.study_id])
        soft = volume.hu[(volume.hu > -200)]
        spacing, shape = volume.spacing, volume.hu.shape
        seen = {
            "slice_spacing": spacing[0] >= 180,
            "too_small": min(shape) < 96,
            "duplicate_volume": True,
            "orientation": True,
            "field_of_view": not 200 < spacing[2] * shape[2] < 600,
            "missing_voxels": volume.geometry.padding_inside + volume.geometry.not_finite / volume.hu.size > 0.3,
            # a chest has lungs: between a tenth and half of its voxels
            "not_chest": not 0.04 < np.mean((volume.hu > -950) & (volume.hu < -600)) < 0.6,
            "not_hu": np.median(soft) > 500
            or volume.hu.min() >= 0
            or volume.hu.max() < 0
            or np.percentile(volume.hu, 99) < 0,
        }
        assert seen[row.flag] or row.detail == "rescaled twice", row


def test_rescaled_twice_puts_soft_tissue_at_minus_a_thousand(cohort: Path) -> None:
    twice = [row.study_id for row in ledger(cohort, "bimcv_r").itertuples() if row.detail == "rescaled twice"]
    path = next(study.volume for study in read(cohort, "bimcv_r")[0] if study.study_id == twice[0])
    voxels = sitk.GetArrayFromImage(sitk.ReadImage(str(path)))
    assert voxels.min() < -1900
    assert np.median(voxels[voxels > -1400]) < -900


def test_both_layouts_hold_the_same_volumes(cohort: Path) -> None:
    released = {study.study_id: study.volume.read_bytes() for study in read(cohort, "bimcv_r")[0]}
    raw = {study.study_id: study.volume.read_bytes() for study in read(cohort, "bimcv_covid19")[0]}
    assert released == raw
    pairs = [row for row in ledger(cohort, "bimcv_r").itertuples() if row.detail.startswith("the volume of")]
    assert pairs
    assert all(released[row.study_id] == released[row.detail.split()[-1]] for row in pairs)


def test_rates_are_the_real_ones(cohort: Path) -> None:
    """Drawn for a large archive: the plan alone, no volume."""
    many = [study for patient in range(2000) for study in plan_patient(0, patient)]
    plan = plan_archive(many, {scan.study_id: Path(scan.study_id) for study in many for scan in study.scans()}, 0)
    flags = Counter(flag for _, flag, _ in plan.ledger + plan.released_only)
    count, negative = len(plan.entries), sum(entry.negative for entry in plan.entries)
    assert abs(negative / count - 0.173) < 0.002
    assert flags["mismatch_ids"] == negative
    assert abs(flags["placeholder"] / count - 0.079) < 0.002
    assert abs(flags["wrong_modality"] / negative - 0.557) < 0.03
    borrowed = sum(detail.startswith("the report of") for _, flag, detail in plan.ledger if flag == "duplicate_report")
    assert abs(borrowed / negative - 0.41) < 0.03
    assert len(set(plan.spoilt)) == len(plan.spoilt)
    second = [name for name, fault in plan.spoilt.items() if isinstance(fault, int) and fault == 3]
    assert sum("acq-2" in name for name in second) == len(second)


def test_the_same_seed_gives_the_same_archive_and_folders_the_same_as_shards(cohort: Path, tmp_path: Path) -> None:
    (tmp_path / "volumes").symlink_to(cohort / "volumes")
    write_archives(tmp_path, studies(), SEED, "folders", jobs=1)
    for layout in LAYOUTS:
        assert (tmp_path / f"{layout}.ledger.csv").read_bytes() == (cohort / f"{layout}.ledger.csv").read_bytes()
        loose, packed = read(tmp_path, layout)[0], read(cohort, layout)[0]
        assert {study.study_id: (study.report, study.labels, study.volume.read_bytes()) for study in loose} == {
            study.study_id: (study.report, study.labels, study.volume.read_bytes()) for study in packed
        }
    assert not (tmp_path / ".staging").exists()


@pytest.mark.parametrize("kind", [kind for kind in ORDER if kind != "type_0"])
def test_a_turned_volume_is_turned_back_as_the_table_says(kind: str) -> None:
    rng = np.random.default_rng(1)
    rows = np.column_stack([np.diag([-0.7, 0.8, 2.5]), [10, -20, 30]])
    image = NiftiFile(rng.integers(0, 9, (4, 5, 6)).astype(np.int16), np.array([0.7, 0.8, 2.5]), rows, bytes(352))
    turned = turn(image, kind)
    back = rotated(turned.voxels.transpose(2, 1, 0), kind).transpose(2, 1, 0)
    assert np.array_equal(back, image.voxels)
    assert np.allclose(turned.spacing[list(ORDER[kind])], image.spacing)
    # the header still says what it said
    assert np.array_equal(np.sign(turned.rows[:, :3]), np.sign(image.rows[:, :3]))


def test_rotations_stand_in_the_raw_archives_table(cohort: Path) -> None:
    taken, _ = read(cohort, "bimcv_covid19")
    planted = {
        row.study_id: row.detail for row in ledger(cohort, "bimcv_covid19").itertuples() if row.flag == "orientation"
    }
    assert {study.study_id: study.columns["rotation"] for study in taken if "rotation" in study.columns} == planted
    assert {study.columns["rotation_in_header"] for study in taken if "rotation" in study.columns} == {"no"}


def test_no_person_of_the_tags_is_read(cohort: Path) -> None:
    taken, _ = read(cohort, "bimcv_covid19")
    columns = repr([study.columns for study in taken])
    assert "SIEMENS" in columns
    assert not any(word in columns for word in ("Soler^Ana", "García^María", "19540312", "Hospital"))


def test_personal_data_stand_in_the_report_as_the_truth_says(cohort: Path) -> None:
    truth = pd.read_csv(cohort / "bimcv_r.truth.csv", keep_default_na=False)
    told = truth[truth["personal"] != ""]
    assert 0.1 < len(told) / len(truth) < 0.4
    for row in told.itertuples():
        for item in row.personal.split(";"):
            assert set(item.partition("=")[2].split()) <= set(
                row.report_spanish.replace(",", " ").replace(".", " ").split()
            )


def test_spanish_has_words_for_all_that_english_says() -> None:
    assert PHRASES.keys() == FINDING_KINDS.keys()
    assert len(NORMAL) == len(ENGLISH_NORMAL)
    for name, kind in FINDING_KINDS.items():
        phrases = PHRASES[name]
        assert all(size in phrases.grades for size in kind.sizes if isinstance(size, str))
        assert all(site in phrases.sites for site in kind.sites if site)
        assert all("{size}" in said for said in phrases.sized)
        assert not any("{size}" in said for said in phrases.plain)
        assert phrases.negations


def test_numbers_survive_the_plain_style() -> None:
    assert plain("Nódulo de 2,5 cm (LSD), nuevo; 12/03/2020. Fin.") == "nódulo de 2,5 cm lsd nuevo 12/03/2020 fin"


def test_people_are_invented_anew() -> None:
    people = [invent_person(np.random.default_rng(seed)) for seed in range(50)]
    assert len({person.spanish for person in people}) == 50
    assert {kind for person in people for kind, _ in person.items} == {
        "NAME",
        "RECORD",
        "DATE",
        "PHONE",
        "ADDRESS",
        "HOSPITAL",
    }


def test_a_nifti_file_is_written_as_it_was_read(cohort: Path) -> None:
    path = next((cohort / "few/volumes").rglob("*.nii.gz"))
    image = read_nifti(path)
    assert np.array_equal(image.voxels, sitk.GetArrayFromImage(sitk.ReadImage(str(path))))
