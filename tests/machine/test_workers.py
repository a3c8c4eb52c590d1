"""Worker processes: where they work, and where their sockets are."""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from bimcvr.atomic_files import replacing
from bimcvr.errors import UserError
from bimcvr.parallel import in_parallel
from bimcvr.processes import socket_folder

_PAIR = """
import multiprocessing, tempfile
from bimcvr.processes.socket_folder import keep_socket_paths_short

keep_socket_paths_short()
with multiprocessing.get_context("forkserver").Pool(1) as pool:
    print(pool.map(abs, [-3]), pool.apply(multiprocessing.util.get_temp_dir), tempfile.gettempdir())
"""


def write_or_fail(folder: str, number: int) -> int:
    """Write a file slowly, under a temporary name first; the first call fails at once."""
    if number == 0:
        raise PermissionError(13, "Permission denied", "here")
    with replacing(Path(folder) / f"{number}.txt") as temporary:
        temporary.write_text("half")
        time.sleep(0.3)
        temporary.write_text("whole")
    return number


def test_what_others_are_writing_is_whole_when_one_call_fails(tmp_path: Path) -> None:
    calls = [(str(tmp_path), number) for number in range(40)]
    with pytest.raises(PermissionError, match="here"):
        list(in_parallel(write_or_fail, calls, jobs=2, ordered=False, batch_size=1))
    written = sorted(tmp_path.iterdir())
    assert 0 < len(written) < 20
    assert {path.read_text() for path in written} == {"whole"}
    with pytest.raises(ZeroDivisionError) as raised:
        list(in_parallel(eval, [("1 / 0",), ("2",)], jobs=2))
    assert "in _caught" in raised.value.__notes__[0]


def test_workers_follow_to_another_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        monkeypatch.chdir(tmp_path / name)
        assert set(in_parallel(os.getcwd, [(), ()], jobs=2)) == {str(tmp_path / name)}


def test_a_long_folder_for_temporary_files_stops_no_worker(tmp_path: Path) -> None:
    long = tmp_path / ("x" * 140)
    long.mkdir()
    environment = {**os.environ, "TMPDIR": str(long)}
    done = subprocess.run(
        [sys.executable, "-c", _PAIR], env=environment, capture_output=True, text=True, timeout=100, check=True
    )
    answer, sockets, temporary = done.stdout.split()
    assert (answer, temporary) == ("[3]", str(long))
    assert len(sockets) < 85
    assert not Path(sockets).exists()


def test_data_without_a_short_folder_for_its_workers_are_refused(
    tiny_cohort: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from bimcvr.data.loading.datamodule import CTReportDataModule

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / ("x" * 140)))
    monkeypatch.setattr(socket_folder, "_SHORT", (str(tmp_path / "absent"),))
    CTReportDataModule(str(tiny_cohort))
    with pytest.raises(UserError, match=r"TMPDIR to one of at most 70 bytes, or data\.num_workers to 0"):
        CTReportDataModule(str(tiny_cohort), num_workers=1)
