"""Killed with −9 at random moments of `index` and of an update, an index opens and holds what was committed.

Rows and vectors in step.
"""

import contextlib
import fcntl
import io
import json
import os
import random
import shutil
import signal
import threading
import time
from multiprocessing.process import BaseProcess
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bimcvr.search.index import lance_table as table
from bimcvr.search.index import writer
from bimcvr.search.index.reader import Index
from helpers.forks import fork_server

KILLS, STUDIES, DIM = 10, 60, 8


def write_inputs(folder: Path, version: int) -> dict[str, np.ndarray]:
    """Write a manifest and embeddings in which every report and vector names its version; volumes are absent."""
    rng = np.random.default_rng(version)
    ids = [f"s{number:02}" for number in range(STUDIES)]
    image, text = (rng.standard_normal((STUDIES, DIM)).astype(np.float32) for _ in range(2))
    prompt_vector = rng.standard_normal((1, DIM)).astype(np.float32)
    np.savez(
        folder / f"{version}.npz",
        study_id=np.array(ids),
        image=image,
        text=text,
        prompt=np.array(["There is a nodule."]),
        prompt_label=np.array(["nodule"]),
        prompt_denies=np.array([False]),
        prompt_embedding=prompt_vector,
    )
    pd.DataFrame(
        {
            "study_id": ids,
            "volume": [f"{name}.nii.gz" for name in ids],
            "patient_id": ids,
            "report": [f"There is a nodule. Study {name}, version {version}." for name in ids],
        }
    ).to_csv(folder / f"{version}.csv", index=False)
    return {"image": image, "text": text}


def run(folder: str, version: int, point: str = "", delay: float = 0) -> None:
    """The command, in a process of its own."""
    from bimcvr.cli import main

    if point:
        kill_in(point, delay)
    with contextlib.redirect_stdout(io.StringIO()):
        code = main(
            [
                "index",
                "--embeddings",
                f"{folder}/{version}.npz",
                "--manifest",
                f"{folder}/{version}.csv",
                "--out",
                f"{folder}/index",
                "--batch",
                "3",
                "--jobs",
                "1",
            ]
        )
    os._exit(code)


def kill_in(point: str, delay: float) -> None:
    """Have this process killed so many seconds after it has come to a point.

    At the latest when it would go on from there.
    """
    owner = {"unlink": Path, "save_prompts": writer, "rewrite_rows": writer, "index_words": table}.get(
        point, writer.IndexWriter
    )
    real = getattr(owner, point)

    def killed(*words: object, **options: object) -> object:
        if point == "unlink" and Path(str(words[0])).suffix != ".f32":
            return real(*words, **options)
        threading.Timer(delay, os.kill, (os.getpid(), signal.SIGKILL)).start()
        real(*words, **options)
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError

    setattr(owner, point, killed)


def start(folder: Path, version: int, *kill: object) -> BaseProcess:
    """Start the command from a process that has its slow imports done, but none that starts threads."""
    process = fork_server().Process(target=run, args=(str(folder), version, *kill))
    process.start()
    return process


def held(folder: Path, vectors: dict[int, dict[str, np.ndarray]]) -> dict[str, int]:
    """Open the index, check that every row and its vectors are of one version, and return each study's."""
    if not (folder / "index/index.json").exists():
        return {}
    with Index.open(folder / "index") as index:
        assert len(index) == index.commit.count
        versions = {}
        for position, row in enumerate(index.rows(range(len(index)))):
            version = int(row.report.rstrip(".").rsplit(" ", 1)[1])
            for stream, found in (("image", index.image.row(position)), ("text", index.text.row(position))):
                own = vectors[version][stream][int(row.study_id[1:])]
                assert np.allclose(found, own / np.linalg.norm(own), atol=1e-6), (
                    f"{row.study_id}: another version's {stream}"
                )
            versions[row.study_id] = version
        assert len(index.word_ranks("nodule")) == len(index)
        return versions


