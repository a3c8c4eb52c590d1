"""A coarse head and a pair of legs: volumes that chest archives have by mistake."""

import numpy as np

from bimcvr.phantom.reports.findings import Rng

AIR, SKIN, BRAIN, MUSCLE, FAT, BONE, MARROW = -1000.0, 20.0, 35.0, 55.0, -95.0, 950.0, 30.0


def paint_head(shape: tuple[int, ...], spacing: np.ndarray, rng: Rng) -> np.ndarray:
    """Paint a skull with brain, sinuses and neck.

    Args:
        shape: (z, y, x).
        spacing: mm along x, y and z.
        rng: for the random draws.

    Returns:
        int16 HU.
    """
    z, y, x = _millimetres(shape, spacing)
    width, length, height = rng.uniform(70, 78), rng.uniform(88, 98), rng.uniform(80, 90)
    hu = np.full(shape, AIR, dtype=np.float32)
    neck = ((x / 55) ** 2 + ((y - 15) / 60) ** 2 < 1) & (z < 0)
    hu[neck] = MUSCLE
    hu[((x / 14) ** 2 + ((y - 30) / 14) ** 2 < 1) & (z < 0)] = BONE
    radius = np.sqrt((x / width) ** 2 + (y / length) ** 2 + (z / height) ** 2)
    hu[radius < 1.06] = SKIN
    hu[radius < 1] = BONE
    hu[radius < 0.91] = BRAIN
    hu[((x / 9) ** 2 + (y / 30) ** 2 + ((z - 10) / 12) ** 2) < 1] = 8.0
    for side in (-1, 1):
        hu[((x - side * 22) / 13) ** 2 + ((y + 0.72 * length) / 12) ** 2 + ((z + 35) / 15) ** 2 < 1] = AIR
    return _exposed(hu, rng)


def paint_leg(shape: tuple[int, ...], spacing: np.ndarray, rng: Rng) -> np.ndarray:
    """Paint two thighs with their femora; the arguments are those of `paint_head`."""
    z, y, x = _millimetres(shape, spacing)
    hu = np.full(shape, AIR, dtype=np.float32)
    thick, apart = rng.uniform(65, 85), rng.uniform(85, 95)
    for side in (-1, 1):
        taper = 1 + z / 900
        distance = np.sqrt((x - side * apart) ** 2 + y**2) / taper
        hu[distance < thick] = FAT
        hu[distance < 0.8 * thick] = MUSCLE
        hu[distance < 16] = BONE
        hu[distance < 9] = MARROW
    return _exposed(hu, rng)


def _millimetres(shape: tuple[int, ...], spacing: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    axes = [(np.arange(count) - count / 2) * mm for count, mm in zip(shape, spacing[::-1], strict=True)]
    z, y, x = np.meshgrid(*axes, indexing="ij", sparse=True)
    return z, y, x


def _exposed(hu: np.ndarray, rng: Rng) -> np.ndarray:
    noise = rng.standard_normal(hu.shape, dtype=np.float32) * np.float32(15)
    exposed: np.ndarray = np.clip(np.rint(hu + noise), -1024, 3071).astype(np.int16)
    return exposed
