"""The viewer in a browser: what it says is what it draws, and what it measures is what the volume holds."""

import re
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk

from bimcvr.data.manifest import read_manifest
from helpers.page import ask, picture, ready, slice_number, tab, until
from helpers.running_server import Made, Running

LETTERS = "letters => letters.map(letter => letter.textContent)"


@pytest.fixture(scope="module")
def viewing(browser: Any, running: Running) -> Iterator[Any]:
    """A tab with the case SECRET-s14, whose ball is on the right in the middle zone; all tests here use it in turn."""
    for page in tab(browser, running.address):
        ask(page, "a nodule")
        page.click("[data-case='SECRET-s14'] .open")
        ready(page)
        yield page


@pytest.fixture
def case(viewing: Any) -> Any:
    """The case as it was opened: axial, lung, whole, without marks."""
    viewing.mouse.move(5, 5)
    for key in ("a", "1", "0", "Delete", "w"):
        viewing.keyboard.press(key)
    viewing.select_option("#slab", "0")
    viewing.evaluate("document.activeElement.blur()")
    return viewing


def middle(page: Any) -> tuple[float, float]:
    box = page.locator(".stage").bounding_box()
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


def drag(page: Any, by: tuple[float, float], start: tuple[float, float] = (0, 0), button: str = "left") -> None:
    """Drag from a place relative to the middle of the picture."""
    x, y = middle(page)
    page.mouse.move(x + start[0], y + start[1])
    page.mouse.down(button=button)
    page.mouse.move(x + start[0] + by[0], y + start[1] + by[1], steps=3)
    page.mouse.up(button=button)


def window_of(page: Any) -> tuple[str, int, int]:
    found = re.search(r"(\S.*) L (-?\d+) W (\d+) HU", page.inner_text(".slice-label"))
    assert found
    return found[1], int(found[2]), int(found[3])


def volume_of(made: Made) -> np.ndarray:
    """(D, H, W), HU; rows towards the back, columns towards the left of the patient."""
    return sitk.GetArrayFromImage(sitk.ReadImage(read_manifest(made.manifest).column("volume")[14]))


def test_a_case_of_a_query_opens_at_its_finding(case: Any) -> None:
    """The ball of SECRET-s14 fills the slices 8 to 11 of 18, counted from 1."""
    assert 8 <= slice_number(case) <= 11
    case.keyboard.press("Home")
    assert slice_number(case) == 1
    case.keyboard.press("End")
    assert slice_number(case) == 18
    assert "right" in case.inner_text("#region")
    case.click("#region button")
    assert 8 <= slice_number(case) <= 11


@pytest.mark.parametrize("button", ["right", "left"])
def test_the_caption_tells_the_window_that_is_drawn(case: Any, button: str) -> None:
    assert window_of(case) == ("lung", -600, 1500)
    seen = picture(case)
    drag(case, (60, -40), (0, 0), button)
    name, level, width = window_of(case)
    assert name == "own window"
    assert level < -600
    assert width > 1500
    until(case, "document.querySelectorAll('#windows [aria-pressed=true]').length === 0")
    changed = picture(case)
    assert changed != seen
    case.keyboard.press("1")
    assert window_of(case) == ("lung", -600, 1500)
    assert case.get_attribute("[data-window=lung]", "aria-pressed") == "true"
    case.mouse.move(5, 5)
    assert picture(case) == seen


def test_letters_say_where_the_patient_lies(case: Any) -> None:
    """The ball, on the patient's right, is in the half of the picture that has the R."""
    sides = {"a": ["R", "L", "A", "P"], "c": ["R", "L", "H", "F"], "s": ["A", "P", "H", "F"]}
    for key, letters in sides.items():
        case.keyboard.press(key)
        assert case.eval_on_selector_all(".letter", LETTERS) == letters
    case.keyboard.press("a")
    assert "R is on the left" in case.inner_text(".slice-label")
    style = case.eval_on_selector(".letter", "e => [getComputedStyle(e).paintOrder, getComputedStyle(e).stroke]")
    assert style == ["stroke", "rgb(0, 0, 0)"], "a letter is seen on bright tissue too"


def test_no_caption_covers_a_letter(case: Any) -> None:
    boxes = (
        "all => all.map(one => { const b = one.getBoundingClientRect(); return [b.left, b.top, b.right, b.bottom] })"
    )
    for width in (1440, 1280, 390):
        case.set_viewport_size({"width": width, "height": 800})
        for key in "am":
            case.keyboard.press(key)
            until(case, "document.querySelectorAll('.letter').length > 0")
            captions = case.eval_on_selector_all(".slice-label, .pointed", boxes)
            for letter in case.eval_on_selector_all(".letter", boxes):
                for caption in captions:
                    apart = (
                        letter[2] <= caption[0]
                        or caption[2] <= letter[0]
                        or letter[3] <= caption[1]
                        or caption[3] <= letter[1]
                    )
                    assert apart, (width, key)
        assert case.evaluate("document.querySelector('#case').scrollWidth") <= width
    case.set_viewport_size({"width": 1280, "height": 800})


