"""3D vision transformer over CT volumes, built from MONAI's blocks."""

import torch
from monai.networks.nets import ViT
from torch import Tensor

from bimcvr.contracts import Features, TokenGrid, VolumeEncoder
from bimcvr.errors import UserError
from bimcvr.models.volume.gradient_checkpointing import runner


class ViT3D(VolumeEncoder):
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
        self.size, self._patch = tuple(size), tuple(patch)
        self.dim = dim
        self.checkpointing = checkpointing
        vit = ViT(
            1,
            self.size,
            self._patch,
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

    def token_grid(self, size: tuple[int, int, int]) -> TokenGrid:
        """Return where the patches lie."""
        depth, height, width = self._patch
        shape = (size[0] // depth, size[1] // height, size[2] // width)
        return TokenGrid(shape, (depth / 2, height / 2, width / 2), (float(depth), float(height), float(width)))

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
