"""Worker processes: where they work."""

import os
from pathlib import Path

import pytest

from bimcvr.parallel import in_parallel


def test_workers_follow_to_another_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        monkeypatch.chdir(tmp_path / name)
        assert set(in_parallel(os.getcwd, [(), ()], jobs=2)) == {str(tmp_path / name)}
