"""Split strategies: sizes, stability, and patients who must not stand in two splits."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bimcvr.data.manifest import Manifest
from bimcvr.data.splits import Strategy, assign_splits
from bimcvr.errors import UserError


def manifest_of(patients: list[str], **columns: list[str]) -> Manifest:
    count = len(patients)
    base = {"study_id": [f"s{i}" for i in range(count)], "volume": ["v"] * count, "report": ["r"] * count}
    return Manifest(pd.DataFrame({**base, "patient_id": patients, **columns}, dtype=str), Path("m.csv"), Path("."))


def test_exact_gives_the_papers_sizes() -> None:
    manifest = manifest_of([f"p{i}" for i in range(8069)])
    split = assign_splits(manifest, "exact", seed=3)
    assert [len(split.rows(name)) for name in ("train", "val", "test")] == [5648, 807, 1614]
    assert split.strategy == "exact, seed 3"
    assert split.names != assign_splits(manifest, "exact", seed=4).names


@given(st.lists(st.integers(0, 30), min_size=1, max_size=80), st.integers(0, 5), st.integers(1, 30))
def test_patient_hash_keeps_patients_together_and_is_stable(patients: list[int], salt: int, cut: int) -> None:
    names = [f"p{patient}" for patient in patients]
    whole = assign_splits(manifest_of(names), "patient_hash", seed=salt)
    assert whole.patient_overlap == 0
    part = assign_splits(manifest_of(names[:cut]), "patient_hash", seed=salt)
    assert part.names == whole.names[:cut]


def test_patient_hash_shares_come_out_about_right() -> None:
    split = assign_splits(manifest_of([f"p{i}" for i in range(5000)]), "patient_hash")
    shares = np.array([len(split.rows(name)) for name in ("train", "val", "test")]) / 5000
    assert np.abs(shares - [0.7, 0.1, 0.2]).max() < 0.03
    assert "train" in split.shares()


def test_without_any_patient_id_every_study_is_its_own_patient() -> None:
    with pytest.warns(UserWarning, match="names no patients") as told:
        split = assign_splits(manifest_of([""] * 300), None, seed=5)
    assert len(told) == 1
    assert (split.strategy, split.patient_overlap) == ("study_hash, salt 5", None)
    assert all(20 < len(split.rows(name)) < 230 for name in ("train", "val", "test"))


@pytest.mark.parametrize(
    ("patients", "strategy"), [(["p0", "", "p2"], "patient_hash"), (["p0", "", "p2"], None), ([""] * 3, "patient_hash")]
)
def test_a_missing_patient_id_stops_the_split_by_patient(patients: list[str], strategy: Strategy | None) -> None:
    with pytest.raises(UserError, match=r"the study 's[01]' has no patient_id.*data.strategy to exact"):
        assign_splits(manifest_of(patients), strategy)


def test_row_order_and_shard() -> None:
    ten = [f"p{i}" for i in range(10)]
    wanted = ["train"] * 7 + ["val"] + ["test"] * 2
    assert assign_splits(manifest_of(ten), "row_order").names == wanted
    shards = [f"part{i}" for i in range(10, 0, -1)]  # part10 comes last, not second
    assert assign_splits(manifest_of(ten, shard=shards), "shard").names == wanted[::-1]
    with pytest.raises(UserError, match="no shard"):
        assign_splits(manifest_of(ten), "shard")


def test_a_filled_column_is_taken_and_what_lacks_is_filled_in() -> None:
    full = manifest_of(["a", "b"], split=["test", "train"])
    assert (assign_splits(full).names, assign_splits(full).strategy) == (["test", "train"], "column")
    part = manifest_of(["a", "b", "a"], split=["test", "train", ""])
    assert assign_splits(part).names == ["test", "train", "test"]  # the patient's other study decides
    assert "patient_hash" in assign_splits(part).strategy
    assert assign_splits(manifest_of(["a"], split=[""])).strategy == "patient_hash, salt 0"
    with pytest.raises(UserError, match="no filled `split`"):
        assign_splits(manifest_of(["a"]), "column")


def test_a_patient_in_two_splits_stops_unless_allowed() -> None:
    leaking = manifest_of(["a", "a"], split=["test", "train"])
    with pytest.raises(UserError, match="a has studies in more than one split"):
        assign_splits(leaking)
    assert assign_splits(leaking, allow_patient_overlap=True).patient_overlap == 1
    assert assign_splits(manifest_of(["a"] * 10), "row_order").patient_overlap == 1
    assert assign_splits(manifest_of([""] * 10), "row_order").patient_overlap is None


def test_set_aside_rows_belong_nowhere() -> None:
    manifest = manifest_of([f"p{i}" for i in range(10)], status=["rejected", *["ok"] * 8, ""])
    split = assign_splits(manifest, "exact")
    assert split.names[0] == ""
    assert sum(len(split.rows(name)) for name in ("train", "val", "test")) == 9


@pytest.mark.parametrize("fractions", [(0.7, 0.2, 0.2), (0.5, 0.5), (1.2, -0.1, -0.1)])
def test_fractions_must_be_shares(fractions: tuple[float, ...]) -> None:
    with pytest.raises(UserError, match="add up to 1"):
        assign_splits(manifest_of(["a"]), "exact", fractions=fractions)
