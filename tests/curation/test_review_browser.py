"""The review page in a browser, as a radiologist goes through a queue: by keys, at three widths, and under axe-core."""

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from curation.queued import queued
from helpers.cli import ROOT
from helpers.page import chromium, tab, until
from helpers.server_process import serving

AXE = ROOT / "node_modules/axe-core/axe.min.js"
TITLE = "document.querySelector('#title').textContent"
SHOWN = "document.querySelectorAll('#texts .report').length > 0"

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return queued(tmp_path_factory.mktemp("review") / "curated")


@pytest.fixture(scope="module")
def address(folder: Path) -> Iterator[str]:
    log = folder.parent / "log"
    with serving(folder, log, verb="review") as found:
        yield found.address
    assert not [word for word in ("Nodule", "derrame", "Ana", "P1", "GET") if word in log.read_text()]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as browser:
        yield browser


def decisions(folder: Path) -> dict[str, tuple[str, str, str]]:
    with (folder / "review.csv").open(encoding="utf-8-sig", newline="") as stream:
        rows = list(csv.DictReader(stream))
    return {row["study_id"]: (row["decision"], row["labels"], row["reviewer"]) for row in rows}


def at(page: Any, study: str) -> None:
    until(page, f"{TITLE} === '{study}' && {SHOWN} && !document.querySelector('#reject').disabled")


def test_a_queue_is_gone_through_by_keys(browser: Any, address: str, folder: Path) -> None:
    opened = tab(browser, address, 1280, "#texts .report")
    page = next(opened)
    at(page, "s0")
    assert "also in the queue" in page.inner_text("#patient")
    assert page.locator("#texts .report").count() == 2
    assert "Something wrong with the data" in page.locator("mark").all_inner_texts()
    assert page.is_disabled("#accept"), "a failed translation"
    page.keyboard.press("r")
    assert page.evaluate("document.activeElement.id") == "reviewer", "no answer without a name"
    page.keyboard.type("Ana")
    page.keyboard.press("Enter")
    page.keyboard.press("Escape")
    page.keyboard.press("a")
    assert page.evaluate(TITLE) == "s0"
    page.keyboard.press("j")
    at(page, "s1")
    until(page, "[...document.querySelectorAll('.plane img')].every(image => image.naturalWidth > 0)")
    seen = page.inner_text("[data-plane=axial] figcaption")
    assert "axial · 17 of 32 · chest window, −1000 to 400 HU" in seen
    page.keyboard.press("2")
    until(page, "document.querySelector('[data-plane=axial] figcaption').textContent.includes('−1350 to 150')")
    page.hover("[data-plane=axial] .frame")
    page.mouse.wheel(0, -60)
    until(page, "document.querySelector('[data-plane=axial] figcaption').textContent.includes('18 of 32')")
    page.keyboard.press("c")
    page.fill("#corrected", "Nodule of 8 mm in the right upper lobe. No pleural effusion.")
    page.keyboard.press("Escape")
    page.click(".label-editor >> text=nodule")
    page.click("#save-correction")
    at(page, "s2")
    assert decisions(folder)["s1"] == ("correct", "nodule", "Ana")
    assert "<script>" in page.inner_text("#texts .report"), "shown as text"
    page.keyboard.press("a")
    at(page, "s3")
    assert decisions(folder)["s2"] == ("accept", "", "Ana")
    assert "2 of 4 answered by you" in page.inner_text("#progress-text")
    until(page, "document.querySelector('[data-plane=axial] .wait').textContent.startsWith('The volume')")
    page.keyboard.press("u")
    at(page, "s2")
    assert decisions(folder)["s2"] == ("", "", "")
    assert "Undone" in page.inner_text("#status")
    page.reload()
    at(page, "s2")
    assert page.input_value("#reviewer") == "Ana", "the name is kept"
    page.select_option("#flag", "placeholder")
    until(page, "document.querySelector('#place').textContent === '1 of 2'")
    assert page.evaluate(TITLE) == "s0"
    page.select_option("#flag", "")
    page.select_option("#show", "mine")
    at(page, "s1")
    assert page.input_value("#corrected").startswith("Nodule of 8 mm")
    # meanwhile somebody edits the same answer in a spreadsheet
    queue = folder / "review.csv"
    queue.write_text(
        queue.read_text(encoding="utf-8").replace("Nodule of 8 mm in", "Nodule of 9 mm in"), encoding="utf-8"
    )
    page.click("#withdraw")
    until(page, "document.querySelector('#problem').textContent.includes('changed in the file')")
    assert decisions(folder)["s1"][0] == "correct"
    next(opened, None)


@pytest.mark.parametrize("width", [1440, 1280, 390])
def test_the_page_fits_its_window(browser: Any, address: str, width: int, tmp_path: Path) -> None:
    opened = tab(browser, address, width, "#texts .report")
    page = next(opened)
    page.keyboard.press("j")
    at(page, "s1")
    until(page, "[...document.querySelectorAll('.plane img')].every(image => image.naturalWidth > 0)")
    page.screenshot(path=tmp_path / f"review-{width}.png", full_page=True)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    columns = page.evaluate("getComputedStyle(document.querySelector('#texts')).gridTemplateColumns.split(' ').length")
    assert columns == (1 if width == 390 else 2), "the original stands beside the translation"
    for name in ("accept", "reject", "correct"):
        box = page.locator(f"#{name}").bounding_box()
        assert 0 <= box["x"]
        assert box["x"] + box["width"] <= width
        assert box["y"] + box["height"] <= 800, "the decision is in sight"
    next(opened, None)


def test_axe_finds_no_serious_fault(browser: Any, address: str) -> None:
    if not AXE.exists():
        pytest.skip("axe-core is not installed (`make axe`): the page was not tested with it")
    # the page's own policy forbids axe's script
    page = browser.new_page(bypass_csp=True, viewport={"width": 1280, "height": 800})
    page.goto(address)
    page.wait_for_selector("#texts .report")
    page.keyboard.press("c")
    page.add_script_tag(path=str(AXE))
    found = page.evaluate("async () => (await axe.run(document, {resultTypes: ['violations']})).violations")
    page.close()
    assert [
        f"{fault['id']}: {[node['target'] for node in fault['nodes'][:3]]}"
        for fault in found
        if fault["impact"] in ("serious", "critical") or fault["id"] == "region"
    ] == []
