"""Volumes kept in memory: read from disk once, seen by every process, refused where there is no room for them."""

import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import distributed

from bimcvr.cli import main
from bimcvr.data.cache.memory_copy import MemoryCopy, free_memory, refuse_too_much
from bimcvr.data.cache.volume_cache import VolumeCache
from bimcvr.data.loading.datamodule import CTReportDataModule
from bimcvr.data.loading.processes import shared_memory
from bimcvr.errors import UserError
from helpers.cli import newest_run

SIZE = (3, 4, 5)
SPACING = (3.0, 1.5, 1.25)


def volume(number: int) -> np.ndarray:
    return np.random.default_rng(number).integers(-1000, 1000, SIZE, dtype=np.int16)


def test_all_processes_see_one_memory_and_the_last_of_them_frees_it() -> None:
    memory = MemoryCopy(3, SIZE, "int16")
    assert memory.read(0) is None
    memory.keep(0, volume(0), SPACING)
    worker = pickle.loads(pickle.dumps(memory))
    child = os.fork()
    if child == 0:
        worker.keep(2, volume(2), SPACING)
        os._exit(0)
    os.waitpid(child, 0)
    for number in (0, 2):
        for seen in (memory.read(number), worker.read(number)):
            assert seen is not None
            assert np.array_equal(seen[0], volume(number))
            assert seen[0].dtype == np.int16
            assert seen[1] == SPACING
    assert worker.read(1) is None
    memory.close()
    assert worker.read(0) is not None
    assert not Path(memory.path).exists()


def test_local_ranks_use_the_memory_of_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = MemoryCopy(1, SIZE, "uint8"), MemoryCopy(1, SIZE, "uint8")
    machine = f"{os.uname().nodename} {os.readlink('/proc/self/ns/pid')}"

    def gather(into: list[Any], own: Any) -> None:
        into[:] = [("elsewhere pid:[1]", "/proc/1/fd/3"), (machine, first.path), own]

    monkeypatch.setattr(distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(distributed, "get_world_size", lambda: 3)
    monkeypatch.setattr(distributed, "all_gather_object", gather)
    shared_memory(second).keep(0, volume(0).astype(np.uint8), SPACING)
    kept = first.read(0)
    assert kept is not None
    assert np.array_equal(kept[0], volume(0).astype(np.uint8))
    assert shared_memory(first) is first


def test_what_has_no_room_is_refused_with_the_arithmetic() -> None:
    told = (
        r"int16 has no room: 8,069 training volumes × 9\.6 MB = 77\.7 GB, but 64\.0 GB of this machine's memory are"
        r" free, of which 90% may be taken\. As uint8 they would take 38\.9 GB\."
    )
    with pytest.raises(UserError, match=told):
        refuse_too_much(8069, (96, 224, 224), "int16", 64 * 10**9)
    refuse_too_much(8069, (96, 224, 224), "uint8", 64 * 10**9)
    assert 10**8 < free_memory() < 10**14
    with pytest.raises(UserError, match="has no room"):
        MemoryCopy(10**6, (96, 224, 224), "uint8")


def test_an_epoch_is_the_same_from_memory_and_reads_no_file(
    tiny_cohort: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def made(**options: Any) -> CTReportDataModule:
        data = CTReportDataModule(str(tiny_cohort), cache=str(tmp_path), size=(12, 16, 16), **options)
        data.prepare_data()
        data.setup("fit")
        return data

    plain, exact, rounded = made(), made(keep_in_memory="int16"), made(keep_in_memory="uint8")
    whole = [plain.train_dataset()[0, position]["views"] for position in range(16)]
    first = {data: [data.train_dataset()[0, position]["views"] for position in range(16)] for data in (exact, rounded)}
    monkeypatch.setattr(VolumeCache, "read", None)
    for data, worst in ((exact, 0.0), (rounded, 0.5 / 255 + 1e-6)):
        for position in range(16):
            again = data.train_dataset()[0, position]["views"]
            assert torch.equal(again, first[data][position])
            assert (again - whole[position]).abs().max() <= worst
    with pytest.raises(TypeError):
        plain.train_dataset()[0, 0]


def test_a_training_ends_with_the_same_weights_from_memory(tiny_config: list[str], tmp_path: Path) -> None:
    weights = []
    for words in ([], ["--data.keep_in_memory", "int16", "--data.read_ahead", "1"]):
        assert main(["fit", *tiny_config, *words, "--experiment", f"e{len(weights)}"]) == 0
        last = newest_run(tmp_path / "runs") / "checkpoints/last.ckpt"
        weights.append(torch.load(last, weights_only=True)["state_dict"])
    assert weights[0].keys() == weights[1].keys()
    assert all(torch.equal(value, weights[1][name]) for name, value in weights[0].items())


def test_a_training_with_views_on_the_device_tests_to_the_same_figures(tiny_config: list[str], tmp_path: Path) -> None:
    noise = [
        "--data.view_1",
        "torchio.RandomNoise",
        "--data.views_on_device",
        "true",
        "--data.keep_in_memory",
        "uint8",
        "--trainer.precision",
        "64-true",
    ]
    assert main(["fit", *tiny_config, *noise]) == 0
    vectors = []
    for on_device in ("true", "false"):
        assert main(["test", *tiny_config, "--checkpoint", "best", "--data.views_on_device", on_device]) == 0
        vectors.append(np.load(newest_run(tmp_path / "runs") / "embeddings.npz")["image"])
    assert np.array_equal(*vectors)
