"""Slices keep their proportions and their grey values."""

import numpy as np

from bimcvr.data.slice_pictures import fit_in, grey, middle_slices, strip


def test_a_strip_keeps_proportions() -> None:
    volume = np.zeros((10, 20, 20), dtype=np.float32)
    volume[:, :, :10] = 1.5  # above the window
    picture = strip(middle_slices(grey(volume, (0, 1)), (4.0, 1.0, 1.0)), height=100, gap=0)
    assert (picture.dtype, picture.shape) == (np.uint8, (100, 100 + 50 + 50))
    assert (picture[50, 10], picture[50, 90]) == (255, 0)


def test_a_picture_s_longer_side_is_as_asked() -> None:
    plane = np.zeros((10, 30), dtype=np.uint8)
    assert fit_in(plane, 1.0, 90).shape == (30, 90)
    assert fit_in(plane, 6.0, 90).shape == (90, 45)


def test_the_window_s_ends_are_black_and_white() -> None:
    assert grey(np.array([-2000, -1000, -300, 400, 3000], dtype=np.int16), (-1000, 400)).tolist() == [
        0,
        0,
        128,
        255,
        255,
    ]
