"""3D ResNet over CT volumes, built from MONAI's blocks."""

from contextlib import nullcontext
from pathlib import Path
from typing import Any, Literal, cast

import torch
from monai.networks.nets.resnet import ResNet, ResNetBlock, ResNetBottleneck
from torch import Tensor, nn

from bimcvr.contracts import FeatureMaps, Features, TokenGrid, VolumeEncoder
from bimcvr.models.volume.gradient_checkpointing import runner
from bimcvr.models.volume.medicalnet import load_medicalnet

LAYERS = {10: [1, 1, 1, 1], 18: [2, 2, 2, 2], 50: [3, 4, 6, 3]}


class ResNet3D(VolumeEncoder):
    """3D ResNet; its CLS feature is the global average pool.

    Args:
        depth: 10, 18 or 50 layers.
        width: channels of the first stage; 64 as published, 16 trains on a CPU.
        stem_stride: stride of the first convolution along slices, rows and columns.
        max_pool: whether a max pool of stride 2 follows the first convolution.
        weights: a file of MedicalNet's published weights to start from; at random by default.
        checkpointing: keep only the blocks' inputs for the backward pass and compute the rest again: less memory, more
            time.

    Raises:
        WeightsAbsent: there is no such file.
        UserError: its weights are not those of such a ResNet.
    """

    def __init__(
        self,
        depth: Literal[10, 18, 50] = 50,
        width: int = 64,
        stem_stride: tuple[int, int, int] = (2, 2, 2),
        max_pool: bool = True,
        weights: str | None = None,
        checkpointing: bool = False,
    ) -> None:
        super().__init__()
        block = ResNetBottleneck if depth == 50 else ResNetBlock
        planes = [width, 2 * width, 4 * width, 8 * width]
        # MedicalNet's ResNet-18 has shortcuts without weights, and none of its shortcuts has a bias
        net = ResNet(
            block,
            LAYERS[depth],
            planes,
            spatial_dims=3,
            n_input_channels=1,
            conv1_t_stride=stem_stride,
            no_max_pool=not max_pool,
            feed_forward=False,
            shortcut_type="A" if weights and depth == 18 else "B",
            bias_downsample=not weights,
        )
        if weights:
            load_medicalnet(net, weights)
            self.source = f"MedicalNet {Path(weights).name}"
        self.dim = planes[-1] * block.expansion
        pool = [net.maxpool] if max_pool else []
        stem = nn.Sequential(net.conv1, net.bn1, net.act, *pool)
        self.stages = nn.ModuleList([stem, net.layer1, net.layer2, net.layer3, net.layer4])
        self.checkpointing = checkpointing
        self._stem_stride = tuple(side * (2 if max_pool else 1) for side in stem_stride)
        self.to(memory_format=cast(Any, torch.channels_last_3d))

    def token_grid(self, size: tuple[int, int, int]) -> TokenGrid:
        """Return where the positions of the last map lie: with kernels of odd size, the first on the first voxel."""
        return self._grid(size, len(self.stages) - 1)

    def feature_maps(self, volume: Tensor) -> FeatureMaps:
        """Return the maps of the last three stages of a volume (1, 1, D, H, W)."""
        size = cast(tuple[int, int, int], tuple(volume.shape[-3:]))
        first = len(self.stages) - 3
        x = volume.to(memory_format=torch.channels_last_3d)
        with torch.no_grad():
            for stage in range(first + 1):
                x = self._run(stage, x, checkpointing=False)
        maps = [x.detach().requires_grad_()]
        for stage in range(first + 1, len(self.stages)):
            maps.append(self._run(stage, maps[-1], checkpointing=False))
        grids = [self._grid(size, stage) for stage in range(first, len(self.stages))]
        return FeatureMaps(_features(maps[-1]), maps, grids)

    def forward(self, volume: Tensor) -> Features:
        """Encode (B, 1, D, H, W) into cls (B, C) and tokens (B, D'·H'·W', C)."""
        x = volume.to(memory_format=torch.channels_last_3d)
        for stage in range(len(self.stages)):
            x = self._run(stage, x, self.checkpointing)
        return _features(x)

    def _run(self, stage: int, x: Tensor, checkpointing: bool) -> Tensor:
        run = runner(checkpointing)
        part = cast(nn.Sequential, self.stages[stage])
        for block in part if stage else [part]:
            # torch's bf16 Conv3d backward on the CPU reads unwritten memory where a side of the map is 2, as it is
            # within this block
            small = x.device.type == "cpu" and min(x.shape[-3:]) <= 4
            with torch.autocast("cpu", enabled=False) if small else nullcontext():
                x = run(block, x.float() if small else x)
        return x

    def _grid(self, size: tuple[int, int, int], stage: int) -> TokenGrid:
        # the first block after the stem keeps its resolution
        depth, height, width = (stride * 2 ** max(0, stage - 1) for stride in self._stem_stride)
        shape = (-(-size[0] // depth), -(-size[1] // height), -(-size[2] // width))
        return TokenGrid(shape, (0.5, 0.5, 0.5), (float(depth), float(height), float(width)))


def _features(last: Tensor) -> Features:
    tokens = last.flatten(2).transpose(1, 2)
    return Features(cls=tokens.mean(1), tokens=tokens)
