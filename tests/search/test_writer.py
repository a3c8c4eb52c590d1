"""Adding, updating and deleting against a rebuild; kills at every step; snapshots and locks."""

import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bimcvr.errors import UserError
from bimcvr.search.index import commit as commit_module
from bimcvr.search.index import viewer_volumes as viewer
from bimcvr.search.index.exact_search import unit_vector
from bimcvr.search.index.reader import Index
from bimcvr.search.index.viewer_volumes import VIEWER
from bimcvr.search.index.writer import IndexWriter
from bimcvr.search.output.html_page import write_page
from bimcvr.search.query.searcher import Searcher
from helpers.index_factory import DIM, WordEncoder, make_index, prompts, study, vector_of

names = st.sampled_from([f"s{number}" for number in range(12)])
operations = st.lists(
    st.one_of(
        st.tuples(st.just("put"), st.lists(names, min_size=1, max_size=5, unique=True), st.integers(0, 2)),
        st.tuples(st.just("remove"), st.lists(names, min_size=1, max_size=5), st.just(0)),
        st.tuples(st.just("finish"), st.just([]), st.just(0)),
    ),
    min_size=1,
    max_size=8,
)


def seen(folder: Path) -> dict[str, Any]:
    """What a user sees of an index: everything but the order in which studies were put in."""
    with Index.open(folder) as index:
        searcher = Searcher(index, WordEncoder())
        everything = len(index)
        contents: dict[str, Any] = {
            "labels": index.label_counts(),
            "studies": sorted(index.study_ids),
            "facts": index.facts["studies"],
        }
        if everything:
            hits = searcher.text("There is a nodule.", top=everything).hits
            contents["text"] = [(hit.study_id, hit.score, hit.report, hit.row) for hit in hits]
            contents["report"] = [
                (hit.study_id, hit.score) for hit in searcher.text("effusion", top=5, into="report").hits
            ]
            contents["like"] = [hit.study_id for hit in searcher.study(min(index.study_ids), top=3).hits]
            contents["words"] = sorted(hit.study_id for hit in searcher.words("atelectasis", top=everything).hits)
            contents["filtered"] = [
                hit.study_id for hit in searcher.keyword("nodule", where="age >= 25", top=everything).hits
            ]
            contents["pictures"] = {name: index.thumbnails(name)["axial"] for name in index.study_ids}
        return contents


def in_step(folder: Path) -> dict[str, int]:
    """Check that every row's vectors are its own, and return each study's version."""
    versions = {}
    with Index.open(folder) as index:
        for position, row in enumerate(index.rows(range(len(index)))):
            assert row.study_id == index.study_ids[position]
            version = int(row.report.rsplit("version", 1)[1].rstrip("."))
            own = vector_of(f"{row.study_id}i{version}").astype(np.float64)
            assert np.allclose(index.image.row(position), own / np.linalg.norm(own), atol=1e-6)
            text = WordEncoder().embed_texts([row.report])[0].astype(np.float64)
            assert np.allclose(index.text.row(position), text / np.linalg.norm(text), atol=1e-6)
            versions[row.study_id] = version
    return versions


@settings(deadline=None, max_examples=20)
@given(operations)
def test_any_sequence_of_changes_equals_a_rebuild(changes: list[tuple[str, list[str], int]]) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder, held = Path(name) / "index", dict[str, int]()
        for what, ids, version in changes:
            with IndexWriter(folder, DIM) as writer:
                if what == "put":
                    writer.put([study(one, version) for one in ids])
                    held |= dict.fromkeys(ids, version)
                elif what == "remove":
                    absent = writer.remove(ids)
                    assert set(absent) == set(ids) - set(held)
                    held = {one: version for one, version in held.items() if one not in ids}
                else:
                    writer.finish({}, {}, prompts())
            assert in_step(folder) == held
        with IndexWriter(folder, DIM) as writer:
            writer.finish({}, {}, prompts())
        rebuilt = make_index(Path(name) / "rebuilt", [study(one, version) for one, version in sorted(held.items())])
        assert seen(folder) == seen(rebuilt)


def test_dead_vectors_and_old_versions_are_reclaimed(tmp_path: Path) -> None:
    folder = make_index(tmp_path / "index", [study(f"s{number}") for number in range(12)])
    before = seen(folder)
    with IndexWriter(folder, DIM) as writer:
        for version in (1, 2, 0):
            writer.put([study(f"s{number}", version) for number in range(6)])
        assert writer.commit.slots == 30
        writer.finish({}, {}, prompts())
        assert writer.commit.slots == 12
    assert seen(folder) == before
    assert sorted(path.name for path in folder.glob("*.f32")) == ["image-2.f32", "text-2.f32"]
    assert (folder / "image-2.f32").stat().st_size == 12 * DIM * 4
    assert len(list((folder / "rows.lance/_versions").glob("*.manifest"))) == 1


