"""The cache: what is found is what was made from this very source; kills and damage are survived."""

import gzip
import os
import shutil
import signal
import struct
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bimcvr.data.cache.fill import fill_cache
from bimcvr.data.cache.volume_cache import VolumeCache
from bimcvr.data.hu.model_grid import ModelGrid
from bimcvr.data.manifest import read_manifest
from bimcvr.data.reading.resample import read_resized
from bimcvr.errors import UserError
from helpers.cli import bimcvr, environment

SIZE = (6, 8, 8)


@pytest.fixture
def cohort(tiny_cohort: Path, tmp_path: Path) -> Path:
    shutil.copytree(tiny_cohort.parent, tmp_path / "cohort", ignore=shutil.ignore_patterns("cache"))
    return tmp_path / "cohort" / "manifest.csv"


def test_it_returns_what_the_resampler_made(cohort: Path, tmp_path: Path) -> None:
    cache = VolumeCache(tmp_path / "cache", ModelGrid(SIZE))
    source = cohort.parent / "s1.nii.gz"
    entry = cache.entry(source)
    cache.put(source, entry)
    kept, fresh = cache.read(entry, verify=True), read_resized(source, SIZE)
    assert np.array_equal(kept.hu, fresh.hu)
    assert kept.spacing == pytest.approx(fresh.spacing)


