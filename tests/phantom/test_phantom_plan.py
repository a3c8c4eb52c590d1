"""Findings and reports, without voxels."""

import itertools
import re
from collections import Counter

import numpy as np
import pytest

from bimcvr.phantom.cohort.studies import PhantomStudy, manifest_table, plan_patient
from bimcvr.phantom.reports.english_report import write_english
from bimcvr.phantom.reports.findings import (
    FINDING_KINDS,
    LOBES,
    STATIONS,
    PlantedFinding,
    follow_up,
    from_json,
    to_json,
)
from bimcvr.phantom.reports.vocabulary import FILLERS, NORMAL, PHRASES

GRADES = {name: {word for words in phrases.grades.values() for word in words} for name, phrases in PHRASES.items()}


@pytest.fixture(scope="module")
def studies() -> list[PhantomStudy]:
    return [study for patient in range(2000) for study in plan_patient(1, patient)]


def sentences(study: PhantomStudy) -> list[str]:
    return re.split(r"(?<=\.) ", study.report)


def test_prevalences_are_the_real_sets(studies: list[PhantomStudy]) -> None:
    counts = Counter(name for study in studies for name in {finding.finding for finding in study.findings})
    share = {name: counts[name] / len(studies) for name in FINDING_KINDS}
    # the label column of BIMCV-R: 21.6 %, 12.6 %, 19.5-22.1 %, 19.5 %, 34 %, 22 %
    real = {
        "atelectasis": 0.216,
        "consolidation": 0.126,
        "adenopathy": 0.21,
        "pleural effusion": 0.195,
        "ground glass": 0.32,
        "nodule": 0.224,
    }
    for name, wanted in real.items():
        assert share[name] == pytest.approx(wanted, abs=0.035), name
    assert all(0.04 < share[name] < 0.4 for name in FINDING_KINDS)
    assert 0.02 < np.mean([not study.findings for study in studies]) < 0.12


def test_patients_with_two_studies_and_studies_with_two_volumes(studies: list[PhantomStudy]) -> None:
    patients = Counter(study.patient_id for study in studies)
    assert 0.05 < np.mean([count == 2 for count in patients.values()]) < 0.11
    assert 0.04 < np.mean([study.runs == 2 for study in studies]) < 0.08
    pairs = [
        (first, second)
        for first, second in itertools.pairwise(studies)
        if first.patient == second.patient and first.findings
    ]
    kept = [len({*first.findings} & {*second.findings}) / len(first.findings) for first, second in pairs]
    assert 0.35 < np.mean(kept) < 0.65


def test_reports_have_40_to_200_words_and_repeat_their_sentences(studies: list[PhantomStudy]) -> None:
    words = [len(study.report.split()) for study in studies]
    assert min(words) >= 40
    assert max(words) <= 200
    assert 60 <= np.median(words) <= 120
    assert len({sentence for study in studies for sentence in sentences(study)}) < 3000


def test_every_stated_fact_is_planted_and_only_sizes_are_left_out(studies: list[PhantomStudy]) -> None:
    for study in studies:
        assert [(f.finding, f.site) for f in study.facts] == [(f.finding, f.site) for f in study.findings]
        assert all(told.size in (None, true.size) for told, true in zip(study.facts, study.findings, strict=True))
    left_out = [fact.size is None for study in studies for fact in study.facts if fact.finding != "pacemaker"]
    assert 0.1 < np.mean(left_out) < 0.2


def test_no_report_names_a_length_or_side_that_its_facts_do_not(studies: list[PhantomStudy]) -> None:
    for study in studies:
        lengths = {
            float(n) * (10 if unit == "cm" else 1) for n, unit in re.findall(r"(\d+(?:\.\d+)?) (mm|cm)\b", study.report)
        }
        assert lengths == {f.size for f in study.facts if isinstance(f.size, int)}, study.report_id
        sides = set(re.findall(r"\b(right|left)\b", study.report))
        assert sides == {f.side for f in study.facts if f.side}, study.report_id
        lobes = {lobe for lobe in LOBES if lobe in study.report}
        assert lobes == {f.lobe for f in study.facts if f.lobe}, study.report_id
        stations = {station for station in STATIONS if f"{station} " in study.report}
        assert stations == {f.site for f in study.facts if f.finding == "adenopathy"}, study.report_id
        # a number that is no length could only be something about the patient
        assert not re.search(r"\d", re.sub(r"\d+(\.\d+)? (mm|cm)\b", "", study.report))


def test_a_grade_is_said_only_where_the_facts_have_it() -> None:
    rng = np.random.default_rng(0)
    for name, kind in FINDING_KINDS.items():
        for size in kind.sizes:
            for _ in range(20):
                report, (fact,) = write_english((PlantedFinding(name, kind.sites[0], size),), rng)
                about = [
                    s
                    for s in re.split(r"(?<=\.) ", report)
                    if s not in FILLERS
                    and not any(s in said for _, said in NORMAL)
                    and not any(s in phrases.negations for phrases in PHRASES.values())
                ]
                assert len(about) == 1
                said = {word for word in GRADES[name] if re.search(rf"\b{word}\b", about[0])}
                if isinstance(fact.size, str):
                    assert len(said & {*PHRASES[name].grades[fact.size]}) == 1
                    assert said <= {*PHRASES[name].grades[fact.size]}
                else:
                    assert not said
                assert "  " not in about[0]
                assert " ." not in about[0]
                assert not re.search(r"\b[Aa] [aeiou]", about[0]), about[0]


def test_a_report_denies_only_what_is_absent(studies: list[PhantomStudy]) -> None:
    denied = {sentence: name for name, phrases in PHRASES.items() for sentence in phrases.negations}
    normal = {sentence: set(names) for names, said in NORMAL for sentence in said}
    for study in studies:
        present = {finding.finding for finding in study.findings}
        said = sentences(study)
        assert any(sentence in denied for sentence in said)
        for sentence in said:
            assert denied.get(sentence) not in present
            assert not normal.get(sentence, set()) & present


def test_a_patient_depends_on_seed_and_number_alone() -> None:
    assert plan_patient(5, 17) == plan_patient(5, 17)
    assert plan_patient(5, 17) != plan_patient(6, 17)
    few = manifest_table([study for patient in range(5) for study in plan_patient(2, patient)])
    many = manifest_table([study for patient in range(30) for study in plan_patient(2, patient)])
    assert many.iloc[: len(few)].equals(few)


def test_a_lobe_holds_one_finding_that_fills_it(studies: list[PhantomStudy]) -> None:
    for study in studies:
        lobes = [f.site for f in study.findings if FINDING_KINDS[f.finding].fills_lobe]
        assert len(lobes) == len(set(lobes))
        assert len({(f.finding, f.site) for f in study.findings}) == len(study.findings)


def test_json_gives_the_findings_back_and_a_follow_up_has_none_twice() -> None:
    rng = np.random.default_rng(3)
    for patient in range(200):
        findings = plan_patient(9, patient)[0].findings
        assert from_json(to_json(findings)) == findings
        later = follow_up(findings, rng)
        assert len({(f.finding, f.site) for f in later}) == len(later)
