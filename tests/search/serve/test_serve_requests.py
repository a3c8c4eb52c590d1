"""What the server refuses before it answers: hosts, other sites, tokens, paths and bodies."""

import configparser
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from bimcvr.atomic_files import sha256_of
from bimcvr.search.server.app import PAGE
from bimcvr.serving.middleware import HEADERS
from bimcvr.serving.page_files import SHARED
from helpers.running_server import Made

TOKEN = "a-token-that-nobody-guesses"  # noqa: S105 - of a test


ENDPOINTS = (
    "/api/index",
    "/api/case?case=SECRET-s1",
    "/api/thumbnail?case=SECRET-s1",
    "/api/volume?case=SECRET-s1",
    "/api/openapi.json",
)


def test_niivue_is_what_its_note_says() -> None:
    note = (PAGE / "niivue.licence.txt").read_text()
    assert f"sha256   {sha256_of(PAGE / 'niivue.umd.js')}" in note
    assert "version  0.69.0" in note
    assert "Redistribution and use in source and binary forms" in note


def test_the_page_names_no_other_host() -> None:
    for path in (*PAGE.iterdir(), *SHARED.iterdir()):
        if path.name not in ("niivue.umd.js", "niivue.licence.txt"):
            # the name of a namespace is no address that is asked
            assert "://" not in path.read_text().replace("http://www.w3.org/2000/svg", ""), path.name


def test_page_files_are_in_the_package() -> None:
    config = configparser.ConfigParser()
    config.read(Path(__file__).parents[3] / "setup.cfg")
    packed = set(config["options.package_data"]["bimcvr"].split())
    assert {"search/server/web/*", "serving/web/*", "curation/review/page/web/*"} <= packed


@pytest.mark.parametrize("path", ["/", "/page/main.js", "/health", "/api/index", "/nothing", "/api/case?case=none"])
def test_every_response_has_the_headers(client: TestClient, path: str) -> None:
    response = client.get(path)
    for name, value in HEADERS.items():
        assert response.headers.get_list(name) == [value]
    assert "access-control-allow-origin" not in response.headers
    assert "server" not in response.headers


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:8000",
        "127.0.0.1.evil.example",
        "",
        "localhost@evil.example",
        "localhost:evil.example",
        "localhost:",
        "localhost:80:80",
        "localhost:123456",
        "[::1]evil.example",
        "[::1]:evil.example",
        "[::1",
        "localhost/",
        "localhost, evil.example",
    ],
)
def test_other_host_names_are_refused(client: TestClient, host: str) -> None:
    assert client.get("/api/index", headers={"host": host}).status_code == 400


def test_known_host_names_are_served(made: Made) -> None:
    service = made.service()
    with made.client(service, hosts=("localhost", "ct.hospital.local")) as client:
        assert client.get("/health", headers={"host": "CT.hospital.local:443"}).status_code == 200
        assert client.get("/health", headers={"host": "127.0.0.1"}).status_code == 400
        # a proxy with a certificate passes the name on, without the port of https
        for origin, host, status in (
            ("https://ct.hospital.local", "ct.hospital.local", 404),
            ("https://ct.hospital.local:443", "ct.hospital.local", 404),
            ("https://ct.hospital.local:8443", "ct.hospital.local", 403),
            ("https://localhost", "ct.hospital.local", 403),
        ):
            assert client.post("/page/none", headers={"origin": origin, "host": host}).status_code in (status, 405)
    service.close()


def test_pages_of_other_sites_are_refused(client: TestClient) -> None:
    payload = {"mode": "text", "query": "nodule"}
    sites = ({"sec-fetch-site": "cross-site"}, {"sec-fetch-site": "same-site"})
    others = (
        *("https://evil.example", "null", "", "http://127.0.0.1", "http://127.0.0.1:9000", "http://localhost:8000"),
        *("https://127.0.0.1:8000.evil.example", "http://127.0.0.1:8000/", "file://127.0.0.1:8000", "127.0.0.1:8000"),
    )
    for headers in (*({"origin": origin} for origin in others), *sites):
        assert client.post("/api/search", json=payload, headers=headers).status_code == 403
    assert client.options("/api/search", headers={"origin": "https://evil.example"}).status_code == 403
    own = {"origin": "http://127.0.0.1:8000", "sec-fetch-site": "same-origin"}
    assert client.post("/api/search", json=payload, headers=own).status_code == 200


