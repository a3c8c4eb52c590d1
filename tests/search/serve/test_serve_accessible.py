"""The page under axe-core, which `make axe` installs by npm: no serious fault for who cannot see, or uses no mouse."""

from typing import Any

import pytest

from helpers.cli import ROOT
from helpers.page import ask, ready
from helpers.running_server import Running

AXE = ROOT / "node_modules/axe-core/axe.min.js"
RULES = "async () => (await axe.run(document, {resultTypes: ['violations']})).violations"


def faults(page: Any) -> list[str]:
    found = page.evaluate(RULES)
    return [
        f"{fault['id']}: {fault['help']}: {[node['target'] for node in fault['nodes'][:3]]}"
        for fault in found
        # `region`, a moderate one: what lies in no landmark is passed over by who jumps from one to the next
        if fault["impact"] in ("serious", "critical") or fault["id"] == "region"
    ]


def test_axe_finds_no_serious_fault(browser: Any, running: Running) -> None:
    if not AXE.exists():
        pytest.skip("axe-core is not installed (`make axe`): the page was not tested with it")
    # the page's own policy forbids axe's script
    page = browser.new_page(bypass_csp=True, viewport={"width": 1280, "height": 800})
    page.goto(running.address)
    page.wait_for_selector(".chip")
    page.add_script_tag(path=str(AXE))
    found = {"start": faults(page)}
    ask(page, "a nodule")
    found["results"] = faults(page)
    page.click("#kept summary")
    page.click("#save-search")
    page.click(".card .keep >> nth=0")
    page.check("#patients")
    page.check("#filter-fields input[value='right']")
    page.wait_for_selector("#results:not([aria-busy]) .patient")
    found["lists"] = faults(page)
    page.click("#as-grid")
    found["grid"] = faults(page)
    page.click(".open >> nth=0")
    ready(page)
    found["case"] = faults(page)
    page.set_viewport_size({"width": 390, "height": 800})
    found["narrow"] = faults(page)
    page.close()
    assert found == {shown: [] for shown in ("start", "results", "lists", "grid", "case", "narrow")}
