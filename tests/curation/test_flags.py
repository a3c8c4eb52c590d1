"""Every flag has a meaning in words, and the words hold the detectors' own numbers."""

import re
from pathlib import Path

from bimcvr.curation.audit import volume_checks
from bimcvr.curation.audit.flags import COHORT_FLAGS, VOLUME_FLAGS, meaning

DOCS = Path(__file__).parents[2] / "docs"


def test_every_reason_to_refuse_a_volume_has_its_words() -> None:
    table = (DOCS / "data.md").read_text().split("| reason | what is wrong |")[1].split("\n\n")[0]
    reasons = [reason for line in table.splitlines()[2:] for reason in re.findall(r"`(\w+)`", line.split("|")[1])]
    assert len(reasons) > 20
    unknown = meaning("no such reason").what
    assert [reason for reason in reasons if meaning(reason).what == unknown or meaning(reason).side != "file"] == []


def test_the_thresholds_are_the_detectors() -> None:
    assert f"fewer than {volume_checks.SMALLEST} along" in meaning("too_small").threshold
    assert "more than 30 %" in meaning("missing_voxels").threshold
    assert "0.2 to 10 mm" in meaning("slice_spacing").threshold
    assert {meaning(flag).side for flag in VOLUME_FLAGS} == {"volume"}
    assert {meaning(flag).side for flag in COHORT_FLAGS} == {"cohort"}


def test_the_documentation_names_every_flag() -> None:
    text = (DOCS / "audit.md").read_text()
    report_side = ("report_short", "placeholder", "untranslated", "wrong_modality", "duplicate_report", "mismatch_ids")
    for flag in (*VOLUME_FLAGS, *COHORT_FLAGS, *report_side):
        assert f"`{flag}`" in text
    assert {meaning(flag).side for flag in report_side} == {"report"}
