"""A voxel at a known corner of the patient arrives at the documented corner of each tower's input, from any storage."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from bimcvr.contracts import DataGrid
from bimcvr.data.hu.model_grid import ModelGrid
from bimcvr.data.loading.views import apply_window
from bimcvr.data.reading.resample import read_on_grid
from bimcvr.extras import is_installed
from bimcvr.models.peers.colipri import ColipriVolume
from bimcvr.models.peers.merlin import MerlinVolume
from bimcvr.models.peers.spectre import SpectreVolume
from bimcvr.models.peers.volume import PeerVolume, to_axes
from helpers import peer_files
from helpers.peer_files import STORAGES, write_volume

peers = pytest.mark.skipif(
    not is_installed("peers"), reason="the extra 'peers' is not installed (make test EXTRAS=dev,peers)"
)

WINDOW = (-1024.0, 1500.0)


@pytest.mark.parametrize(
    ("axes", "documented"),
    [
        ("SPL", lambda x: x),
        ("SLP", lambda x: x.transpose(-1, -2)),
        ("SAR", lambda x: x.flip(-2, -1)),
        ("RAS", lambda x: x.permute(0, 1, 4, 3, 2).flip(2, 3)),
        ("LPS", lambda x: x.permute(0, 1, 4, 3, 2)),
        ("PLS", lambda x: x.permute(0, 1, 3, 4, 2)),
        ("IPL", lambda x: x.flip(2)),
    ],
)
def test_axes_by_their_letters(axes: str, documented: Callable[[Tensor], Tensor]) -> None:
    volume = torch.arange(24.0).reshape(1, 1, 2, 3, 4)
    assert to_axes(volume, axes).equal(documented(volume))


def _colipri(path: Path) -> np.ndarray:
    from colipri import get_processor

    return get_processor(image_only=True, input_size=32).process_images(path)[0].data.numpy()[0]


def _spectre(path: Path) -> np.ndarray:
    from spectre.io import load_ct, scale_intensity_range

    return scale_intensity_range(load_ct(path)[0]).numpy()[0]


def _merlin(path: Path) -> np.ndarray:
    from merlin.data.monai_transforms import ImageTransforms

    shown = ImageTransforms({"image": str(path)})["image"].numpy()[0]
    low = [(padded - own) // 2 for padded, own in zip(shown.shape, (64, 48, 32), strict=True)]
    return shown[tuple(slice(start, start + own) for start, own in zip(low, (64, 48, 32), strict=True))]


TOWERS: dict[str, tuple[Callable[[], PeerVolume], Callable[[Path], np.ndarray]]] = {
    "COLIPRI": (lambda: ColipriVolume(random_weights=True, reduced=peer_files.COLIPRI), _colipri),
    "SPECTRE": (
        lambda: SpectreVolume(size=(64, 128, 256), random_weights=True, reduced=peer_files.SPECTRE),
        _spectre,
    ),
    "Merlin": (lambda: MerlinVolume(random_weights=True, reduced=peer_files.MERLIN), _merlin),
}


@pytest.fixture(scope="module", params=TOWERS)
def tower(request: pytest.FixtureRequest) -> tuple[PeerVolume, Callable[[Path], np.ndarray]]:
    build, documented = TOWERS[request.param]
    return build(), documented


@peers
@pytest.mark.parametrize("storage", STORAGES)
def test_two_voxels_arrive_where_the_peer_puts_them(tower: Any, storage: str, tmp_path: Path) -> None:
    made, documented = tower
    size, spacing = made.wanted.size, made.wanted.spacing
    depth, height, width = size
    # low, in front, on the patient's right; and high, at the back, on the left
    first, second = (3, 2, 1), (depth - 2, height - 3, width - 4)
    hu = np.full(size, -1000, dtype=np.int16)
    hu[first], hu[second] = 1000, 500
    path = write_volume(tmp_path / "voxels.nii.gz", hu, spacing, STORAGES[storage])
    read = read_on_grid(path, ModelGrid(size, spacing))
    assert read.geometry.orientation == {"LPS": "LPS", "RAS": "RAS"}.get(storage, read.geometry.orientation)
    assert (read.geometry.obliquity > 5) == (storage == "oblique")
    made.accept_grid(DataGrid(size, spacing, WINDOW))
    shown = made.prepare(apply_window(read.hu, WINDOW)[None, None])[0, 0].numpy()
    assert made.wanted.axes == "RAS"
    assert shown.shape == (width, height, depth)
    low, high = made.wanted.scaled
    for place, value in ((first, high), (second, low + 0.75 * (high - low))):
        up, back, left = place
        assert shown[width - 1 - left, height - 1 - back, up] == pytest.approx(value, abs=1e-6)
    # the package's own reading of the same file; TorchIO truncates an oblique volume of whole HU by up to 1 HU
    np.testing.assert_allclose(shown, documented(path), atol=1.01e-3 if storage == "oblique" else 1e-5)
