"""Worker processes: where they work, and where their sockets are."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

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
