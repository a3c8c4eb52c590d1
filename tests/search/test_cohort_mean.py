"""The mean of an index's volumes, and the slice that differs most from it."""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import SimpleITK as sitk

from bimcvr.cli import main
from bimcvr.data.hu.model_grid import ModelGrid
from bimcvr.data.reading.resample import read_on_grid
from bimcvr.evaluation.embeddings import Embeddings, save_embeddings
from bimcvr.search.index.cohort_mean import LEAST_VOLUMES, SMALL, load_mean, mean_of, reduced, save_mean

COUNT = 10


def chest(seed: int, lesion: int | None = None) -> np.ndarray:
    """30 slices of noise around what depends on the slice, and a lesion in one of them."""
    rng = np.random.default_rng(seed)
    hu = rng.normal(-600, 15, (30, 40, 40)) + 10 * np.arange(30)[:, None, None]
    if lesion is not None:
        hu[lesion : lesion + 2, 12:24, 12:24] += 300
    return hu.astype(np.int16)


def write(path: Path, hu: np.ndarray) -> Path:
    image = sitk.GetImageFromArray(hu)
    image.SetSpacing((2.0, 2.0, 2.5))
    path.parent.mkdir(exist_ok=True)
    sitk.WriteImage(image, str(path))
    return path


def test_a_volume_is_reduced_to_means_of_blocks() -> None:
    hu = np.random.default_rng(0).integers(-1000, 1000, (96, 128, 20)).astype(np.int16)
    small = reduced(hu)
    assert small.shape == (48, 64, 20)
    assert small == pytest.approx(hu.reshape(48, 2, 64, 2, 20).mean((1, 3)), abs=1e-3)
    odd = reduced(hu[:50, :7, :7])
    assert odd.shape == (48, 7, 7)
    assert odd.mean() == pytest.approx(hu[:50, :7, :7].mean(), abs=20)


@pytest.mark.parametrize("code", ["LPS", "RAI", "SRA"])
@pytest.mark.parametrize(
    "grid", [ModelGrid(SMALL), ModelGrid((16, 20, 20)), ModelGrid((60, 20, 20), (2.0, 4.0, 4.0))], ids=str
)
def test_the_slice_of_a_lesion_differs_most(code: str, grid: ModelGrid, tmp_path: Path) -> None:
    usual = [read_on_grid(write(tmp_path / f"{seed}.nii.gz", chest(seed)), grid).hu for seed in range(LEAST_VOLUMES)]
    mean = mean_of(usual, grid, "these")
    assert mean is not None
    save_mean(tmp_path, mean)
    kept = load_mean(tmp_path)
    assert kept is not None
    assert (kept.grid, kept.volumes, kept.made_of) == (grid, LEAST_VOLUMES, "these")
    for lesion in (4, 21):
        image = sitk.ReadImage(str(write(tmp_path / "other.nii.gz", chest(99, lesion))))
        sitk.WriteImage(sitk.DICOMOrient(image, code), str(tmp_path / "turned.nii.gz"))
        found = kept.most_different(read_on_grid(tmp_path / "turned.nii.gz", grid))
        # on 16 slices, each is two of the source's
        assert abs(found - lesion - 0.5) <= 1.5


def test_few_volumes_have_no_mean_and_damage_is_none(tmp_path: Path) -> None:
    grid = ModelGrid((30, 40, 40))
    assert mean_of([chest(seed) for seed in range(LEAST_VOLUMES - 1)], grid, "few") is None
    assert load_mean(tmp_path) is None
    (tmp_path / "cohort-mean.npz").write_bytes(b"PK nothing")
    assert load_mean(tmp_path) is None


def test_index_makes_the_mean_again_only_when_its_volumes_change(tmp_path: Path) -> None:
    ids = [f"s{number}" for number in range(COUNT)]
    for number, name in enumerate(ids):
        write(tmp_path / f"volumes/{name}.nii.gz", chest(number))
    table = pd.DataFrame({"study_id": ids, "volume": [f"volumes/{name}.nii.gz" for name in ids], "report": "A report."})
    table.to_csv(tmp_path / "manifest.csv", index=False)
    import torch

    vectors = torch.randn(COUNT, 8, generator=torch.Generator().manual_seed(0))
    save_embeddings(tmp_path / "e.npz", Embeddings(ids, vectors, vectors))
    out = tmp_path / "index"
    words = ["index", "--embeddings", str(tmp_path / "e.npz"), "--manifest", str(tmp_path / "manifest.csv"), "--out"]
    words += [str(out), "--jobs", "1"]

    def run() -> tuple[int, int]:
        assert main(words) == 0
        mean = load_mean(out)
        assert mean is not None
        return mean.volumes, (out / "cohort-mean.npz").stat().st_mtime_ns

    first = run()
    assert first[0] == COUNT
    assert run() == first
    assert (out / "cohort-mean.npz").stat().st_size < 2**20
    write(tmp_path / "volumes/s3.nii.gz", chest(77))
    changed = run()
    assert changed[1] != first[1]
    assert main(["index", "--out", str(out), "--remove", "s1"]) == 0
    assert load_mean(out) is None, "it has a part of what was removed"
    table.iloc[2:].to_csv(tmp_path / "manifest.csv", index=False)
    assert main([*words, "--prune", "true"]) == 0
    mean = load_mean(out)
    assert mean is not None
    assert mean.volumes == COUNT - 2
    shutil.rmtree(tmp_path / "volumes")
    assert main(words) in (0, 3)
