"""The review page's API, in process: what a reviewer is shown, and what their answers do to the file."""

import csv
import logging
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from starlette.testclient import TestClient

from bimcvr.cli import main
from bimcvr.commands.dataset.curate import curate
from bimcvr.curation.pipeline.decisions import Checks
from bimcvr.curation.review.page.app import create_review_app
from bimcvr.curation.review.page.desk import ReviewDesk
from bimcvr.curation.sources.csv_table import CsvTable
from bimcvr.data.manifest import read_manifest
from bimcvr.data.reading.grid import DEFAULT_RULES
from bimcvr.serving.middleware import HEADERS
from curation.conftest import write_table
from curation.queued import FAILED, LOST, SPANISH, queued

HOST = "http://127.0.0.1:8001"
NONE = {"decision": "", "corrected": "", "labels": None}
ACCEPT = {"decision": "accept", "corrected": "", "labels": None}


def client_of(folder: Path, token: str = "") -> TestClient:
    app = create_review_app(ReviewDesk(folder, folder / "review.csv", DEFAULT_RULES), DEFAULT_RULES, token)
    return TestClient(app, base_url=HOST, raise_server_exceptions=False)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return queued(tmp_path / "curated")


@pytest.fixture
def client(folder: Path) -> Iterator[TestClient]:
    with client_of(folder) as client:
        yield client


def questions(client: TestClient, reviewer: str = "Ana") -> dict[str, Any]:
    """The list, by study."""
    listed = client.get("/api/queue", params={"reviewer": reviewer}).json()["questions"]
    return {one["study"]: one for one in listed}


def details(client: TestClient, study: str) -> dict[str, Any]:
    return client.get("/api/question", params={"question": questions(client)[study]["question"]}).json()


def answer(client: TestClient, study: str, given: Any, before: Any = NONE, reviewer: str = "Ana") -> Any:
    name = questions(client)[study]["question"]
    body = {"question": name, "reviewer": reviewer, "answer": given, "before": before}
    return client.post("/api/answer", json=body)


def cells(folder: Path, study: str) -> list[dict[str, str]]:
    with (folder / "review.csv").open(encoding="utf-8-sig", newline="") as stream:
        return [row for row in csv.DictReader(stream) if row["study_id"] == study]


def marked(text: dict[str, Any]) -> dict[str, list[str]]:
    """The marked words, by flag."""
    found: dict[str, list[str]] = {}
    for mark in text["marks"]:
        found.setdefault(mark["kind"], []).append(text["text"][mark["start"] : mark["end"]])
    return found


def test_the_list_keeps_a_patients_studies_together(client: TestClient) -> None:
    queue = client.get("/api/queue").json()
    assert [one["study"] for one in queue["questions"]] == ["s0", "s1", "s2", "s3"], "s1 is s0's patient"
    assert queue["synthetic"] == "all"
    assert {"nodule", "pleural effusion", "cardiomegaly"} <= set(queue["labels"])
    listed = questions(client)
    assert listed["s3"]["kinds"] == ["wrong_modality", "placeholder"]
    assert listed["s1"]["kinds"] == ["doubtful_translation"]
    assert [one["failed"] for one in listed.values()] == [True, False, False, False]
    assert "report" not in str(queue["questions"]), "texts are sent one by one"


def test_flags_come_with_evidence_and_their_words_are_marked(client: TestClient) -> None:
    failed = details(client, "s0")
    assert (failed["report"]["text"], failed["original"]["text"]) == (FAILED, SPANISH)
    assert failed["flags"][0]["evidence"] == "reads like a failure message: 'something wrong with the data'"
    assert marked(failed["report"]) == {"placeholder": ["Something wrong with the data"]}
    film = details(client, "s3")
    assert [(flag["name"], flag["asked"]) for flag in film["flags"]] == [
        ("wrong_modality", True),
        ("placeholder", False),
    ]
    assert "x-ray" in film["flags"][0]["evidence"]
    assert marked(film["report"])["wrong_modality"] == ["x-ray"]
    assert marked(details(client, "s2")["report"])["untranslated"] == ["El", "derrame", "de"]


