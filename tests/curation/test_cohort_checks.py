"""One volume twice, one report id under several patients, one patient in two splits."""

import dataclasses
from pathlib import Path

import pandas as pd
import pytest
from defective import chest, write
from hypothesis import given
from hypothesis import strategies as st

from bimcvr.curation.audit.cohort_checks import check_cohort, duplicate_volumes, patients_in_two_splits
from bimcvr.curation.audit.volume_facts import VolumeFacts, measure_volume
from bimcvr.data.manifest import Manifest


@pytest.fixture(scope="module")
def facts(tmp_path_factory: pytest.TempPathFactory) -> VolumeFacts:
    return measure_volume(write(tmp_path_factory.mktemp("v") / "v.nii", *chest(1)))


def manifest_of(count: int, **columns: list[str]) -> Manifest:
    base = {
        "study_id": [f"s{i}" for i in range(count)],
        "volume": [f"v{i}.nii" for i in range(count)],
        "report": ["r"] * count,
    }
    return Manifest(pd.DataFrame({**base, **columns}, dtype=str), Path("m.csv"), Path("."))


def test_of_one_patient_s_copies_the_first_stands(facts: VolumeFacts) -> None:
    contents = ["a", "b", "a", "c", "c", "a"]
    measured = {row: dataclasses.replace(facts, content=content) for row, content in enumerate(contents)}
    manifest = manifest_of(6, patient_id=["p", "p", "p", "q", "r", "p"])
    found = {finding.study_id: finding.evidence for finding in duplicate_volumes(manifest, measured)}
    assert set(found) == {"s2", "s3", "s4", "s5"}
    assert "s0" in found["s2"]
    assert "2 patients" in found["s3"]


@given(
    st.lists(
        st.tuples(st.sampled_from(["", "p", "q", "r"]), st.sampled_from(["train", "val", "test", ""])),
        min_size=1,
        max_size=12,
    )
)
def test_patients_in_two_splits_are_those_of_a_slow_search(rows: list[tuple[str, str]]) -> None:
    manifest = manifest_of(len(rows), patient_id=[patient for patient, _ in rows], split=[split for _, split in rows])
    slow = {
        f"s{i}"
        for i, (patient, split) in enumerate(rows)
        if patient and split and any(other == patient and there and there != split for other, there in rows)
    }
    assert {finding.study_id for finding in patients_in_two_splits(manifest)} == slow


def test_a_report_id_under_two_patients() -> None:
    manifest = manifest_of(4, patient_id=["p", "q", "r", "r"], report_id=["e1", "e1", "e2", "e2"])
    assert [(f.study_id, f.flag) for f in check_cohort(manifest, {})] == [
        ("s0", "duplicate_report"),
        ("s1", "duplicate_report"),
    ]
