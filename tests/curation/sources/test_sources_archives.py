"""Unpacking: nothing leaves the folder, bombs and damage are set aside by name, an interruption changes nothing."""

import io
import os
import signal
import stat
import subprocess
import sys
import tarfile
import time
import tracemalloc
import zipfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bimcvr.curation.archives.extractor import ArchiveLimits
from bimcvr.curation.archives.unpack import (
    delete_ingested,
    discard,
    is_archive,
    listed_members,
    sha1_of,
    sha1_sums,
    unpack,
)
from curation.sources.packing import MEMBERS, NOISE, PACKERS, Packer, content, make_tar, make_zip, odd_member


@pytest.mark.parametrize(("make", "name"), PACKERS)
def test_all_comes_out_as_it_went_in(tmp_path: Path, make: Packer, name: str) -> None:
    archive = make(tmp_path / name, MEMBERS)
    assert is_archive(archive)
    found = unpack(archive, tmp_path / "out")
    assert content(tmp_path / "out") == MEMBERS
    assert found.set_aside == ()
    again = unpack(archive, tmp_path / "out")
    assert (again.set_aside, again.folder) == (found.set_aside, found.folder)


@pytest.mark.parametrize(("make", "name"), PACKERS)
def test_paths_that_leave_the_folder_are_refused_by_name(tmp_path: Path, make: Packer, name: str) -> None:
    bad = {
        "../up.txt": "path_traversal",
        "a/../../up.txt": "path_traversal",
        "/tmp/absolute.txt": "absolute_path",  # noqa: S108
        "C:\\evil.txt": "absolute_path",
        "..\\up2.txt": "path_traversal",
        "a/./../../../x": "path_traversal",
    }
    archive = make(tmp_path / name, {**dict.fromkeys(bad, b"evil"), "good.txt": b"good"})
    out = tmp_path / "deep" / "out"
    found = unpack(archive, out)
    assert content(out) == {"good.txt": b"good"}
    assert {item.name.partition(": ")[2]: item.reason for item in found.set_aside} == {
        name.replace("\\", "/").replace("/./", "/"): reason for name, reason in bad.items()
    }
    assert {path.name for path in tmp_path.rglob("*") if path.is_file()} == {
        name,
        "good.txt",
        "out.done.json",
        ".out.lock",
    }


def test_links_and_devices_in_a_tar_are_refused(tmp_path: Path) -> None:
    odd = [
        odd_member("link", tarfile.SYMTYPE, "/etc"),
        odd_member("hard", tarfile.LNKTYPE, "good.txt"),
        odd_member("device", tarfile.CHRTYPE),
        odd_member("pipe", tarfile.FIFOTYPE),
    ]
    # a file through the link would be written to /etc, were the link there
    archive = make_tar(tmp_path / "x.tgz", {"link/passwd": b"evil", "good.txt": b"good"}, *odd)
    found = unpack(archive, tmp_path / "out")
    assert [item.reason for item in found.set_aside] == ["symlink", "hardlink", "special_file", "special_file"]
    assert content(tmp_path / "out") == {"link/passwd": b"evil", "good.txt": b"good"}
    assert not any(path.is_symlink() for path in (tmp_path / "out").rglob("*"))


def test_links_and_locked_members_in_a_zip_are_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as packed:
        link = zipfile.ZipInfo("link")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        packed.writestr(link, "/etc/passwd")
        packed.writestr("good.txt", b"good")
        packed.writestr("locked.txt", b"locked")
    raw = bytearray((tmp_path / "x.zip").read_bytes())
    # the encryption flag, in the central directory
    place = raw.index(b"PK\x01\x02", raw.rindex(b"good.txt"))
    raw[place + 8] |= 1
    (tmp_path / "x.zip").write_bytes(raw)
    found = unpack(tmp_path / "x.zip", tmp_path / "out")
    assert [item.reason for item in found.set_aside] == ["symlink", "encrypted"]
    assert content(tmp_path / "out") == {"good.txt": b"good"}


