"""An answer on the terminal: whole study ids, the sentences that matter, nothing read as markup."""

import re
from dataclasses import replace

import pytest
from rich.console import Console

from bimcvr.search.asked.parsed_query import parse_query
from bimcvr.search.output.terminal import excerpt, format_results
from bimcvr.search.query.highlights import highlight
from bimcvr.search.query.results import Hit, SearchResults

REPORT = (
    "The trachea and the main bronchi are patent. A small left pleural effusion is seen. The adrenal glands are not"
    " enlarged.\nThe gallbladder is not included in the field of view. The skeleton is unremarkable. No lymph nodes are"
    " enlarged. There is a large right pleural effusion. No pneumothorax."
)
QUERY = "large right pleural effusion"


def hit(report: str = REPORT, study: str = "sub-1", labels: tuple[str, ...] = ("pleural effusion",)) -> Hit:
    return Hit(1, study, 0.7057, "1", labels, report, tuple(highlight(report, parse_query(QUERY))), {})


def results(*hits: Hit) -> SearchResults:
    return SearchResults("text", (QUERY,), "image", hits, 5, 7, ("[bold]doubt[/bold]",), True, False, 0.1, 0.001)


def show(found: SearchResults) -> None:
    Console(highlight=False).print(format_results(found))


def test_the_excerpt_begins_with_a_sentence_and_holds_most_of_what_was_asked() -> None:
    printed = excerpt(hit()).plain
    assert "large right pleural effusion" in printed
    assert re.match(r"…(The|No|There|A) ", printed)
    assert len(printed) <= 243
    assert "\n" not in printed


def test_a_short_report_is_shown_whole_and_a_long_word_is_cut() -> None:
    assert excerpt(hit("No effusion.")).plain == "No effusion."
    assert excerpt(hit("x" * 1000)).plain == "x" * 120 + " …"
    assert excerpt(hit("word " * 100)).plain == "word " * 47 + "word …"


def test_what_was_asked_is_marked_where_it_stands() -> None:
    text = excerpt(hit())
    assert {text.plain[span.start : span.end] for span in text.spans} >= {"large", "right", "pleural", "effusion"}


def test_no_control_character_reaches_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    evil = "\x1b]0;owned\x07\x1b[2J\x9b2J\x0b\n"
    found = hit(f"{evil}A large effusion.{evil}", f"s{evil}", (f"mass{evil}",))
    text = excerpt(found)
    assert len(text.plain) == len(found.report)
    assert {text.plain[span.start : span.end] for span in text.spans} == {"large", "effusion"}
    show(results(found))
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]", capsys.readouterr().out)


def test_a_mixed_index_is_not_called_phantom_throughout(capsys: pytest.CaptureFixture[str]) -> None:
    show(replace(results(hit()), has_patients=True))
    assert "(partly phantom: synthetic data)" in " ".join(capsys.readouterr().out.split())


def test_a_fused_ranking_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    """Its scores are no cosines."""
    for hybrid in (False, True):
        show(replace(results(hit()), hybrid=hybrid))
        assert ("images, by meaning and words, 5 of 7" in " ".join(capsys.readouterr().out.split())) == hybrid


def test_eighty_columns_hold_a_study_id_in_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    long = "sub-P001370_ses-E002450_acq-lung_run-12"
    show(results(hit(study=long), hit("Nothing. [red]in brackets[/red]", labels=())))
    printed = capsys.readouterr().out
    assert long in printed
    assert "5 of 7 studies (phantom: synthetic data)" in " ".join(printed.split())
    assert "[red]in brackets[/red]" in printed
    assert "note: [bold]doubt[/bold]" in printed
    assert "no labels" in printed
    assert max(map(len, printed.splitlines())) <= 80
