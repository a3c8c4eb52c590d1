"""What the server refuses, hides and never keeps."""

import asyncio
import configparser
import gzip
import io
import json
import logging
import os
import socket
import subprocess
import sys
import tempfile
import time
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import SimpleITK as sitk
from fastapi import HTTPException
from pydicom.uid import DeflatedExplicitVRLittleEndian, JPEG2000Lossless
from starlette.testclient import TestClient

from bimcvr.atomic_files import sha256_of
from bimcvr.cli import main
from bimcvr.commands.search.serve import serve
from bimcvr.data.reading.refused import RefusedVolume
from bimcvr.errors import UserError
from bimcvr.search.server import app as server
from bimcvr.search.server import uploads
from bimcvr.search.server.app import PAGE
from bimcvr.search.server.middleware import HEADERS
from helpers.cli import environment
from helpers.running_server import SCRIPT, Made, Running, left_behind

TOKEN = "a-token-that-nobody-guesses"  # noqa: S105 - of a test
ENDPOINTS = (
    "/api/index",
    "/api/case?case=SECRET-s1",
    "/api/thumbnail?case=SECRET-s1",
    "/api/volume?case=SECRET-s1",
    "/api/openapi.json",
)


def volume_bytes(tmp_path: Path, name: str, shape: tuple[int, int, int] = (6, 7, 8)) -> bytes:
    image = sitk.GetImageFromArray(np.full(shape, -500, dtype=np.int16))
    sitk.WriteImage(image, str(tmp_path / name), name.endswith((".gz", ".mha", ".nrrd")))
    return (tmp_path / name).read_bytes()


def zipped(members: dict[str, bytes], **how: int) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, content in members.items():
            member = zipfile.ZipInfo(name)
            member.compress_type = zipfile.ZIP_DEFLATED
            member.external_attr = how.get("mode", 0o100644) << 16
            packed.writestr(member, content)
    return stream.getvalue()


def upload(client: TestClient, name: str, content: bytes) -> tuple[int, str]:
    answer = client.post("/api/search/volume", params={"name": name}, content=content)
    return answer.status_code, answer.text


def test_niivue_is_what_its_note_says() -> None:
    note = (PAGE / "niivue.licence.txt").read_text()
    assert f"sha256   {sha256_of(PAGE / 'niivue.umd.js')}" in note
    assert "version  0.69.0" in note
    assert "Redistribution and use in source and binary forms" in note


def test_the_page_names_no_other_host() -> None:
    for path in PAGE.iterdir():
        if path.name not in ("niivue.umd.js", "niivue.licence.txt"):
            assert "://" not in path.read_text(), path.name


def test_page_files_are_in_the_package() -> None:
    config = configparser.ConfigParser()
    config.read(Path(__file__).parents[3] / "setup.cfg")
    assert "search/server/web/*" in config["options.package_data"]["bimcvr"]


@pytest.mark.parametrize("path", ["/", "/page/main.js", "/health", "/api/index", "/nothing", "/api/case?case=none"])
def test_every_answer_bears_the_headers(client: TestClient, path: str) -> None:
    answer = client.get(path)
    for name, value in HEADERS.items():
        assert answer.headers.get_list(name) == [value]
    assert "access-control-allow-origin" not in answer.headers
    assert "server" not in answer.headers


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8000", "127.0.0.1.evil.example", "", "localhost@evil.example"]
)
def test_other_host_names_are_refused(client: TestClient, host: str) -> None:
    assert client.get("/api/index", headers={"host": host}).status_code == 400


def test_known_host_names_are_served(made: Made) -> None:
    service = made.service()
    with made.client(service, hosts=("localhost", "ct.hospital.local")) as client:
        assert client.get("/health", headers={"host": "CT.hospital.local:443"}).status_code == 200
        assert client.get("/health", headers={"host": "127.0.0.1"}).status_code == 400
    service.close()


def test_pages_of_other_sites_are_refused(client: TestClient) -> None:
    asked = {"mode": "text", "query": "nodule"}
    sites = ({"sec-fetch-site": "cross-site"}, {"sec-fetch-site": "same-site"})
    for headers in ({"origin": "https://evil.example"}, {"origin": "null"}, *sites):
        assert client.post("/api/search", json=asked, headers=headers).status_code == 403
    assert client.options("/api/search", headers={"origin": "https://evil.example"}).status_code == 403
    own = {"origin": "http://127.0.0.1:8000", "sec-fetch-site": "same-origin"}
    assert client.post("/api/search", json=asked, headers=own).status_code == 200


