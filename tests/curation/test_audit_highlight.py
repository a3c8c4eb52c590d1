"""Marks change nothing of a report but what is shown in yellow, and nothing of it becomes markup."""

import html
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bimcvr.curation.audit.output.highlight import highlight, offending_words
from bimcvr.curation.audit.report_checks import check_report
from bimcvr.curation.text.lexicons import plain


@given(st.text(max_size=80), st.lists(st.text(min_size=1, max_size=4).map(plain).filter(bool), max_size=3))
def test_without_its_marks_it_is_the_report(report: str, words: list[str]) -> None:
    shown = str(highlight(report, words))
    bare = shown.replace("<mark>", "").replace("</mark>", "")
    assert html.unescape(bare) == report
    assert "<" not in bare
    for hit in re.findall(r"<mark>(.*?)</mark>", shown, flags=re.DOTALL):
        assert any(word[0] in plain(html.unescape(hit)) for word in words)


def test_words_are_found_whatever_their_case_accents_and_spaces() -> None:
    assert (
        str(highlight("Rx:  RADIOGRAFÍA\n de tórax", ["radiografia de torax"]))
        == "Rx:  <mark>RADIOGRAFÍA\n de tórax</mark>"
    )
    assert str(highlight("a dedo de", ["de"])) == "a dedo <mark>de</mark>"


def test_markup_in_a_report_is_text() -> None:
    assert str(highlight("<script>x</script> Chest <b>x-ray</b>", ["x-ray"])) == (
        "&lt;script&gt;x&lt;/script&gt; Chest &lt;b&gt;<mark>x-ray</mark>&lt;/b&gt;"
    )


def test_a_long_report_is_cut() -> None:
    assert str(highlight("a" * 50, [], most=10)) == "a" * 10 + "…"


@pytest.mark.parametrize(
    ("report", "shown"),
    [
        ("Something wrong with the data! #######", "<mark>Something wrong with the data</mark>! #######"),
        (
            "I'm sorry, there is nothing to translate here.",
            "<mark>I&#39;m sorry</mark>, there is nothing to translate here.",
        ),
        ("Chest X-Ray PA and lateral. Clear lungs.", "Chest <mark>X-Ray</mark> PA and lateral. Clear lungs."),
        (
            "Costophrenic angles free. Portable study of today.",
            "<mark>Costophrenic</mark> angles free. <mark>Portable</mark> study of today.",
        ),
        ("Se observa un derrame pleural.", "Se <mark>observa</mark> un <mark>derrame</mark> pleural."),
    ],
)
def test_what_a_finding_names_is_marked(report: str, shown: str) -> None:
    finding = check_report("s", report, "en")[0]
    assert str(highlight(report, offending_words(finding, report))) == shown