def test_what_a_translation_lost_is_marked_in_both_texts(client: TestClient) -> None:
    shown = details(client, "s1")
    assert (shown["report"]["text"], shown["original"]["text"]) == (LOST, SPANISH)
    assert len(shown["flags"]) == 5
    assert marked(shown["original"]) == {"doubtful_translation": ["8", "derecho", "Sin"]}
    assert marked(shown["report"]) == {"doubtful_translation": ["6", "left"]}
    assert (shown["labels"], shown["labels_source"]) == (["nodule"], "keywords")


def test_an_answer_is_in_the_file_when_the_response_comes(client: TestClient, folder: Path) -> None:
    given = {"decision": "correct", "corrected": "Right nodule of 8 mm. No effusion.", "labels": ["nodule"]}
    done = answer(client, "s1", given).json()
    assert done["question"]["mine"] == given
    assert done["revision"] != done["revision_before"]
    [row] = cells(folder, "s1")
    assert (row["decision"], row["corrected"], row["labels"], row["reviewer"]) == (
        "correct",
        given["corrected"],
        "nodule",
        "Ana",
    )
    assert answer(client, "s1", NONE, given).status_code == 200
    assert cells(folder, "s1")[0]["reviewer"] == ""


def test_a_failed_translation_is_never_accepted(client: TestClient, folder: Path) -> None:
    before = (folder / "review.csv").read_bytes()
    refused = answer(client, "s0", ACCEPT)
    assert refused.status_code == 422
    assert "failed translation" in refused.json()["detail"]
    assert (folder / "review.csv").read_bytes() == before
    assert answer(client, "s0", {**NONE, "decision": "correct", "corrected": "A nodule of 8 mm."}).status_code == 200


def test_reviewers_do_not_see_each_others_answers(client: TestClient, folder: Path) -> None:
    answer(client, "s2", ACCEPT)
    theirs = questions(client, "Eva")["s2"]
    assert (theirs["mine"], theirs["others"]) == (NONE, 1)
    answer(client, "s2", {**NONE, "decision": "reject"}, reviewer="Eva")
    assert [row["decision"] for row in cells(folder, "s2")] == ["accept", "reject"]
    assert questions(client, "Ana")["s2"]["mine"] == ACCEPT
    assert client.get("/api/queue").json()["reviewers"] == ["Ana", "Eva"]


def test_edits_in_a_spreadsheet_are_shown_and_never_lost(client: TestClient, folder: Path) -> None:
    name = questions(client)["s2"]["question"]
    queue = folder / "review.csv"
    table = pd.read_csv(queue, dtype=str, keep_default_na=False)
    table.loc[table["study_id"] == "s2", ["decision", "reviewer"]] = ["reject", "Ana"]
    table.loc[table["study_id"] == "s3", ["decision", "reviewer"]] = ["reject", "Eva"]
    table.to_csv(queue, index=False, sep=";", lineterminator="\r\n")
    body = {"question": name, "reviewer": "Ana", "answer": ACCEPT, "before": NONE}
    refused = client.post("/api/answer", json=body)
    assert refused.status_code == 409
    assert "changed in the file" in refused.json()["detail"]
    assert questions(client)["s2"]["mine"]["decision"] == "reject"
    assert answer(client, "s1", ACCEPT).status_code == 200
    assert [
        cells_of["decision"] for cells_of in pd.read_csv(queue, sep=";", dtype=str).fillna("").to_dict("records")
    ] == [
        "",
        "reject",
        "accept",
        "reject",
    ]


