"""Views: anatomical names, degrees and mm must mean what they say; left and right stay apart."""

import numpy as np
import pytest
import torch
import torchio

from bimcvr.data.hu.model_grid import ModelGrid
from bimcvr.data.loading.view_checks import check_views_and_sampler
from bimcvr.data.loading.views import apply_view, apply_window, refuse_left_right_flip
from bimcvr.errors import UserError

SPACING = (4.0, 2.0, 1.0)  # mm along D, H, W


def marked() -> torch.Tensor:
    """A volume whose inferior, anterior, right corner is marked: index 0 on every axis."""
    volume = torch.zeros(12, 16, 20)
    volume[:3, :4, :5] = 1
    return volume


def centre(volume: torch.Tensor) -> np.ndarray:
    places = torch.nonzero(volume > 0.5).double()
    return places.mean(0).numpy()


@pytest.mark.parametrize(
    ("name", "axis"), [("Inferior", 0), ("Superior", 0), ("Anterior", 1), ("Posterior", 1), ("Left", 2), ("Right", 2)]
)
def test_anatomical_names_flip_the_right_axis(name: str, axis: int) -> None:
    seen = apply_view(marked(), SPACING, torchio.RandomFlip(axes=(name,), flip_probability=1), seed=0)
    assert torch.equal(seen, marked().flip(axis))


def test_translation_is_in_mm_along_the_patients_axes() -> None:
    # 8 mm are 2 voxels along D, 4 along H, 8 along W
    for axis, translation in ((0, (0, 0, 0, 0, 8, 8)), (1, (0, 0, 8, 8, 0, 0)), (2, (8, 8, 0, 0, 0, 0))):
        view = torchio.RandomAffine(scales=0, degrees=0, translation=translation, default_pad_value=0)
        moved = centre(apply_view(torch.nn.functional.pad(marked(), (8, 8, 8, 8, 8, 8)), SPACING, view, seed=0))
        start = centre(torch.nn.functional.pad(marked(), (8, 8, 8, 8, 8, 8)))
        shift = np.abs(moved - start)
        assert shift[axis] == pytest.approx(8 / SPACING[axis], abs=0.2)
        assert np.delete(shift, axis).max() < 0.2


def test_a_rotation_is_in_degrees_of_physical_space() -> None:
    # a point 12 mm to the left of the centre, turned by 90° about the long axis, lies 12 mm before or behind it
    volume = torch.zeros(9, 25, 49)
    volume[3:6, 11:14, 35:38] = 1  # 12 voxels of 1 mm from the centre along W
    view = torchio.RandomAffine(
        scales=0, degrees=(0, 0, 0, 0, 90, 90), default_pad_value=0, image_interpolation="nearest"
    )
    offset = (centre(apply_view(volume, SPACING, view, seed=0)) - [4, 12, 24]) * SPACING
    assert np.abs(offset[1]) == pytest.approx(12, abs=1.5)
    assert np.abs(offset[[0, 2]]).max() < 1.5


def test_draws_follow_the_seed_alone() -> None:
    view = torchio.Compose([torchio.RandomAffine(), torchio.RandomNoise(std=0.1)])
    first = apply_view(marked(), SPACING, view, seed=5)
    torch.manual_seed(1)
    state = torch.random.get_rng_state()
    assert torch.equal(apply_view(marked(), SPACING, view, seed=5), first)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert not torch.equal(apply_view(marked(), SPACING, view, seed=6), first)


@pytest.mark.parametrize(
    "flip",
    [
        torchio.RandomFlip(axes=("Left",)),
        torchio.RandomFlip(axes=("R",)),
        torchio.RandomFlip(axes=("lr",)),
        torchio.RandomFlip(axes=0),
        torchio.Flip(axes=(1, 0)),
        torchio.RandomFlip(axes=("Superior", "right")),
    ],
)
def test_a_left_right_flip_is_refused_wherever_it_hides(flip: torchio.Transform) -> None:
    nested = torchio.Compose([torchio.RandomNoise(), torchio.OneOf({torchio.Compose([flip]): 1.0})])
    for view in (flip, nested):
        with pytest.raises(UserError, match=r"data.view_1.*left–right"):
            refuse_left_right_flip("data.view_1", view)


@pytest.mark.parametrize("scales", [(-1, 1, 1), (1, -1, 1), (-0.9, -0.9, 1)])
def test_a_mirror_made_by_a_negative_scale_is_refused(scales: tuple[float, ...]) -> None:
    mirror = torchio.Affine(scales=scales, degrees=(0, 0, 0), translation=(0, 0, 0))
    for view in (mirror, torchio.Compose([torchio.RandomNoise(), torchio.OneOf({torchio.Compose([mirror]): 1.0})])):
        with pytest.raises(UserError, match=r"data.view_1.*mirrors"):
            refuse_left_right_flip("data.view_1", view)
    refuse_left_right_flip("v", torchio.Affine(scales=(0.9, 1.1, 1), degrees=(0, 0, 90), translation=(0, 0, 0)))
    refuse_left_right_flip("v", torchio.RandomAffine())


def test_other_flips_pass() -> None:
    refuse_left_right_flip("v", torchio.RandomFlip(axes=("Anterior", "Superior")))
    refuse_left_right_flip("v", torchio.RandomFlip(axes=("Left",), flip_probability=0))
    refuse_left_right_flip("v", None)


@pytest.mark.parametrize("view", [torchio.Resize(8), torchio.ToCanonical(), torchio.Crop(2)])
def test_a_view_may_not_change_shape_or_orientation(view: torchio.Transform) -> None:
    with pytest.raises(UserError, match="keep shape and orientation"):
        apply_view(marked(), SPACING, view, seed=0)


def test_window() -> None:
    hu = np.array([[[-2000, -1000, 0, 1000, 3000]]], dtype=np.int16)
    assert apply_window(hu, (-1000, 1000)).flatten().tolist() == [0, 0, 0.5, 1, 1]


def fails(*_: object) -> str:
    raise KeyError("no such word")


def counts(report: str, _: torch.Generator) -> object:
    return report.split()


def test_views_and_sampler_are_tried_before_a_training() -> None:
    state, none = torch.get_rng_state(), torchio.RandomNoise()
    check_views_and_sampler([none, None], lambda report, _: report, ModelGrid((12, 16, 20)))
    assert torch.equal(torch.get_rng_state(), state)
    wrong = torchio.Lambda(fails)
    with pytest.raises(UserError, match=r"Lambda \(data.view_2\) failed on a volume \(12, 16, 20\): KeyError"):
        check_views_and_sampler([none, wrong], lambda report, _: report, ModelGrid((12, 16, 20)))
    with pytest.raises(UserError, match="must keep shape"):
        check_views_and_sampler([torchio.Resize((8, 8, 8))], lambda report, _: report, ModelGrid((12, 16, 20)))
    with pytest.raises(UserError, match=r"test_views.fails \(data.text_sampler\) failed on a report: KeyError"):
        check_views_and_sampler([None], fails, ModelGrid((12, 16, 20)))
    with pytest.raises(UserError, match=r"test_views.counts \(data.text_sampler\) returned a list; expected a text"):
        check_views_and_sampler([None], counts, ModelGrid((12, 16, 20)))  # type: ignore[arg-type]
