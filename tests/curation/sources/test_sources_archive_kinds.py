"""Archives of Windows, macOS and `tar -u`, of other methods, split or of other kinds: read, or named by the reason."""

import io
import tarfile
import zipfile
from pathlib import Path

import pytest

from bimcvr.curation.archives.unpack import unpack
from bimcvr.curation.archives.unread import unread_archives
from curation.sources.packing import MEMBERS, NOISE, PACKERS, Packer, content, make_tar, make_zip, odd_member


@pytest.mark.parametrize(("make", "name"), PACKERS)
def test_members_of_windows_and_macos(tmp_path: Path, make: Packer, name: str) -> None:
    members = {"a\\b\\one.txt": b"1", "__MACOSX/a/b/._one.txt": b"fork", "a/.DS_Store": b"x", "./a//two.txt": b"2"}
    found = unpack(make(tmp_path / name, members), tmp_path / "out")
    assert content(tmp_path / "out") == {"a/b/one.txt": b"1", "a/two.txt": b"2"}
    assert (found.set_aside, found.passed_over) == ((), {"hidden": 2})


@pytest.mark.parametrize(
    ("method", "name"), [(9, "Deflate64"), (93, "Zstandard"), (98, "PPMd"), (77, "an unknown method")]
)
def test_a_method_that_is_not_supported_is_named(tmp_path: Path, method: int, name: str) -> None:
    archive = make_zip(tmp_path / "x.zip", {"one.txt": b"1", "two.txt": b"2"})
    raw = bytearray(archive.read_bytes())
    raw[raw.index(b"one.txt") - 22] = raw[raw.rindex(b"one.txt") - 36] = method
    archive.write_bytes(raw)
    (fault,) = unpack(archive, tmp_path / "out").set_aside
    assert (fault.name, fault.reason) == ("x.zip: one.txt", "unsupported_method")
    assert f"packed with {name} (method {method})" in fault.message
    assert "again with Deflate" in fault.message
    assert content(tmp_path / "out") == {"two.txt": b"2"}


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_damaged_member_of_any_method_costs_no_other(tmp_path: Path, method: int) -> None:
    with zipfile.ZipFile(tmp_path / "x.zip", "w", method) as packed:
        packed.writestr("one.bin", NOISE)
        packed.writestr("two.txt", b"2")
    raw = bytearray((tmp_path / "x.zip").read_bytes())
    raw[1000:1010] = bytes(10)
    (tmp_path / "x.zip").write_bytes(raw)
    found = unpack(tmp_path / "x.zip", tmp_path / "out")
    assert [(item.name, item.reason) for item in found.set_aside] == [("x.zip: one.bin", "damaged")]
    assert content(tmp_path / "out") == {"two.txt": b"2"}


def test_parts_of_split_archives_are_named(tmp_path: Path) -> None:
    whole = make_zip(tmp_path / "x.zip", MEMBERS).read_bytes()
    # as PKZIP writes the last part: its end record has the number of its disk
    last = bytearray(whole[200_000:])
    last[last.rindex(b"PK\x05\x06") + 4] = 1
    (tmp_path / "x.zip").write_bytes(last)
    (fault,) = unpack(tmp_path / "x.zip", tmp_path / "out").set_aside
    assert (fault.reason, "x.z01" in fault.message) == ("split_archive", True)
    # a joined zip is read, also beside the parts
    (tmp_path / "x.z01").write_bytes(b"PK\x07\x08")
    (tmp_path / "x.zip").write_bytes(whole)
    assert unpack(tmp_path / "x.zip", tmp_path / "out").set_aside == ()
    (tmp_path / "x.zip").write_bytes(whole[200_000:-4])
    assert [item.reason for item in unpack(tmp_path / "x.zip", tmp_path / "out").set_aside] == ["split_archive"]


def test_archives_that_are_not_read_are_named() -> None:
    names = [
        "i.zip.1",
        "j.tar.gz.aa",
        "k.zip.tmp",
        "l.nii.bz2",
        "a.7z",
        "b.rar",
        "c.tar.zst",
        "d.zip.001",
        "d.z02",
        "e.zip.part",
        "t.csv.gz",
        "f.zip",
        "g.tgz",
        "h.nii.gz",
    ]
    found = list(unread_archives([Path(name) for name in names], (".zip",)))
    assert {item.name: item.reason for item in found} == {
        **dict.fromkeys(("i.zip.1", "l.nii.bz2", "a.7z", "b.rar", "c.tar.zst", "t.csv.gz", "g.tgz"), "unread_archive"),
        **dict.fromkeys(("d.zip.001", "d.z02", "j.tar.gz.aa"), "split_archive"),
        **dict.fromkeys(("e.zip.part", "k.zip.tmp"), "unfinished_download"),
    }
    assert all(item.name in item.message for item in found)


@pytest.mark.parametrize(
    ("name", "raw", "kind"),
    [
        ("x.tar", b"PK\x03\x04" + bytes(600), "a zip"),
        ("x.tar.gz", b"<html>404</html>", "a web page"),
        ("x.tar.xz", b"version https://git-lfs.github.com/spec/v1\n", "a Git LFS pointer"),
        ("x.zip", bytes(257) + b"ustar\0" + bytes(600), "a tar"),
        ("x.tgz", b"", "is empty"),
        ("x.tar", bytes(10240), "has no members"),
        ("x.zip", b"PK\x05\x06" + bytes(18), "has no members"),
    ],
)
def test_an_archive_that_is_something_else_is_named(tmp_path: Path, name: str, raw: bytes, kind: str) -> None:
    (tmp_path / name).write_bytes(raw)
    (fault,) = unpack(tmp_path / name, tmp_path / "out").set_aside
    assert fault.reason == ("bad_zip" if name.endswith(".zip") else "bad_tar")
    assert kind in fault.message


def test_names_in_utf_8_without_the_flag(tmp_path: Path) -> None:
    archive = make_zip(tmp_path / "x.zip", {"niXXo.txt": b"1"})
    archive.write_bytes(archive.read_bytes().replace(b"niXXo", "niño".encode()))
    assert unpack(archive, tmp_path / "out").set_aside == ()
    assert content(tmp_path / "out") == {"niño.txt": b"1"}


def test_a_newer_copy_that_is_a_link_leaves_no_older_one(tmp_path: Path) -> None:
    archive = make_tar(tmp_path / "x.tar", {"a": b"old", "b": b"2"})
    with tarfile.open(archive, "a") as packed:
        packed.addfile(odd_member("a", tarfile.SYMTYPE, "b"))
    assert [item.reason for item in unpack(archive, tmp_path / "out").set_aside] == ["symlink"]
    assert content(tmp_path / "out") == {"b": b"2"}


def test_a_newer_copy_that_is_cut_off_leaves_no_older_one(tmp_path: Path) -> None:
    archive = make_tar(tmp_path / "x.tar", {"a": b"old"})
    with tarfile.open(archive, "a") as packed:
        again = tarfile.TarInfo("a")
        again.size = 5000
        packed.addfile(again, io.BytesIO(bytes(5000)))
    archive.write_bytes(archive.read_bytes()[:3000])
    assert [item.reason for item in unpack(archive, tmp_path / "out").set_aside] == ["truncated"]
    assert content(tmp_path / "out") == {}
