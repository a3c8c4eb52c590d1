"""Why a case is a hit: what is marked in its report, which sentences are named, and which say otherwise."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bimcvr.search.asked.findings import asked_of
from bimcvr.search.asked.parsed_query import parse_query
from bimcvr.search.index.reader import Index
from bimcvr.search.query.highlights import highlight
from bimcvr.search.query.reasons import explain, explain_like
from bimcvr.search.query.searcher import Searcher
from bimcvr.search.server.schemas import ReasonsRequest
from bimcvr.search.server.service import SearchService
from helpers.index_factory import WordEncoder, make_index, study

REPORT = (
    "No pericardial effusion. There is a large right pleural effusion. The right lung is clear. No nodules."
    " Large hiatal hernia."
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    studies = [
        replace(study("s1", report=REPORT), labels=("hiatal hernia", "pleural effusion")),
        replace(study("s2", report="No pleural effusion. Hiatal hernia."), labels=("hiatal hernia",)),
    ]
    return make_index(tmp_path_factory.mktemp("made") / "index", studies)


@pytest.fixture(scope="module")
def index(folder: Path) -> Iterator[Index]:
    with Index.open(folder) as opened:
        yield opened


def marked(text: str, report: str = REPORT) -> list[tuple[str, str]]:
    query = parse_query(text)
    return [(report[span.start : span.end], span.kind) for span in highlight(report, query, asked_of(query))]


def test_a_denial_of_another_finding_is_no_match() -> None:
    assert marked("large right pleural effusion") == [
        ("large", "word"),
        ("right", "word"),
        ("pleural effusion", "present"),
    ]
    assert marked("large nodule") == [("nodules", "absent")]
    assert marked("pericardial") == [("pericardial", "absent")], "a word of what the report denies"
    assert ("right", "word") in marked("right lung")


def sentences(found: object, report: str = REPORT) -> list[str]:
    return [report[one.start : one.end] for one in found]  # type: ignore[attr-defined]


def test_sentences_near_the_query_are_named_and_denials_are_not_among_them(index: Index) -> None:
    model = WordEncoder()
    vector = Searcher(index, model).text("There is a large right pleural effusion").query_vector
    reasons = explain(index, model, "s1", "There is a large right pleural effusion", vector)
    assert sentences(reasons.matching)[0] == "There is a large right pleural effusion."
    assert reasons.matching[0].score == pytest.approx(1, abs=1e-6)
    assert (reasons.labels, reasons.contrary, len(reasons.matching)) == (("pleural effusion",), (), 3)
    denied = explain(index, model, "s2", "pleural effusion", vector)
    assert sentences(denied.contrary, "No pleural effusion. Hiatal hernia.") == ["No pleural effusion."]
    assert "No pleural effusion." not in sentences(denied.matching, "No pleural effusion. Hiatal hernia.")
    assert denied.labels == ()


def test_a_query_that_denies_is_explained_by_the_denial(index: Index) -> None:
    vector = Searcher(index, WordEncoder()).text("no nodule").query_vector
    reasons = explain(index, WordEncoder(), "s1", "no nodule", vector)
    assert sentences(reasons.matching) == ["No nodules."]
    assert sentences(explain(index, None, "s1", "no pleural effusion", None).contrary) == [
        "There is a large right pleural effusion."
    ]


def test_a_case_is_explained_by_the_labels_that_both_have(folder: Path, index: Index) -> None:
    reasons = explain_like(index, WordEncoder(), "s1", "s2")
    assert (reasons.labels, len(reasons.matching), reasons.by_vectors) == (("hiatal hernia",), 3, True)
    service = SearchService(folder, WordEncoder(), anonymous=False)  # type: ignore[arg-type]
    answer = service.snapshot().reasons(ReasonsRequest(case="s1", mode="words", query="large hiatal hernia"))
    assert [one.text for one in answer.matching] == ["Large hiatal hernia."]
    assert np.isfinite(answer.matching[0].score)
    service.close()