@pytest.mark.parametrize(
    "header",
    [None, "", "Bearer", "Bearer ", f"Basic {TOKEN}", TOKEN, f"Bearer {TOKEN}x", f"Bearer {TOKEN[:-1]}", "Bearer \xff"],
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


def test_two_tokens_are_none(made: Made) -> None:
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
    answer = client.post("/api/search", content=body, headers={"content-type": "application/json"})
    assert answer.status_code == 422 or (answer.status_code == 200 and answer.json()["among"] in (0, 30)), answer.text
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
        answer = client.post("/api/search", json={"mode": mode, "query": query, "hybrid": mode in ("text", "keyword")})
        assert answer.status_code in (200, 404, 422), answer.text
        assert "set-cookie" not in answer.headers


def test_a_refusal_does_not_repeat_what_was_sent(client: TestClient) -> None:
    answer = client.post(
        "/api/search", json={"mode": "nonsense", "query": "Mr Miller has a nodule", "other": "Mr Miller"}
    )
    assert answer.status_code == 422
    assert "Miller" not in answer.text


def test_large_bodies_are_refused(client: TestClient) -> None:
    def endless() -> Iterator[bytes]:
        for _ in range(200):
            yield b" " * 65536

    assert client.post("/api/search", content=b"x" * 70_000).status_code == 413
    assert client.post("/api/search", content=endless()).status_code == 413
    assert client.post("/api/search/volume?name=a.nii", content=b"x" * (5 * 2**20)).status_code == 413
    assert client.post("/api/search/volume?name=a.nii", content=endless()).status_code == 413
    assert client.post("/api/search", content=b"x", headers={"content-length": "-1"}).status_code == 400


def malformed(tmp_path: Path) -> dict[str, tuple[str, bytes]]:
    """Uploads that must be refused, by what is wrong with them."""
    whole = {suffix: volume_bytes(tmp_path, f"v{suffix}") for suffix in (".nii", ".nii.gz", ".mha", ".nrrd")}
    secret = tmp_path / "secret.raw"
    secret.write_bytes(b"\x00" * 4000)
    mha = b"ObjectType = Image\nNDims = 3\nDimSize = 10 10 10\nElementType = MET_SHORT\nElementDataFile = %s\n"
    nrrd = b"NRRD0004\ntype: short\ndimension: 3\nsizes: 10 10 10\nencoding: raw\n%s\n\n"
    huge = bytearray(whole[".nii"])
    huge[40:56] = np.array([3, 32000, 32000, 32000, 1, 1, 1, 1], dtype="<i2").tobytes()
    return {
        **{f"cut {suffix}": (f"v{suffix}", content[: len(content) * 2 // 3]) for suffix, content in whole.items()},
        **{f"noise {suffix}": (f"v{suffix}", np.random.default_rng(1).bytes(3000)) for suffix in (*whole, ".zip")},
        "empty": ("v.nii", b""),
        "unknown": ("v.exe", b"MZ"),
        "no suffix": ("nii", b"x"),
        "pickle": ("v.npz", b"\x80\x04"),
        "detached": ("v.mhd", whole[".mha"]),
        "mha elsewhere": ("v.mha", mha % str(secret).encode()),
        "mha up": ("v.mha", mha % b"../../../../../../etc/passwd"),
        "mha list": ("v.mha", mha % b"LIST\n/etc/passwd"),
        "nrrd list": ("v.nrrd", nrrd % b"data file: LIST"),
        "huge claim": ("v.nii", bytes(huge)),
        "huge mha": ("v.mha", (mha % b"LOCAL").replace(b"10 10 10", b"60000 60000 60000")),
        "zip up": ("v.zip", zipped({"../../../../../../evil-of-a-test": b"x"})),
        "zip absolute": ("v.zip", zipped({str(tmp_path / "evil"): b"x"})),
        "zip backslash": ("v.zip", zipped({"..\\evil": b"x"})),
        "zip link": ("v.zip", zipped({"a": b"/etc/passwd"}, mode=0o120777)),
        "zip without DICOM": ("v.zip", zipped({"a.txt": b"hello", "b.nii": whole[".nii"]})),
        "zip empty": ("v.zip", zipped({})),
        "zip bomb": ("v.zip", zipped({"a.dcm": b"\0" * 30_000_000})),
        "zip of dirs": ("v.zip", zipped({f"{i}/": b"" for i in range(10)})),
        "zip of many": ("v.zip", zipped({f"{i}": b"" for i in range(5001)})),
        "deflated DICOM": (
            "v.zip",
            zipped({"a.dcm": dicom(DeflatedExplicitVRLittleEndian, Rows=8, Columns=8, TextValue="0" * 10**6)}),
        ),
        "zip of small bombs": ("v.zip", zipped({f"{i}": b"\0" * 10**6 for i in range(12)})),
        "huge doubles": (
            "v.mha",
            (mha % b"LOCAL").replace(b"10 10 10", b"512 512 2048").replace(b"MET_SHORT", b"MET_DOUBLE"),
        ),
        "false DICOM": (
            "v.zip",
            zipped({"a.dcm": b"\0" * 128 + b"DICM" + b"\xff" * 100, "b.dcm": b"\0" * 128 + b"DICM"}),
        ),
    }


def references(secret: bytes) -> dict[str, bytes]:
    """Headers that have a library read another file.

    Each of the first of a format does so if nobody looks (MetaIO, Teem).
    """
    mha = b"ObjectType = Image\nNDims = 3\nDimSize = 10 10 10\nElementType = MET_SHORT\n"
    nrrd = b"NRRD0004\ntype: short\ndimension: 3\nsizes: 10 10 10\nendian: little\nencoding: raw"
    local, voxels = b"ElementDataFile = LOCAL\n", b"\0" * 2000
    return {
        "plain.mha": mha + b"ElementDataFile = " + secret + b"\n",
        "colon.mha": mha + b"ElementDataFile : " + secret + b"\n" + local + voxels,
        "twice.mha": mha + local + b"ElementDataFile = " + secret + b"\n",
        "lower.mha": mha + b"elementdatafile = " + secret + b"\n" + local + voxels,
        "return.mha": b"Comment = a\rElementDataFile = " + secret + b"\n" + mha + local + voxels,
        "late.mha": mha + b"".join(b"Comment = %d\n" % i for i in range(6000)) + b"ElementDataFile = " + secret + b"\n",
        "plain.nrrd": nrrd + b"\ndata file: " + secret + b"\n\n",
        "return.nrrd": nrrd + b"\rdata file: " + secret + b"\n\n",
        "returns.nrrd": nrrd.replace(b"\n", b"\r") + b"\rdata file: " + secret + b"\r\r\n\n",
        "one word.nrrd": nrrd + b"\nDataFile: " + secret + b"\n\n",
        "late.nrrd": nrrd + b"\n" + b"# comment\n" * 8000 + b"data file: " + secret + b"\n\n",
    }


def test_a_header_cannot_have_another_file_read(client: TestClient, made: Made, tmp_path: Path) -> None:
    secret = tmp_path / "secret.raw"
    secret.write_bytes(np.full(1000, 7, dtype="<i2").tobytes())
    bait = references(bytes(secret))
    for name in ("plain.mha", "colon.mha", "plain.nrrd", "return.nrrd"):
        (tmp_path / name).write_bytes(bait[name])
        assert sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / name))).max() == 7, (
            "the bait works where nobody looks"
        )
    for name, content in bait.items():
        for path in ("/api/convert", "/api/search/volume"):
            assert client.post(path, params={"name": name}, content=content).status_code == 422, name
    assert left_behind(made.index) == []


def test_malformed_uploads_are_refused_and_nothing_stays(client: TestClient, made: Made, tmp_path: Path) -> None:
    for what, (name, content) in malformed(tmp_path).items():
        for path in ("/api/search/volume", "/api/convert"):
            answer = client.post(path, params={"name": name}, content=content)
            assert answer.status_code in (413, 422), (what, path, answer.status_code, answer.text)
            assert str(made.index) not in answer.text, what
            assert "/derived" not in answer.text, what
        assert left_behind(made.index) == [], what
    assert not (tmp_path / "evil").exists()


def test_sound_uploads_leave_nothing(client: TestClient, made: Made, tmp_path: Path) -> None:
    for path in ("/api/search/volume", "/api/convert"):
        assert (
            client.post(path, params={"name": "../../x.nii.gz"}, content=volume_bytes(tmp_path, "v.nii.gz")).status_code
            == 200
        )
        assert left_behind(made.index) == []


def test_a_members_size_is_what_its_zip_promised(tmp_path: Path) -> None:
    """A directory that promises less than its member holds does not fill the disk."""
    forged = bytearray(zipped({"a": b"y" * 5_000_000}))
    place = forged.rindex(b"PK\x01\x02")
    forged[place + 24 : place + 28] = (10).to_bytes(4, "little")
    (tmp_path / "upload.zip").write_bytes(forged)
    with pytest.raises(UserError):
        uploads.open_upload(tmp_path / "upload.zip", tmp_path)
    assert sum(path.stat().st_size for path in (tmp_path / "series").iterdir()) <= 10


def dicom(syntax: str, **tags: int | bytes) -> bytes:
    import pydicom
    from pydicom.dataset import FileDataset, FileMetaDataset

    meta = FileMetaDataset()
    meta.TransferSyntaxUID = pydicom.uid.UID(syntax)
    header = FileDataset("a", {}, file_meta=meta, preamble=b"\0" * 128)
    for name, value in tags.items():
        setattr(header, name, value)
    stream = io.BytesIO()
    pydicom.dcmwrite(stream, header, enforce_file_format=False)
    return stream.getvalue()


@pytest.mark.parametrize(
    ("tags", "said"),
    [
        ({"Rows": 60_000, "Columns": 60_000, "NumberOfFrames": 1000}, "voxels"),
        ({"Rows": 4096, "Columns": 4096, "NumberOfFrames": 32, "BitsAllocated": 64}, "bytes of voxels"),
        ({"Rows": 4096, "Columns": 4096, "NumberOfFrames": 32, "SamplesPerPixel": 3}, "bytes of voxels"),
    ],
)
def test_dicom_claims_are_counted_before_they_are_decoded(tmp_path: Path, tags: dict[str, int], said: str) -> None:
    (tmp_path / "upload.zip").write_bytes(zipped({"a": dicom(JPEG2000Lossless, **tags)}))
    with pytest.raises(RefusedVolume, match=said) as refusal:
        uploads.open_upload(tmp_path / "upload.zip", tmp_path)
    assert refusal.value.reason == "too_large"


def test_deflated_dicom_is_refused_before_it_is_inflated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bomb = dicom(DeflatedExplicitVRLittleEndian, Rows=8, Columns=8, TextValue="0" * 30_000_000)
    assert len(bomb) < 10**5
    (tmp_path / "upload.zip").write_bytes(zipped({"a": bomb}))
    monkeypatch.setattr(zlib, "decompress", None)
    with pytest.raises(RefusedVolume, match="deflated as a whole") as refusal:
        uploads.open_upload(tmp_path / "upload.zip", tmp_path)
    assert refusal.value.reason == "deflated"
    assert str(tmp_path) not in str(refusal.value)


def test_bytes_are_counted_not_voxels(tmp_path: Path) -> None:
    mha = (
        "ObjectType = Image\nNDims = 3\nDimSize = 512 512 2048\nElementType = {}\n{}CompressedData ="
        " True\nElementDataFile = LOCAL\nx"
    )
    for kind, more, fits in (
        ("MET_SHORT", "", True),
        ("MET_FLOAT", "", True),
        ("MET_DOUBLE", "", False),
        ("MET_LONG_LONG", "", False),
        ("MET_SHORT", "ElementNumberOfChannels = 3\n", False),
    ):
        (tmp_path / "upload.mha").write_text(mha.format(kind, more))
        if fits:
            assert uploads.open_upload(tmp_path / "upload.mha", tmp_path) == tmp_path / "upload.mha"
        else:
            with pytest.raises(RefusedVolume, match=f"{uploads.MOST_BYTES:,}"):
                uploads.open_upload(tmp_path / "upload.mha", tmp_path)


def test_a_bomb_of_many_small_members_is_refused(tmp_path: Path) -> None:
    (tmp_path / "upload.zip").write_bytes(zipped({f"{number}": b"\0" * 1_000_000 for number in range(12)}))
    with pytest.raises(RefusedVolume, match="over 200 times its size"):
        uploads.open_upload(tmp_path / "upload.zip", tmp_path)
    assert list((tmp_path / "series").iterdir()) == []


def test_a_killed_servers_uploads_are_swept(tmp_path: Path) -> None:
    """Told by their locks: in containers the next server has the same number.

    Another one's may be of another namespace.
    """
    left = tmp_path / f"upload-{os.getpid()}-left"
    left.mkdir()
    (left / "upload.nii").write_text("x")
    begin = "import sys; from pathlib import Path; from bimcvr.search.server.uploads import upload_folder"
    code = (
        f"{begin}; held = upload_folder(Path({str(tmp_path)!r})); print(held.__enter__(), flush=True); sys.stdin.read()"
    )
    with uploads.upload_folder(tmp_path) as own:
        other = subprocess.Popen(
            [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment()
        )
        assert other.stdout is not None
        printed = Path(other.stdout.readline().strip())
        elsewhere = printed.rename(tmp_path / "upload-999999999-elsewhere")  # a number that is no process here
        (elsewhere / "upload.nii").write_text("x")
        uploads.sweep_uploads(tmp_path)
        assert set(tmp_path.iterdir()) == {own, elsewhere}
        assert own.stat().st_mode & 0o077 == 0
        other.kill()
        other.communicate()
        uploads.sweep_uploads(tmp_path)
        assert list(tmp_path.iterdir()) == [own]
    assert list(tmp_path.iterdir()) == []


def test_an_upload_that_begins_as_another_server_sweeps_has_its_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make = tempfile.mkdtemp

    def swept_once(**how: Any) -> str:
        monkeypatch.setattr(tempfile, "mkdtemp", make)
        made = str(make(**how))
        uploads.sweep_uploads(tmp_path)
        return made

    monkeypatch.setattr(tempfile, "mkdtemp", swept_once)
    with uploads.upload_folder(tmp_path) as own:
        assert own.is_dir()
        uploads.sweep_uploads(tmp_path)
        assert list(tmp_path.iterdir()) == [own]


def test_a_client_that_goes_away_leaves_nothing(running: Running, made: Made) -> None:
    port = int(running.address.rstrip("/").rsplit(":", 1)[1])
    for _ in range(12):
        with socket.create_connection(("127.0.0.1", port)) as line:
            line.sendall(
                b"POST /api/search/volume?name=a.nii HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 100000\r\n\r\n"
                + b"x" * 500
            )
    with socket.create_connection(("127.0.0.1", port)) as line:
        line.sendall(b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
        assert b"200 OK" in line.recv(1000)
    until = time.monotonic() + 120
    while left_behind(made.index) and time.monotonic() < until:
        time.sleep(0.05)
    assert left_behind(made.index) == []


def test_a_slow_upload_gives_its_place_back(made: Made) -> None:
    service = made.service()
    app = made.client(service, upload_seconds=0.2).app

    async def stalled() -> list[dict]:
        scope = {
            "type": "http",
            "method": "POST",
            "path": "/api/search/volume",
            "raw_path": b"",
            "root_path": "",
            "scheme": "http",
            "query_string": b"name=a.nii",
            "headers": [(b"host", b"localhost")],
            "client": ("127.0.0.1", 1),
            "server": ("127.0.0.1", 8000),
        }
        sent: list[dict] = []
        first = [{"type": "http.request", "body": b"x", "more_body": True}]

        async def receive() -> dict:
            if first:
                return first.pop()
            await asyncio.sleep(10)
            raise AssertionError

        async def send(message: dict) -> None:
            sent.append(message)

        await app(scope, receive, send)
        return sent

    assert asyncio.run(stalled())[0]["status"] == 408
    assert left_behind(made.index) == []
    service.close()


def test_only_so_many_volumes_wait() -> None:
    async def crowd() -> list[int]:
        turns = server._Turns()
        statuses: list[int] = []

        async def one() -> None:
            try:
                async with turns.uploading():
                    await asyncio.sleep(0.05)
                statuses.append(200)
            except HTTPException as error:
                statuses.append(error.status_code)

        await asyncio.gather(*(one() for _ in range(12)))
        await one()
        return statuses

    assert sorted(asyncio.run(crowd())) == [200] * 10 + [429] * 3, (
        "one at work and eight waiting; the place is free again afterwards"
    )


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
        assert other.name_of("SECRET-s1") != service.name_of("SECRET-s1") == service.name_of("SECRET-s1"), (
            "names hold until the server ends"
        )
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
        answer = client.get("/api/index")
    assert answer.status_code == 500
    assert "Miller" not in answer.text + caplog.text
    assert "RuntimeError" in caplog.text


def test_a_script_in_a_report_stays_text(client: TestClient) -> None:
    found = client.get("/api/case", params={"case": "SECRET-s3"})
    assert SCRIPT in found.json()["report"]
    assert found.headers["content-type"] == "application/json"


@pytest.mark.parametrize(
    ("words", "token", "said"),
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
    said: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("BIMCVR_TOKEN", token)
    assert main(["serve", str(made.index), *words]) == 1
    assert said in capsys.readouterr().err


def test_an_index_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no index"):
        serve(tmp_path)
