"""The page's addresses, what is kept and exported, and searches that overtake one another."""

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from helpers.page import ask, names, ready, tab, until
from helpers.running_server import Running


@pytest.fixture
def page(browser: Any, running: Running) -> Iterator[Any]:
    yield from tab(browser, running.address)


def fragment(page: Any) -> dict[str, list[str]]:
    return parse_qs(urlsplit(page.url).fragment)


def test_a_link_leads_to_the_query_and_the_case(page: Any, browser: Any, running: Running) -> None:
    ask(page, "a nodule in the right zone")
    page.check("#filter-fields input[value='right']")
    until(page, "document.querySelectorAll('.card').length === 15")
    page.click(".open >> nth=1")
    ready(page)
    second = names(page)[1]
    assert fragment(page)["case"] == [second]
    assert fragment(page)["query"] == ["a nodule in the right zone"]
    sent: list[str] = []
    for other in tab(browser, "about:blank", start=""):
        other.on("request", lambda request: sent.append(request.url + (request.post_data or "")))
        other.goto(page.url)
        ready(other)
        assert second in other.inner_text("#case-title")
        other.keyboard.press("Escape")
        other.wait_for_selector("#case", state="hidden")
        assert names(other) == names(page)
        assert other.input_value("#query") == "a nodule in the right zone"
        assert other.is_checked("#filter-fields input[value='right']")
        assert "case" not in fragment(other)
    assert not any("#" in address for address in sent)


def test_an_emptied_query_leaves_no_results(page: Any) -> None:
    ask(page, "a nodule")
    page.fill("#query", "")
    page.keyboard.press("Enter")
    page.wait_for_selector("#status .start")
    assert names(page) == []
    assert fragment(page) == {}


def test_the_example_of_a_condition_is_one(page: Any) -> None:
    ask(page, "a nodule")
    page.fill("#condition", page.get_attribute("#condition", "placeholder"))
    page.keyboard.press("Enter")
    until(page, "document.querySelector('#status').textContent.includes('that pass the filters')")
    assert page.locator("#status .error").count() == 0
    assert len(names(page)) > 0


def test_a_case_of_before_a_reload_does_not_cover_a_new_search(page: Any) -> None:
    ask(page, "a nodule")
    page.click(".open >> nth=0")
    ready(page)
    held: list[Any] = []
    page.route("**/api/search", lambda route: held.append(route))
    page.reload()
    page.wait_for_selector(".chip")
    until(page, "document.querySelector('#results').hasAttribute('aria-busy')")
    page.wait_for_timeout(50)
    assert len(held) == 1
    page.unroute("**/api/search")
    page.fill("#query", "left")
    page.keyboard.press("Enter")
    page.wait_for_selector("#results:not([aria-busy]) .card")
    page.wait_for_timeout(200)
    assert page.is_hidden("#case")
    assert page.input_value("#query") == "left"


def test_hits_and_reports_are_taken_along(page: Any, tmp_path: Path) -> None:
    ask(page, "a nodule")
    with page.expect_download() as download:
        page.click("#export")
    download.value.save_as(tmp_path / "cases.csv")
    with (tmp_path / "cases.csv").open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["case"] for row in rows] == names(page)
    assert [row["rank"] for row in rows] == [str(number + 1) for number in range(20)]
    assert all("case number" in row["report"] for row in rows)
    assert {(row["mode"], row["query"]) for row in rows} == {("text", "a nodule")}
    assert {row["score_is"] for row in rows} != {""}
    assert {row["sex"] for row in rows} == {"F", "M"}
    cells = page.evaluate(
        """async () => (await import("/page/export.js")).csvOf({hits: [{rank: 1, case: "=1+1", score: -0.5,
        labels: ["a", "b"], columns: {}, report: 'He said "no", twice'}], score_is: "cosine"},
        {mode: "text", query: "@x"})"""
    )
    assert cells.splitlines()[1] == 'text,\'@x,1,\'=1+1,-0.5,cosine,a;b,"He said ""no"", twice"'
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.click(".open >> nth=0")
    page.click(".copy")
    until(page, "document.querySelector('.copy').textContent === 'Copied'")
    assert page.evaluate("navigator.clipboard.readText()") == rows[0]["report"]