def test_a_zip_bomb_is_refused_before_it_grows(tmp_path: Path) -> None:
    archive = make_zip(tmp_path / "x.zip", {"bomb.nii": bytes(30_000_000), "good.txt": b"good"})
    assert archive.stat().st_size < 100_000
    found = unpack(archive, tmp_path / "out")
    assert [item.reason for item in found.set_aside] == ["bomb"]
    assert content(tmp_path / "out") == {"good.txt": b"good"}
    whole = unpack(archive, tmp_path / "out2", ArchiveLimits(total_bytes=1_000_000))
    assert ([item.reason for item in whole.set_aside], content(tmp_path / "out2")) == (["bomb"], {})
    assert unpack(archive, tmp_path / "out3", ArchiveLimits(members=1)).set_aside[0].reason == "bomb"


def test_a_tar_bomb_is_stopped_while_it_grows(tmp_path: Path) -> None:
    archive = make_tar(tmp_path / "x.tgz", {"good.txt": b"good", "bomb.nii": bytes(60_000_000)})
    found = unpack(archive, tmp_path / "out")
    assert ([item.reason for item in found.set_aside], content(tmp_path / "out")) == (["bomb"], {"good.txt": b"good"})
    limited = unpack(archive, tmp_path / "out2", ArchiveLimits(total_bytes=5_000_000, ratio=1e9))
    assert [item.reason for item in limited.set_aside] == ["bomb"]
    assert sum(map(len, content(tmp_path / "out2").values())) <= 5_000_000


def test_a_header_that_claims_a_gigabyte_of_name_is_no_gigabyte_in_memory(tmp_path: Path) -> None:
    info = tarfile.TarInfo("././@LongLink")
    info.type, info.size = tarfile.GNUTYPE_LONGNAME, 1 << 30
    (tmp_path / "x.tar").write_bytes(info.tobuf() + bytes(4096))
    tracemalloc.start()
    found = unpack(tmp_path / "x.tar", tmp_path / "out")
    assert tracemalloc.get_traced_memory()[1] < 50_000_000
    tracemalloc.stop()
    assert [item.reason for item in found.set_aside] == ["truncated"]


def test_a_damaged_member_of_a_zip_costs_no_other(tmp_path: Path) -> None:
    archive = make_zip(tmp_path / "x.zip", MEMBERS)
    raw = bytearray(archive.read_bytes())
    raw[50_000] ^= 0xFF
    archive.write_bytes(raw)
    found = unpack(archive, tmp_path / "out")
    assert [(item.name, item.reason) for item in found.set_aside] == [("x.zip: a/one.bin", "damaged")]
    assert content(tmp_path / "out") == {name: data for name, data in MEMBERS.items() if name != "a/one.bin"}


@pytest.mark.parametrize("name", ["x.tar.gz", "x.tar"])
def test_of_a_truncated_tar_what_lies_before_is_taken(tmp_path: Path, name: str) -> None:
    archive = make_tar(tmp_path / name, MEMBERS)
    archive.write_bytes(archive.read_bytes()[:250_000])
    found = unpack(archive, tmp_path / "out")
    assert [item.reason for item in found.set_aside] == ["truncated"]
    assert content(tmp_path / "out") == {"a/one.bin": MEMBERS["a/one.bin"]}


def test_a_tar_with_a_spoilt_header_does_not_end_quietly(tmp_path: Path) -> None:
    archive = make_tar(tmp_path / "x.tar", MEMBERS)
    raw = bytearray(archive.read_bytes())
    raw[raw.index(b"a/b/two.bin")] = 0
    archive.write_bytes(raw)
    assert [item.reason for item in unpack(archive, tmp_path / "out").set_aside] == ["damaged"]