def test_hu_ruler_and_ellipse_are_those_of_the_volume(case: Any, made: Made) -> None:
    hu = volume_of(made)
    # the picture is the volume's height, 20 rows of 3 mm, scaled to the stage
    box = case.locator(".stage").bounding_box()
    pixels = (box["height"] - 2) / 60
    case.click("#region button")
    x, y = middle(case)
    # the voxel in column 5 and row 11: inside of the ball, its middle 13.5 mm to the right and 4.5 to the back
    case.mouse.move(x - 13.5 * pixels, y + 4.5 * pixels)
    at = slice_number(case) - 1
    assert case.inner_text(".pointed") == f"{hu[at, 11, 5]} HU"
    case.keyboard.press("r")
    drag(case, (21 * pixels, 0), (-15 * pixels, 0))
    text = case.inner_text(".caption") and case.eval_on_selector(".reading-mark", "e => e.textContent")
    assert float(text.removesuffix(" mm")) == pytest.approx(21, abs=0.3)
    case.keyboard.press("Delete")
    case.keyboard.press("e")
    # around the middles of the four voxels in columns 4 and 5, rows 9 and 10
    drag(case, (7.2 * pixels, 7.2 * pixels), (-18.6 * pixels, -3.6 * pixels))
    found = re.fullmatch(
        r"(-?\d+) ± (\d+) HU, ([\d.]+) cm² \((\d+) voxels\)",
        case.eval_on_selector(".reading-mark", "e => e.textContent"),
    )
    assert found
    inside = hu[at, 9:11, 4:6].astype(float)
    assert [int(found[1]), int(found[2])] == pytest.approx([inside.mean(), inside.std(ddof=1)], abs=0.6)
    assert int(found[4]) == 4
    assert float(found[3]) == pytest.approx(np.pi * 3.6**2 / 100, abs=0.03)
    case.keyboard.press("ArrowUp")
    assert case.locator(".reading-mark").count() == 0, "marks stay on their slice"
    case.keyboard.press("ArrowDown")
    assert case.locator(".reading-mark").count() == 1
    case.click("#clear-marks")
    assert case.locator(".reading-mark").count() == 0


def test_a_slab_shows_its_largest_values(case: Any, made: Made) -> None:
    hu = volume_of(made)
    case.click("#region button")
    at = slice_number(case) - 1
    case.select_option("#slab", "10")
    assert "MIP of 3 slices, 12.0 mm" in case.inner_text(".slice-label")
    x, y = middle(case)
    pixels = (case.locator(".stage").bounding_box()["height"] - 2) / 60
    case.mouse.move(x - 13.5 * pixels, y + 4.5 * pixels)
    assert case.inner_text(".pointed") == f"{hu[at - 1 : at + 2, 11, 5].max()} HU"
    case.select_option("#slab", "0")
    assert "MIP" not in case.inner_text(".slice-label")
    assert case.inner_text(".pointed") in ("", f"{hu[at, 11, 5]} HU")


def test_one_notch_is_one_slice(case: Any) -> None:
    case.click("#region button")
    case.mouse.move(*middle(case))
    for delta, moved in ((-120, 1), (-100, 2), (100, 1), (53, 0)):
        at = slice_number(case)
        case.mouse.wheel(0, delta)
        until(case, f"document.querySelector('.viewer').dataset.slice != {at}")
        case.wait_for_timeout(60)
        assert slice_number(case) == at - np.sign(delta), (delta, moved)


def test_zoom_and_pan_keep_the_measures(case: Any) -> None:
    case.click("#region button")
    whole = picture(case)
    case.mouse.move(*middle(case))
    case.keyboard.down("Control")
    case.mouse.wheel(0, -200)
    case.keyboard.up("Control")
    until(case, "Number(document.querySelector('.viewer').dataset.zoom) > 1.5")
    zoomed = picture(case)
    assert zoomed != whole
    case.keyboard.press("p")
    drag(case, (80, 0))
    assert picture(case) != zoomed
    zoom = float(case.get_attribute(".viewer", "data-zoom"))
    pixels = (case.locator(".stage").bounding_box()["height"] - 2) / 60 * zoom
    case.keyboard.press("r")
    drag(case, (9 * pixels, 0))
    text = case.eval_on_selector(".reading-mark", "e => e.textContent")
    assert float(text.removesuffix(" mm")) == pytest.approx(9, abs=0.3)
    case.keyboard.press("Delete")
    case.keyboard.press("0")
    case.mouse.move(5, 5)
    assert case.get_attribute(".viewer", "data-zoom") == "1.00"
    assert picture(case) == whole


def test_the_crosshair_is_drawn_and_moved(case: Any) -> None:
    assert case.locator(".cross").count() == 0
    case.keyboard.press("m")
    assert case.locator(".cross.line").count() >= 9
    width = case.eval_on_selector(".cross.line", "e => parseFloat(getComputedStyle(e).strokeWidth)")
    assert width >= 1
    at = slice_number(case)
    tall = case.locator(".stage").bounding_box()
    # a click into the coronal or sagittal picture moves the axial slice
    for right in (0.25, 0.5, 0.75):
        for down in (0.2, 0.7):
            case.mouse.click(tall["x"] + tall["width"] * right, tall["y"] + tall["height"] * down)
    assert slice_number(case) != at
