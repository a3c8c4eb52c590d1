"""3D encoders of a CT volume, over MONAI's networks.

The contract: an `nn.Module` with an int attribute `dim` = C that maps (B, 1, D, H, W) to
`Features(cls=(B, C), tokens=(B, N, C))`. Any such class can be named as `model.volume_encoder.class_path`.
"""

from contextlib import nullcontext
from pathlib import Path
from typing import Any, Literal, cast

import torch
from monai.networks.nets import ViT
from monai.networks.nets.resnet import ResNet, ResNetBlock, ResNetBottleneck
from torch import Tensor, nn

from bimcvr.contracts import Features
from bimcvr.errors import UserError
from bimcvr.models.volume.gradient_checkpointing import runner
from bimcvr.models.volume.medicalnet import load_medicalnet

LAYERS = {10: [1, 1, 1, 1], 18: [2, 2, 2, 2], 50: [3, 4, 6, 3]}


class ResNet3D(nn.Module):
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
        # MedicalNet's ResNet-18 has shortcuts without weights, and no shortcut of theirs a bias
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
        self.to(memory_format=cast(Any, torch.channels_last_3d))

    def forward(self, volume: Tensor) -> Features:
        """Encode (B, 1, D, H, W) into cls (B, C) and tokens (B, D'·H'·W', C)."""
        x = volume.to(memory_format=torch.channels_last_3d)
        stem, *layers = self.stages
        run = runner(self.checkpointing)
        for block in (stem, *(block for layer in layers for block in cast(nn.Sequential, layer))):
            # torch's bf16 Conv3d backward on the CPU reads unwritten memory where a side of the map is 2, as it is
            # within this block
            small = x.device.type == "cpu" and min(x.shape[-3:]) <= 4
            with torch.autocast("cpu", enabled=False) if small else nullcontext():
                x = run(block, x.float() if small else x)
        tokens = x.flatten(2).transpose(1, 2)
        return Features(cls=tokens.mean(1), tokens=tokens)


class ViT3D(nn.Module):
    """3D vision transformer with a class token.

    Args:
        size: the grid (D, H, W) it is made for; the same as data.size.
        patch: voxels of a token along D, H, W.
        dim: width of a token; 768 is ViT-Base.
        depth: number of blocks.
        heads: attention heads.
        checkpointing: keep only the blocks' inputs for the backward pass and compute the rest again: less memory, more
            time.
    """

    def __init__(
        self,
        size: tuple[int, int, int] = (96, 224, 224),
        patch: tuple[int, int, int] = (8, 16, 16),
        dim: int = 768,
        depth: int = 12,
        heads: int = 12,
        checkpointing: bool = False,
    ) -> None:
        super().__init__()
        self.size = tuple(size)
        self.dim = dim
        self.checkpointing = checkpointing
        vit = ViT(
            1,
            self.size,
            tuple(patch),
            hidden_size=dim,
            mlp_dim=4 * dim,
            num_layers=depth,
            num_heads=heads,
            classification=True,
            post_activation=None,
            spatial_dims=3,
        )
        # MONAI's blocks carry a cross-attention norm, and the classifier a head, that no gradient would ever reach
        for block in vit.blocks:
            block.norm_cross_attn.requires_grad_(False)
            block.attn.use_flash_attention = True  # the same attention, without its (N, N) matrix in memory
        self.patches, self.cls_token, self.blocks, self.norm = vit.patch_embedding, vit.cls_token, vit.blocks, vit.norm

    def forward(self, volume: Tensor) -> Features:
        """Encode (B, 1, D, H, W) into cls (B, C) and one token a patch (B, N, C).

        Raises:
            UserError: the volume is not on the grid that the encoder was made for.
        """
        if tuple(volume.shape[-3:]) != self.size:
            raise UserError(
                f"ViT3D was made for volumes of {self.size} but got {tuple(volume.shape[-3:])}: "
                "set model.volume_encoder.init_args.size to data.size."
            )
        x = self.patches(volume)
        x = torch.cat([self.cls_token.expand(len(x), -1, -1), x], dim=1)
        run = runner(self.checkpointing)
        for block in self.blocks:
            x = run(block, x)
        x = self.norm(x)
        return Features(cls=x[:, 0], tokens=x[:, 1:])
