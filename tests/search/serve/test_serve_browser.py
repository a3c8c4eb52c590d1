"""The page in a browser, as its user sees it: Debian's Chromium, driven by playwright."""

import base64
import threading
import time
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import uvicorn
from PIL import Image

from bimcvr.data.manifest import read_manifest
from helpers.page import ask, names, picture, ready, slice_number, tab, until
from helpers.running_server import Made, Running, app_of

TOKEN = "a-token-that-nobody-guesses"  # noqa: S105 - of a test


@pytest.fixture
def page(browser: Any, running: Running) -> Iterator[Any]:
    """A tab with the page in it; in the end no request has left this machine and nothing has failed in it."""
    yield from tab(browser, running.address)


def test_a_query_finds_cases_and_marks_its_words(page: Any) -> None:
    assert "Phantom: synthetic" in page.inner_text("#banner")
    assert page.evaluate("document.activeElement.id") == "query"
    ask(page, "a nodule in the right upper zone")
    assert len(names(page)) == 20
    scores = [float(text) for text in page.locator(".score").all_inner_texts()]
    assert scores == sorted(scores, reverse=True)
    assert "nodule" in page.locator(".card mark").all_inner_texts()
    until(page, "document.querySelectorAll('.thumb')[2].naturalWidth > 0")
    page.click("#more")
    until(page, "document.querySelectorAll('.card').length === 30")
    assert any("<script>" in text for text in page.locator(".report").all_inner_texts()), "shown as text"


def test_notes_and_empty_results_are_shown(page: Any) -> None:
    ask(page, "haemorrhage brain")
    assert "not trained on this" in page.inner_text("#status .warning >> nth=0")
    page.fill("#condition", "age >= 900")
    page.keyboard.press("Enter")
    page.wait_for_selector("#status .nothing")
    assert "No case passes these filters" in page.inner_text("#status")
    page.fill("#condition", "sex = F AND age >= 60")
    page.keyboard.press("Enter")
    page.wait_for_selector(".card")
    assert "of 5 cases that pass the filters" in page.inner_text("#status")
    page.fill("#condition", "aged >= 9")
    page.keyboard.press("Enter")
    page.wait_for_selector("#status .error")
    assert "'age'" in page.inner_text("#status")


def test_a_case_is_read_slice_by_slice_and_by_keys(page: Any) -> None:
    ask(page, "a nodule")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    second = names(page)[1]
    page.keyboard.press("Enter")
    ready(page)
    assert second in page.inner_text("#case-title")
    assert "case number" in page.inner_text("#reading .report")
    label = page.inner_text(".slice-label")
    assert "4.00 mm" in label
    assert "radiological: R is on the left" in label
    for _ in range(30):
        page.keyboard.press("Tab")
        inside = "document.activeElement === document.body || document.activeElement.closest('#case') !== null"
        assert page.evaluate(inside), "Tab stays in the case"
    page.evaluate("document.activeElement.blur()")
    at, seen = slice_number(page), picture(page)
    page.hover(".stage")
    page.mouse.wheel(0, -60)
    until(page, f"document.querySelector('.viewer').dataset.slice > {at}")
    assert picture(page) != seen
    at = slice_number(page)
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    assert slice_number(page) == at - 2
    assert page.evaluate("Number(document.querySelector('.slices').value)") == at - 2
    seen = picture(page)
    page.keyboard.press("3")
    assert page.get_attribute(".viewer", "data-window") == "bone"
    assert picture(page) != seen, "bone is another window than lung"
    page.click("text=mediastinum")
    assert page.get_attribute(".viewer", "data-window") == "mediastinum"
    seen = picture(page)
    page.keyboard.press("c")
    assert "coronal" in page.inner_text(".slice-label")
    assert picture(page) != seen
    page.keyboard.press("ArrowRight")
    until(page, f"document.querySelector('#case-title').textContent.includes('{names(page)[2]}')")
    page.keyboard.press("Escape")
    page.wait_for_selector("#case", state="hidden")
    assert page.evaluate("document.activeElement.closest('.card').dataset.case") == names(page)[2]
    page.keyboard.press("/")
    assert page.evaluate("document.activeElement.id") == "query"


