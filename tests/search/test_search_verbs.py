"""`index` and `search` from the command line.

From a checkpoint and from embeddings, every mode, updates, and mistakes.
"""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from bimcvr.cli import main
from bimcvr.commands.search.index import index as index_verb
from bimcvr.errors import UserError
from bimcvr.search.index.reader import Index
from bimcvr.search.ingest.vector_sources import CheckpointSource
from helpers.cli import TINY, bimcvr, newest_run


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, tiny_cohort: Path) -> Path:
    """The run folder of a short fit and its test."""
    folder = tmp_path_factory.mktemp("trained")
    (folder / "tiny.yaml").write_text(TINY.replace("max_epochs: 2", "max_epochs: 1"))
    options = [
        "--config",
        str(folder / "tiny.yaml"),
        "--data.manifest",
        str(tiny_cohort),
        "--runs",
        str(folder / "runs"),
    ]
    assert main(["fit", *options]) == 0
    run = newest_run(folder / "runs")
    assert main(["test", "--ckpt_path", str(run / "checkpoints/best.ckpt")]) == 0
    return run


@pytest.fixture(scope="module")
def made(run: Path, tiny_cohort: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An index of all studies, from the checkpoint."""
    out = tmp_path_factory.mktemp("made") / "index"
    checkpoint = str(run / "checkpoints/best.ckpt")
    assert (
        main(["index", "--checkpoint", checkpoint, "--manifest", str(tiny_cohort), "--out", str(out), "--jobs", "1"])
        == 0
    )
    return out


def search_json(capsys: pytest.CaptureFixture[str], *words: str | Path) -> dict[str, Any]:
    """The answer of `search … --json`."""
    capsys.readouterr()
    assert main(["search", *map(str, words), "--json"]) == 0
    answer: dict[str, Any] = json.loads(capsys.readouterr().out)
    return answer


def test_an_index_says_what_it_is(made: Path, run: Path) -> None:
    with Index.open(made) as index:
        facts = index.facts
        assert (facts["studies"], facts["dim"], facts["split"], facts["phantom"], facts["complete"]) == (
            30,
            12,
            "all",
            False,
            True,
        )
        assert (facts["text_encoder"], facts["volume_encoder"], facts["with_pictures"]) == ("HashText", "PlainConv", 30)
        assert facts["checkpoint"] == str(run / "checkpoints/best.ckpt")
        assert facts["manifest_hash"]
        row = index.row("s3")
        assert (row.geometry["native_size"], row.geometry["native_spacing"]) == ([18, 20, 20], [4.0, 3.0, 3.0])
        assert Path(row.source).is_file()
        pictures = index.thumbnails("s3")
        assert set(pictures) == {"axial", "coronal", "sagittal"}
        assert all(picture.startswith(b"\xff\xd8") for picture in pictures.values())


def test_every_mode_from_the_command_line(
    made: Path, tiny_cohort: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = search_json(capsys, made, "There is a nodule in the left upper zone.", "--top", "5")
    assert (text["mode"], len(text["hits"]), text["into"]) == ("text", 5, "image")
    assert [hit["rank"] for hit in text["hits"]] == [1, 2, 3, 4, 5]
    like = search_json(capsys, made, "--volume", tiny_cohort.parent / "s7.nii.gz", "--top", "1")
    assert (like["hits"][0]["study_id"], round(like["hits"][0]["score"], 5)) == ("s7", 1)
    assert search_json(capsys, made, "--study", "s7")["hits"][0]["study_id"] != "s7"
    assert search_json(capsys, made, "--study", "s7", "--into", "report")["into"] == "report"
    assert search_json(capsys, made, "--keyword", "nodule", "--holding", "false")["hits"] == []
    assert search_json(capsys, made, "--keyword", "nodule", "--into", "report")["into"] == "report"
    assert search_json(capsys, made, "--words", "number 12", "--top", "1")["hits"][0]["study_id"] == "s12"
    assert search_json(capsys, made, "--keyword", "bronchiectasis")["query_parts"], (
        "not among the prompts: the index's own model is loaded"
    )
    apostrophe = search_json(capsys, made, "--words", "number", "--where", "split != St John's", "--labels", "left")
    assert apostrophe["candidates"] == 15
    hybrid = search_json(capsys, made, "case number 12", "--hybrid", "--top", "40")
    assert (hybrid["hybrid"], len(hybrid["hits"])) == (True, 30)
    filtered = search_json(
        capsys, made, "a nodule somewhere", "--where", "split = test", "--labels", "nodule,left", "--top", "40"
    )
    assert {(hit["row"]["split"], "left" in hit["labels"]) for hit in filtered["hits"]} == {("test", True)}
    assert main(["search", str(made), "There is a nodule.", "--html", str(tmp_path / "page.html"), "--top", "2"]) == 0
    printed = capsys.readouterr().out
    assert "There is a nodule." in printed
    assert printed.count("nodule") > 2
    page = (tmp_path / "page.html").read_text()
    assert page.count("data:image/jpeg;base64,") == 6
    assert "http" not in page.replace("http-equiv", "")


def test_full_searches_give_the_figures_of_test(made: Path, run: Path) -> None:
    """Vectors of the index are those that `test` wrote."""
    from bimcvr.evaluation.embeddings import load_embeddings
    from bimcvr.metrics.ranking.unit_vectors import UnitVectors

    embeddings = load_embeddings(run / "embeddings.npz")
    with Index.open(made) as index:
        for position, name in enumerate(embeddings.study_id):
            for stream, own in (("image", embeddings.image), ("report", embeddings.text)):
                unit = UnitVectors(own, stream, own.device).exact(slice(position, position + 1))[0].numpy()
                assert (
                    abs(
                        index.vectors("image" if stream == "image" else "report").row(index.position(name)) - unit
                    ).max()
                    < 1e-5
                )


def test_an_update_does_only_what_changed(
    made: Path,
    run: Path,
    tiny_cohort: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out, cohort = tmp_path / "index", tmp_path / "cohort"
    shutil.copytree(made, out)
    shutil.copytree(tiny_cohort.parent, cohort, copy_function=shutil.copy2)
    table = pd.read_csv(cohort / "manifest.csv", dtype=str)
    table = table[table["study_id"] != "s0"]
    table.loc[table["study_id"] == "s1", "report"] = (
        "There is a pneumothorax on both sides of the chest, a new sentence."
    )
    shutil.copy2(cohort / "s9.nii.gz", cohort / "s2.nii.gz")
    (cohort / "s3.nii.gz").write_bytes(b"no volume")
    new = table[table["study_id"] == "s5"].assign(study_id="s30")
    pd.concat([table, new]).to_csv(cohort / "manifest.csv", index=False)
    seen: list[str] = []
    real = CheckpointSource.embed

    def embed(self: CheckpointSource, manifest: Any, rows: Any, *more: Any) -> Any:
        seen.extend(manifest.column("study_id")[row] for row in rows)
        return real(self, manifest, rows, *more)

    monkeypatch.setattr(CheckpointSource, "embed", embed)
    words = [
        "index",
        "--checkpoint",
        str(run / "checkpoints/best.ckpt"),
        "--manifest",
        str(cohort / "manifest.csv"),
        "--out",
        str(out),
    ]
    words += ["--jobs", "1"]
    assert main(words) == 3
    assert sorted(seen) == ["s2", "s3", "s30"]  # of s1 only the report has changed: its volume is not read
    assert "1 studies of the index are not among these rows and stay" in capsys.readouterr().out
    assert pd.read_csv(out / "refused.csv")["study_id"].tolist() == ["s3"]
    with Index.open(out) as index:
        assert set(index.study_ids) == {f"s{number}" for number in range(31)} - {"s3"}
        assert "pneumothorax" in index.row("s1").report
        with Index.open(made) as old:
            assert index.image.row(index.position("s1")).tolist() == old.image.row(old.position("s1")).tolist()
            assert abs(index.text.row(index.position("s1")) - old.text.row(old.position("s1"))).max() > 0.01
            assert (index.thumbnails("s1"), index.row("s1").geometry) == (old.thumbnails("s1"), old.row("s1").geometry)
        for new_one, like in (("s2", "s9"), ("s30", "s5")):
            assert abs(index.image.row(index.position(new_one)) - index.image.row(index.position(like))).max() < 1e-5
            assert index.thumbnails(new_one) == index.thumbnails(like)
    seen.clear()
    capsys.readouterr()
    assert main([*words, "--remove", "s6,typo"]) == 1
    printed = capsys.readouterr()
    assert ("1 removed" in printed.out, "typo." in printed.err, "s6" in printed.err) == (True, True, False)
    assert main(words) == 3, "its row is still in the manifest"
    with Index.open(out) as index:
        assert "s6" in index.study_ids
    seen.clear()
    assert main([*words, "--prune", "true"]) == 3
    assert seen == ["s3"]
    monkeypatch.undo()
    (cohort / "s4.nii.gz").rename(cohort / "away")
    assert main(words) == 3
    assert sorted(pd.read_csv(out / "refused.csv")["study_id"]) == ["s3", "s4"]
    with Index.open(out) as index:
        assert index.row("s4").report, "a disk that is away costs nothing"
    assert main([*words, "--prune", "true"]) == 3
    with Index.open(out) as index:
        assert "s4" not in index.study_ids
    (cohort / "away").rename(cohort / "s4.nii.gz")
    assert main(words) == 3
    capsys.readouterr()
    with Index.open(out):
        assert main(["index", "--remove", "s7", "--out", str(out)]) == 0
        assert "stays in its files" in capsys.readouterr().out
    assert main(["index", "--remove", " s8, ", "--out", str(out)]) == 0
    assert "stays in its files" not in capsys.readouterr().out
    with Index.open(out) as index:
        assert set(index.study_ids) == {f"s{number}" for number in range(1, 31)} - {"s3", "s7", "s8"}
    capsys.readouterr()
    assert main(["index", "--remove", "s7", "--out", str(out)]) == 1
    assert "Not in the index" in capsys.readouterr().err


def test_an_index_from_embeddings(
    run: Path, tiny_cohort: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, alone = tmp_path / "index", tmp_path / "alone"
    alone.mkdir()
    shutil.copy2(tiny_cohort, alone / "manifest.csv")  # without any volume
    words = ["index", "--embeddings", str(run / "embeddings.npz"), "--out", str(out), "--jobs", "1"]
    assert main([*words, "--manifest", str(alone / "manifest.csv"), "--split", "test"]) == 0
    assert "7 studies" in capsys.readouterr().out
    assert len(search_json(capsys, out, "--keyword", "nodule")["hits"]) == 7
    assert search_json(capsys, out, "--study", "s25", "--top", "1")["hits"][0]["study_id"] != "s25"
    with pytest.raises(UserError, match="another split"):
        index_verb(out, alone / "manifest.csv", embeddings=run / "embeddings.npz")
    assert main(["search", str(out), "There is a nodule."]) == 1
    assert "has no text encoder" in capsys.readouterr().err
    named = search_json(capsys, out, "There is a nodule.", "--checkpoint", run / "checkpoints/best.ckpt")
    assert len(named["hits"]) == 7


def test_pictures_outlast_a_disk_that_is_away(tiny_cohort: Path, tmp_path: Path) -> None:
    names = ["s0", "s1"]
    np.savez(
        tmp_path / "v.npz",
        study_id=np.array(names),
        image=np.eye(2, 8, dtype=np.float32),
        text=np.eye(2, 8, dtype=np.float32),
    )
    table = pd.DataFrame(
        {"study_id": names, "volume": [f"{name}.nii.gz" for name in names], "report": "There is a nodule."}
    )
    table.to_csv(tmp_path / "m.csv", index=False)
    words = [
        "index",
        "--embeddings",
        str(tmp_path / "v.npz"),
        "--manifest",
        str(tmp_path / "m.csv"),
        "--out",
        str(tmp_path / "i"),
        "--jobs",
        "1",
    ]
    shutil.copy2(tiny_cohort.parent / "s0.nii.gz", tmp_path / "s0.nii.gz")
    assert main(words) == 0
    with Index.open(tmp_path / "i") as index:
        drawn = index.thumbnails("s0")
        assert (len(drawn), index.thumbnails("s1")) == (3, {})
    (tmp_path / "s0.nii.gz").unlink()
    assert main(words) == 0
    with Index.open(tmp_path / "i") as index:
        assert index.thumbnails("s0") == drawn
    shutil.copy2(tiny_cohort.parent / "s1.nii.gz", tmp_path / "s0.nii.gz")
    assert main(words) == 0
    with Index.open(tmp_path / "i") as index:
        assert set(index.thumbnails("s0")) == set(drawn)
        assert index.thumbnails("s0") != drawn, "another volume under the same name is drawn anew"


def test_vectors_of_two_files_never_stand_in_one_index(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = [f"s{number}" for number in range(6)]

    def words(model: int, held: int, rows: int) -> list[str]:
        rng = np.random.default_rng(model)
        image, text = (rng.standard_normal((6, 8)).astype(np.float32)[:held] for _ in range(2))
        np.savez(tmp_path / "vectors.npz", study_id=np.array(names[:held]), image=image, text=text)
        pd.DataFrame({"study_id": names, "volume": names, "report": "There is a nodule."})[:rows].to_csv(
            tmp_path / "m.csv", index=False
        )
        return [
            "index",
            "--embeddings",
            str(tmp_path / "vectors.npz"),
            "--manifest",
            str(tmp_path / "m.csv"),
            "--out",
            str(tmp_path / "i"),
            "--batch",
            "2",
            "--jobs",
            "1",
        ]

    def first_vectors() -> list[float]:
        with Index.open(tmp_path / "i") as index:
            return [float(index.image.row(index.position(name))[0]) for name in sorted(index.study_ids)]

    assert main(words(1, 6, 6)) == 0
    one = first_vectors()
    for held, rows in ((4, 6), (6, 4)):  # its file or its manifest does not have two studies of the index
        assert main(words(2, held, rows)) == 1
        message = capsys.readouterr().err
        assert "2 studies whose vectors come from another file" in message
        assert "--prune true" in message
        assert "--out" in message
    assert first_vectors() == one, "a refusal changes nothing"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Index, "count_with_thumbnails", lambda self: 1 / 0)
        with pytest.raises(ZeroDivisionError):  # stopped when all is put and nothing finished
            main(words(2, 6, 6))
    for model in (1, 2):  # half done is neither's
        assert main(words(model, 6, 4)) == 1
    assert main(words(2, 6, 6)) == 0
    two = first_vectors()
    assert not set(one) & set(two)
    assert main(words(2, 6, 4)) == 0, "of the same file studies may stay"
    assert main([*words(1, 4, 6), "--prune", "true"]) == 0
    assert first_vectors() == one[:4]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["search", "{tmp}", "nodule"], "There is no index in"),
        (["search", "{made}"], "search needs one query"),
        (["search", "{made}", "nodule", "--keyword", "nodule"], "search needs one query"),
        (["search", "{made}", "--study", "s1", "--hybrid"], "has none to fuse"),
        (["search", "{made}", "--words", "nodule", "--hybrid"], "has none to fuse"),
        (["search", "{made}", "--volume", "{tmp}", "--hybrid"], "has none to fuse"),
        (["search", "{made}", "nodule", "--top", "0"], "--top 0 returns nothing"),
        (["search", "{made}", "--words", "nodule", "--top", "-1"], "--top -1 returns nothing"),
        (["search", "{made}", "nodule", "--holding", "true"], "--holding goes with --keyword"),
        (["search", "{made}", "--words", "nodule", "--leave_out", "patient"], "--leave_out goes with --study"),
        (["search", "{made}", "--words", "nodule", "--into", "image"], "no volumes"),
        (["index", "--remove", " , ", "--out", "{tmp}/new"], "index needs --manifest"),
        (["search", "{made}", "nodule", "--where", "colour = red"], "has no column 'colour'"),
        (["search", "{made}", "--volume", "{tmp}/absent.nii.gz"], "does not exist"),
        (["search", "{made}", "nodule", "--checkpoint", "{tmp}/absent.ckpt"], "does not exist"),
        (["index", "--out", "{tmp}/new"], "index needs --manifest"),
        (["index", "--out", "{tmp}/new", "--manifest", "{manifest}", "--batch", "0"], "--batch 0 commits nothing"),
        (["search", "{made}", "nodule", "--html", "{tmp}"], "is a folder"),
        (["index", "--out", "{tmp}/new", "--manifest", "{manifest}"], "index needs either --checkpoint"),
        (
            ["index", "--out", "{tmp}/new", "--manifest", "{manifest}", "--checkpoint", "{manifest}"],
            "is not inside a run folder",
        ),
        (["index", "--remove", "s1", "--out", "{tmp}/new"], "There is no index in"),
    ],
)
def test_mistakes_are_explained(
    made: Path, tiny_cohort: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    assert main([word.format(made=made, tmp=tmp_path, manifest=tiny_cohort) for word in words]) == 1
    assert message in capsys.readouterr().err


def test_a_process_of_its_own_answers(made: Path) -> None:
    done = bimcvr("search", made, "There is a nodule.", "--json", "--top", "1")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert json.loads(done.stdout)["hits"][0]["rank"] == 1