def test_of_a_truncated_zip_the_whole_is_set_aside(tmp_path: Path) -> None:
    archive = make_zip(tmp_path / "x.zip", MEMBERS)
    archive.write_bytes(archive.read_bytes()[:-300])
    found = unpack(archive, tmp_path / "out")
    assert ([item.reason for item in found.set_aside], content(tmp_path / "out")) == (["bad_zip"], {})
    (tmp_path / "empty.zip").touch()
    (tmp_path / "empty.tar.gz").touch()
    assert unpack(tmp_path / "empty.zip", tmp_path / "out2").set_aside
    assert unpack(tmp_path / "empty.tar.gz", tmp_path / "out3").set_aside


def test_clashing_and_repeated_names(tmp_path: Path) -> None:
    archive = make_tar(
        tmp_path / "x.tar",
        {"a": b"file", "a/b": b"below a file", "long" * 100: b"", "long" * 90 + "/x": b"", "c": b"1"},
    )
    with tarfile.open(archive, "a") as packed:
        again = tarfile.TarInfo("c")
        again.size = 1
        packed.addfile(again, io.BytesIO(b"2"))
    found = unpack(archive, tmp_path / "out")
    assert [item.reason for item in found.set_aside] == ["name_clash", "long_name", "long_name"]
    # `tar -r` and `tar -u` append a newer copy
    assert content(tmp_path / "out") == {"a": b"file", "c": b"2"}
    assert found.passed_over["superseded"] == 1


def test_unwanted_members_are_counted_and_the_sha1_is_compared(tmp_path: Path) -> None:
    archive = make_zip(tmp_path / "x.zip", MEMBERS)
    wrong = unpack(archive, tmp_path / "out", sha1="0" * 40)
    assert ([item.reason for item in wrong.set_aside], (tmp_path / "out").exists()) == (["checksum"], False)
    found = unpack(archive, tmp_path / "out", wanted=lambda name: name.endswith(".txt"), sha1=sha1_of(archive))
    assert (content(tmp_path / "out"), found.passed_over) == ({"three.txt": b"hola"}, {".bin": 3})
    assert unpack(archive, tmp_path / "out").passed_over == {".bin": 3}


def test_an_archive_that_has_changed_is_unpacked_anew(tmp_path: Path) -> None:
    unpack(make_zip(tmp_path / "x.zip", MEMBERS), tmp_path / "out")
    unpack(make_zip(tmp_path / "x.zip", {"new.txt": b"new"}), tmp_path / "out")
    assert content(tmp_path / "out") == {"new.txt": b"new"}
    discard(tmp_path / "out")
    assert sorted(path.name for path in tmp_path.glob("[!.]*")) == ["x.zip"]


def test_an_archive_that_was_not_ingested_completely_is_never_deleted(tmp_path: Path) -> None:
    archive = make_zip(tmp_path / "x.zip", MEMBERS)
    for keep, complete, left in (
        ("all", True, {"out", "out.done.json", "x.zip"}),
        ("nothing", False, {"x.zip"}),
        ("nothing", True, set()),
    ):
        unpack(archive, tmp_path / "out")
        delete_ingested(archive, tmp_path / "out", keep, complete)  # type: ignore[arg-type]
        assert {path.name for path in tmp_path.glob("[!.]*")} == left