def test_a_case_opens_where_the_model_looks(page: Any) -> None:
    ask(page, "a nodule")
    page.click(".open >> nth=0")
    ready(page)
    assert page.get_attribute(".viewer", "data-map") == "shown"
    assert "no diagnosis" in page.inner_text("#attention")
    # the same map by the API: its highest place is the slice that is shown
    case = names(page)[0]
    found = page.evaluate(
        """async name => (await fetch("api/relevance", {method: "POST", headers: {"Content-Type": "application/json"},
        body: JSON.stringify({case: name, mode: "text", query: "a nodule"})})).json()""",
        case,
    )
    assert found["speaks"]
    # 18 slices of 4 mm around the middle
    assert slice_number(page) == round(found["peak_mm"][2] / 4 + 17 / 2) + 1
    seen = picture(page)
    page.uncheck("#show-map")
    until(page, "document.querySelector('.viewer').dataset.strength === '0'")
    without = picture(page)
    assert without != seen
    page.check("#show-map")
    page.fill("#map-strength", "90")
    assert page.get_attribute(".viewer", "data-strength") == "0.9"
    assert picture(page) not in (seen, without)


def test_the_patients_right_is_on_the_left(page: Any) -> None:
    """The ball that the report places on the right lies in the left half of the picture, low slices at the feet."""
    ask(page, "nodule right")
    page.click("[data-case='SECRET-s0'] .open")
    ready(page)
    page.keyboard.press("3")
    for _ in range(18):
        page.keyboard.press("ArrowDown")
    for _ in range(3):
        page.keyboard.press("ArrowUp")
    grey = np.asarray(Image.open(BytesIO(picture(page))).convert("L"), dtype=float)
    assert "right" in page.inner_text("#reading .report")
    assert grey[:, :60].max() > 60 > grey[:, 120:].max()


def test_a_dropped_volume_is_compared_with_what_it_finds(page: Any, made: Made) -> None:
    sent: list[str] = []
    page.on("request", lambda request: sent.append(request.url) if "/api/convert" in request.url else None)
    source = Path(read_manifest(made.manifest).column("volume")[4])
    content = base64.b64encode(source.read_bytes()).decode()
    page.evaluate(
        """content => {
        const bytes = Uint8Array.from(atob(content), letter => letter.charCodeAt(0));
        const data = new DataTransfer();
        data.items.add(new File([bytes], 'mine.nii.gz'));
        for (const type of ['dragover', 'drop']) {
            document.body.dispatchEvent(new DragEvent(type, {dataTransfer: data, bubbles: true, cancelable: true}));
        }
    }""",
        content,
    )
    page.wait_for_selector(".card")
    assert "mine.nii.gz" in page.inner_text("#query-summary")
    assert names(page)[0] == "SECRET-s4"
    page.click(".open >> nth=0")
    ready(page, viewers=2)
    assert picture(page, 0) == picture(page, 1), "the query and the case are the same volume"
    page.keyboard.press("ArrowUp")
    assert slice_number(page, 0) == slice_number(page, 1), "they scroll together"
    page.keyboard.press("ArrowDown")
    seen = picture(page, 0)
    page.keyboard.press("ArrowRight")
    until(page, f"document.querySelector('#case-title').textContent.includes('{names(page)[1]}')")
    ready(page, viewers=2)
    assert picture(page, 0) == seen
    assert len(sent) == 1, "the volume is sent to be converted once, however many cases are opened"
    page.keyboard.press("Escape")
    page.wait_for_selector("#case", state="hidden")
    assert page.is_disabled("#by"), "a volume has no words to rank by"
    assert not list((made.index / "derived/uploads").iterdir())


