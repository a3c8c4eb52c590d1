"""Embeddings on disk: what is written comes back, what is malformed is refused by name."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from bimcvr.contracts import Probes, Prompts
from bimcvr.errors import UserError
from bimcvr.evaluation.embeddings import Embeddings, load_arrays, load_embeddings, save_embeddings

IDS = ["s1", "s2", "s3"]


def good() -> dict[str, np.ndarray]:
    table = np.arange(1, 7, dtype=np.float32).reshape(3, 2)
    return {"study_id": np.array(IDS), "image": table, "text": table + 1}


def test_what_is_written_comes_back(tmp_path: Path) -> None:
    prompts = Prompts(
        ["There is a mass.", "No mass."], ["mass", "mass"], [False, True], torch.tensor([[1.0, 2], [3, 4]])
    )
    probes = Probes(["s2"], ["side"], torch.tensor([[5.0, 6]]))
    save_embeddings(tmp_path / "e.npz", Embeddings(IDS, torch.ones(3, 2), 2 * torch.ones(3, 2), prompts, probes))
    found = load_embeddings(tmp_path / "e.npz")
    assert found.study_id == IDS
    assert torch.equal(found.text, 2 * torch.ones(3, 2))
    assert found.prompts is not None
    assert found.probes is not None
    assert (found.prompts.sentence, found.prompts.denies) == (prompts.sentence, [False, True])
    assert torch.equal(found.prompts.denying("mass"), torch.tensor([[3.0, 4]]))
    assert (found.probes.study_id, found.probes.kind, found.probes.vector.tolist()) == (["s2"], ["side"], [[5.0, 6.0]])


def spoilt(name: str, value: object) -> Callable[[dict[str, np.ndarray]], dict[str, np.ndarray]]:
    return lambda arrays: {**arrays, name: np.asarray(value)}


def with_row(name: str, row: int, value: float) -> Callable[[dict[str, np.ndarray]], dict[str, np.ndarray]]:
    def change(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        table = arrays[name].copy()
        table[row] = value
        return {**arrays, name: table}

    return change


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (with_row("image", 1, np.nan), r"1 of 3 image embeddings are not finite \(study s2\)"),
        (with_row("text", 2, np.inf), r"1 of 3 text embeddings are not finite \(study s3\)"),
        (with_row("text", 0, 0.0), r"1 of 3 text embeddings are all zero \(study s1\)"),
        (spoilt("image", np.ones((3, 2), dtype=np.int64)), r"image embeddings are torch.int64.*float32"),
        (spoilt("study_id", ["s1", "s2", "s1"]), r"'s1' appears more than once"),
        (spoilt("text", np.ones((3, 4), dtype=np.float32)), r"image \(3, 2\) and text \(3, 4\) are not both \(3, E\)"),
        (spoilt("image", np.ones((2, 2), dtype=np.float32)), r"are not both \(3, E\)"),
        (lambda arrays: {name: arrays[name] for name in ("study_id", "image")}, "has no array 'text'"),
        (spoilt("study_id", np.array(["s1", None, {}], dtype=object)), "pickles are refused"),
        (spoilt("study_id", [[name] for name in IDS]), r"'study_id' has the shape \(3, 1\)"),
        (spoilt("study_id", [b"\xe9", b"b", b"c"]), "'study_id' holds bytes that are not UTF-8"),
        (spoilt("image", [["a", "b"]] * 3), "image embeddings are <U1, not floats"),
        (
            lambda arrays: {
                **arrays,
                "prompt_embedding": np.ones((1, 2)),
                "prompt": np.array(["a"]),
                "prompt_label": np.array(["b"]),
                "prompt_denies": np.array(["no"]),
            },
            "prompt_denies holds 'no'",
        ),
        (spoilt("prompt_embedding", np.ones((1, 2), dtype=np.float32)), "needs 'prompt' beside it"),
        (
            lambda arrays: {
                **arrays,
                "probe_embedding": np.ones((1, 3), dtype=np.float32),
                "probe_kind": np.array(["side"]),
                "probe_study": np.array(["s1"]),
            },
            r"'probe_embedding' has the shape \(1, 3\), not \(…, 2\)",
        ),
        (
            lambda arrays: {
                **arrays,
                "probe_embedding": np.full((1, 2), np.nan, dtype=np.float32),
                "probe_kind": np.array(["side"]),
                "probe_study": np.array(["s1"]),
            },
            "1 of 1 probe embeddings are not finite",
        ),
    ],
)
def test_what_is_malformed_is_refused(
    change: Callable[[dict[str, np.ndarray]], dict[str, np.ndarray]], words: str, tmp_path: Path
) -> None:
    np.savez(tmp_path / "e.npz", **change(good()))  # type: ignore[arg-type]
    with pytest.raises(UserError, match=words) as refusal:
        load_embeddings(tmp_path / "e.npz")
    assert "e.npz" in str(refusal.value)


@pytest.mark.parametrize("content", [b"", b"not a zip", b"PK\x03\x04 but cut off"])
def test_what_is_no_archive_is_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "e.npz").write_bytes(content)
    with pytest.raises(UserError, match=r"e\.npz is not an \.npz file of plain arrays"):
        load_embeddings(tmp_path / "e.npz")
    with pytest.raises(UserError, match="There are no embeddings at"):
        load_embeddings(tmp_path / "absent.npz")


@pytest.mark.parametrize("suffix", ["csv", "txt", "npy"])
def test_two_arrays_and_a_list(suffix: str, tmp_path: Path) -> None:
    arrays = good()
    np.save(tmp_path / "i.npy", arrays["image"])
    np.save(tmp_path / "t.npy", arrays["text"].astype(np.float16))
    ids = tmp_path / f"ids.{suffix}"
    if suffix == "npy":
        np.save(ids, arrays["study_id"])
    else:
        ids.write_text("\n".join([*(["study_id"] if suffix == "csv" else []), *IDS]) + "\n")
    found = load_arrays(tmp_path / "i.npy", tmp_path / "t.npy", ids)
    assert found.study_id == IDS
    assert found.text.tolist() == arrays["text"].tolist()
    np.save(tmp_path / "t.npy", np.array([None, 1]), allow_pickle=True)
    with pytest.raises(UserError, match=r"t\.npy is not an \.npy file of numbers"):
        load_arrays(tmp_path / "i.npy", tmp_path / "t.npy", ids)


@pytest.mark.parametrize(
    "denies", [np.array([0, 1]), np.array(["False", "TRUE"]), np.array([0.0, 1.0]), np.array(["0", "1"])]
)
def test_denials_that_went_through_a_csv(denies: np.ndarray, tmp_path: Path) -> None:
    np.savez(
        tmp_path / "e.npz",
        **good(),
        prompt=np.array(["a", "b"]),
        prompt_label=np.array(["c", "c"]),
        prompt_denies=denies,
        prompt_embedding=np.ones((2, 2)),
    )
    prompts = load_embeddings(tmp_path / "e.npz").prompts
    assert prompts is not None
    assert prompts.denies == [False, True]


def test_big_endian_floats_are_read(tmp_path: Path) -> None:
    arrays = good()
    np.savez(tmp_path / "e.npz", **{**arrays, "image": arrays["image"].astype(">f8")})  # type: ignore[arg-type]
    assert load_embeddings(tmp_path / "e.npz").image.tolist() == arrays["image"].tolist()


def test_a_damaged_archive_and_a_file_under_the_wrong_name(tmp_path: Path) -> None:
    arrays, path = good(), tmp_path / "e.npz"
    np.savez_compressed(path, **arrays)  # type: ignore[arg-type]
    content = bytearray(path.read_bytes())
    name = 30 + int.from_bytes(content[26:28], "little") + int.from_bytes(content[28:30], "little")
    content[name : name + 20] = b"\xff" * 20  # the first compressed block
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"not an \.npz file of plain arrays \(error"):
        load_embeddings(path)
    with path.open("wb") as stream:
        np.save(stream, arrays["image"])
    with pytest.raises(UserError, match=r"Name it \.npy"):
        load_embeddings(path)
    np.save(tmp_path / "i.npy", arrays["image"])
    np.save(tmp_path / "ids.npy", arrays["study_id"])
    np.savez(tmp_path / "t.npz", **arrays)  # type: ignore[arg-type]
    with pytest.raises(UserError, match=r"t\.npz is not an \.npy file of numbers \(an \.npz archive\)"):
        load_arrays(tmp_path / "i.npy", tmp_path / "t.npz", tmp_path / "ids.npy")


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("ids.csv", "study_id\nniño\nb\nc\n".encode("latin-1"), "Save it as UTF-8"),
        ("ids.csv", b"", "Save it as UTF-8"),
        ("ids.txt", "ñ\nb\nc".encode("latin-1"), "Save it as UTF-8"),
        ("ids.txt", "\ufeffs1 \r\ns2\t\ns3\n\n \n".encode(), ""),
        ("ids.csv", "\ufeffstudy_id\ns1 \ns2\ns3\n\n".encode(), ""),
    ],
)
def test_lists_of_ids_as_editors_leave_them(name: str, content: bytes, said: str, tmp_path: Path) -> None:
    np.save(tmp_path / "t.npy", good()["image"])
    (tmp_path / name).write_bytes(content)
    if said:
        with pytest.raises(UserError, match=said):
            load_arrays(tmp_path / "t.npy", tmp_path / "t.npy", tmp_path / name)
        return
    assert load_arrays(tmp_path / "t.npy", tmp_path / "t.npy", tmp_path / name).study_id == IDS
    np.save(tmp_path / "ids.npy", np.array([name.encode() for name in IDS]))
    assert load_arrays(tmp_path / "t.npy", tmp_path / "t.npy", tmp_path / "ids.npy").study_id == IDS


LOCATED = {
    "located_study": np.array(["s1", "s3"]),
    "located_finding": np.array(["mass", "nodule"]),
    "located_scores": np.array([[1, 0.2, np.nan, 0.5, 0.1, np.nan], [0, 0.2, 0.1, 0.5, 0.1, 1]]),
    "located_how": np.array(["tokens"]),
    "located_token_mm": np.array([12.0, 8.0, 8.0]),
}


def test_scores_of_maps_come_back_and_malformed_ones_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "e.npz", **good(), **LOCATED)
    found = load_embeddings(tmp_path / "e.npz")
    assert found.located is not None
    save_embeddings(tmp_path / "again.npz", found)
    again = load_embeddings(tmp_path / "again.npz").located
    assert again is not None
    assert (again.study_id, again.finding, again.how, again.token_mm) == (
        ["s1", "s3"],
        ["mass", "nodule"],
        "tokens",
        (12.0, 8.0, 8.0),
    )
    np.testing.assert_array_equal(again.scores, LOCATED["located_scores"])
    wrong = {
        "located_scores": LOCATED["located_scores"] * 100,
        "located_study": LOCATED["located_study"][:1],
        "located_how": np.array([], dtype=str),
        "located_token_mm": np.ones(2),
    }
    for name, value in wrong.items():
        np.savez(tmp_path / "e.npz", **good(), **{**LOCATED, name: value})
        with pytest.raises(UserError, match="the arrays 'located_…'"):
            load_embeddings(tmp_path / "e.npz")
