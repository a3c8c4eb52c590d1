"""Every CT of a folder of real public files gets the verdict that was expected of it."""

import importlib.util
import os
from pathlib import Path

import pandas as pd
import pytest
from expected_flags import EXPECTED_DUPLICATES, EXPECTED_FLAGS

from bimcvr.curation.audit import audit_manifest
from bimcvr.data.manifest import Manifest

REAL = Path(os.environ.get("BIMCVR_REAL_DATA", ""))
pytestmark = pytest.mark.skipif(not os.environ.get("BIMCVR_REAL_DATA"), reason="BIMCVR_REAL_DATA names no folder of real volumes")


def expected_refusals() -> dict[str, str]:
    """Return the reader's own table of expected outcomes, the refusals in it."""
    path = Path(__file__).parents[1] / "data/test_real_volumes.py"
    specification = importlib.util.spec_from_file_location("test_real_volumes_table", path)
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    # its dataclass looks itself up among the modules
    import sys

    sys.modules[specification.name] = module
    specification.loader.exec_module(module)
    assert {name for name, outcome in module.EXPECTED.items() if not isinstance(outcome, str)} == set(EXPECTED_FLAGS)
    return {name: outcome for name, outcome in module.EXPECTED.items() if isinstance(outcome, str)}


def test_every_real_series_gets_the_expected_verdict(tmp_path: Path) -> None:
    expected = {**EXPECTED_FLAGS, **{name: {reason} for name, reason in expected_refusals().items()}}
    names = sorted(expected)
    table = pd.DataFrame({
        "study_id": names, "volume": names, "patient_id": [f"p{row}" for row in range(len(names))],
        "report": [f"Report number {row} of a test, no effusion." for row in range(len(names))],
    }, dtype=str)
    result = audit_manifest(Manifest(table, tmp_path / "m.csv", REAL), tmp_path / "facts", jobs=1)
    found = dict(zip(names, map(set, result.flags()), strict=True))
    assert {name for name in names if "duplicate_volume" in found[name]} == EXPECTED_DUPLICATES
    assert {name: flags - {"duplicate_volume"} for name, flags in found.items()} == expected
