"""Window and training views of a volume, by TorchIO.

TorchIO images are (C, X, Y, Z) with an affine in RAS+ mm. Our volumes are (D, H, W) = (inferior→superior,
anterior→posterior, right→left), so the axes are reversed to (W, H, D) and the affine says that the first runs
to the left, the second to the back, the third up. Anatomical names, degrees and mm in transforms are then right.
"""

from collections.abc import Iterable, Iterator

import numpy as np
import torch
import torchio
from torch import Tensor

from bimcvr.errors import UserError

View = torchio.Transform
Window = tuple[float, float]


def apply_window(voxels: np.ndarray | Tensor, window: Window) -> Tensor:
    """Scale HU linearly so that `window` becomes [0, 1], and clip.

    Args:
        voxels: (…, D, H, W): int16, HU; or uint8, shares of the window (`to_bytes`).
        window: lower and upper HU.

    Returns:
        float32 of the same shape in [0, 1], on the same device.
    """
    values = voxels if isinstance(voxels, Tensor) else torch.from_numpy(np.require(voxels, requirements="W"))
    low, high = (0.0, 255.0) if values.dtype == torch.uint8 else window
    # a GPU multiplies by the rounded reciprocal of a plain number: another last bit than the CPU's
    width = torch.tensor(high - low, dtype=torch.float32, device=values.device)
    return values.to(torch.float32, copy=True).sub_(low).div_(width).clamp_(0, 1)


def to_bytes(hu: np.ndarray, window: Window) -> np.ndarray:
    """Round HU (D, H, W) to 255 steps of the window: uint8, from which `apply_window` returns within half a step."""
    rounded: np.ndarray = apply_window(hu, window).mul_(255).round_().to(torch.uint8).numpy()
    return rounded


def apply_view(volume: Tensor, spacing: tuple[float, float, float], view: View | None, seed: int) -> Tensor:
    """Apply a TorchIO transform to a volume.

    Args:
        volume: float (D, H, W), scaled to [0, 1].
        spacing: mm along D, H, W.
        view: the transform; None returns the volume unchanged.
        seed: of the transform's random draws, which do not depend on earlier draws.

    Returns:
        float32 (D, H, W).

    Raises:
        UserError: the transform changed the volume's shape or orientation.
    """
    if view is None:
        return volume
    image = as_image(volume, spacing)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        transformed = view(image)
    if transformed.shape[1:] != image.shape[1:] or transformed.orientation != image.orientation:
        raise UserError(
            f"The view {view.__class__.__name__} changed a volume from {image.shape[1:]} {image.orientation_str} to "
            f"{transformed.shape[1:]} {transformed.orientation_str}. A view must keep shape and orientation: drop "
            "transforms like Resize, Crop, Pad or ToCanonical; the size is set by data.size."
        )
    return transformed.data[0].permute(2, 1, 0).float().contiguous()


def as_image(volume: Tensor, spacing: tuple[float, float, float]) -> torchio.ScalarImage:
    """Return a volume (D, H, W) with voxels of `spacing` mm as TorchIO sees it."""
    depth, height, width = spacing
    return torchio.ScalarImage(  # type: ignore[no-untyped-call]
        tensor=volume.permute(2, 1, 0)[None], affine=np.diag([-width, -height, depth, 1.0])
    )


def refuse_left_right_flip(name: str, view: View | None) -> None:
    """Refuse a view in which a transform can mirror left and right: reports that say "right" would become false.

    Args:
        name: the configuration key, named in the message.
        view: the transform; None is accepted.

    Raises:
        UserError: it has a flip along the left–right axis, or a scaling by a negative factor.
    """
    for transform in _all_transforms(view):
        # RandomAffine takes positive factors only
        if isinstance(transform, torchio.Affine) and min(transform.scales) < 0:
            raise UserError(
                f"{name} has Affine(scales={transform.scales}): a negative factor mirrors the volume. It would put a "
                "finding that the report calls right on the left. Use positive factors."
            )
        if not isinstance(transform, (torchio.Flip, torchio.RandomFlip)):
            continue
        happens = getattr(transform, "flip_probability", 1.0) > 0
        if happens and any(map(_is_left_right, _as_list(transform.axes))):
            flip = f"{transform.__class__.__name__}({transform.axes})"
            raise UserError(
                f"{name} has {flip}, along the left–right axis. It would put a finding that the report "
                "calls right on the left. Remove it, or flip along axis 1 (front–back) or 2 (up–down) only."
            )


def _all_transforms(view: View | None) -> Iterator[View]:
    if view is None:
        return
    yield view
    for value in vars(view).values():
        for item in value if isinstance(value, Iterable) and not isinstance(value, str) else [value]:
            if isinstance(item, torchio.Transform):
                yield from _all_transforms(item)


def _as_list(axes: object) -> list[object]:
    return list(axes) if isinstance(axes, Iterable) and not isinstance(axes, str) else [axes]


def _is_left_right(axis: object) -> bool:
    return axis == 0 or (isinstance(axis, str) and axis.lower()[:1] in ("l", "r"))
