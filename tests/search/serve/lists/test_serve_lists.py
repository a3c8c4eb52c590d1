"""Lists of cases in a browser: order, patients, near-duplicates, grid, counts, and what a browser keeps."""

import csv
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import uvicorn

from bimcvr.search.server.service import SearchService
from helpers.lists_index import COUNT, make_listed
from helpers.page import names, tab, until
from helpers.running_server import app_of

pytestmark = pytest.mark.slow
SHOTS = os.environ.get("BIMCVR_SCREENSHOTS", "")
"""A folder for pictures of the page, to be looked at."""


@contextmanager
def served(folder: Path, port: int, anonymous: bool = False) -> Iterator[str]:
    service = SearchService(folder, None, anonymous)
    server = uvicorn.Server(uvicorn.Config(app_of(service), port=port, log_level="error"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    until_then = time.monotonic() + 60
    while not server.started and thread.is_alive() and time.monotonic() < until_then:
        time.sleep(0.02)
    assert server.started
    yield f"http://127.0.0.1:{port}/"
    server.should_exit = True
    thread.join(60)
    service.close()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_listed(tmp_path_factory.mktemp("listed") / "index")


@pytest.fixture
def address(folder: Path, unused_port: int) -> Iterator[str]:
    with served(folder, unused_port) as found:
        yield found


def shot(page: Any, name: str) -> None:
    if SHOTS:
        page.evaluate("scrollTo(0, 0)")
        page.wait_for_timeout(700)  # pictures load as they come into view
        page.screenshot(path=f"{SHOTS}/{name}.png")


def shown(page: Any) -> list[str]:
    """The cases that are to be seen, without what is folded away."""
    return page.eval_on_selector_all(
        "#results .card",
        "cards => cards.filter(one => !one.closest('details:not([open])')).map(one => one.dataset.case)",
    )


def chip(page: Any, label: str = "nodule") -> str:
    return page.inner_text(f".chip[data-label='{label}'] .number")


def keyword(page: Any) -> None:
    page.click(".chip[data-label='nodule']")
    page.wait_for_selector("#results:not([aria-busy]) .card")
    page.click("#more")
    until(page, f"document.querySelectorAll('.card').length === {COUNT}")


def columns_of(page: Any, button: str, file: Path) -> list[dict[str, str]]:
    with page.expect_download() as download:
        page.click(button)
    download.value.save_as(file)
    with file.open(encoding="utf-8-sig", newline="") as stream:
        return list(csv.DictReader(stream))


def order_and_folds(page: Any, width: int) -> None:
    keyword(page)
    ranked = names(page)
    ranks = {name: number for number, name in enumerate(sorted(names(page), key=lambda one: rank(page, one)), 1)}
    assert {name: rank(page, name) for name in ranked} == ranks, "each rank once, from 1"
    unfolded = shown(page)
    assert len(unfolded) == COUNT - 3
    assert [ranks[name] for name in unfolded] == sorted(ranks[name] for name in unfolded)
    leader = min(("s0", "s8"), key=ranks.__getitem__)
    fold = page.locator(f".card[data-case='{leader}'] > .repeats")
    assert fold.locator("summary").inner_text() == "1 near-duplicate: the same report"
    fold.locator("summary").click()
    assert len(shown(page)) == COUNT - 2
    shot(page, f"list-{width}")
    page.select_option("#sort", "case")
    assert shown(page) == sorted(unfolded, key=lambda name: int(name[1:])), "s10 comes behind s9"
    assert {name: rank(page, name) for name in names(page)} == ranks, "ranks stay true"
    page.select_option("#sort", "day")
    dated = shown(page)
    # s11 is of 2020-12-12 and s23 of 2020-12-24; s3 has no date
    assert (dated[0], dated[1], dated[-1]) == ("s23", "s11", "s3")
    page.uncheck("#fold")
    assert len(shown(page)) == COUNT
    page.select_option("#sort", "rank")
    assert [ranks[name] for name in shown(page)] == list(range(1, COUNT + 1))
    page.check("#patients")
    patients = page.eval_on_selector_all(".patient", "all => all.map(one => one.dataset.patient)")
    assert len(patients) == COUNT // 2
    groups = page.eval_on_selector_all(
        ".patient", "all => all.map(p => [...p.querySelectorAll('.card')].map(one => one.dataset.case))"
    )
    assert all(
        int(one[1:]) // 2 == int(name[1:]) for name, group in zip(patients, groups, strict=True) for one in group
    )
    assert [min(ranks[one] for one in group) for group in groups] == sorted(
        min(ranks[one] for one in group) for group in groups
    )
    assert "2 cases" in page.inner_text(".patient h3 >> nth=0")
    shot(page, f"patients-{width}")
    page.click("#as-grid")
    shot(page, f"patients-grid-{width}")
    page.check("#fold")
    assert len(shown(page)) == COUNT, "no duplicate is of its own patient: under another's name it does not stand"
    page.uncheck("#patients")
    tops = [page.locator(f".card[data-case='{name}']").bounding_box()["y"] for name in shown(page)[:2]]
    assert tops[0] == tops[1], "side by side"
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    shot(page, f"grid-{width}")


def rank(page: Any, name: str) -> int:
    return int(page.evaluate(f"document.querySelector(\".card[data-case='{name}'] .rank\").textContent"))


def test_order_patients_folds_and_grid_on_a_wide_screen(browser: Any, address: str) -> None:
    for page in tab(browser, address, width=1440):
        order_and_folds(page, 1440)
        # what was chosen stays in this browser, and what is folded away is opened for a case in it
        page.reload()
        page.wait_for_selector("#results.grid .card")
        assert page.is_checked("#fold")
        folded = page.evaluate("document.querySelector('.repeats .card').dataset.case")
        page.goto(f"{address}#mode=keyword&query=nodule&case={folded}")
        until(page, f"document.querySelector('#case-title').textContent.includes('{folded}')")


def test_order_patients_folds_and_grid_on_a_narrow_screen(browser: Any, address: str) -> None:
    for page in tab(browser, address, width=390):
        order_and_folds(page, 390)


def test_counts_heed_the_filters(browser: Any, address: str) -> None:
    for page in tab(browser, address, width=1280):
        before = chip(page)
        assert before == "6"
        page.check("#filter-fields input[value='emphysema']")
        until(page, "document.querySelector('#left').textContent === '6 of 24 cases pass'")
        assert (chip(page), chip(page, "emphysema")) == ("0", "6")
        page.uncheck("#filter-fields input[value='emphysema']")
        until(page, "document.querySelector('#left').textContent === ''")
        assert chip(page) == "6"
        page.select_option("select[data-column='sex']", label="F (12)")
        until(page, "document.querySelector('#left').textContent === '12 of 24 cases pass'")
        assert chip(page) == "3"
        assert page.locator("#filter-fields label:has(input[value='nodule']) .number").inner_text() == "3"
        options = page.locator("select[data-column='sex'] option").all_inner_texts()
        assert options == ["any", "F (12)", "M (12)"], "what another choice would leave"
        assert "B30f (6)" in page.locator("select[data-column='kernel'] option").all_inner_texts()
        shot(page, "counts-1280")
        page.fill("#condition", "aged >= 9")
        page.keyboard.press("Enter")
        until(page, "document.querySelector('.chip .number').textContent === ''")
        page.click("#clear")
        until(page, "document.querySelector('.chip .number').textContent === '6'")


def test_a_case_shows_its_series_and_its_patients_other_studies(browser: Any, address: str) -> None:
    for page in tab(browser, address, width=1280):
        keyword(page)
        page.select_option("#sort", "case")
        page.click(".card[data-case='s6'] .open")
        page.wait_for_selector("#same-patient button")
        facts = page.inner_text("#reading .facts")
        assert all(one in facts for one in ("2020-07-07", "B30f", "1.25 mm", "contrast"))
        assert "20200707" not in facts
        assert "32 days later" in page.inner_text("#same-patient")
        shot(page, "case-1280")
        page.keyboard.press("ArrowRight")
        until(page, "document.querySelector('#case-title').textContent.includes('s7')")
        page.wait_for_selector("#same-patient button[data-case='s6']")
        assert "32 days earlier" in page.inner_text("#same-patient")
        page.click("#same-patient button")
        until(page, "document.querySelector('#case-title').textContent.includes('s6')")


def test_searches_and_cases_are_kept_in_the_browser_alone(browser: Any, address: str, tmp_path: Path) -> None:
    for page in tab(browser, address, width=1280):
        sent = requests_of(page)
        page.select_option("select[data-column='sex']", label="F (12)")
        keyword_only(page)
        page.click("#save-search")
        until(page, "document.querySelector('#save-search').textContent === 'Saved'")
        for name in ("s1", "s2"):
            page.click(f".card[data-case='{name}'] .keep")
        page.click(".card[data-case='s1'] .open")
        page.wait_for_selector("#same-patient")
        assert page.get_attribute("#keeping .keep", "aria-pressed") == "true"
        page.keyboard.press("Escape")
        page.wait_for_selector("#case", state="hidden")
        kept = page.evaluate("Object.entries({...localStorage}).filter(([key]) => key.startsWith('bimcvr-lists'))")
        assert len(kept) == 1
        assert kept[0][1] == (
            '{"searches":["mode=keyword&query=nodule&into=image&where=sex+%3D+F"],"cases":["s1","s2"]}'
        ), "ids, and the query's words and filters"
        assert not [one for one in sent if "save" in one or '"cases"' in one]
        shot(page, "kept-1280")
        page.goto("about:blank")
        page.goto(address)
        page.wait_for_selector("#kept .kept", state="attached")
        assert "Kept here (3)" in page.inner_text("#kept summary")
        page.click("#kept summary")
        page.click("#kept [data-list=searches] .kept")
        page.wait_for_selector("#results:not([aria-busy]) .card")
        assert page.get_attribute(".chip[data-label='nodule']", "aria-pressed") == "true"
        assert page.input_value("select[data-column='sex']") == "sex = F"
        assert chip(page) == "3"
        rows = columns_of(page, "#kept [data-list=searches] .list-csv", tmp_path / "searches.csv")
        assert rows == [{"mode": "keyword", "query": "nodule", "into": "image", "hybrid": "", "where": "sex = F"}]
        rows = columns_of(page, "#kept [data-list=cases] .list-csv", tmp_path / "cases.csv")
        assert rows == [{"study_id": "s1"}, {"study_id": "s2"}]
        page.click("#kept [data-list=cases] .list-remove >> nth=0")
        assert page.locator("#kept [data-list=cases] .kept").all_inner_texts() == ["s2"]
        assert page.get_attribute(".card[data-case='s1'] .keep", "aria-pressed") == "false"
        page.click("#query-summary button")
        page.click("#kept [data-list=cases] .kept")
        page.wait_for_selector("#same-patient")
        assert page.url.endswith("#case=s2"), "a case has an address without a query too"
        page.reload()
        page.wait_for_selector("#same-patient")
        page.keyboard.press("Escape")
        page.wait_for_selector("#case", state="hidden")
        page.click("#kept summary")
        shot(page, "kept-open-1280")
        page.click("#kept [data-list=cases] .list-clear")
        page.click("#kept [data-list=searches] .list-clear")
        assert page.evaluate("Object.keys({...localStorage}).filter(key => key.startsWith('bimcvr-lists'))") == []


def requests_of(page: Any) -> list[str]:
    sent: list[str] = []
    page.on("request", lambda request: sent.append(request.url + (request.post_data or "")))
    return sent


def keyword_only(page: Any) -> None:
    page.click(".chip[data-label='nodule']")
    page.wait_for_selector("#results:not([aria-busy]) .card")


def test_without_ids_nothing_is_kept_beyond_the_tab(browser: Any, folder: Path, unused_port: int) -> None:
    with served(folder, unused_port, anonymous=True) as address:
        for page in tab(browser, address, width=390):
            keyword_only(page)
            assert page.is_hidden("#patients")
            assert page.eval_on_selector("#sort [value=day]", "one => one.disabled")
            page.click(".card .keep >> nth=0")
            assert "Kept here (1)" in page.text_content("#kept summary")
            assert page.evaluate("Object.keys({...localStorage}).filter(key => key.startsWith('bimcvr-lists'))") == []
            page.click(".card .open >> nth=0")
            page.wait_for_selector("#reading .facts")
            assert page.locator("#same-patient").count() == 0
            assert page.evaluate("document.querySelector('#case').scrollWidth") <= 390
            shot(page, "anonymous-case-390")