@pytest.mark.parametrize("suffix", [".zip", ".tgz"])
def test_killed_at_any_moment_it_goes_on_and_ends_the_same(tmp_path: Path, suffix: str) -> None:
    members = {f"{number:02d}/{number}.bin": os.urandom(4_000_000) for number in range(25)}
    archive = (make_zip if suffix == ".zip" else make_tar)(tmp_path / f"x{suffix}", members)
    code = (
        "import sys, pathlib; from bimcvr.curation.archives.unpack import unpack; unpack(*map(pathlib.Path,"
        " sys.argv[1:]))"
    )
    out = tmp_path / "out"
    kept: dict[str, int] = {}
    for wait in (0.0, 0.02, 0.05):
        process = subprocess.Popen([sys.executable, "-c", code, str(archive), str(out)], start_new_session=True)
        there = len(list(out.rglob("*.bin"))) if out.exists() else 0
        deadline = time.monotonic() + 120
        while (
            time.monotonic() < deadline
            and process.poll() is None
            and (not out.exists() or len(list(out.rglob("*.bin"))) <= there)
        ):
            time.sleep(0.002)
        time.sleep(wait)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        # what bears its own name is complete
        assert {name: data for name, data in content(out).items() if "/.part-" not in name}.items() <= members.items()
        kept = {name: (out / name).stat().st_mtime_ns for name in members if (out / name).is_file()}
    assert kept
    assert unpack(archive, out).set_aside == ()
    assert content(out) == members
    assert {name: (out / name).stat().st_mtime_ns for name in kept} == kept


def test_two_processes_do_not_write_into_each_others_files(tmp_path: Path) -> None:
    members = {f"{number}.csv": os.urandom(2_000_000) for number in range(10)}
    archive = make_zip(tmp_path / "x.zip", members)
    code = (
        "import sys, pathlib; from bimcvr.curation.archives.unpack import unpack; unpack(*map(pathlib.Path,"
        " sys.argv[1:]))"
    )
    jobs = [subprocess.Popen([sys.executable, "-c", code, str(archive), str(tmp_path / "out")]) for _ in range(3)]
    assert [job.wait() for job in jobs] == [0, 0, 0]
    assert content(tmp_path / "out") == members


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    suffix=st.sampled_from([".zip", ".tgz", ".tar", ".tar.bz2", ".tar.xz"]),
    place=st.floats(0, 1),
    byte=st.integers(0, 255),
    cut=st.booleans(),
)
def test_spoilt_bytes_never_raise_nor_leave_the_folder(
    tmp_path: Path, suffix: str, place: float, byte: int, cut: bool
) -> None:
    small = {"a/one.bin": NOISE[:700], "three.txt": b"hola" * 50}
    archive = (make_zip if suffix == ".zip" else make_tar)(tmp_path / f"x{suffix}", small)
    raw = bytearray(archive.read_bytes())
    position = int(place * (len(raw) - 1))
    raw = raw[:position] if cut else raw[:position] + bytes([byte]) + raw[position + 1 :]
    for earlier in tmp_path.glob("x.*"):
        earlier.unlink()
    archive.write_bytes(raw)
    discard(tmp_path / "in" / "out")
    found = unpack(archive, tmp_path / "in" / "out")
    outside = [
        path for path in tmp_path.rglob("*") if path.is_file() and not path.is_relative_to(tmp_path / "in" / "out")
    ]
    assert {path.name for path in outside} <= {f"x{suffix}", "out.done.json", ".out.lock"}
    if not found.set_aside and suffix != ".tar":
        # zip's and gzip's checksums cover the contents: what was not set aside is right
        assert set(content(tmp_path / "in" / "out").values()) <= set(small.values())


def test_lists_as_sha1sum_and_tar_write_them(tmp_path: Path) -> None:
    (tmp_path / "sha1sum.txt").write_text(f"{'A' * 40}  ./parts/one.tgz\n{'b' * 40} *two.tgz\n\nno line\n")
    assert sha1_sums(tmp_path / "sha1sum.txt")["one.tgz"] == "a" * 40
    assert sha1_sums(tmp_path / "sha1sum.txt")["two.tgz"] == "b" * 40
    (tmp_path / "x.tar-tvf.txt").write_text(
        "drwxr-xr-x u/g 0 2020-01-01 10:00 a/\n-rw-r--r-- u/g 12 2020-01-01 10:00 a/with blank.nii.gz\n"
        "lrwxrwxrwx u/g 0 2020-01-01 10:00 a/link -> /etc\n\n"
    )
    assert list(listed_members(tmp_path / "x.tar-tvf.txt")) == [("a/with blank.nii.gz", 12)]