@pytest.mark.parametrize("how", ["removed", "replaced"])
def test_nothing_of_what_was_deleted_stays_in_the_files(tmp_path: Path, how: str) -> None:
    studies = [study(f"s{number}") for number in range(40)]
    studies[7] = study("s7", report="Zygapophyseal SECRETSENTENCE of Mr Miller, zebrawood.")
    folder = make_index(tmp_path / "index", studies)
    viewed = {name: folder / VIEWER / viewer._hash(name) for name in ("s7", "s8")}
    for path in viewed.values():
        path.mkdir(parents=True)
    vectors = [unit_vector(getattr(studies[7], stream)).astype("<f4").tobytes() for stream in ("image", "text")]
    secrets = [b"SECRETSENTENCE", b"zebrawood", *vectors, *([b"as7"] if how == "removed" else [])]
    assert all(holding(folder, secret) for secret in secrets), "it can be found where it is"
    with Index.open(folder), IndexWriter(folder, DIM) as writer:
        if how == "removed":
            writer.remove(["s7"])
        else:
            writer.put([study("s7", 1)])
        assert not writer.reclaim(), "someone reads"
    assert holding(folder, b"SECRETSENTENCE")
    with IndexWriter(folder, DIM) as writer:
        assert writer.reclaim()
    assert {secret: holding(folder, secret) for secret in secrets} == {secret: [] for secret in secrets}
    assert viewed["s7"].exists() == (how == "replaced")
    assert viewed["s8"].exists()
    with Index.open(folder) as index:
        assert len(index.word_ranks("case8")) == 1
        assert index.word_ranks("zebrawood") == []
    assert len(in_step(folder)) == (39 if how == "removed" else 40)


def holding(folder: Path, content: bytes) -> list[Path]:
    """The files that hold some bytes."""
    return [path for path in folder.rglob("*") if path.is_file() and content in path.read_bytes()]


def test_a_reader_keeps_its_snapshot(tmp_path: Path) -> None:
    folder = make_index(tmp_path / "index", [study(f"s{number}") for number in range(12)])
    with Index.open(folder) as old:
        with IndexWriter(folder, DIM) as writer:
            writer.put([study(f"s{number}", 1) for number in range(8)])
            writer.remove(["s8", "s9"])
            writer.finish({}, {}, prompts())  # much is dead, and stays while someone reads
        assert {row.report[-2] for row in old.rows(range(12))} == {"0"}
        assert len(Searcher(old, WordEncoder()).text("There is a nodule.", top=99).hits) == 12
        assert len(Searcher(old).words("nodule", top=99).hits) == 3  # "No nodule" is no match
        assert old.thumbnails("s9")["axial"] == b"as9"
        assert set(in_step(folder).values()) == {0, 1}
    with IndexWriter(folder, DIM) as writer:
        writer.finish({}, {}, prompts())
        assert writer.commit.slots == 10
    assert len(in_step(folder)) == 10


def test_a_reader_that_may_not_write_holds_its_snapshot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = make_index(tmp_path / "index", [study(f"s{number}") for number in range(12)])
    real = os.open

    def open_to_read(path: Any, flags: int, *more: Any, **options: Any) -> int:
        if flags & (os.O_RDWR | os.O_WRONLY | os.O_CREAT):
            raise PermissionError(13, "not yours", str(path))
        return real(path, flags, *more, **options)

    with monkeypatch.context() as patch:
        patch.setattr(os, "open", open_to_read)
        reader = Index.open(folder)
    with commit_module.without_readers(folder) as alone:
        assert not alone
    reader.close()
    with commit_module.without_readers(folder) as alone:
        assert alone
    (folder / "reader.lock").unlink()
    monkeypatch.setattr(os, "open", open_to_read)
    with Index.open(folder) as unheld:  # a copy on a disk that nobody can write to
        assert len(unheld) == 12


def test_an_index_is_phantom_while_a_phantom_study_is_in_it(tmp_path: Path) -> None:
    folder = tmp_path / "index"
    with IndexWriter(folder, DIM) as writer:
        writer.put([study("s1", source="phantom"), study("s2", source="hospital")])
    for left in (True, False):  # as committed by a run that never came to its end
        with Index.open(folder) as index:
            answer = Searcher(index).words("nodule")
            assert (index.is_phantom, index.facts["phantom"], answer.phantom) == (left, left, left)
            assert (index.has_patients, index.facts["has_patients"], answer.has_patients) == (True, True, True)
            write_page(tmp_path / "answer.html", answer, index)
            page = (tmp_path / "answer.html").read_text()
            assert "Contains patient data" in page
            assert ("Part is PHANTOM" in page) == left
        with IndexWriter(folder, DIM) as writer:
            writer.remove(["s1"])
    with IndexWriter(folder, DIM) as writer:
        writer.put([study("s1", source="phantom")])
        writer.remove(["s2"])
    with Index.open(folder) as index:
        assert (index.is_phantom, index.has_patients) == (True, False)


def test_there_is_one_writer(tmp_path: Path) -> None:
    with IndexWriter(tmp_path / "index", DIM), pytest.raises(UserError, match="Another process is writing"):
        IndexWriter(tmp_path / "index", DIM)
    with IndexWriter(tmp_path / "index", DIM):
        pass


