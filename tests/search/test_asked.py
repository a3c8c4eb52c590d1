"""What a query asks of findings: denials in both rankings, and the default of finding queries."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bimcvr.search.asked.findings import asked_of, one_finding
from bimcvr.search.asked.parsed_query import parse_query
from bimcvr.search.index.reader import Index
from bimcvr.search.query.searcher import Searcher
from helpers.index_factory import WordEncoder, make_index, study

COUNT = 40


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Index]:
    studies = [study(f"s{number}") for number in range(COUNT)]
    with Index.open(make_index(tmp_path_factory.mktemp("made") / "index", studies)) as opened:
        yield opened


@pytest.fixture(scope="module")
def searcher(index: Index) -> Searcher:
    return Searcher(index, WordEncoder())


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("nodule", ("nodule", False)),
        ("no nodule", ("nodule", True)),
        ("There is no pleural effusion.", ("pleural effusion", True)),
        ("No evidence of nodules", ("nodule", True)),
        ("No nodule is seen.", ("nodule", True)),
        ("pleural effusion absent", ("pleural effusion", True)),
        ("sin derrame pleural", ("pleural effusion", True)),
        ("no se observa derrame pleural", ("pleural effusion", True)),
        ("no change in the nodule", ("", True)),
        ("cannot exclude a nodule", ("", True)),
        ("no nodule larger than 5 mm", ("", True)),
        ("large nodule", ("", True)),
        ("no", ("", True)),
    ],
)
def test_a_bare_finding_and_its_denial_are_recognised(index: Index, text: str, expected: tuple[str, bool]) -> None:
    assert one_finding(parse_query(text), index) == expected


def test_a_text_tells_what_is_to_be_present_and_absent() -> None:
    asked = asked_of(parse_query("Large right pleural effusion. No nodule or emphysema."))
    assert (asked.present, asked.absent) == ({"pleural effusion"}, {"nodule", "emphysema"})
    assert "nodule" not in asked.words
    assert "pleural" in asked.words


@pytest.mark.parametrize("fused", [False, True, None])
def test_a_denied_finding_ranks_those_without_it_first(searcher: Searcher, fused: bool | None) -> None:
    results = searcher.text("no nodule", top=COUNT, hybrid=fused)
    assert (results.label, results.denied) == ("nodule", True)
    has = ["nodule" in hit.labels for hit in results.hits]
    if fused is False:
        forwards = searcher.text("nodule", top=COUNT, hybrid=False).hits
        assert [hit.study_id for hit in results.hits] == [hit.study_id for hit in reversed(forwards)]
    else:
        assert not any(has[:10])
        assert all(hit.words_rank is None for hit in results.hits if "nodule" in hit.labels)


def test_a_denied_mention_is_no_word_match(searcher: Searcher) -> None:
    stating = searcher.words("nodule", top=COUNT)
    assert {hit.labels for hit in stating.hits} == {("nodule",)}
    assert "10 reports contain words of the query but do not state nodule: they are left out." in stating.notes
    denying = searcher.words("no nodule", top=COUNT)
    assert len(denying.hits) == 10
    assert "nodule" not in {label for hit in denying.hits for label in hit.labels}
    both = searcher.words("pleural effusion without nodule", top=COUNT)
    assert {hit.labels for hit in both.hits} == {("pleural effusion",)}


def test_reports_are_read_where_labels_say_nothing_of_a_finding(tmp_path: Path) -> None:
    studies = [replace(study(f"s{number}"), labels=("of another list",)) for number in range(8)]
    with Index.open(make_index(tmp_path / "index", studies, with_prompts=False)) as opened:
        hits = Searcher(opened, WordEncoder()).words("nodule").hits
        assert sorted(hit.study_id for hit in hits) == ["s2", "s6"]
        assert sorted(hit.study_id for hit in Searcher(opened).words("no nodule").hits) == ["s1", "s5"]


def test_a_query_that_names_a_finding_is_fused_by_default(searcher: Searcher) -> None:
    for text in ("nodule", "a large nodule in the left lung"):
        results = searcher.text(text, top=10)
        assert results.hybrid
        assert {hit.labels for hit in results.hits} == {("nodule",)}
    assert not searcher.text("case12 version0").hybrid
    assert not searcher.text("nodule", into="report").hybrid


def test_what_is_normal_is_asked_in_english(searcher: Searcher) -> None:
    assert searcher.keyword("normal").query_parts[0] == "The study is normal."
    opposite = searcher.keyword("normal", hybrid=False).query_vector
    assert opposite is not None
    assert np.isfinite(opposite).all()