def wait_for(process: BaseProcess, folder: Path, commits: int) -> None:
    """Wait until the process has begun to write and made some commits, or ended."""
    before = committed(folder)
    lock = folder / "index/writer.lock"
    while process.is_alive():
        if lock.exists() and is_held(lock) and committed(folder) >= before + commits:
            return
        time.sleep(0.002)


def committed(folder: Path) -> int:
    """The number of the last commit."""
    try:
        return int(json.loads((folder / "index/index.json").read_text())["table_version"])
    except FileNotFoundError:
        return 0


def is_held(lock: Path) -> bool:
    """Whether a writer is at work."""
    with lock.open("a") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        return False


@pytest.mark.slow
@pytest.mark.parametrize("version", [1, 2], ids=["index", "update"])
def test_ten_kills_lose_nothing_that_was_committed(tmp_path: Path, version: int) -> None:
    vectors = {version: write_inputs(tmp_path, version) for version in (1, 2)}
    if version == 2:
        finish(tmp_path, 1)
    chance = random.Random(7)  # noqa: S311
    kills = halfway = 0
    before = held(tmp_path, vectors)
    for _ in range(5 * KILLS):  # what ends before its kill is checked, and begins anew
        if kills >= KILLS and halfway:
            break
        process = start(tmp_path, version)
        wait_for(process, tmp_path, chance.randint(0, 3))
        time.sleep(chance.uniform(0, 0.03))
        if process.is_alive():
            process.kill()
            kills += 1
        process.join()
        after = held(tmp_path, vectors)
        assert all(after.get(name, 0) >= of for name, of in before.items()), (
            "a committed study is lost, or an old version is back"
        )
        done = sum(of == version for of in after.values())
        halfway += 0 < done < STUDIES
        if process.exitcode == 0:
            shutil.rmtree(tmp_path / "index")
            after = {}
        before = after
    assert kills >= KILLS
    assert halfway, "no kill fell between two commits"
    finish(tmp_path, version)
    assert held(tmp_path, vectors) == dict.fromkeys((f"s{number:02}" for number in range(STUDIES)), version)


@pytest.mark.slow
def test_kills_in_the_end_phase_lose_nothing(tmp_path: Path) -> None:
    """Joining files, prompts, writing anew, old versions and deletion of files are killed in, early and late."""
    vectors = {version: write_inputs(tmp_path, version) for version in (1, 2)}
    finish(tmp_path, 1)
    updated = dict.fromkeys((f"s{number:02}" for number in range(STUDIES)), 2)
    for point in ("refresh_words", "save_prompts", "rewrite_rows", "index_words", "_drop_old_versions", "unlink"):
        for delay in (0.002, 5):
            process = start(tmp_path, 2, point, delay)
            process.join(60)
            assert process.exitcode == -signal.SIGKILL, (point, "was not come to")
            assert held(tmp_path, vectors) == updated, (point, delay)
    finish(tmp_path, 2)
    assert held(tmp_path, vectors) == updated
    with Index.open(tmp_path / "index") as index:
        assert index.facts["complete"]
        assert index.commit.slots == STUDIES
        assert index.prompts is not None
    left = sorted(path.name for path in (tmp_path / "index").iterdir())
    assert left == sorted(
        [
            "index.json",
            f"image-{index.commit.generation}.f32",
            f"text-{index.commit.generation}.f32",
            index.commit.prompts,
            "reader.lock",
            "refused.csv",
            "rows.lance",
            "writer.lock",
        ]
    )
    assert len(list((tmp_path / "index/rows.lance/_versions").glob("*.manifest"))) == 1
    assert not any(b"version 1." in path.read_bytes() for path in (tmp_path / "index").rglob("*") if path.is_file())


def finish(folder: Path, version: int) -> None:
    """Run the command to its end."""
    process = start(folder, version)
    process.join(120)
    assert process.exitcode == 0
