"""Volumes with one defect each, made from a sound scan, and scans of other parts of the body."""

import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from bimcvr.phantom.cohort.studies import plan_patient
from bimcvr.phantom.image.acquisition import expose, make_volume

Spacing = tuple[float, float, float]


def chest(patient: int, seed: int = 9) -> tuple[np.ndarray, Spacing]:
    """Return a sound scan, int16 (D, H, W) in canonical axes, and its spacing (D, H, W)."""
    volume = make_volume(plan_patient(seed, patient)[0].scans()[0])
    hu = volume.hu[tuple(slice(None, None, -1 if flip else 1) for flip in volume.flips)]
    return np.ascontiguousarray(hu), volume.grid.spacing[::-1]


def write(path: Path, hu: np.ndarray, spacing: Spacing, direction: np.ndarray | None = None) -> Path:
    """Write canonical voxels; `direction` is ITK's (identity: the axes are LPS)."""
    image = sitk.GetImageFromArray(hu)
    image.SetSpacing(spacing[::-1])
    if direction is not None:
        image.SetDirection(direction.ravel().tolist())
    sitk.WriteImage(image, str(path))
    return path


def patch(path: Path, offset: int, kind: str, *values: float) -> Path:
    """Overwrite fields of an uncompressed NIfTI-1 header."""
    raw = bytearray(path.read_bytes())
    struct.pack_into("<" + kind, raw, offset, *values)
    path.write_bytes(raw)
    return path


def head(rng: np.random.Generator) -> tuple[np.ndarray, Spacing]:
    """A skull with sinuses and mastoids on a headrest of foam, down to the chin."""
    spacing = (2.0, 2.4, 2.4)
    z, y, x = _grid((110, 104, 104), spacing)
    r = np.sqrt((x / 75) ** 2 + (y / 95) ** 2 + (np.maximum(z, 0) / 85) ** 2)
    hu = np.full(r.shape, -1000.0)
    hu[(y > 100) & (y < 118) & (abs(x) < 90)] = rng.uniform(-960, -900)
    hu[(y >= 118) & (y < 122)] = -200
    for limit, value in ((1.08, 30), (1.02, 900), (0.94, 35)):
        hu[r < limit] = value
    sinuses = (abs(abs(x) - 20) < 14) & (abs(y + 62) < 14) & (abs(z + 30) < 20)
    hu[sinuses | ((abs(x) < 12) & (abs(y + 10) < 10) & (z < -40))] = -1000
    hu[(abs(abs(x) - 55) < 10) & (abs(y - 30) < 10) & (abs(z + 20) < 14)] = rng.uniform(-700, -300)
    return _exposed(hu, rng), spacing


def legs(rng: np.random.Generator) -> tuple[np.ndarray, Spacing]:
    """Two thighs that touch each other, on a cushion of foam in the trough of a table."""
    spacing = (4.0, 3.6, 3.6)
    z, y, x = _grid((110, 100, 100), spacing)
    hu = np.full((110, 100, 100), -1000.0)
    radius = rng.uniform(60, 85) - 0.06 * z
    hu[(y > 40) & (y < 95) & (abs(x) < 165)] = rng.uniform(-970, -890)
    hu[abs(y - 100 + 0.0008 * x**2) < 4] = -150
    for side in (-1, 1):
        r = np.sqrt((x - side * rng.uniform(72, 82)) ** 2 + y**2)
        for inner, value in ((0, -100), (14, 50), (radius - 16, 900), (radius - 10, 150)):
            hu[r < radius - inner] = value
    return _exposed(hu, rng), spacing


def abdomen(rng: np.random.Generator) -> tuple[np.ndarray, Spacing]:
    """Liver, bowel with gas, pelvis; the bases of the lungs in the top slices, as every abdomen shows them."""
    spacing = (3.6, 3.7, 3.7)
    z, y, x = _grid((110, 100, 100), spacing)
    body = (x / 165) ** 2 + (y / 115) ** 2
    hu = np.where(body < 1, -100.0, -1000.0)
    hu[body < 0.75] = 50
    hu[np.sqrt(x**2 + (y - 70) ** 2) < 22] = 400
    for _ in range(25):
        cx, cy, cz = rng.uniform(-110, 110), rng.uniform(-70, 10), rng.uniform(-170, 80)
        hu[((x - cx) / 28) ** 2 + ((y - cy) / 16) ** 2 + ((z - cz) / 22) ** 2 < 1] = -990
    top = z.max() - rng.uniform(30, 75)
    for side in (-1, 1):
        hu[((x - side * 75) / 60) ** 2 + ((y - 15) / 65) ** 2 + ((z - z.max()) / (z.max() - top)) ** 2 < 1] = -840
    return _exposed(hu, rng), spacing


OTHER_PARTS: dict[str, Callable[[np.random.Generator], tuple[np.ndarray, Spacing]]] = {
    "head": head,
    "legs": legs,
    "abdomen": abdomen,
}


