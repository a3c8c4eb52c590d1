"""Damaged embeddings and checkpoints: one message, no other value in silence, no small file that takes the memory."""

import contextlib
import random
import tracemalloc
import zipfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from bimcvr.data.numpy_files import UnreadableArrays, read_npy, read_npz
from bimcvr.errors import UserError
from bimcvr.evaluation.embeddings import load_embeddings
from bimcvr.models.checkpoint import read_checkpoint, refuse_not_finite

CHECKPOINT = {
    "state_dict": {"a.weight": torch.arange(600.0).reshape(20, 30), "b": torch.ones(7)},
    "epoch": 3,
    "global_step": 12,
    "loops": {"fit_loop": {"state_dict": {}}},
    "callbacks": {},
    "optimizer_states": [],
    "hyper_parameters": {"embed_dim": 7},
    "pytorch-lightning_version": "2.6.6",
}


@pytest.fixture
def embeddings(tmp_path: Path) -> Path:
    ids = np.array([f"s{number}" for number in range(9)])
    vectors = np.random.default_rng(0).normal(size=(2, 9, 16)).astype(np.float32)
    np.savez(tmp_path / "e.npz", study_id=ids, image=vectors[0], text=vectors[1])
    return tmp_path / "e.npz"


def mutants(content: bytes, count: int) -> list[bytes]:
    """Copies with bytes changed, cut out, doubled or cut off."""
    draw = random.Random(5)  # noqa: S311 - test data
    made = []
    for number in range(count):
        at, length = draw.randrange(len(content)), draw.randrange(1, 40)
        middle = [draw.randbytes(length), b"", content[at : at + length] * 2][number % 3]
        made.append(content[:at] if number % 10 == 9 else content[:at] + middle + content[at + length :])
    return made


def refused_or_read(read: Callable[[Path], Any], path: Path) -> Any:
    """What is read of a file; None where it is refused by one message that names it."""
    try:
        return read(path)
    except UserError as error:
        return None if str(path) in str(error) else pytest.fail(str(error))


def test_damaged_embeddings_are_refused_or_unchanged(embeddings: Path) -> None:
    sound, content = load_embeddings(embeddings), embeddings.read_bytes()
    for mutant in mutants(content, 200):
        embeddings.write_bytes(mutant)
        read = refused_or_read(load_embeddings, embeddings)
        if read is None:
            continue
        assert read.study_id == sound.study_id
        assert torch.equal(read.image, sound.image)
        assert torch.equal(read.text, sound.text)


def test_damaged_arrays_of_one_file_are_refused_or_read(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.arange(40, dtype=np.float32).reshape(8, 5))
    content = (tmp_path / "a.npy").read_bytes()
    for mutant in mutants(content, 200):
        (tmp_path / "a.npy").write_bytes(mutant)
        with contextlib.suppress(UnreadableArrays):
            assert isinstance(read_npy(tmp_path / "a.npy"), np.ndarray)


@pytest.mark.parametrize(
    "array",
    [np.asfortranarray(np.arange(6.0).reshape(2, 3)), np.empty((0, 4), "<f4"), np.array("x"), np.ones(3, ">f8")],
)
def test_arrays_of_every_layout_are_read_as_numpy_does(array: np.ndarray, tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "a.npz", x=array)
    read = read_npz(tmp_path / "a.npz")["x"]
    assert np.array_equal(read, array)
    assert (read.dtype, read.shape) == (array.dtype, array.shape)


def test_a_small_file_that_unpacks_to_gigabytes_is_not_unpacked(tmp_path: Path) -> None:
    header = "{'descr': '<f4', 'fortran_order': False, 'shape': (1000000, 1000), }".ljust(117) + "\n"
    with zipfile.ZipFile(tmp_path / "e.npz", "w") as packed:
        packed.writestr(
            "image.npy", b"\x93NUMPY\x01\0" + len(header).to_bytes(2, "little") + header.encode() + bytes(900)
        )
    with zipfile.ZipFile(tmp_path / "bomb.npz", "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("image.npy", bytes(50_000_000))
    tracemalloc.start()
    for name, reason in (("e.npz", "not what it holds"), ("bomb.npz", "far more than embeddings")):
        with pytest.raises(UserError, match=reason):
            load_embeddings(tmp_path / name)
    assert tracemalloc.get_traced_memory()[1] < 5_000_000
    tracemalloc.stop()


def test_a_damaged_checkpoint_is_refused_or_unchanged(tmp_path: Path) -> None:
    path = tmp_path / "best.ckpt"
    torch.save(CHECKPOINT, path)
    assert read_checkpoint(path)["epoch"] == 3
    for mutant in mutants(path.read_bytes(), 150):
        path.write_bytes(mutant)
        read = refused_or_read(partial(read_checkpoint, mmap=False), path)
        if read is None:
            continue
        assert torch.equal(read["state_dict"]["a.weight"], CHECKPOINT["state_dict"]["a.weight"])
        assert {**read, "state_dict": {}} == {**CHECKPOINT, "state_dict": {}}


@pytest.mark.parametrize(
    "changes",
    [{"state_dict": {"a": 1}}, {"state_dict": []}, {"epoch": "3"}, {"loops": None}, {"optimizer_states": {}}],
)
def test_a_checkpoint_of_other_kinds_of_values_is_refused(changes: dict[str, object], tmp_path: Path) -> None:
    torch.save({**CHECKPOINT, **changes}, tmp_path / "best.ckpt")
    with pytest.raises(UserError, match=r"best\.ckpt cannot be read as a checkpoint"):
        read_checkpoint(tmp_path / "best.ckpt")


def test_weights_that_are_not_finite_are_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"best\.ckpt: 1 tensors are not finite, the first head\.bias"):
        refuse_not_finite(tmp_path / "best.ckpt", {"w": torch.ones(3), "head.bias": torch.tensor([1.0, torch.nan])})
