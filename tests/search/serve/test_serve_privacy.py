"""What the server hides and never logs, and starts that would not be safe."""

import gzip
import json
import logging
from pathlib import Path

import httpx
import pytest
from starlette.testclient import TestClient

from bimcvr.cli import main
from bimcvr.commands.search.serve import serve
from bimcvr.errors import UserError
from helpers.running_server import SCRIPT, Made, Running

TOKEN = "a-token-that-nobody-guesses"  # noqa: S105 - of a test


def test_anonymous_answers_hold_no_id_path_or_name(made: Made) -> None:
    service = made.service(anonymous=True)
    with made.client(service) as client:
        texts = [client.get("/api/index").text]
        found = client.post("/api/search", json={"mode": "text", "query": "a nodule", "top": 50}).json()
        texts += [json.dumps(found), client.post("/api/scores", json={"mode": "text", "query": "a nodule"}).text]
        for hit in found["hits"]:
            texts.append(client.get("/api/case", params={"case": hit["case"]}).text)
        columns = client.get("/api/index").json()["all_columns"]
        assert {"labels", "sex", "split"} <= set(columns)
        assert all("ward" not in text for text in texts), "one study alone has a value of it"
        name = found["hits"][0]["case"]
        texts.append(client.post("/api/search", json={"mode": "study", "query": name}).text)
        guesses = {
            "study_id": "SECRET-s1",
            "patient_id": "PATIENT-1",
            "volume": "x",
            "accession": "ACC-1",
            "report": "",
            "ward": "private",
        }
        for column, value in guesses.items():
            refused = client.post(
                "/api/search", json={"mode": "text", "query": "a nodule", "where": [f"{column} = {value}"]}
            )
            assert refused.status_code == 422, "an answer would confirm a guessed id"
            texts.append(refused.text.replace(column, ""))
        for path in ("/api/case", "/api/volume", "/api/thumbnail"):
            assert client.get(path, params={"case": "SECRET-s1"}).status_code == 404
        sent = client.get("/api/volume", params={"case": name})
        texts += [str(sent.headers), sent.content[:20].decode("latin-1")]
        texts.append(gzip.decompress(sent.content)[:352].decode("latin-1"))
        assert client.get("/api/case", params={"case": name}).json()["report"]
        for text in texts:
            for secret in ("SECRET", "PATIENT", "ACC-", ".nii.gz", str(made.index), str(made.manifest.parent)):
                assert secret not in text, (secret, text[:200])
        other = made.service(anonymous=True)
        assert (
            other.names.name_of("SECRET-s1") != service.names.name_of("SECRET-s1") == service.names.name_of("SECRET-s1")
        ), "names hold until the server ends"
        other.close()
    service.close()


def test_nothing_of_a_query_or_case_is_logged(running: Running) -> None:
    with httpx.Client(base_url=running.address) as client:
        statuses = [
            client.post("/api/search", json={"mode": "text", "query": "Mr Miller has a nodule"}).status_code,
            client.get("/api/case", params={"case": "SECRET-s1"}).status_code,
            client.get("/api/case", params={"case": "SECRET-none"}).status_code,
            client.post("/api/convert", params={"name": "Miller.nii"}, content=b"Miller").status_code,
            client.post("/api/search", json={"mode": "study", "query": "Miller"}).status_code,
        ]
    assert statuses == [200, 200, 404, 422, 404]
    lines = running.log.read_text().splitlines()
    assert "30 phantom (synthetic) studies" in lines[0]
    assert len(lines) == 2, "the two lines of its start, and nothing since"


def test_an_error_inside_is_told_without_its_message(
    made: Made, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = made.service()
    monkeypatch.setattr(service, "snapshot", lambda: (_ for _ in ()).throw(RuntimeError("Mr Miller has a nodule")))
    with caplog.at_level(logging.DEBUG), made.client(service) as client:
        response = client.get("/api/index")
    assert response.status_code == 500
    assert "Miller" not in response.text + caplog.text
    assert "RuntimeError" in caplog.text


def test_a_script_in_a_report_stays_text(client: TestClient) -> None:
    found = client.get("/api/case", params={"case": "SECRET-s3"})
    assert SCRIPT in found.json()["report"]
    assert found.headers["content-type"] == "application/json"


@pytest.mark.parametrize(
    ("words", "token", "message"),
    [
        (["--anonymous", "--host", "0.0.0.0"], "", "patient data"),  # noqa: S104
        (["--host", "0.0.0.0"], TOKEN, "allowed_hosts"),  # noqa: S104
        ([], "short", "16"),
        ([], "with blanks in it, see", "printable"),
        (["--port", "99999999"], "", "--port"),
    ],
)
def test_unsafe_starts_are_refused(
    made: Made,
    words: list[str],
    token: str,
    message: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("BIMCVR_TOKEN", token)
    assert main(["serve", str(made.index), *words]) == 1
    assert message in capsys.readouterr().err


def test_an_index_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no index"):
        serve(tmp_path)