def test_a_changed_source_or_grid_is_another_entry(cohort: Path, tmp_path: Path) -> None:
    cache = VolumeCache(tmp_path / "cache", ModelGrid(SIZE))
    source = cohort.parent / "s1.nii.gz"
    first = cache.entry(source)
    assert VolumeCache(tmp_path / "cache", ModelGrid((6, 8, 9))).entry(source) != first
    stat = source.stat()
    content = bytearray(source.read_bytes())
    content[-1] ^= 1
    source.write_bytes(bytes(content))
    os.utime(source, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert cache.entry(source) != first  # same name, size and time, other content
    assert cache.entry(source, sha256="abc") == cache.entry(cohort.parent / "s2.nii.gz", sha256="abc")


def test_a_dicom_folders_entry_follows_its_files(tmp_path: Path) -> None:
    folder = tmp_path / "series"
    folder.mkdir()
    (folder / "a").write_bytes(b"1")
    cache = VolumeCache(tmp_path / "cache", ModelGrid(SIZE))
    first = cache.entry(folder)
    (folder / "b").write_bytes(b"2")
    assert cache.entry(folder) != first


@pytest.mark.parametrize(
    ("name", "header", "data"),
    [
        (
            "v.mhd",
            "ObjectType = Image\nNDims = 3\nDimSize = 4 4 4\nElementType = MET_SHORT\nElementDataFile = {}\n",
            "a.raw",
        ),
        ("v.mhd", "ObjectType = Image\nElementDataFile = LIST\na0.raw\n{}\na2.raw\n", "a1.raw"),
        ("v.mhd", "ObjectType = Image\nElementDataFile = a%01d.raw 0 2 1\n", "a1.raw"),
        ("v.nhdr", "NRRD0004\ntype: short\ndimension: 3\nsizes: 4 4 4\nencoding: raw\ndata file: {}\n", "a.raw"),
        ("v.nhdr", "NRRD0004\r\ntype: short\r\ndatafile: LIST\r\na0.raw\r\n{}\r\na2.raw\r\n", "a1.raw"),
    ],
)
def test_a_headers_entry_follows_the_file_that_holds_its_voxels(
    name: str, header: str, data: str, tmp_path: Path
) -> None:
    cache = VolumeCache(tmp_path / "cache", ModelGrid(SIZE))
    for other in ("a0.raw", "a1.raw", "a2.raw", "a.raw"):
        (tmp_path / other).write_bytes(bytes(128))
    (tmp_path / name).write_text(header.format(data), newline="")
    first = cache.entry(tmp_path / name)
    assert cache.entry(tmp_path / name) == first
    (tmp_path / data).write_bytes(bytes(127) + b"1")
    os.utime(tmp_path / data, ns=(1, 1))
    assert cache.entry(tmp_path / name) != first


def test_files_alike_in_size_time_and_ends_have_entries_of_their_own(tmp_path: Path) -> None:
    cache = VolumeCache(tmp_path / "cache", ModelGrid(SIZE))
    ends, middle = bytes(65536), bytes(65536 * 2)
    sources = {"a/v.nii": middle, "a/w.nii": middle, "b/v.nii": middle[1:] + b"1"}
    for name, body in sources.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(ends + body[65536:] + body[65536:] + ends)
        os.utime(tmp_path / name, ns=(1, 1))
    assert len({cache.entry(tmp_path / name) for name in sources}) == 3


def test_one_malformed_study_does_not_keep_the_others_from_the_cache(cohort: Path) -> None:
    table = pd.read_csv(cohort, dtype=str, keep_default_na=False)[:4]
    table.to_csv(cohort, index=False)
    for place, (offset, kind, value) in enumerate(((108, "f", float("nan")), (70, "h", -3), (40, "h", -7))):
        broken = cohort.parent / table["volume"][place]
        whole = broken.read_bytes()
        header = bytearray(gzip.decompress(whole))
        struct.pack_into("<" + kind, header, offset, value)
        broken.write_bytes(gzip.compress(header))
        done = bimcvr("cache", cohort, "--size", "[6, 8, 8]")
        broken.write_bytes(whole)
        assert done.returncode == 3, done.stderr
        assert "3 of 4 volumes" in done.stdout
        refused = pd.read_csv(cohort.parent / "cache/refused.csv")
        assert refused["study_id"].tolist() == [table["study_id"][place]]
        assert refused["reason"].tolist() == ["unreadable"]
        assert broken.name in refused["message"][0]


def test_damage_is_told(cohort: Path, tmp_path: Path) -> None:
    cache = VolumeCache(tmp_path / "cache", ModelGrid(SIZE))
    source = cohort.parent / "s1.nii.gz"
    entry = cache.entry(source)
    cache.put(source, entry)
    content = entry.read_bytes()
    entry.write_bytes(bytes([content[0] ^ 1]) + content[1:])
    cache.read(entry)
    with pytest.raises(UserError, match="checksum"):
        cache.read(entry, verify=True)
    entry.write_bytes(content[:100])
    with pytest.raises(UserError, match="damaged"):
        cache.read(entry)


def test_the_verb_fills_resumes_and_lists_what_it_refused(cohort: Path) -> None:
    broken = cohort.parent / "s3.nii.gz"
    broken.write_bytes(broken.read_bytes()[:2000])
    (cohort.parent / "s4.nii.gz").unlink()
    done = bimcvr("cache", cohort, "--size", "[6, 8, 8]", "--verify", "true")
    assert done.returncode == 3, done.stderr
    assert "28 of 30 volumes" in done.stdout
    refused = pd.read_csv(cohort.parent / "cache/refused.csv").set_index("study_id")["reason"].to_dict()
    assert refused == {"s3": "truncated", "s4": "missing_file"}
    times = {path: path.stat().st_mtime_ns for path in (cohort.parent / "cache").rglob("*.ct")}
    assert len(times) == 28
    bimcvr("cache", cohort, "--size", "[6, 8, 8]")
    assert times == {path: path.stat().st_mtime_ns for path in (cohort.parent / "cache").rglob("*.ct")}


@pytest.mark.slow
def test_a_kill_at_any_moment_leaves_only_whole_entries(cohort: Path) -> None:
    words = [sys.executable, "-m", "bimcvr", "cache", str(cohort), "--size", "[64, 256, 256]", "--jobs", "1"]
    cache = VolumeCache(cohort.parent / "cache", ModelGrid((64, 256, 256)))

    def kept() -> list[Path]:
        return [path for path in cache.folder.rglob("*.ct") if not path.name.startswith(".writing-")]

    def half_written() -> list[Path]:
        return list(cache.folder.rglob(".writing-*"))

    counts = [0]
    # between two entries, and in the middle of one; the moments follow the work, so that a fast machine is not done
    # before
    for sign, wait in ((kept, 0.0), (half_written, 0.0), (kept, 0.011), (half_written, 0.003)):
        before = set(sign())
        process = subprocess.Popen(
            words, env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
        )
        while process.poll() is None and not set(sign()) - before:
            time.sleep(0.001)
        time.sleep(wait)
        assert process.poll() is None, "it ended before the kill"
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        for entry in kept():
            cache.read(entry, verify=True)
        counts.append(len(kept()))
    assert counts[1] > 0
    assert counts == sorted(counts)
    assert counts[-1] < 30
    manifest = read_manifest(cohort)
    entries_after, refused = fill_cache(manifest, manifest.accepted(), cache, jobs=1)
    assert not refused
    assert all(cache.read(entry, verify=True).hu.shape == cache.size for entry in entries_after.values())
