"""The search page in a browser: opening it, asking, waiting for what it shows."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = Path("/usr/bin/chromium")
HERE = ("http://127.0.0.1:", "http://localhost:")


@contextmanager
def chromium() -> Iterator[Any]:
    """Debian's browser, driven by playwright; without it, or without playwright, the test is skipped."""
    playwright = pytest.importorskip(
        "playwright.sync_api", reason="playwright is not installed: the page was not tested in a browser"
    )
    if not CHROMIUM.exists():
        pytest.skip(f"there is no browser at {CHROMIUM}: the page was not tested in one")
    arguments = ["--enable-unsafe-swiftshader", *(["--no-sandbox"] if os.geteuid() == 0 else [])]
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=str(CHROMIUM), args=arguments)
        yield browser
        browser.close()


def tab(browser: Any, address: str, width: int = 1280, start: str = ".chip, dialog[open]") -> Iterator[Any]:
    """A new tab; in the end no request has left this machine and nothing has failed in it.

    Args:
        browser: of playwright.
        address: what it shows first.
        width: of the window, pixels.
        start: the element to wait for; empty for none.
    """
    page = browser.new_page(viewport={"width": width, "height": 800})
    page.set_default_timeout(30_000)
    elsewhere: list[str] = []
    wrong: list[str] = []
    page.on("request", lambda request: elsewhere.append(request.url))
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("console", lambda line: wrong.append(line.text) if line.type == "error" else None)
    page.goto(address)
    if start:
        page.wait_for_selector(start)
    yield page
    assert [url for url in elsewhere if not url.startswith((*HERE, "blob:", "data:"))] == []
    assert [line for line in wrong if "Failed to load resource" not in line] == []
    assert page.evaluate("window.hacked") is None, "a script in a report has run"
    page.close()


def until(page: Any, holds: str, seconds: float = 30) -> None:
    """Wait for an expression to hold; playwright's own waiting evaluates in the page, which its policy forbids."""
    end = time.monotonic() + seconds
    while not page.evaluate(holds):
        assert time.monotonic() < end, holds
        time.sleep(0.03)


def ask(page: Any, query: str) -> None:
    page.fill("#query", query)
    page.keyboard.press("Enter")
    page.wait_for_selector("#results:not([aria-busy]) .card")


def names(page: Any) -> list[str]:
    return page.eval_on_selector_all("#results .card", "cards => cards.map(card => card.dataset.case)")


def picture(page: Any, viewer: int = 0) -> bytes:
    """The middle of a viewer, where nothing is written over it."""
    box = page.locator(".stage").nth(viewer).bounding_box()
    left, top = box["x"] + box["width"] / 2 - 90, box["y"] + box["height"] / 2 - 90
    return page.screenshot(clip={"x": left, "y": top, "width": 180, "height": 180})


def ready(page: Any, viewers: int = 1) -> None:
    page.wait_for_selector(f".viewer[data-ready] >> nth={viewers - 1}")
    page.wait_for_selector(".viewer[data-opened]")  # the map, or the slice to open at, comes last and may move the case


def slice_number(page: Any, viewer: int = 0) -> int:
    return int(page.locator(".viewer").nth(viewer).get_attribute("data-slice"))
