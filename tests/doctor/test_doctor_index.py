"""What the doctor says of an index that was broken on purpose."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from bimcvr.cli import main
from bimcvr.doctor.index import check_index
from bimcvr.errors import UserError
from bimcvr.search.index.reader import Index
from bimcvr.search.index.writer import IndexWriter
from helpers.index_factory import DIM, make_index, study


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_index(tmp_path_factory.mktemp("doctor") / "index", [study(f"s{number}") for number in range(12)])


@pytest.fixture
def index(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "index"))


def alter(index: Path, **changes: object) -> None:
    path = index / "index.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def spoil(index: Path, stream: str, row: int, factor: float) -> None:
    path = index / f"{stream}-1.f32"
    values = np.fromfile(path, dtype="<f4").reshape(-1, DIM)
    values[row] *= factor
    values.tofile(path)


def test_a_whole_index_is_sound_and_an_unfinished_one_a_warning(index: Path) -> None:
    line = check_index(index)
    assert (line.state, "12 studies, 4 keywords" in line.found) == ("ok", True)
    alter(index, complete=False)
    line = check_index(index)
    assert (line.state, "resumes" in line.remedy) == ("warning", True)


def test_an_index_whose_model_is_gone_is_a_warning(index: Path, tmp_path: Path) -> None:
    alter(index, facts={"checkpoint": str(tmp_path / "best.ckpt")})
    line = check_index(index)
    assert (line.state, "best.ckpt" in line.found, "--checkpoint" in line.remedy) == ("warning", True, True)
    (tmp_path / "best.ckpt").touch()
    assert check_index(index).state == "ok"


@pytest.mark.parametrize(
    "changes", [{"count": 11}, {"count": 13}, {"slots": 11}, {"slots": 13}, {"dim": DIM - 1}, {"table_version": 9999}]
)
def test_a_commit_that_does_not_fit_its_files_fails(index: Path, changes: dict[str, int]) -> None:
    alter(index, **changes)
    line = check_index(index)
    assert (line.state, bool(line.remedy)) == ("failing", True)


@pytest.mark.parametrize("stream", ["image", "text"])
@pytest.mark.parametrize(("factor", "length"), [(0.0, "0"), (float("nan"), "nan"), (float("inf"), "inf"), (1.002, "1")])
def test_vectors_that_are_not_unit_vectors_fail(index: Path, stream: str, factor: float, length: str) -> None:
    spoil(index, stream, 5, factor)
    line = check_index(index)
    assert line.state == "failing"
    assert f"{stream}-1.f32 are damaged (that of study s5 has the length {length}" in line.found
    with Index.open(index) as opened, pytest.raises(UserError, match="study s5"):
        opened.vectors("image" if stream == "image" else "report")


@pytest.mark.parametrize("stream", ["image", "text"])
def test_a_vector_whose_sign_was_turned_fails(index: Path, stream: str) -> None:
    spoil(index, stream, 5, -1.0)
    line = check_index(index)
    assert (line.state, f"{stream}-1.f32 are damaged (their checksum" in line.found) == ("failing", True)
    with IndexWriter(index, DIM) as writer:
        writer.remove(["s3"])
        with pytest.raises(UserError, match="checksum"):  # a rewrite would give the damaged vectors a new checksum
            writer.reclaim()


def test_checksums_follow_every_change_and_may_be_absent(index: Path) -> None:
    with IndexWriter(index, DIM) as writer:
        writer.put([study("s3", 1), study("s20")])
        assert check_index(index).state == "warning"  # not finished
        writer.remove(["s4"])
        writer.reclaim()
        writer.put([study("s21")])
    with Index.open(index) as opened:
        assert sorted(opened.commit.checksums) == ["image", "text"]
        opened.commit.check_vectors(index)
    alter(index, checksums={}, complete=True)  # of an older version
    assert check_index(index).state == "ok"
    with IndexWriter(index, DIM) as writer:
        writer.put([study("s22")])
        assert writer.commit.checksums == {}
        writer.remove(["s22"])
        writer.finish({}, {}, None)
        assert sorted(writer.commit.checksums) == ["image", "text"]  # the vectors were rewritten
    assert check_index(index).state == "ok"


def test_lost_vectors_and_prompts_fail(index: Path) -> None:
    for pattern in ("image-*.f32", "text-*.f32", "prompts-*.npz"):
        path = next(index.glob(pattern))
        content = path.read_bytes()
        path.write_bytes(content[:-40])
        assert check_index(index).state == "failing", pattern
        path.unlink()
        assert check_index(index).state == "failing", pattern
        path.write_bytes(content)
    assert check_index(index).state == "ok"
    assert check_index(index / "nothing").state == "failing"


@pytest.mark.parametrize(
    "changes",
    [
        {"checksums": {"image": "1"}},
        {"checksums": [1]},
        {"checksums": {"../x": 1}},
        {"slots": "12"},
        {"dim": None},
        {"columns": "study_id"},
        {"columns": [1]},
        {"facts": []},
        {"prompts": "../p.npz"},
    ],
)
def test_a_commit_of_other_kinds_of_values_is_refused(index: Path, changes: dict[str, object]) -> None:
    alter(index, **changes)
    with pytest.raises(UserError, match=r"index\.json is damaged"):
        Index.open(index)


def test_damaged_rows_and_words_are_told_by_search_and_doctor(index: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sound = check_index(index)
    assert sound.state == "ok"
    for pattern in ("_indices", "data"):
        folder = index / "rows.lance" / pattern
        assert folder.is_dir()
        for path in filter(Path.is_file, folder.rglob("*")):
            path.write_bytes(b"\xff" * path.stat().st_size)
        line = check_index(index)
        assert line.state == "failing", pattern
        assert main(["search", str(index), "--words", "atelectasis"]) == 1, pattern
        assert "cannot be read" in capsys.readouterr().err


def test_without_a_word_the_index_here_is_looked_at(
    index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    main(["doctor", "--json"])
    lines = {line["what"]: line for line in json.loads(capsys.readouterr().out)}
    assert lines["index"]["found"].startswith("index: 12 studies")
    assert (lines["cache"]["state"], "none was given" in lines["cache"]["found"]) == ("warning", True)
    spoil(index, "image", 3, 0.0)
    assert main(["doctor"]) == 1
