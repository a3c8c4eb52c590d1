"""Uploads never stay on the disk, and wait for each other."""

import asyncio
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import pytest
from fastapi import HTTPException

from bimcvr.search.server.limits import ConcurrencyLimits
from bimcvr.search.uploading import uploads
from helpers.cli import environment
from helpers.limits import files_of_at_most
from helpers.running_server import Made, Running, left_behind
from helpers.upload_factory import volume_bytes, zipped


def test_a_killed_servers_uploads_are_swept(tmp_path: Path) -> None:
    """Told by their locks: in containers the next server has the same number.

    Another one's may be of another namespace.
    """
    left = tmp_path / f"upload-{os.getpid()}-left"
    left.mkdir()
    (left / "upload.nii").write_text("x")
    begin = "import sys; from pathlib import Path; from bimcvr.search.uploading.uploads import upload_folder"
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
    with socket.create_connection(("127.0.0.1", port)) as line:  # a header on two lines
        line.sendall(b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer\r\n token\r\n\r\n")
        assert b" 400 " in line.recv(1000)
    until = time.monotonic() + 120
    while left_behind(made.index) and time.monotonic() < until:
        time.sleep(0.05)
    assert left_behind(made.index) == []


def test_a_full_disk_is_told_and_the_same_request_is_answered_once_there_is_room(made: Made, tmp_path: Path) -> None:
    service = made.service()
    volume = volume_bytes(tmp_path, "v.nii", (40, 40, 40))
    shutil.rmtree(service.volumes.folder, ignore_errors=True)
    with made.client(service) as client:

        def statuses() -> list[int]:
            sent = [("v.nii", volume), ("v.zip", zipped({"a.dcm": volume}))]
            uploaded = [client.post("/api/convert", params={"name": name}, content=body) for name, body in sent]
            shown = client.get("/api/volume", params={"case": "SECRET-s1"})
            if shown.status_code == 507:
                assert "cannot write to its disk" in shown.json()["detail"]
                assert str(made.index) not in shown.text
            return [answer.status_code for answer in (*uploaded, shown)]

        with files_of_at_most(2000):
            assert statuses() == [507, 507, 507]
            assert left_behind(made.index) == []
            assert not [path for path in service.volumes.folder.rglob("*") if path.is_file()]
        assert statuses() == [200, 422, 200]  # the zip holds no DICOM
    service.close()


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
        limits = ConcurrencyLimits()
        statuses: list[int] = []

        async def one() -> None:
            try:
                async with limits.uploading():
                    await asyncio.sleep(0.05)
                statuses.append(200)
            except HTTPException as error:
                statuses.append(error.status_code)

        await asyncio.gather(*(one() for _ in range(12)))
        await one()
        return statuses

    assert sorted(asyncio.run(crowd())) == [200] * 10 + [429] * 3, (
        "one at work and eight waiting; the slot is free again afterwards"
    )