def test_answers_that_another_program_saved_over_are_told(client: TestClient, folder: Path) -> None:
    queue = folder / "review.csv"
    old = queue.read_bytes()
    answer(client, "s1", ACCEPT)
    answer(client, "s3", ACCEPT)
    (folder / ".~lock.review.csv#").touch()
    assert client.get("/api/queue").json()["open_elsewhere"]
    queue.write_bytes(old)  # a spreadsheet that was opened before saves what it has
    listed = client.get("/api/queue", params={"reviewer": "Ana"}).json()
    assert len(listed["overwritten"]) == 2
    again = client.post("/api/overwritten", json={"reviewer": "Ana", "write": True}).json()
    assert again["overwritten"] == []
    assert cells(folder, "s1")[0]["decision"] == cells(folder, "s3")[0]["decision"] == "accept"
    queue.write_bytes(old)
    client.post("/api/overwritten", json={"reviewer": "Ana", "write": False})
    assert queue.read_bytes() == old
    assert client.get("/api/queue", params={"reviewer": "Ana"}).json()["overwritten"] == []


def test_a_mistake_in_the_file_is_named_by_line(client: TestClient, folder: Path) -> None:
    queue = folder / "review.csv"
    queue.write_text(queue.read_text(encoding="utf-8") + "s3,placeholder,x,acept,,,Ana,\n", encoding="utf-8")
    refused = client.get("/api/queue")
    assert refused.status_code == 422
    assert "line 6: the decision 'acept' is unknown" in refused.json()["detail"]
    assert str(folder) not in refused.json()["detail"]


def test_a_newer_text_of_a_study_supersedes_the_older(client: TestClient, folder: Path) -> None:
    queue = folder / "review.csv"
    queue.write_text(queue.read_text(encoding="utf-8") + "s1,untranslated,A newer text,,,,,\n", encoding="utf-8")
    listed = client.get("/api/queue").json()["questions"]
    assert [one["superseded"] for one in listed if one["study"] == "s1"] == [True, False]


