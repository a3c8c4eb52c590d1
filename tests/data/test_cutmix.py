"""Cutmix: one box and one partner for all views, and a share kept that is counted, not drawn."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from bimcvr.contracts import Batch
from bimcvr.data.loading.cutmix import cutmix


@given(st.integers(0, 10_000), st.integers(1, 5), st.integers(1, 2))
def test_kept_is_the_share_of_own_voxels_in_every_view(seed: int, studies: int, views: int) -> None:
    # voxels say whose they are: 10 · study + view
    owner = torch.arange(studies)[:, None] * 10 + torch.arange(views)
    volumes = owner[..., None, None, None, None].expand(studies, views, 1, 4, 6, 5).float()
    batch: Batch = {"views": volumes, "text": [""] * studies, "index": torch.arange(studies)}
    mixed = cutmix(batch, torch.Generator().manual_seed(seed))
    for study in range(studies):
        partner = int(mixed["partner"][study])
        for view in range(views):
            seen = mixed["views"][study, view]
            own = seen == study * 10 + view
            assert bool((own | (seen == partner * 10 + view)).all())
            assert torch.equal(own, mixed["views"][study, 0] == study * 10)  # the same box in both views
            assert abs(own.float().mean().item() - mixed["kept"][study].item()) < 1e-6
    assert torch.equal(batch["views"], volumes)


def test_boxes_vary_from_none_to_nearly_all() -> None:
    batch: Batch = {"views": torch.rand(64, 1, 1, 8, 8, 8), "text": [""] * 64, "index": torch.arange(64)}
    kept = cutmix(batch, torch.Generator().manual_seed(0))["kept"]
    assert kept.min() < 0.4
    assert kept.max() > 0.9
