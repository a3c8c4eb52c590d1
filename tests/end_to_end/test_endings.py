"""How commands end: by SIGTERM, by Ctrl-C, and what their worker processes do when they are killed."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from unittest.mock import Mock

import pytest
import torch

from bimcvr.cli import main
from helpers.cli import environment, newest_run


def launch(words: list[str], log: Path) -> subprocess.Popen[bytes]:
    """Start a command in a session of its own, by whose id its processes are found."""
    with log.open("wb") as stream:
        return subprocess.Popen(
            [sys.executable, "-m", "bimcvr", *words],
            env=environment(),
            stdout=stream,
            stderr=stream,
            start_new_session=True,
        )


def members(session: int) -> list[int]:
    """The processes of a session that have not ended."""
    found = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, _, own = status.read_text().rsplit(")", 1)[1].split()[:4]
        except OSError:
            continue
        if int(own) == session and state != "Z":
            found.append(int(status.parent.name))
    return found


def wait_until(condition: Callable[[], object], seconds: float, what: str) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"{what} not within {seconds} s"
        time.sleep(0.1)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_ends_a_fit_with_its_code(
    number: signal.Signals,
    code: int,
    tiny_config: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("bimcvr.processes.signals.threading.Timer", Mock())  # it would end the tests
    callback = ["--trainer.callbacks+=helpers.toy_modules.SignalAfterEpoch", f"--trainer.callbacks.number={number}"]
    signal.signal(signal.SIGINT, signal.default_int_handler)  # what a job in the background starts with ignores Ctrl-C
    before = [signal.getsignal(one) for one in (signal.SIGTERM, signal.SIGINT)]
    assert main(["fit", *tiny_config, "--trainer.max_epochs=9", *callback]) == code
    assert [signal.getsignal(one) for one in (signal.SIGTERM, signal.SIGINT)] == before
    assert f"bimcvr fit: stopped by {number.name}." in capsys.readouterr().err
    last = torch.load(newest_run(tmp_path / "runs") / "checkpoints/last.ckpt", weights_only=True)
    assert last["epoch"] == 0


@pytest.mark.skipif(sys.platform != "linux", reason="a mutex is zeros on Linux")
def test_sigterm_ends_a_process_within_a_library_s_endless_wait() -> None:
    code = (
        "import ctypes\n"
        "from bimcvr.processes import signals\n"
        "signals._PATIENCE = 0.5\n"
        "lock, mutex = ctypes.CDLL(None).pthread_mutex_lock, ctypes.create_string_buffer(64)\n"
        "with signals.terminated_by_signal():\n"
        "    lock(mutex)\n"
        "    print('waits', flush=True)\n"
        "    lock(mutex)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, env=environment())
    assert process.stdout is not None
    assert process.stdout.readline() == b"waits\n"
    state = Path(f"/proc/{process.pid}/stat")
    asleep = 0
    while asleep < 5:  # it may still be on its way from `print` into the lock
        time.sleep(0.02)
        asleep = asleep + 1 if state.read_text().rpartition(") ")[2].startswith("S") else 0
    process.terminate()
    try:
        assert process.wait(10) == 143
    finally:
        process.kill()


@pytest.mark.slow
def test_workers_of_a_killed_fit_end_with_it(tiny_config: list[str], tmp_path: Path) -> None:
    words = ["fit", *tiny_config, "--trainer.max_epochs", "100000", "--data.num_workers", "1"]
    fit = launch(words, tmp_path / "log")
    try:
        trained = (tmp_path / "runs").glob
        wait_until(lambda: any(trained("*/*/checkpoints/last.ckpt")) or fit.poll() is not None, 120, "a checkpoint")
        assert len(members(fit.pid)) > 2, (tmp_path / "log").read_text()
        fit.kill()
        fit.wait()
        wait_until(lambda: not members(fit.pid), 10, "the end of all workers")
    finally:
        for process in members(fit.pid):
            os.kill(process, signal.SIGKILL)


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGKILL, -9)])
def test_workers_of_a_stopped_phantom_end_with_it(number: signal.Signals, code: int, tmp_path: Path) -> None:
    out = tmp_path / "cohort"
    phantom = launch(["phantom", str(out), "--patients", "500", "--jobs", "2"], tmp_path / "log")
    try:
        wait_until(lambda: any(out.rglob("*.nii.gz")) or phantom.poll() is not None, 120, "a volume")
        os.kill(phantom.pid, number)
        assert phantom.wait(30) == code
        wait_until(lambda: not members(phantom.pid), 10, "the end of all workers")
    finally:
        for process in members(phantom.pid):
            os.kill(process, signal.SIGKILL)
    assert "Traceback" not in (tmp_path / "log").read_text()


@pytest.mark.slow
def test_a_killed_worker_is_one_message(tmp_path: Path) -> None:
    phantom = launch(["phantom", str(tmp_path / "cohort"), "--patients", "500", "--jobs", "2"], tmp_path / "log")
    try:
        wait_until(lambda: any((tmp_path / "cohort").rglob("*.nii.gz")), 120, "a volume")
        children = Path(f"/proc/{phantom.pid}/task").glob("*/children")
        workers = [int(child) for file in children for child in file.read_text().split()]
        busy = [pid for pid in workers if "popen_loky_posix" in Path(f"/proc/{pid}/cmdline").read_text()]
        os.kill(busy[0], signal.SIGKILL)
        assert phantom.wait(30) == 1
    finally:
        for process in members(phantom.pid):
            os.kill(process, signal.SIGKILL)
    log = (tmp_path / "log").read_text()
    assert "bimcvr phantom: A worker process was killed" in log
    assert "Traceback" not in log
