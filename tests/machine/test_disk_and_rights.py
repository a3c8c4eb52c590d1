"""Full disks, missing rights, no locks: one message that names the path, and nothing half-written."""

import errno
import fcntl
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bimcvr.atomic_files import only_one, replacing, require_room, require_whole_gzip, require_writable
from bimcvr.cli import main
from bimcvr.errors import UserError, system_problem
from bimcvr.run_folder import choose_run
from bimcvr.search.index.commit import hold_for_writing
from bimcvr.search.index.reader import Index
from helpers.index_factory import make_index, study
from helpers.limits import files_of_at_most, mode


@pytest.fixture(scope="module")
def cohort(tiny_cohort: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four volumes of the tiny cohort, with embeddings, in a folder of their own."""
    folder = tmp_path_factory.mktemp("four")
    table = pd.read_csv(tiny_cohort).tail(4)
    for name in table["volume"]:
        (folder / name).write_bytes((tiny_cohort.parent / name).read_bytes())
    table.to_csv(folder / "manifest.csv", index=False)
    vectors = np.random.default_rng(0).normal(size=(2, 4, 8)).astype(np.float32)
    ids = np.array(table["study_id"].tolist())
    np.savez(folder / "e.npz", study_id=ids, image=vectors[0], text=vectors[1])
    return folder


def verbs(cohort: Path, out: Path) -> dict[str, list[str]]:
    """Each verb that writes files, with all that it writes in `out`."""
    manifest = str(cohort / "manifest.csv")
    return {
        "cache": ["cache", manifest, "--size", "[6, 8, 8]", "--cache", str(out / "cache"), "--jobs", "1"],
        "audit": ["audit", manifest, "--out", str(out / "a"), "--facts", str(out / "facts"), "--jobs", "1"],
        "stats": ["stats", manifest, "--out", str(out / "s"), "--facts", str(out / "facts"), "--jobs", "1"],
        "evaluate": [
            *["evaluate", str(cohort / "e.npz"), "--manifest", manifest, "--resamples", "20"],
            *["--out", str(out / "r.json"), "--html", str(out / "r.html")],
        ],
        "probes": ["probes", manifest, "--out", str(out / "probes.csv")],
        "index": [
            *["index", "--embeddings", str(cohort / "e.npz"), "--manifest", manifest],
            *["--out", str(out / "ix"), "--jobs", "1"],
        ],
        "phantom": ["phantom", str(out / "p"), "--patients", "1", "--jobs", "1"],
    }


def told(captured: pytest.CaptureFixture[str]) -> str:
    """The one message of a verb that failed."""
    return captured.readouterr().err.strip().rsplit("\n\n", 1)[-1]


@pytest.mark.parametrize("verb", ["cache", "audit", "stats", "evaluate", "probes", "index", "phantom"])
def test_a_full_disk_is_one_message_and_the_same_command_ends_right_later(
    verb: str, cohort: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = verbs(cohort, tmp_path / "out")[verb]
    with files_of_at_most(600):
        assert main(words) == 1
    message = told(capsys)
    assert message.startswith(f"bimcvr {verb}: {tmp_path}")
    assert "largest size" in message or "the disk is full" in message
    assert not [path for path in (tmp_path / "out").rglob(".writing-*") if path.is_file()]
    assert main(words) == 0


@pytest.mark.parametrize("verb", ["cache", "audit", "stats", "evaluate", "probes", "index", "phantom"])
def test_an_output_folder_without_the_right_to_write_is_named(
    verb: str, cohort: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    with mode(out, 0o555):
        assert main(verbs(cohort, out)[verb]) == 1
    message = told(capsys)
    assert message.startswith(f"bimcvr {verb}: {out}")
    assert "permission denied: it may not be written" in message
    assert not list(out.iterdir())


def test_the_option_that_names_another_folder_is_one_of_the_verb_s(
    cohort: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    manifest = str(cohort / "manifest.csv")
    rest = "may not be written. Ask its owner for the right, or name another path."
    with mode(cohort, 0o555):
        assert main(["cache", manifest, "--size", "[6, 8, 8]"]) == 1
        assert told(capsys).endswith(f"{rest} The option --cache names another folder.")
        assert main(["preview", manifest, "--out", str(tmp_path / "p.png")]) == 1
        assert told(capsys).endswith(f"{rest} The option data.cache of the configuration names another folder.")
    runs = tmp_path / "runs"
    runs.mkdir()
    with mode(runs, 0o555), pytest.raises(UserError, match="options --runs and --experiment name another folder"):
        choose_run("fit", None, runs, "e", 0)


def test_an_unreadable_manifest_is_named(cohort: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with mode(cohort / "manifest.csv", 0):
        for words in verbs(cohort, cohort / "out").values():
            if str(cohort / "manifest.csv") in words:
                assert main(words) == 1, words
                assert f"{cohort / 'manifest.csv'}: permission denied: it may not be read" in told(capsys)


def test_one_volume_that_may_not_be_read_is_set_aside(
    cohort: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = verbs(cohort, tmp_path)
    with mode(cohort / "s27.nii.gz", 0):
        assert main(words["cache"]) == 3
        assert "s27: no_access" in capsys.readouterr().out
        assert main(words["audit"]) == 3
        assert main(words["stats"]) == 0
    refused = pd.read_csv(tmp_path / "cache/refused.csv")
    assert refused[["study_id", "reason"]].values.tolist() == [["s27", "no_access"]]
    assert main(words["cache"]) == 0


def test_an_index_whose_files_may_not_be_read_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = make_index(tmp_path / "ix", [study(f"s{number}") for number in range(4)])
    with mode(folder / "index.json", 0):
        assert main(["search", str(folder), "--study", "s1"]) == 1
        assert f"{folder / 'index.json'}: permission denied" in told(capsys)


def test_replacing_names_the_file_and_leaves_nothing(tmp_path: Path) -> None:
    target = tmp_path / "name.with.many.dots.nii.gz"
    with pytest.raises(OSError, match="too large") as caught, files_of_at_most(100), replacing(target) as temporary:
        temporary.write_bytes(b"x" * 1000)
    assert caught.value.filename == str(target)
    assert not list(tmp_path.iterdir())


def test_what_torch_makes_of_a_full_disk_is_the_system_s_error(tmp_path: Path) -> None:
    import torch

    with (
        pytest.raises(OSError, match="too large") as caught,
        files_of_at_most(5000),
        replacing(tmp_path / "c.ckpt") as temporary,
        temporary.open("wb") as stream,
    ):
        torch.save({"w": torch.zeros(10_000)}, stream)
    assert (caught.value.errno, caught.value.filename) == (errno.EFBIG, str(tmp_path / "c.ckpt"))


def test_a_gzip_that_was_cut_is_refused(tmp_path: Path) -> None:
    import gzip

    (tmp_path / "a.gz").write_bytes(gzip.compress(b"x" * 1000))
    require_whole_gzip(tmp_path / "a.gz", 1000)
    for content in (b"", gzip.compress(b"x" * 1000)[:-5]):
        (tmp_path / "a.gz").write_bytes(content)
        with pytest.raises(OSError, match="No space left"):
            require_whole_gzip(tmp_path / "a.gz", 1000)


def test_a_suite_that_cannot_write_its_cohort_and_a_server_that_cannot_write_to_its_index(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOKY_MAX_CPU_COUNT", "1")  # workers would keep the limit
    out, folder = tmp_path / "out", make_index(tmp_path / "ix", [study("s1")])
    suite = ["benchmark", "--suite", "experiments/suites/phantom.yaml", "--patients", "2", "--out", str(out)]
    out.mkdir()
    for place, words in ((out, suite), (folder, ["serve", str(folder), "--port", "0"])):
        with mode(place, 0o555):
            assert main(words) == 1
        message = told(capsys)
        assert "ermission denied" in message
        assert str(place) in message
    with files_of_at_most(600):
        assert main(suite) == 1
    assert told(capsys).startswith(f"bimcvr benchmark: {out / 'cohort-2-'}")
    assert not [path for path in out.rglob(".writing-*") if path.is_file()]


def test_room_and_rights_are_asked_for_before_the_work(tmp_path: Path) -> None:
    require_room(tmp_path, 1000, "the files")
    with pytest.raises(UserError, match=r"has .* free, and the files need 1,000,000,000,000.0 MB"):
        require_room(tmp_path, 10**18, "the files")
    require_writable(tmp_path / "new", "--out")
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"file/x: a part of the path is a file.*--out names another"):
        require_writable(tmp_path / "file/x", "--out")


def test_every_refusal_of_the_system_has_words() -> None:
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/a/b")
    assert system_problem(full) == "/a/b: the disk is full. Free some space, then run the same command again."
    assert system_problem(OSError(errno.ENOSPC, "x")).startswith("The disk is full.")
    assert system_problem(OSError(errno.EXDEV, "Invalid cross-device link", "/a")).startswith(
        "/a: Invalid cross-device"
    )


def test_a_file_system_without_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = make_index(tmp_path / "ix", [study("s1")])

    def absent(handle: object, operation: int) -> None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

    monkeypatch.setattr(fcntl, "flock", absent)
    with Index.open(folder) as opened:
        assert opened.study_ids == ["s1"]
    for hold in (hold_for_writing(folder), only_one(tmp_path / "lock", "in use")):
        with pytest.raises(UserError, match="has no locks"), hold:
            pass


def test_a_folder_of_an_archive_that_may_not_be_entered_is_set_aside(tmp_path: Path) -> None:
    from bimcvr.curation.archives.file_tree import files_below

    for name in ("open", "closed"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "v.nii.gz").touch()
    with mode(tmp_path / "closed", 0):
        files, set_aside = files_below(tmp_path)
    assert files == [tmp_path / "open/v.nii.gz"]
    assert [(item.name, item.reason) for item in set_aside] == [("closed", "no_access")]
    assert files_below(tmp_path / "absent") == ([], [])
