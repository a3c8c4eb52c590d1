"""What the server hides and never logs, and starts that would not be safe."""

import gzip
import json
import logging
import re
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote

import httpx
import numpy as np
import pytest
import torch
from starlette.testclient import TestClient

from bimcvr.cli import main
from bimcvr.commands.search.serve import serve
from bimcvr.contracts import Prompts
from bimcvr.data.reading.refused import RefusedVolume
from bimcvr.errors import UserError
from bimcvr.metrics.prompts import prompt_sentences
from bimcvr.search.index.writer import IndexWriter
from bimcvr.search.server.service import SearchService
from helpers.index_factory import DIM, WordEncoder, make_index, study
from helpers.running_server import HOST, SCRIPT, Made, Running, app_of

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


def asked(service: SearchService, **request: object) -> httpx.Response:
    with TestClient(app_of(service), base_url=HOST, raise_server_exceptions=False) as client:
        return client.post("/api/search", json={"top": 50, **request})


def test_ties_of_anonymous_answers_follow_the_public_names(tmp_path: Path) -> None:
    same = np.ones(DIM, dtype=np.float32)
    studies = [replace(study(f"s{number}"), image=same, text=same) for number in range(20)]
    service = SearchService(make_index(tmp_path / "ix", studies), WordEncoder(), anonymous=True)  # type: ignore[arg-type]
    for request in (
        {"mode": "text", "query": "a nodule somewhere", "hybrid": False},
        {"mode": "text", "query": "a nodule somewhere", "into": "report"},
        {"mode": "keyword", "query": "nodule", "into": "report"},
        {"mode": "words", "query": "nodule"},
        {"mode": "study", "query": service.names.name_of("s3")},
    ):
        found = asked(service, **request).json()["hits"]
        assert len({hit["score"] for hit in found}) < len(found)
        assert found == sorted(found, key=lambda hit: (-hit["score"], hit["case"])), request
    fused = asked(service, mode="text", query="a nodule somewhere").json()["hits"]
    for named in (
        True,
        False,
    ):  # each rank has a score of its own there; who is tied in both rankings follows the names
        cases = [hit["case"] for hit in fused if ("nodule" in hit["labels"]) is named]
        assert len(cases) > 3
        assert cases == sorted(cases)
    service.close()


def test_a_label_of_fewer_than_five_studies_is_hidden_as_if_it_were_none(tmp_path: Path) -> None:
    studies = [study(f"s{number}") for number in range(20)]
    studies[0] = replace(studies[0], labels=(*studies[0].labels, "zebra sign"), geometry={})
    sentences, about, denies = prompt_sentences(("nodule", "zebra sign"), WordEncoder.affirm)
    with IndexWriter(tmp_path / "ix", DIM, {"split": "all"}) as writer:
        writer.put(studies)
        vectors = torch.from_numpy(WordEncoder().embed_texts(sentences))
        writer.finish({}, {}, Prompts(sentences, about, denies, vectors))
    requests = [
        {"mode": "words", "query": "case0", "where": ["labels = {}"]},
        {"mode": "words", "query": "case0", "condition": "labels = '{}'"},
        {"mode": "keyword", "query": "{}"},
        {"mode": "keyword", "query": "{}", "into": "report"},
        {"mode": "text", "query": "{}"},
        {"mode": "words", "query": "There"},
    ]
    told = {}
    for anonymous in (True, False):
        service = SearchService(tmp_path / "ix", None, anonymous)
        with TestClient(app_of(service), base_url=HOST) as client:
            told[anonymous] = client.get("/api/index").json()
            case = client.get("/api/case", params={"case": service.names.name_of("s0")}).json()
        for word in ("zebra sign", "chimaera sign"):
            answers = [
                asked(service, **json.loads(json.dumps(request).replace("{}", word))).text.replace(word, "…")
                for request in requests
            ]
            told[word] = [re.sub(r'"(encode_)?seconds":[0-9.e-]+| Did you mean [^?]+\?', "", one) for one in answers]
        assert (told["zebra sign"] == told["chimaera sign"]) == anonymous
        assert ("zebra sign" in case["labels"]) != anonymous
        assert ("zebra sign" in json.dumps(told[anonymous])) != anonymous
        service.close()
    assert [item["count"] for item in told[True]["labels"]] == [5, 5, 5, 5]
    assert [item["value"] for item in told[True]["keywords"]] == ["nodule"]


def test_messages_have_no_path_of_this_machine_and_no_address_in_memory(tmp_path: Path) -> None:
    folder = tmp_path / "ct data" / "my index"
    service = SearchService(make_index(folder, [study("s1")]), None, anonymous=False)
    upload = service.uploads / "upload-12-ab_c" / "series" / "IM00001.dcm"
    for written in (str(upload), str(upload)[1:], quote(str(upload)), f"file://{upload}", f"'{upload}'"):
        error: UserError = RefusedVolume("damaged", upload, f"cannot be read ({written}: <x at 0x7f12ab34cd56>).", "")
        assert service.public_message(error).replace("'", "").strip() == "The volume cannot be read (the upload: <x>)."
    for written in (folder, f"{folder}/image-1.vectors", quote(f"{folder}/studies.lance/3.manifest")):
        error = UserError(f"The table {written} cannot be read (object at 0x55d0aabbccdd, index 3).")
        assert service.public_message(error) == "The table cannot be read (object, index 3)."
    assert "0x" not in str(RefusedVolume("damaged", "v.nii", "fails (<a object at 0x7f12ab34cd56>).", ""))
    service.close()


def test_nothing_of_a_query_or_case_is_logged(running: Running) -> None:
    before = running.log.read_text().splitlines()  # other tests may have sent what is no request at all
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
    assert lines == before
    assert all("Invalid HTTP request" in line for line in lines[2:]), "the two lines of its start, and nothing since"


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
