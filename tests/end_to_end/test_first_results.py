"""The eight commands of docs/howto/first-results.md, on a folder of real volumes and a table of reports."""

import os
import re
import shlex
import time
from pathlib import Path

import pandas as pd
import pytest
from starlette.testclient import TestClient

from bimcvr.cli import main
from bimcvr.search.index.reader import Index
from bimcvr.search.query.encoder import load_search_model
from bimcvr.search.server.app import create_app
from bimcvr.search.server.options import ServerOptions
from bimcvr.search.server.service import SearchService
from helpers.real_reports import report_table

DATA = os.environ.get("BIMCVR_REAL_DATA", "")
PAGE = Path(__file__).parents[2] / "docs/howto/first-results.md"


def commands() -> list[list[str]]:
    """The commands of the page, as words after `bimcvr`."""
    blocks = "\n".join(re.findall(r"```console\n(.*?)```", PAGE.read_text(), flags=re.DOTALL))
    return [shlex.split(line)[2:] for line in re.sub(r" *\\\n *", " ", blocks).splitlines() if line.startswith("$ ")]


def test_the_page_has_eight_commands_and_edits_no_file() -> None:
    verbs = ["make-manifest", "label", "audit", "fit", "test", "evaluate", "index", "serve"]
    assert [words[0] for words in commands()] == verbs


@pytest.mark.slow
@pytest.mark.skipif(not DATA, reason="BIMCVR_REAL_DATA names no folder of real volumes")
def test_a_new_user_s_road(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "scans").symlink_to(DATA)
    pd.DataFrame(report_table(Path(DATA)), columns=["study_id", "report"]).to_csv("reports.csv", index=False)
    began, *words = time.perf_counter(), *commands()
    for command in words[:-1]:
        globbed = [str(next(tmp_path.glob(word))) if "*" in word else word for word in command]
        assert main(globbed) in (0, 3), command
        with capsys.disabled():
            print(f"{time.perf_counter() - began:6.0f} s  {command[0]}")
    manifest = pd.read_csv("study/labelled.csv")
    assert len(manifest) == 7
    assert manifest["labels"].notna().sum() >= 2
    for made in ("study/audit/audit.html", "study/result.html", "study/manifest-unmatched.csv"):
        assert (tmp_path / made).stat().st_size > 500
    (page,) = tmp_path.glob("runs/first/*/run.html")
    assert "learning rate" in page.read_text()
    index = Path(words[-1][1])
    with Index.open(index) as opened:
        model = load_search_model(opened, None, None)
    service = SearchService(index, model, False)
    client = TestClient(create_app(service, ServerOptions("", ("127.0.0.1",), 4)), base_url="http://127.0.0.1:8000")
    try:
        assert client.get("/").status_code == 200
        found = client.post("/api/search", json={"mode": "text", "query": "pulmonary nodule", "top": 3})
        assert found.status_code == 200, found.text
        assert len(found.json()["hits"]) == 3
    finally:
        service.close()