def test_a_case_is_searched_with(page: Any) -> None:
    ask(page, "a nodule")
    page.click(".open >> nth=0")
    ready(page)
    first = page.inner_text("#case-title").split()[-1]
    page.click("text=Search with this case")
    page.wait_for_selector("#results:not([aria-busy]) .card")
    page.wait_for_selector("#query-summary:not([hidden])")
    assert first in page.inner_text("#query-summary")
    assert first not in names(page)
    assert page.evaluate("document.activeElement.id") == "results"
    assert page.evaluate("scrollY") == 0, "the query is visible"
    page.go_back()
    until(
        page,
        f"document.querySelector('#case-title').textContent.includes('{first}') &&"
        " !document.querySelector('#case').hidden",
    )
    page.reload()
    until(
        page,
        f"document.querySelector('#case-title').textContent.includes('{first}') &&"
        " !document.querySelector('#case').hidden",
    )
    page.keyboard.press("Escape")
    page.wait_for_selector("#case", state="hidden")
    assert page.input_value("#query") == "a nodule"
    assert first not in page.url, "the address names what is shown"


def test_more_cases_are_still_there_after_one_is_read(page: Any) -> None:
    ask(page, "a nodule")
    page.click("#more")
    until(page, "document.querySelectorAll('.card').length === 30")
    last = names(page)[-1]
    page.click(".open >> nth=29")
    ready(page)
    page.keyboard.press("Escape")
    page.wait_for_selector("#case", state="hidden")
    until(page, "document.querySelector('#results').getAttribute('aria-busy') === null")
    assert len(names(page)) == 30
    assert page.evaluate("document.activeElement.closest('.card')?.dataset.case") == last


def test_going_back_takes_how_it_was_ranked_along(page: Any) -> None:
    status_has = "document.querySelector('#status').textContent.includes('{}')".format
    ask(page, "a nodule")
    page.select_option("#into", "report")
    until(page, status_has("The nearest reports"))
    page.select_option("#by", "both")
    until(page, status_has("fused rank"))
    page.go_back()
    until(page, status_has("cosine"))
    assert (page.input_value("#into"), page.input_value("#by")) == ("report", "")
    page.go_back()
    until(page, status_has("The nearest volumes"))
    assert page.input_value("#into") == "image"
    ask(page, "left")
    assert "The nearest volumes" in page.inner_text("#status"), "the lists show how the next search will rank"
    page.go_back()
    page.go_back()
    page.wait_for_selector("#status .start")
    page.go_forward()
    page.wait_for_selector(".card")


def test_choices_that_the_query_would_ignore_are_disabled(page: Any) -> None:
    page.select_option("#by", "words")
    ask(page, "nodule right")
    assert page.is_disabled("#into"), "words are in reports"
    assert not page.is_disabled("#by")
    page.click(".chip[data-label='nodule']")
    until(page, "document.querySelector('#status').textContent.includes('The nearest volumes')")
    assert page.input_value("#by") == "", "a finding is ranked by both, unless the user wants otherwise"
    assert page.eval_on_selector("#by option[value=words]", "option => option.disabled")
    page.select_option("#by", "both")
    until(page, "document.querySelector('#status').textContent.includes('fused rank')")
    page.click(".open >> nth=0")
    ready(page)
    page.click("text=Search with this case")
    until(page, "document.querySelector('#status').textContent.includes('cosine')")
    assert page.is_disabled("#by")
    assert page.input_value("#by") == "meaning"
    assert "no words" in page.get_attribute("#by", "title")
    page.click("#query-summary button")
    assert not page.is_disabled("#by")
    assert page.input_value("#by") == "both", "as it was chosen before the search by a case"