def test_a_folder_with_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(UserError, match=r"contains thesis\.tex and no index"):
        IndexWriter(tmp_path, DIM)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_another_width_is_refused(tmp_path: Path) -> None:
    make_index(tmp_path / "index", [study("s1")])
    with pytest.raises(UserError, match="another model"):
        IndexWriter(tmp_path / "index", DIM + 1)


@pytest.mark.parametrize("bad", [np.zeros(DIM), np.full(DIM, np.nan), np.ones(DIM + 1)])
def test_a_vector_that_cannot_be_scored_changes_nothing(tmp_path: Path, bad: np.ndarray) -> None:
    folder = make_index(tmp_path / "index", [study("s1")])
    wrong = study("s2")
    object.__setattr__(wrong, "image", bad)
    with IndexWriter(folder, DIM) as writer, pytest.raises(ValueError, match="finite"):
        writer.put([wrong])
    assert in_step(folder) == {"s1": 0}


ODD = ("a`b", "*", "a=b", "x.y", "x\u2024y", "_score", "_distance", "_rowoffset", "vector", "query", "Age", "x" * 300)


def test_columns_that_come_later_are_empty_before_and_may_have_any_name(tmp_path: Path) -> None:
    folder = make_index(tmp_path / "index", [study("s1")])
    with IndexWriter(folder, DIM) as writer:
        writer.put([study("s2", **{"Patient's.Age at exam": "61", "a b": "c"}, **{name: f"1{name}" for name in ODD})])
        with pytest.raises(UserError, match="bimcvr_slot"):
            writer.put([study("s3", bimcvr_slot="1")])
        # merged, and then rewritten
        writer.put([study("s2", **{"Patient's.Age at exam": "62", "a b": "c"}, **{name: f"2{name}" for name in ODD})])
        writer.finish({}, {}, None)
    with Index.open(folder) as index:
        assert [row.cells["Patient's.Age at exam"] for row in index.rows([0, 1])] == ["", "62"]
        assert index.mask("Patient's.Age at exam > 60").tolist() == [False, True]
        assert index.mask("a b = c").tolist() == [False, True]
        for name in ODD:
            assert index.row("s2").cells[name] == f"2{name}"
            assert index.mask([f"{name} = 2{name}"]).tolist() == [False, True], name
            assert index.counts(name) == {"": 1, f"2{name}": 1}


class _Stop(BaseException):
    """What a kill is within one process."""


def test_a_stop_at_each_step_leaves_what_was_committed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every write to a vector file, change of the table, rename and deletion is stopped at in turn.

    Before and after it happens.
    """
    left = 0

    def stopping(real: Callable[..., Any]) -> Callable[..., Any]:
        def act(*words: Any, **options: Any) -> Any:
            nonlocal left
            left -= 1
            if left == 0:
                raise _Stop
            result = real(*words, **options)
            left -= 1
            if left == 0:
                raise _Stop
            return result

        return act

    monkeypatch.setattr(Path, "replace", stopping(Path.replace))
    monkeypatch.setattr(os, "fsync", stopping(os.fsync))
    from lancedb.table import LanceTable

    for name in ("add", "delete", "optimize", "restore", "add_columns", "create_index"):
        monkeypatch.setattr(LanceTable, name, stopping(getattr(LanceTable, name)))
    folder, stops = tmp_path / "index", 0
    for stop_at in range(1, 200):
        before = in_step(folder) if (folder / "index.json").exists() else {}
        left = stop_at
        version = stop_at % 3
        extra, gone = f"s{stop_at % 5 + 4}", f"s{stop_at % 4}"
        first = before | {f"s{number}": version for number in range(4)}
        second = first | {extra: version}
        states = [before, first, second, {name: of for name, of in second.items() if name != gone}]
        done = 0
        try:
            with IndexWriter(folder, DIM) as writer:
                writer.put([study(f"s{number}", version) for number in range(4)])
                done = 1
                writer.put([study(extra, version, **{f"column{stop_at}": "x"})])
                done = 2
                writer.remove([gone])
                done = 3
                writer.finish({}, {}, None)
        except _Stop:
            stops += 1
        else:
            break
        finally:
            left = -1
        after = in_step(folder) if (folder / "index.json").exists() else {}
        assert (
            after in states[done : done + 2]
        )  # what returned is there; what was stopped at is there whole or not at all
    assert stops > 20


def test_the_commit_is_read_or_refused(tmp_path: Path) -> None:
    folder = make_index(tmp_path / "index", [study("s1")])
    content = json.loads((folder / "index.json").read_text())
    for wrong in ({**content, "format": 99}, {"format": 1}, []):
        (folder / "index.json").write_text(json.dumps(wrong))
        with pytest.raises(UserError, match="Make a new index"):
            Index.open(folder)
    with pytest.raises(UserError, match="no index"):
        Index.open(tmp_path)
    assert commit_module.read_commit(tmp_path) is None
