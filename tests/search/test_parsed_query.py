"""A query is split into words once, whatever reads its words afterwards."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from bimcvr.cli import main
from bimcvr.curation.text.tokens import Word, sentences
from bimcvr.search import Index, Searcher
from bimcvr.search.asked import parsed_query
from bimcvr.search.asked.parsed_query import ParsedQuery, parse_query
from helpers.index_factory import WordEncoder, make_index, study


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_index(tmp_path_factory.mktemp("made") / "index", [study(f"s{number}") for number in range(8)])


@pytest.fixture
def tokenised(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The texts that are split into words, anywhere in the search or in the label extractor."""
    texts: list[str] = []

    def counted(text: str) -> Iterator[list[Word]]:
        texts.append(text)
        return sentences(text)

    for module in ("search.asked.parsed_query", "search.query.highlights", "curation.labels.extractor"):
        monkeypatch.setattr(f"bimcvr.{module}.sentences", counted)
    return texts


@pytest.mark.parametrize("text", ["There is a nodule beside the stock.", "nodule", "Nódulos", "the of"])
def test_every_mode_tokenises_the_query_once(folder: Path, tokenised: list[str], text: str) -> None:
    with Index.open(folder) as index:
        searcher = Searcher(index, WordEncoder())
        for search in (
            lambda: searcher.text(text),
            lambda: searcher.text(text, hybrid=True),
            lambda: searcher.text(text, into="report"),
            lambda: searcher.keyword(text, hybrid=True),
            lambda: searcher.words(text),
        ):
            tokenised.clear()
            results = search()
            assert tokenised.count(text) == 1
            assert len(tokenised) <= 1 + len(results.hits), "and each report that is shown at most once"


def test_the_command_tokenises_the_query_once(
    folder: Path, tokenised: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["search", str(folder), "--keyword", "nodule", "--json"]) == 0
    assert "atelectasis" in capsys.readouterr().out
    assert tokenised.count("nodule") == 1


def test_a_parsed_query_is_not_parsed_again(monkeypatch: pytest.MonkeyPatch) -> None:
    query = parse_query("Large left effusions.")
    monkeypatch.setattr(parsed_query, "sentences", None)
    assert parse_query(query) is query


def test_informative_words_are_spelled_as_in_the_query() -> None:
    query = parse_query("There is a LARGE nódulo, nodules; of the lung.")
    assert query.informative_words == ["LARGE", "nodules", "lung"], "one for each stem"
    assert not query.has_only_stop_words
    assert parse_query("is of the").has_only_stop_words
    assert isinstance(query, ParsedQuery)