def test_labels_filter_and_keywords_ask(page: Any) -> None:
    page.click(".chip[data-label='nodule']")
    page.wait_for_selector(".card")
    assert page.get_attribute(".chip[data-label='nodule']", "aria-pressed") == "true"
    assert "nodule" in page.locator(".card mark.present").all_inner_texts()
    page.check("#filter-fields input[value='left']")
    until(page, "document.querySelector('#status').textContent.includes('of 15 cases that pass')")
    texts = "cards => cards.map(card => [...card.querySelectorAll('.labels li')].map(one => one.textContent))"
    lists = page.eval_on_selector_all(".card", texts)
    assert len(lists) == 15
    assert all("left" in labels for labels in lists)
    page.select_option("select[data-column='split']", "split = test")
    until(page, "document.querySelectorAll('.card').length < 15")
    assert "Filters (2)" in page.inner_text("#filters summary")
    page.click("#clear")
    until(page, "document.querySelectorAll('.card').length === 20")


def test_a_keyword_is_compared_with_what_was_chosen(page: Any) -> None:
    page.click(".chip[data-label='nodule']")
    until(page, "document.querySelector('#status').textContent.includes('The nearest volumes')")
    page.select_option("#into", "report")
    until(page, "document.querySelector('#status').textContent.includes('The nearest reports')")
    assert page.get_attribute(".chip[data-label='nodule']", "aria-pressed") == "true"


@pytest.fixture
def narrow(browser: Any, running: Running) -> Iterator[Any]:
    yield from tab(browser, running.address, width=420)


def test_a_narrow_screen_holds_it_all(narrow: Any) -> None:
    overflow = "document.documentElement.scrollWidth"
    assert narrow.evaluate(overflow) <= 420
    assert narrow.get_attribute("#filters", "open") is None
    ask(narrow, "a nodule in the right upper zone")
    assert narrow.evaluate(overflow) <= 420
    narrow.click(".open >> nth=0")
    ready(narrow)
    assert narrow.evaluate("document.querySelector('#case').scrollWidth") <= 420
    stage, report = narrow.locator(".stage").bounding_box(), narrow.locator("#reading .report").bounding_box()
    assert stage["y"] + stage["height"] <= report["y"], "the report is below the volume"
    at = slice_number(narrow)
    narrow.locator(".slices").focus()
    narrow.keyboard.press("ArrowRight")
    assert slice_number(narrow) == at + 1


@pytest.fixture
def guarded(made: Made, unused_port: int) -> Iterator[str]:
    """The address of a server that asks for its token, in a thread."""
    service = made.service(anonymous=True)
    server = uvicorn.Server(uvicorn.Config(app_of(service, token=TOKEN), port=unused_port, log_level="error"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    until = time.monotonic() + 60
    while not server.started and thread.is_alive() and time.monotonic() < until:
        time.sleep(0.02)
    assert server.started
    yield f"http://127.0.0.1:{unused_port}/"
    server.should_exit = True
    thread.join(60)
    assert not thread.is_alive()
    service.close()


def test_the_page_asks_for_the_token(browser: Any, guarded: str) -> None:
    asks_again = (
        "document.querySelector('#token-dialog').open &&"
        " document.querySelector('#token-error').textContent.includes('WHY')"
    )
    for page in tab(browser, guarded):
        page.fill("#token", "a-wrong-one")
        page.keyboard.press("Enter")
        until(page, asks_again.replace("WHY", "not accepted"))
        page.fill("#token", TOKEN + chr(0x200B))
        page.keyboard.press("Enter")
        until(page, asks_again.replace("WHY", "invisible"))
        page.fill("#token", f" {TOKEN} ")
        page.keyboard.press("Enter")
        page.wait_for_selector(".chip")
        assert "without ids" in page.inner_text("#facts")
        ask(page, "a nodule")
        until(page, "document.querySelectorAll('.thumb')[0].naturalWidth > 0")
        page.click(".open >> nth=0")
        ready(page)
        assert "SECRET" not in page.inner_text("body")
        assert TOKEN not in page.url
