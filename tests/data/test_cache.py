"""The cache: what is found is what was made from this very source; kills and damage are survived."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bimcvr.data.cache import VolumeCache
from bimcvr.data.fill import fill_cache
from bimcvr.data.manifest import read_manifest
from bimcvr.data.resample import read_resized
from bimcvr.errors import UserError
from calls import bimcvr, environment

SIZE = (6, 8, 8)


@pytest.fixture
def cohort(tiny_cohort: Path, tmp_path: Path) -> Path:
    shutil.copytree(tiny_cohort.parent, tmp_path / "cohort", ignore=shutil.ignore_patterns("cache"))
    return tmp_path / "cohort" / "manifest.csv"


def test_it_returns_what_the_resampler_made(cohort: Path, tmp_path: Path) -> None:
    cache = VolumeCache(tmp_path / "cache", SIZE)
    source = cohort.parent / "s1.nii.gz"
    entry = cache.entry(source)
    cache.put(source, entry)
    kept, fresh = cache.read(entry, verify=True), read_resized(source, SIZE)
    assert np.array_equal(kept.hu, fresh.hu)
    assert kept.spacing == pytest.approx(fresh.spacing)


def test_a_changed_source_or_grid_is_another_entry(cohort: Path, tmp_path: Path) -> None:
    cache = VolumeCache(tmp_path / "cache", SIZE)
    source = cohort.parent / "s1.nii.gz"
    first = cache.entry(source)
    assert VolumeCache(tmp_path / "cache", (6, 8, 9)).entry(source) != first
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
    cache = VolumeCache(tmp_path / "cache", SIZE)
    first = cache.entry(folder)
    (folder / "b").write_bytes(b"2")
    assert cache.entry(folder) != first


def test_damage_is_told(cohort: Path, tmp_path: Path) -> None:
    cache = VolumeCache(tmp_path / "cache", SIZE)
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
    cache = VolumeCache(cohort.parent / "cache", (64, 256, 256))

    def kept() -> list[Path]:
        return [path for path in cache.folder.rglob("*.ct") if not path.name.startswith(".writing-")]

    def half_written() -> list[Path]:
        return list(cache.folder.rglob(".writing-*"))

    counts = [0]
    # between two entries, and in the middle of one; the moments follow the work, so that a fast machine is not done before
    for sign, wait in ((kept, 0.0), (half_written, 0.0), (kept, 0.011), (half_written, 0.003)):
        before = set(sign())
        process = subprocess.Popen(words, env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
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
