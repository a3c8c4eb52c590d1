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
    assert agreement.precision >= 0.95
    assert agreement.recall >= 0.95
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
    assert share >= 0.93
    assert low < share < high
    unseen, _, _ = truth.right_share([decision for decision in decisions if not decision.first_half])
    assert unseen >= 0.93


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
