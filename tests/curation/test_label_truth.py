"""Labels against what is known: planted findings of phantoms, and sentences annotated by people."""

import importlib.util
import os
import sys
from pathlib import Path
from types import ModuleType

import pytest

SCRIPT = Path(__file__).parents[2] / "perf" / "labels.py"


@pytest.fixture(scope="module")
def truth() -> ModuleType:
    """The comparison script."""
    spec = importlib.util.spec_from_file_location("benchmark_labels", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # dataclasses look their module up
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_phantom_reports(truth: ModuleType) -> None:
    agreement = truth.phantom_agreement(patients=500, seed=5)
    assert agreement.precision >= 0.97
    assert agreement.recall >= 0.97
    # what the bars mean: a fifth of the findings is said in words that the library lacks
    assert agreement.unknown >= 0.2
    assert agreement.unknown_recall >= 0.9


@pytest.mark.skipif(
    not os.environ.get("BIMCVR_REAL_DATA"), reason="BIMCVR_REAL_DATA names no folder with annotated sentences"
)
def test_negation_spans_of_nubes(truth: ModuleType) -> None:
    decisions = truth.nubes_decisions(Path(os.environ["BIMCVR_REAL_DATA"]) / "text_es_nubes")
    assert len(decisions) >= 300
    assert sum(decision.negated for decision in decisions) >= 60
    share, low, high = truth.right_share(decisions)
    assert share >= 0.94
    assert low < share < high
    unseen, _, _ = truth.right_share([decision for decision in decisions if not decision.first_half])
    assert unseen >= 0.94


def test_negation_spans_are_read_from_brat_files(truth: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("Sin derrame pleural .\nNódulo pulmonar .\n", encoding="utf-8")
    (tmp_path / "a.ann").write_text(
        "T1\tNegSynMarker 0 3\tSin\nT2\tDISO 4 19\tderrame pleural\nR1\tScope Arg1:T1 Arg2:T2\n", encoding="utf-8"
    )
    decisions = truth.nubes_decisions(tmp_path)
    assert [(decision.label, decision.negated, decision.absent) for decision in decisions] == [
        ("pleural effusion", True, True), ("nodule", False, False),
    ]  # fmt: skip
    assert truth.right_share(decisions)[0] == 1


@pytest.mark.parametrize("language", ["english", "spanish"])
def test_hard_sentences(truth: ModuleType, language: str) -> None:
    probes = truth.probe_decisions(truth.PROBES / f"{language}.txt")
    assert len({probe.sentence for probe in probes}) >= 200
    for held_out in (False, True):
        part = [probe for probe in probes if probe.held_out == held_out]
        assert sum(probe.given == probe.expected for probe in part) / len(part) >= 0.95, held_out
    # no class is right at the cost of another
    for assertion in ("present", "absent", "uncertain", "history"):
        expected = [probe for probe in probes if probe.expected == assertion]
        assert sum(probe.given == assertion for probe in expected) / len(expected) >= 0.9, assertion


def test_wilson_interval(truth: ModuleType) -> None:
    # 10 of 20: the textbook interval is 0.299 to 0.701
    assert truth.wilson(10, 20) == pytest.approx((0.2993, 0.7007), abs=1e-3)
    low, high = truth.wilson(20, 20)
    assert high == 1
    assert low == pytest.approx(0.8389, abs=1e-3)
