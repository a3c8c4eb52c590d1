"""Views on the training device: TorchIO's meaning and numbers, and without the option nothing is other than before."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torchio
from torch import Tensor

from bimcvr.contracts import Batch
from bimcvr.data.loading.datamodule import CTReportDataModule
from bimcvr.data.loading.dataset import derive_seed
from bimcvr.data.loading.device_views import make_views
from bimcvr.data.loading.view_draws import NoiseDraw, draw_view
from bimcvr.data.loading.views import apply_view, apply_window
from bimcvr.errors import UserError

SPACING = (3.0, 1.5, 2.0)
SIZE = (20, 36, 44)
HU = 2000.0  # of the window
AFFINE = torchio.RandomAffine(scales=0.1, degrees=12, translation=8)


def chest() -> Tensor:
    """A body with structure of a few voxels, and air around it; D, H and W differ."""
    rough = torch.randn(1, 1, *SIZE, generator=torch.Generator().manual_seed(1))
    tissue = torch.nn.functional.avg_pool3d(rough, 3, 1, 1)[0, 0] * 0.3 + 0.5
    places = torch.meshgrid(*(torch.linspace(-1, 1, side) for side in SIZE), indexing="ij")
    inside = places[1] ** 2 / 0.6 + places[2] ** 2 / 0.8 < 1
    return torch.where(inside, tissue.clamp(0, 1), torch.tensor(0.01))


def on_device(view: torchio.Transform, seed: int, volume: Tensor) -> Tensor:
    return make_views(volume[None], [[draw_view(view, SIZE, SPACING, seed)]])[0, 0, 0]


@pytest.mark.parametrize(
    "view",
    [
        AFFINE,
        torchio.RandomAffine(scales=(0.8, 1.3), degrees=0, isotropic=True, center="origin"),
        torchio.RandomAffine(scales=0, degrees=(20, 20, -30, -30, 10, 10), translation=20, default_pad_value=0.25),
        torchio.Compose([torchio.RandomAffine(p=0.5), torchio.RandomAffine(degrees=3, p=0.6)]),
    ],
)
def test_the_affine_is_torchio_s(view: torchio.Transform) -> None:
    volume = chest()
    for seed in range(6):
        expected, seen = apply_view(volume, SPACING, view, seed), on_device(view, seed, volume)
        wrong = (expected - seen).abs() * HU
        body = expected > 0.2
        assert torch.sqrt((wrong[body] ** 2).mean()) < 0.1  # HU
        # at the border of the volume rounding may fill a voxel more or less
        assert (wrong > 0.1).float().mean() < 1e-3
    assert not torch.equal(seen, on_device(view, 17, volume))


def test_noise_has_torchio_s_mean_and_deviation() -> None:
    volume, view = torch.full(SIZE, 0.5), torchio.RandomNoise(mean=(-0.2, 0.2), std=(0.01, 0.1))
    for seed in range(5):
        (draw,) = draw_view(view, SIZE, SPACING, seed)
        assert isinstance(draw, NoiseDraw)
        expected, seen = (
            noise - 0.5 for noise in (apply_view(volume, SPACING, view, seed), on_device(view, seed, volume))
        )
        for noise in (expected, seen):
            standard = (noise - draw.mean) / draw.std
            assert abs(standard.mean()) < 4 / volume.numel() ** 0.5
            assert abs(standard.std() - 1) < 3 / volume.numel() ** 0.5
            assert abs((standard**4).mean() - 3) < 0.15  # normal
    assert torch.equal(seen, on_device(view, 4, volume) - 0.5)


def test_what_is_not_applied_draws_the_same_numbers_as_in_torchio() -> None:
    volume = chest()
    view = torchio.Compose([torchio.RandomNoise(std=0.1, p=0.5), torchio.RandomAffine(p=0.5)], p=0.8)
    kinds = set()
    for seed in range(20):
        draws = draw_view(view, SIZE, SPACING, seed)
        kinds.add(tuple(type(draw).__name__ for draw in draws))
        if not any(isinstance(draw, NoiseDraw) for draw in draws):
            expected = apply_view(volume, SPACING, view, seed)
            assert ((expected - on_device(view, seed, volume)).abs() * HU > 0.1).float().mean() < 1e-3
    assert kinds == {(), ("NoiseDraw",), ("AffineDraw",), ("NoiseDraw", "AffineDraw")}


def test_studies_and_views_of_a_batch_do_not_touch_each_other() -> None:
    first, second, view = chest(), chest().flip(1), torchio.Compose([AFFINE, torchio.RandomNoise(std=0.1, p=0.5)])
    draws = [[draw_view(view, SIZE, SPACING, 2 * study + number) for number in range(2)] for study in range(2)]
    together = make_views(torch.stack([first, second]), draws)
    assert together.shape == (2, 2, 1, *SIZE)
    for study, volume in enumerate((first, second)):
        for number in range(2):
            assert torch.equal(together[study, number, 0], on_device(view, 2 * study + number, volume))
    state = torch.get_rng_state()
    draw_view(view, SIZE, SPACING, 0)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize(
    ("view", "named"),
    [
        (torchio.RandomBlur(), "RandomBlur"),
        (torchio.Compose([AFFINE, torchio.OneOf([torchio.RandomNoise()])]), "OneOf"),
        (torchio.Affine((1, 1, 1), (0, 0, 0), (0, 0, 0)), "Affine"),
        (torchio.RandomAffine(image_interpolation="bspline"), r"RandomAffine\(image_interpolation='bspline'\)"),
        (torchio.RandomAffine(default_pad_value="otsu"), r"RandomAffine\(default_pad_value='otsu'\)"),
        (torchio.RandomNoise(include=["ct"]), r"RandomNoise\(include=…\)"),
    ],
)
def test_a_view_without_a_twin_is_refused_by_name(view: torchio.Transform, named: str, tiny_cohort: Path) -> None:
    CTReportDataModule(str(tiny_cohort), view_2=view)
    with pytest.raises(UserError, match=rf"data.views_on_device: data.view_2 has {named}, which only TorchIO makes"):
        CTReportDataModule(str(tiny_cohort), view_2=view, views_on_device=True)


def data(tiny_cohort: Path, tmp_path: Path, **options: Any) -> CTReportDataModule:
    made = CTReportDataModule(
        str(tiny_cohort), cache=str(tmp_path), size=(12, 16, 16), cutmix=0.6, view_1=AFFINE, **options
    )
    made.prepare_data()
    made.setup("fit")
    return made


def before(made: CTReportDataModule, epoch: int, rows: list[int]) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """Views, partners and kept shares of a batch, as the code made them before there was the option."""
    volumes = []
    for row in rows:
        hu = made.cache.read(made._entries[row])
        volume = (
            (torch.from_numpy(hu.hu.astype(np.float32)) - made.window[0]) / (made.window[1] - made.window[0])
        ).clamp_(0, 1)
        views = [
            apply_view(volume, hu.spacing, view, derive_seed(made.seed, epoch, row, number))
            for number, view in enumerate(made.views)
        ]
        volumes.append(torch.stack(views)[:, None])
    views = torch.stack(volumes)
    generator = torch.Generator().manual_seed(derive_seed(made.seed, *rows))
    if float(torch.rand((), generator=generator)) >= made.cutmix:
        return views, None, None
    partner = torch.randperm(len(views), generator=generator)
    mixed, kept = views.clone(), torch.empty(len(views))
    for study in range(len(views)):
        side = (1 - float(torch.rand((), generator=generator))) ** (1 / 3)
        centre = torch.rand(3, generator=generator).tolist()
        box = tuple(
            slice(max(0, round((c - side / 2) * n)), min(n, round((c + side / 2) * n)))
            for c, n in zip(centre, views.shape[-3:], strict=True)
        )
        mixed[(study, ..., *box)] = views[(int(partner[study]), ..., *box)]
        inside = torch.zeros(views.shape[-3:])
        inside[box] = 1
        kept[study] = 1 - (int(inside.sum()) if partner[study] != study else 0) / inside.numel()
    return mixed, partner, kept


def test_without_the_option_batches_are_those_of_before(tiny_cohort: Path, tmp_path: Path) -> None:
    made = data(tiny_cohort, tmp_path)
    mixes = []
    for batch in made.train_dataloader():
        views, partner, kept = before(made, 0, batch["index"].tolist())
        assert set(batch) == {"text", "index", "views"} | ({"partner", "kept"} if partner is not None else set())
        assert torch.equal(batch["views"], views)
        mixes.append(partner is not None)
        if partner is not None and kept is not None:
            assert torch.equal(batch["partner"], partner)
            assert torch.equal(batch["kept"], kept)
    assert set(mixes) == {True, False}
    for batch in made.val_dataloader():
        hu = np.stack([made.cache.read(made._entries[row]).hu for row in batch["index"].tolist()]).astype(np.float32)
        low, high = made.window
        assert torch.equal(batch["volume"][:, 0], ((torch.from_numpy(hu) - low) / (high - low)).clamp_(0, 1))


def test_batches_travel_as_int16_and_become_those_of_torchio(tiny_cohort: Path, tmp_path: Path) -> None:
    plain, device = data(tiny_cohort, tmp_path), data(tiny_cohort, tmp_path, views_on_device=True)
    for expected, raw in zip(plain.train_dataloader(), device.train_dataloader(), strict=True):
        assert raw["voxels"].dtype == torch.int16
        assert raw["voxels"].shape == (4, 12, 16, 16)
        assert not any(isinstance(value, Tensor) and value.dim() > 1 for name, value in raw.items() if name != "voxels")
        batch: Batch = device.on_after_batch_transfer(raw, 0)
        assert set(batch) == set(expected)
        assert batch["text"] == expected["text"]
        assert batch["views"].shape == expected["views"].shape
        assert ((batch["views"] - expected["views"]).abs() * HU > 0.1).float().mean() < 2e-3
        for name in set(expected) - {"views", "text"}:
            assert torch.equal(batch[name], expected[name])  # type: ignore[literal-required]
    for expected, raw in zip(plain.val_dataloader(), device.val_dataloader(), strict=True):
        assert torch.equal(device.on_after_batch_transfer(raw, 0)["volume"], expected["volume"])  # to the bit
    # what `preview` and W&B's examples draw
    one, other = plain.train_dataset(), device.train_dataset()
    assert torch.equal(one.sample(3)["volume"], other.sample(3)["volume"])
    assert torch.equal(one.sample(3)["volume"][0], one[3]["volume"])
    assert ((one.sample((1, 3))["views"] - other.sample((1, 3))["views"]).abs() * HU > 0.1).float().mean() < 2e-3


def test_the_window_of_rounded_voxels() -> None:
    hu = np.arange(-1500, 1500, dtype=np.int16).reshape(1, 30, 100)
    hu.flags.writeable = False
    exact = apply_window(hu, (-1000.0, 500.0))
    from bimcvr.data.loading.views import to_bytes

    assert (apply_window(to_bytes(hu, (-1000.0, 500.0)), (-1000.0, 500.0)) - exact).abs().max() <= 0.5 / 255 + 1e-6
    assert torch.equal(apply_window(torch.from_numpy(hu.copy()), (-1000.0, 500.0)), exact)