def _turned(hu: np.ndarray, spacing: Spacing) -> tuple[np.ndarray, Spacing]:
    return np.ascontiguousarray(np.rot90(hu, axes=(1, 2))), spacing


def _twice(hu: np.ndarray, spacing: Spacing) -> tuple[np.ndarray, Spacing]:
    noise = np.random.default_rng(3).integers(-20, 21, hu.shape, dtype=np.int16)
    return np.concatenate([hu, hu + noise]), spacing


def _in_some_slices(change: Callable[[np.ndarray], np.ndarray]) -> Callable[..., tuple[np.ndarray, Spacing]]:
    def spoil(hu: np.ndarray, spacing: Spacing) -> tuple[np.ndarray, Spacing]:
        out = hu.astype(np.int32)
        first, last = len(hu) // 3, len(hu) // 2
        out[first:last] = change(out[first:last])
        return out.astype(np.int16), spacing

    return spoil


# the voxels are changed and the header is not
WRONG_VOXELS: dict[str, tuple[str, Callable[[np.ndarray, Spacing], tuple[np.ndarray, Spacing]]]] = {
    "rescaled twice": ("not_hu", lambda hu, mm: (hu - 1024, mm)),
    "rescaled twice, clipped": ("not_hu", lambda hu, mm: (np.maximum(hu - 1024, -1024), mm)),
    "0-based": ("not_hu", lambda hu, mm: (np.maximum(hu + 1024, 0), mm)),
    "offset 8192": ("not_hu", lambda hu, mm: (hu + 8192, mm)),
    "inverted": ("not_hu", lambda hu, mm: (-hu, mm)),
    "8-bit": ("not_hu", lambda hu, mm: (np.clip((hu + 1000) / 2000 * 255, 0, 255).astype(np.uint8), mm)),
    "scaled to 0 and 1": ("not_hu", lambda hu, mm: (np.clip((hu + 1000) / 2000, 0, 1).astype(np.float32), mm)),
    "soft-tissue window": ("not_hu", lambda hu, mm: (np.clip(hu, -160, 240), mm)),
    "field of view as thickness": ("slice_spacing", lambda hu, mm: (hu, (mm[0] * len(hu), *mm[1:]))),
    "too few slices": ("too_small", lambda hu, mm: (hu[:: len(hu) // 48], (mm[0] * (len(hu) // 48), *mm[1:]))),
    "narrow field": ("field_of_view", lambda hu, mm: (hu, (mm[0], mm[1] / 2.5, mm[2] / 2.5))),
    "few slices": ("field_of_view", lambda hu, mm: (hu, (mm[0] / 4, *mm[1:]))),
    "upside down": ("orientation", lambda hu, mm: (hu[::-1], mm)),
    "half a turn": ("orientation", lambda hu, mm: (hu[:, ::-1, ::-1], mm)),
    "quarter of a turn": ("orientation", _turned),
    "front as top": ("orientation", lambda hu, mm: (hu.transpose(1, 0, 2), (mm[1], mm[0], mm[2]))),
    "side as top": ("orientation", lambda hu, mm: (hu.transpose(2, 1, 0), (mm[2], mm[1], mm[0]))),
    "twice in one volume": ("mixed_slices", _twice),
    "some slices from another series": ("mixed_slices", _in_some_slices(lambda hu: hu[:, ::-1])),
    "some slices too high": ("mixed_slices", _in_some_slices(lambda hu: hu + 1024)),
    "some slices too low": ("mixed_slices", _in_some_slices(lambda hu: hu - 1024)),
    "some slices inverted": ("mixed_slices", _in_some_slices(lambda hu: -hu)),
    "some slices scaled": ("mixed_slices", _in_some_slices(lambda hu: hu // 2)),
    "every other slice too high": (
        "mixed_slices",
        lambda hu, mm: (hu + 400 * (np.arange(len(hu)) % 2)[:, None, None].astype(np.int16), mm),
    ),
    "slices repeated": ("mixed_slices", lambda hu, mm: (np.concatenate([hu[:30], hu[25:]]), mm)),
}


def padded(hu: np.ndarray, share: float, value: float = -2000) -> np.ndarray:
    """Return a copy in which a band of columns through every slice is padding."""
    out = hu.astype(np.float32)
    width = hu.shape[2]
    out[:, :, int(width * (0.5 - share / 2)) : int(width * (0.5 + share / 2))] = value
    return out if np.isnan(value) else out.astype(np.int16)


def _grid(shape: tuple[int, int, int], spacing: Spacing) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    axes = [(np.arange(size) - (size - 1) / 2) * mm for size, mm in zip(shape, spacing, strict=True)]
    z, y, x = np.meshgrid(*axes, indexing="ij")
    return z, y, x


def _exposed(hu: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return expose(hu.astype(np.float32), rng)
