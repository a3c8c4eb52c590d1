"""Every CT of a folder of real public files gets the verdict that was expected of it."""

import importlib.util
import os
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from defective import WRONG_VOXELS, write
from expected_flags import EXPECTED_DUPLICATES, EXPECTED_FLAGS

from bimcvr.curation.audit.audit import audit_manifest
from bimcvr.curation.audit.volume_checks import check_volume
from bimcvr.curation.audit.volume_facts import measure_volume
from bimcvr.data.manifest import Manifest
from bimcvr.data.reading.volume import read_volume

REAL = Path(os.environ.get("BIMCVR_REAL_DATA", ""))
pytestmark = pytest.mark.skipif(
    not os.environ.get("BIMCVR_REAL_DATA"), reason="BIMCVR_REAL_DATA names no folder of real volumes"
)


def expected_refusals() -> dict[str, str]:
    """Return the reader's own table of expected outcomes, the refusals in it."""
    path = Path(__file__).parents[1] / "data/test_real_volumes.py"
    specification = importlib.util.spec_from_file_location("test_real_volumes_table", path)
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    # its dataclass looks itself up among the modules
    sys.modules[specification.name] = module
    specification.loader.exec_module(module)
    assert {name for name, outcome in module.EXPECTED.items() if not isinstance(outcome, str)} == set(EXPECTED_FLAGS)
    return {name: outcome for name, outcome in module.EXPECTED.items() if isinstance(outcome, str)}


def test_every_real_series_gets_the_expected_verdict(tmp_path: Path) -> None:
    expected = {**EXPECTED_FLAGS, **{name: {reason} for name, reason in expected_refusals().items()}}
    names = sorted(expected)
    table = pd.DataFrame(
        {
            "study_id": names,
            "volume": names,
            "patient_id": [f"p{row}" for row in range(len(names))],
            "report": [f"Report number {row} of a test, no effusion." for row in range(len(names))],
        },
        dtype=str,
    )
    result = audit_manifest(Manifest(table, tmp_path / "m.csv", REAL), tmp_path / "facts", jobs=1)
    found = dict(zip(names, map(set, result.flags()), strict=True))
    assert {name for name in names if "duplicate_volume" in found[name]} == EXPECTED_DUPLICATES
    assert {name: flags - {"duplicate_volume"} for name, flags in found.items()} == expected


@pytest.mark.parametrize("kind", WRONG_VOXELS)
@pytest.mark.parametrize("name", ["cip_chest/ct-64.nrrd", "cip_chest/TestInput.nrrd"])
def test_each_defect_is_seen_in_a_real_whole_chest(name: str, kind: str, tmp_path: Path) -> None:
    volume = read_volume(REAL / name)
    flag, spoil = WRONG_VOXELS[kind]
    hu, spacing = (
        spoil(np.minimum(volume.hu, 3071), volume.spacing) if kind != "too few slices" else (volume.hu, volume.spacing)
    )
    facts = measure_volume(write(tmp_path / "v.nii", np.ascontiguousarray(hu), spacing))
    assert flag in {finding.flag for finding in check_volume("s", facts)}


@pytest.mark.parametrize("kind", [kind for kind, (flag, _) in WRONG_VOXELS.items() if flag == "not_hu"])
@pytest.mark.parametrize("name", [name for name in EXPECTED_FLAGS if "CT5N" not in name])
def test_values_that_are_no_hu_are_told_in_every_real_volume(name: str, kind: str, tmp_path: Path) -> None:
    volume = read_volume(REAL / name)
    hu, spacing = WRONG_VOXELS[kind][1](np.minimum(volume.hu, 3071), volume.spacing)
    findings = check_volume("s", measure_volume(write(tmp_path / "v.nii", hu, spacing)))
    assert "not_hu" in {finding.flag for finding in findings}