@pytest.mark.parametrize(
    "header",
    [
        *(None, "", "Bearer", "Bearer ", f"Basic {TOKEN}", TOKEN, f"Bearer {TOKEN}x", f"Bearer {TOKEN[:-1]}"),
        *("Bearer \xff", f"Bearer\r\n {TOKEN}", f"Bearer \t{TOKEN}", f"Bearer  {TOKEN}", f"Bearer\t{TOKEN}"),
    ],
)
def test_a_missing_or_wrong_token_is_refused(made: Made, header: str | None) -> None:
    service = made.service()
    with made.client(service, token=TOKEN) as client:
        headers = {} if header is None else {b"authorization": header.encode("latin-1")}
        for path in ENDPOINTS:
            assert client.get(path, headers=headers).status_code == 401
        assert client.post("/api/search/volume?name=a.nii", content=b"x", headers=headers).status_code == 401
        assert client.get("/").status_code == client.get("/health").status_code == 200
        for path in ENDPOINTS:
            assert client.get(path, headers={"authorization": f"Bearer {TOKEN}"}).status_code == 200
    service.close()


def test_two_tokens_are_refused(made: Made) -> None:
    service = made.service()
    with made.client(service, token=TOKEN) as client:
        twice = [("authorization", "Bearer wrong"), ("authorization", f"Bearer {TOKEN}")]
        assert client.get("/api/index", headers=twice).status_code == 401
    service.close()


@pytest.mark.parametrize(
    "path",
    [
        "/page/../server.py",
        "/page/..%2fserver.py",
        "/page/%2e%2e/server.py",
        "/page/..%5cserver.py",
        "/page//etc/passwd",
        "/page/%00",
        "/page/.",
        "/..%2f..%2fetc/passwd",
        "/page/niivue.umd.js/../../service.py",
        "/page/index.html%00.js",
        "/web/index.html",
        "/derived/volumes",
        "/index.json",
    ],
)
def test_paths_lead_nowhere(client: TestClient, path: str) -> None:
    assert client.get(path).status_code in (404, 307)


@pytest.mark.parametrize(
    "name", ["../../etc/passwd", "/etc/passwd", "SECRET-s1/../SECRET-s2", "..", "SECRET-s1\x00", "' OR 1=1 --", "*"]
)
def test_names_of_cases_are_only_names(client: TestClient, name: str) -> None:
    for path in ("/api/case", "/api/volume", "/api/thumbnail"):
        assert client.get(path, params={"case": name}).status_code in (404, 422)
    assert client.get("/api/thumbnail", params={"case": "SECRET-s1", "plane": "../x"}).status_code == 422


@pytest.mark.parametrize(
    "condition",
    [
        "labels = ' or 1=1 --",
        "1=1",
        "report = x' OR 'a' = 'a",
        "sex; DROP TABLE rows = 1",
        "age >= 1e999999",
        "age < nan",
        "= x",
        "sex =",
        "\ud800 = 1",
    ],
)
def test_filters_are_data(client: TestClient, condition: str) -> None:
    body = json.dumps({"mode": "text", "query": "nodule", "where": [condition]})
    response = client.post("/api/search", content=body, headers={"content-type": "application/json"})
    assert response.status_code == 422 or (response.status_code == 200 and response.json()["candidates"] in (0, 30)), (
        response.text
    )
    assert client.get("/api/index").json()["studies"] == 30


@pytest.mark.parametrize(
    "query",
    [
        "\r\nSet-Cookie: a=b",
        '"unclosed',
        "AND OR NOT",
        "report:*",
        "(((",
        "\u202e",
        "x" * 4000,
        "~1 ^2 +a -b",
        "nul\x00",
        " ",
    ],
)
def test_queries_are_data(client: TestClient, query: str) -> None:
    for mode in ("text", "words", "keyword", "study"):
        response = client.post(
            "/api/search", json={"mode": mode, "query": query, "hybrid": mode in ("text", "keyword")}
        )
        assert response.status_code in (200, 404, 422), response.text
        assert "set-cookie" not in response.headers


def test_a_refusal_does_not_repeat_what_was_sent(client: TestClient) -> None:
    response = client.post(
        "/api/search", json={"mode": "nonsense", "query": "Mr Miller has a nodule", "other": "Mr Miller"}
    )
    assert response.status_code == 422
    assert "Miller" not in response.text


def test_large_bodies_are_refused(client: TestClient) -> None:
    def endless() -> Iterator[bytes]:
        for _ in range(200):
            yield b" " * 65536

    assert client.post("/api/search", content=b"x" * 70_000).status_code == 413
    assert client.post("/api/search", content=endless()).status_code == 413
    assert client.post("/api/search/volume?name=a.nii", content=b"x" * (5 * 2**20)).status_code == 413
    assert client.post("/api/search/volume?name=a.nii", content=endless()).status_code == 413
    assert client.post("/api/search", content=b"x", headers={"content-length": "-1"}).status_code == 400
    both = {"content-length": "1", "transfer-encoding": "chunked"}
    assert client.post("/api/search", content=b"x", headers=both).status_code == 400
