"""What a training view would do to a volume, drawn as TorchIO draws it, in numbers that any device can apply."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
import torchio

from bimcvr.data.loading.views import View, as_image
from bimcvr.errors import UserError

TWINS = (torchio.Compose, torchio.RandomAffine, torchio.RandomNoise)


class AffineDraw(NamedTuple):
    """A resampling, linear between voxels.

    Attributes:
        matrix: (3, 4), from places of the result to places of the volume; both (W, H, D), from -1 to 1 between the
            outer edges of the first and the last voxel, as `grid_sample` counts without `align_corners`.
        fill: what lies outside of the volume; None for its smallest value.
    """

    matrix: np.ndarray
    fill: float | None


class NoiseDraw(NamedTuple):
    """Normal noise that is added; `seed` is that of the device's generator."""

    mean: float
    std: float
    seed: int


Draws = list[AffineDraw | NoiseDraw]


def refuse_without_twin(name: str, view: View | None) -> None:
    """Refuse a view that can only be made by TorchIO.

    Args:
        name: the configuration key, named in the message.
        view: the transform; None is accepted.

    Raises:
        UserError: one of its transforms, or an option of one, has no twin on the training device.
    """
    for transform in _steps(view):
        problem = type(transform).__name__ if type(transform) not in TWINS else _without_twin(transform)
        if problem:
            raise UserError(
                f"data.views_on_device: {name} has {problem}, which only TorchIO makes. On the device there are"
                " RandomAffine (linear, with default_pad_value `minimum` or a number), RandomNoise, and Compose of"
                " them. Take it out of the view, or set data.views_on_device to false."
            )


def draw_view(view: View | None, size: tuple[int, int, int], spacing: tuple[float, float, float], seed: int) -> Draws:
    """Draw what a view does to a volume, with the numbers that `apply_view` draws from the same seed.

    Args:
        view: a transform that `refuse_without_twin` accepts, or None.
        size: of the volume, (D, H, W).
        spacing: mm along D, H, W.
        seed: of the draws.

    Returns:
        What is done, in order; the affine is TorchIO's own, while the noise has its mean and standard deviation.
    """
    if view is None:
        return []
    image = as_image(torch.zeros(()).expand(size), spacing)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return list(_draws(view, image))


def _draws(transform: View, image: torchio.ScalarImage) -> Iterator[AffineDraw | NoiseDraw]:
    # each call of a transform draws whether it is applied, also one that a random transform makes within
    if torch.rand(1).item() > transform.probability:
        return
    if isinstance(transform, torchio.Compose):
        for part in transform.transforms:
            yield from _draws(part, image)
    elif isinstance(transform, torchio.RandomAffine):
        drawn = transform.get_params(transform.scales, transform.degrees, transform.translation, transform.isotropic)
        torch.rand(1)
        pad = transform.default_pad_value
        yield AffineDraw(_matrix(transform, drawn, image), None if pad == "minimum" else float(pad))
    elif isinstance(transform, torchio.RandomNoise):
        mean, std, seed = transform.get_params(transform.mean_range, transform.std_range)
        torch.rand(1)
        yield NoiseDraw(mean, std, seed)


def _matrix(
    transform: torchio.RandomAffine, drawn: tuple[torch.Tensor, torch.Tensor, torch.Tensor], image: torchio.ScalarImage
) -> np.ndarray:
    scales, degrees, translation = (tuple(values.tolist()) for values in drawn)
    fixed = torchio.Affine(scales, degrees, translation, center=transform.center)
    # in mm, LPS: along W, H and D, from the middle of the first voxel
    from_result = fixed.get_affine_transform(image)  # type: ignore[no-untyped-call]
    origin = np.array(from_result.TransformPoint((0.0, 0.0, 0.0)))
    columns = [np.array(from_result.TransformPoint(tuple(unit))) - origin for unit in np.eye(3)]
    sides = np.array(image.spatial_shape) * np.array(image.spacing)  # mm, along W, H, D
    half = np.array(image.spacing) / 2
    # a place p in [-1, 1] lies at (p + 1) · side / 2 - half a voxel
    linear = np.stack(columns, axis=1)
    start = linear @ (sides / 2 - half) + origin
    return np.column_stack([linear * sides / sides[:, None], (start + half) * 2 / sides - 1])


def _steps(view: View | None) -> Iterator[View]:
    if view is None:
        return
    yield view
    if isinstance(view, torchio.Compose):
        for part in view.transforms:
            yield from _steps(part)


def _without_twin(transform: View) -> str:
    name = type(transform).__name__
    for option in ("include", "exclude", "keep"):
        if getattr(transform, option) is not None:
            return f"{name}({option}=…)"
    if isinstance(transform, torchio.RandomAffine):
        if transform.image_interpolation != "linear":
            return f"{name}(image_interpolation={transform.image_interpolation!r})"
        if transform.default_pad_value in ("mean", "otsu"):
            return f"{name}(default_pad_value={transform.default_pad_value!r})"
    return ""
