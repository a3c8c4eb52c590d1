"""Killed at any moment, `curate` ends where an undisturbed run ends."""

import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bimcvr.commands.dataset.curate import curate
from bimcvr.curation.sources.bimcv.bimcv_r import BimcvR
from helpers.forks import Forked

KILLS = 10
SHARDS = 3
"""Of the release's ten: kills fall within and between them all the same."""
SET_ASIDE = 3
"""The exit code: the studies of the other shards are listed without a volume."""
EXPERIMENT = Path(__file__).parents[2] / "src/bimcvr/experiments/curate/phantom_bimcv_r.yaml"


def start(folder: Path) -> Forked:
    """The command in a session of its own; each shard is deleted once it is taken in."""
    words = ["curate", "--config", str(EXPERIMENT), "--source.root", "bimcv_r", "--source.keep", "nothing"]
    return Forked([*words, "--out", "out", "--size", "[12, 16, 16]", "--jobs", "1"], folder / "log", folder=folder)


def results(folder: Path) -> dict[str, bytes]:
    """What a run is for: manifest, queue, what was set aside, logs, and the cached volumes."""
    out = folder / "out"
    found = [
        out / "manifest.csv",
        *out.glob("review.csv"),
        out / "set_aside.csv",
        *out.glob("log/*.csv"),
        *out.glob("cache/*/*.ct"),
    ]
    return {str(path.relative_to(out)): path.read_bytes() for path in found}


@pytest.mark.slow
def test_ten_kills_change_no_byte(archives: Path, tmp_path: Path) -> None:
    calm, harried = tmp_path / "calm", tmp_path / "harried"

    def unpack(folder: Path) -> None:
        shutil.rmtree(folder, ignore_errors=True)
        (folder / "bimcv_r").mkdir(parents=True)
        shards = archives / "shards/bimcv_r"
        for path in (*(shards / f"CT{number}.zip" for number in range(1, SHARDS + 1)), *shards.glob("meta*")):
            shutil.copy2(path, folder / "bimcv_r")

    def check() -> None:
        assert results(harried) == results(calm)
        assert not list((harried / "bimcv_r/unpacked").glob("CT*/**/*.nii.gz"))

    def done(folder: Path) -> int:
        """How much of the work is to be seen: what was written, and which shards are gone."""
        return len(list((folder / "out").rglob("*"))) + SHARDS - len(list((folder / "bimcv_r").glob("CT*.zip")))

    unpack(calm)
    assert start(calm).wait(120) == SET_ASIDE
    assert list((calm / "bimcv_r").glob("CT*.zip")) == []
    unpack(harried)
    chance = random.Random(6)  # noqa: S311
    kills, halfway = 0, 0
    for _ in range(10 * KILLS):  # a run that ends before its kill is checked, and begins anew
        if kills >= KILLS and halfway:
            break
        before, steps, pause = done(harried), chance.randrange(12), chance.uniform(0, 0.1)
        process = start(harried)
        while (ended := process.wait(0.005)) is None and done(harried) <= before + steps:
            pass
        if ended is None and (ended := process.wait(pause)) is None:
            process.kill()
            kills += 1
            halfway += 0 < len(list((harried / "bimcv_r").glob("CT*.zip"))) < SHARDS
        else:
            assert ended == SET_ASIDE
            check()
            unpack(harried)
    assert kills >= KILLS
    assert halfway, "no kill fell between two shards"
    assert start(harried).wait(120) == SET_ASIDE
    check()


class _Stop(BaseException):
    """What a kill is within one process."""


def test_a_stop_at_each_rename_and_deletion_changes_no_byte(
    archives: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kills above fall at random.

    Here every run stops at its n-th rename or deletion, and the next goes on from there.
    """

    def shards(folder: Path) -> None:
        (folder / "bimcv_r").mkdir(parents=True)
        for name in ("CT1.zip", "CT2.zip", "meta_1.zip"):
            shutil.copy2(archives / "shards/bimcv_r" / name, folder / "bimcv_r")

    def run(folder: Path) -> None:
        monkeypatch.chdir(folder)
        curate(BimcvR("bimcv_r", keep="nothing"), Path("out"), size=(6, 8, 8), jobs=1)

    shards(tmp_path / "calm")
    run(tmp_path / "calm")
    shards(tmp_path / "harried")
    real = {"replace": Path.replace, "unlink": Path.unlink}
    left = 0

    def stopping(name: str) -> Callable[..., Any]:
        def act(self: Path, *words: Any, **options: Any) -> Any:
            nonlocal left
            left -= 1
            if left == 0:
                raise _Stop
            return real[name](self, *words, **options)

        return act

    for name in real:
        monkeypatch.setattr(Path, name, stopping(name))
    stops = 0
    # a run does less and less: what the earlier ones did is done
    for stop_at in range(1, 400):
        left = 1 + stop_at % 7
        try:
            run(tmp_path / "harried")
        except _Stop:
            stops += 1
        else:
            break
    left = -1
    run(tmp_path / "harried")
    assert stops > 20
    assert results(tmp_path / "harried") == results(tmp_path / "calm")
