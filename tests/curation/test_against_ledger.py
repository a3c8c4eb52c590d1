"""The audit against what the phantom planted in the released layout: acceptance, on an archive of seconds."""

from collections import defaultdict
from pathlib import Path

import pandas as pd
import pytest

from bimcvr.cli import main
from bimcvr.curation import BimcvR, SourceStudy
from bimcvr.curation.audit.audit import AuditResult, audit_manifest
from bimcvr.data.manifest import read_manifest, write_manifest

pytestmark = pytest.mark.slow
# a chest film's wording, and other parts of the body: judged, not measured
JUDGED = {"wrong_modality", "not_chest"}


@pytest.fixture(scope="module")
def audited(tmp_path_factory: pytest.TempPathFactory) -> tuple[AuditResult, dict[str, set[str]]]:
    folder = tmp_path_factory.mktemp("archive")
    assert main(["phantom", str(folder), "--patients", "110", "--seed", "17", "--archive", "folders"]) == 0
    rows = [
        {
            "study_id": study.study_id,
            "volume": str(study.volume),
            "report": study.translation,
            "report_original": study.report,
            "language": "en",
            "patient_id": study.patient_id,
            "report_id": study.report_id,
            **study.columns,
        }
        for study in BimcvR(str(folder / "bimcv_r")).studies()
        if isinstance(study, SourceStudy)
    ]
    write_manifest(pd.DataFrame(rows).fillna(""), folder / "audited.csv")
    ledger = pd.read_csv(folder / "bimcv_r.ledger.csv", keep_default_na=False)
    planted: dict[str, set[str]] = defaultdict(set)
    for line in ledger.itertuples():
        planted[str(line.study_id)].add(str(line.flag))
    return audit_manifest(read_manifest(folder / "audited.csv", Path("/"))), planted


def test_every_planted_defect_is_found(audited: tuple[AuditResult, dict[str, set[str]]]) -> None:
    result, planted = audited
    found = dict(zip(result.manifest.column("study_id"), map(set, result.flags()), strict=True))
    assert set(planted) <= set(found)
    missed = [(study, flag) for study, flags in planted.items() for flag in flags if flag not in found[study]]
    assert [miss for miss in missed if miss[1] not in JUDGED] == []
    judged = sum(flag in JUDGED for flags in planted.values() for flag in flags)
    assert len(missed) <= 0.05 * judged


def test_clean_studies_are_left_alone(audited: tuple[AuditResult, dict[str, set[str]]]) -> None:
    result, planted = audited
    clean = [
        flags
        for study, flags in zip(result.manifest.column("study_id"), result.flags(), strict=True)
        if study not in planted
    ]
    assert len(clean) > 40
    assert sum(bool(flags) for flags in clean) <= 0.01 * len(clean)