def test_slices_are_drawn_in_three_planes_and_windows(client: TestClient) -> None:
    name = questions(client)["s1"]["question"]
    facts = client.get("/api/volume", params={"question": name}).json()
    assert facts["slices"] == {"axial": 32, "coronal": 32, "sagittal": 32}
    assert facts["windows"]["lung"] == [-1350, 150]

    def drawn(**asked: Any) -> np.ndarray:
        response = client.get("/api/picture", params={"question": name, **asked})
        assert response.headers["content-type"] == "image/jpeg"
        return np.asarray(Image.open(BytesIO(response.content)))

    for plane, shape in (("axial", (512, 512)), ("coronal", (341, 512)), ("sagittal", (341, 512))):
        picture = drawn(plane=plane)
        assert picture.shape in (shape, shape[::-1])
        # air of -800 HU within tissue of 40 HU, from -1000 to 400
        assert abs(int(picture[picture.shape[0] // 2, 256 % picture.shape[1]]) - 36) < 12
    assert drawn(plane="axial", number=0).mean() > drawn(plane="axial").mean() + 20
    assert drawn(plane="axial", window="lung").mean() > drawn(plane="axial", window="mediastinum").mean()
    missing = client.get("/api/volume", params={"question": questions(client)["s3"]["question"]})
    assert missing.status_code == 422
    assert "The volume" in missing.json()["detail"]


@pytest.mark.parametrize(
    "path", ["/", "/page/main.js", "/page/base.css", "/health", "/api/queue", "/api/question", "/no"]
)
def test_every_response_has_the_headers(client: TestClient, path: str) -> None:
    response = client.get(path)
    for name, value in HEADERS.items():
        assert response.headers.get_list(name) == [value]


def test_other_hosts_sites_and_clients_without_the_token_are_refused(folder: Path) -> None:
    with client_of(folder, "a-token-that-nobody-guesses") as client:
        assert client.get("/api/queue").status_code == 401
        headers = {"authorization": "Bearer a-token-that-nobody-guesses"}
        assert client.get("/api/queue", headers=headers).status_code == 200
        assert client.get("/api/queue", headers={**headers, "host": "evil.example"}).status_code == 400
        assert client.post("/api/answer", headers={**headers, "origin": "http://evil.example"}).status_code == 403


def test_what_is_no_request_is_refused_without_repeating_it(client: TestClient, folder: Path) -> None:
    before = (folder / "review.csv").read_bytes()
    name = questions(client)["s1"]["question"]
    for body in (
        {"question": "0" * 16, "reviewer": "Ana", "answer": ACCEPT, "before": NONE},
        {"question": name, "reviewer": "", "answer": ACCEPT, "before": NONE},
        {"question": name, "reviewer": "Ana", "answer": {**ACCEPT, "corrected": "SECRET"}, "before": NONE},
        {"question": name, "reviewer": "Ana", "answer": {"decision": "SECRET"}, "before": NONE},
        {
            "question": name,
            "reviewer": "Ana",
            "answer": {**NONE, "decision": "correct", "corrected": "a\0SECRET"},
            "before": NONE,
        },
        {"question": name, "reviewer": "Ana", "answer": {**ACCEPT, "labels": ["SECRET;b"]}, "before": NONE, "x": 1},
    ):
        refused = client.post("/api/answer", json=body)
        assert refused.status_code in (404, 422), body
        assert "SECRET" not in refused.text
    assert (folder / "review.csv").read_bytes() == before


def test_nothing_of_a_study_is_logged(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with client_of(folder) as client:
        listed = questions(client)
        details(client, "s1")
        answer(client, "s1", ACCEPT)
        client.get("/api/volume", params={"question": listed["s3"]["question"]})
        (folder / "manifest.csv").unlink()
        assert client.get("/api/queue").status_code == 422
    ours = [record.getMessage() for record in caplog.records if not record.name.startswith(("httpx", "httpcore"))]
    assert not [line for line in ours if any(word in line for word in ("Nodule", "derrame", "Ana", "s1", "P1"))]


def test_the_next_run_of_curate_takes_the_answers_in(tmp_path: Path) -> None:
    table, out = write_table(tmp_path, 3), tmp_path / "out"
    frame = pd.read_csv(table)
    frame.loc[0, "report"] = FAILED
    frame.to_csv(table, index=False)
    checks = Checks(reject=(), review=("placeholder", "too_small"))

    def run() -> pd.DataFrame:
        curate(CsvTable(str(table)), out, review=Path("review.csv"), checks=checks, jobs=1)
        return read_manifest(out / "manifest.csv").table.set_index("study_id")

    assert list(run()["status"]) == ["review"] * 3
    with client_of(out) as client:
        shown = details(client, "s1")
        first = shown["flags"][0]
        assert (first["name"], first["asked"]) == ("too_small", True)
        assert "20" in first["evidence"], "of the facts that curate has stored"
        answer(
            client,
            "s0",
            {"decision": "correct", "corrected": "A large mass in the left upper lobe.", "labels": ["mass"]},
        )
        answer(client, "s1", {"decision": "accept", "corrected": "", "labels": []})
        answer(client, "s2", {"decision": "reject", "corrected": "", "labels": None})
        rows = run()
        assert list(rows["status"]) == ["ok", "ok", "rejected"]
        assert (rows.loc["s0", "report"], rows.loc["s0", "labels"]) == ("A large mass in the left upper lobe.", "mass")
        assert (rows.loc["s1", "labels"], rows.loc["s1", "labels_source"]) == ("", "expert")
        assert questions(client)["s0"]["mine"]["decision"] == "correct", "the page goes on with the new manifest"
        evidence = {flag["name"]: flag["evidence"] for flag in details(client, "s0")["flags"]}
        assert "something wrong" in evidence["placeholder"], "of the text in question, not of its correction"


def test_the_verb_refuses_what_is_no_queue(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "review.csv").rename(folder / "other.csv")
    assert main(["review", str(folder)]) == 1
    assert "There is no review queue" in capsys.readouterr().err
    (folder / "manifest.csv").unlink()
    assert main(["review", str(folder), "--review", str(folder / "other.csv")]) == 1
    assert "manifest.csv is gone" in capsys.readouterr().err
