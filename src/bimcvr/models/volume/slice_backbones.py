"""2D backbones over axial slices.

The contract: an `nn.Module` with an int attribute `dim` = C and a str attribute `source`, the weights it holds, that
maps (N, 1, H, W), HU of data.window scaled to [0, 1], to (N, C). Any such class can be named as the `tower` of a
SliceEncoder.
"""

from typing import Any, Literal, cast

import torch
from monai.networks.nets.resnet import ResNet, ResNetBlock
from torch import Tensor, nn
from torch.nn.functional import interpolate

from bimcvr.errors import UserError
from bimcvr.hub import REPAIR, first_line
from bimcvr.models.pretrained.frozen import Frozen
from bimcvr.models.pretrained.open_clip import fill, open_clip_folder, read_config
from bimcvr.models.volume.resnet3d import LAYERS

_CHUNK = 128  # slices a frozen tower takes at a time
# of OpenAI's CLIP, which open_clip takes where a folder names none
_MEAN = (0.48145466, 0.4578275, 0.40821073)
_STD = (0.26862954, 0.26130258, 0.27577711)


class ResNet2D(nn.Module):
    """A ResNet over single slices that starts from random weights, for data as small as phantoms.

    Args:
        depth: 10 or 18 layers.
        width: channels of the first stage.
        max_pool: whether a max pool of stride 2 follows the first convolution, which has stride 2 as well.
    """

    source = "from scratch"

    def __init__(self, depth: Literal[10, 18] = 10, width: int = 16, max_pool: bool = False) -> None:
        super().__init__()
        planes = [width, 2 * width, 4 * width, 8 * width]
        self.net = ResNet(
            ResNetBlock,
            LAYERS[depth],
            planes,
            spatial_dims=2,
            n_input_channels=1,
            conv1_t_stride=2,
            no_max_pool=not max_pool,
            feed_forward=False,
        )
        self.dim = planes[-1]

    def forward(self, slices: Tensor) -> Tensor:
        """Encode (N, 1, H, W) → (N, C), the global average pool."""
        return cast(Tensor, self.net(slices))


class OpenClipImage(nn.Module):
    """The image tower of an open_clip model: CLIP, BiomedCLIP and their like; (N, 1, H, W) → (N, E), not normalised.

    E is the space that the model's own text tower shares. A slice becomes what the model was trained on: resized to its
    input size (bicubic, antialiased), grey in all three channels, less the published mean, divided by the published
    standard deviation. The text tower is never built.

    Args:
        model: a hub id (`hf-hub:ORGANISATION/NAME`), the folder that `hf download` makes of it, or with `pretrained`
            one of open_clip's names (`ViT-B-32`).
        pretrained: the tag of the weights, for open_clip's names (`openai`).
        trained: whether it is trained on, its weights in the checkpoint; otherwise it is frozen.
        lr_factor: a trained tower learns at this share of the optimiser's rate; CLIP4Clip takes 1e-3 (1e-7 of 1e-4).
        window: the HU that become black and white. None leaves data.window as it is; `raw` is what 3D-MIR's original
            does: HU are taken for grey levels, so that all below 0 is black and all from 255 on white.
        data_window: the same as data.window.

    Raises:
        UserError: the model is incomplete, or its weights do not fit its config.
        WeightsAbsent: it is not here and cannot be downloaded.
    """

    def __init__(
        self,
        model: str,
        pretrained: str = "",
        trained: bool = False,
        lr_factor: float = 1.0,
        window: tuple[float, float] | Literal["raw"] | None = None,
        data_window: tuple[float, float] = (-1000.0, 1000.0),
    ) -> None:
        super().__init__()
        folder = open_clip_folder(model, pretrained)
        config = read_config(folder, "vision_cfg")
        try:
            tower, (self.size, mean, std) = _tower(config), _preprocessing(config)
        except (OSError, ValueError, KeyError, TypeError, RuntimeError) as error:
            raise UserError(
                f"The image tower of the model folder {folder} cannot be made: {type(error).__name__}: "
                f"{first_line(error)}. {REPAIR}"
            ) from error
        fill(tower, folder, lambda key: key.removeprefix("visual.") if key.startswith("visual.") else "", "image")
        self.dim, self.lr_factor = config["embed_dim"], lr_factor
        self.window, self.data_window = window, tuple(data_window)
        shown = (
            "" if window is None else ", raw HU" if window == "raw" else f", window {window[0]:g} … {window[1]:g} HU"
        )
        self.source = f"{model} {pretrained}".strip() + (", trained" if trained else "") + shown
        self.tower = tower.float() if trained else Frozen(tower)
        self.register_buffer("mean", torch.tensor(mean)[:, None, None], persistent=False)
        self.register_buffer("std", torch.tensor(std)[:, None, None], persistent=False)
        self.mean: Tensor
        self.std: Tensor

    def forward(self, slices: Tensor) -> Tensor:
        """Encode (N, 1, H, W) → (N, E)."""
        if isinstance(self.tower, Frozen):
            return torch.cat([self.tower(self.prepare(part)) for part in torch.split(slices, _CHUNK)])
        return cast(Tensor, self.tower(self.prepare(slices)))

    def prepare(self, slices: Tensor) -> Tensor:
        """Turn slices (N, 1, H, W) of HU scaled to [0, 1] into the tower's input (N, 3, size, size)."""
        height, width = slices.shape[-2:]
        factor = self.size / min(height, width)
        size = (round(height * factor), round(width * factor))
        grey = interpolate(self._windowed(slices.float()), size=size, mode="bicubic", antialias=True)
        top, left = (round((length - self.size) / 2) for length in grey.shape[-2:])
        grey = grey[..., top : top + self.size, left : left + self.size]
        if self.window == "raw":
            grey = self._hu(grey).clamp(0, 255).floor() / 255  # as PIL turns a float image into a grey one
        return (grey.clamp(0, 1) - self.mean) / self.std

    def _windowed(self, share: Tensor) -> Tensor:
        if self.window is None or self.window == "raw":
            return share
        low, high = self.window
        return ((self._hu(share) - low) / (high - low)).clamp(0, 1)

    def _hu(self, share: Tensor) -> Tensor:
        return share * (self.data_window[1] - self.data_window[0]) + self.data_window[0]


def _tower(config: dict[str, Any]) -> nn.Module:
    """Build, with random weights, the image tower that a config describes."""
    from open_clip.model import _build_vision_tower

    vision = config["vision_cfg"]
    if vision.get("output_tokens") or "multimodal_cfg" in config:
        raise ValueError("a CoCa model, whose image tower does not give one vector an image")
    if vision.get("timm_model_name"):
        vision = {**vision, "timm_model_pretrained": False}  # otherwise timm would download weights
    return cast(
        nn.Module, _build_vision_tower(config["embed_dim"], vision, quick_gelu=bool(config.get("quick_gelu", False)))
    )


def _preprocessing(config: dict[str, Any]) -> tuple[int, tuple[float, ...], tuple[float, ...]]:
    """Return side, mean and standard deviation of the images that a model was trained on."""
    published = config["preprocess_cfg"]
    size = config["vision_cfg"].get("image_size", 224)
    sides = {size} if isinstance(size, int) else set(size)
    if len(sides) > 1 or published.get("resize_mode", "shortest") != "shortest":
        raise ValueError("its images are not resized by their shortest side and cut to a square")
    return int(sides.pop()), tuple(published.get("mean", _MEAN)), tuple(published.get("std", _STD))
