"""Maps of relevance: they add up to the score, lie where the tokens lie, and reach the source's voxels exactly."""

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from torch import Tensor, nn
from torch.nn.functional import cosine_similarity, normalize

from bimcvr.contracts import DataGrid, Features, TokenGrid
from bimcvr.data.hu.model_grid import ModelGrid
from bimcvr.data.loading.views import apply_window
from bimcvr.data.reading.resample import read_on_grid
from bimcvr.errors import UserError
from bimcvr.models.localisation.relevance import relevance
from bimcvr.models.localisation.spread import SourceMap, on_model_grid
from bimcvr.models.retriever import Retriever
from bimcvr.models.volume.resnet3d import ResNet3D
from bimcvr.models.volume.view_fusion import ChannelGate, FirstView, TokenAttention
from bimcvr.models.volume.vit3d import ViT3D
from bimcvr.models.volume.window_channels import WindowChannels
from helpers.toy_modules import HashText, PatchMeans, PlainConv

SIZE = (32, 32, 40)


def retriever(encoder: nn.Module, fusion: nn.Module) -> Retriever:
    return Retriever(encoder, HashText(6), fusion, embed_dim=6).eval()  # type: ignore[arg-type]


def _windows() -> WindowChannels:
    encoder = WindowChannels(ResNet3D(10, width=4, stem_stride=(1, 1, 1), max_pool=False))
    encoder.accept_grid(DataGrid(SIZE, None, (-1000, 1000)))
    return encoder


def encoders() -> dict[str, nn.Module]:
    torch.manual_seed(0)
    return {
        "resnet": ResNet3D(10, width=4, stem_stride=(1, 1, 1), max_pool=False),
        "windows": _windows(),
        "vit": ViT3D(SIZE, (8, 8, 8), dim=12, depth=1, heads=2),
        "patches": PatchMeans(8, (4, 4, 8)),
        "few": PatchMeans(8, (16, 16, 20)),
        "conv": PlainConv(8),
    }


@pytest.mark.parametrize("name", ["vit", "patches"])
def test_the_mean_over_the_tokens_is_the_score(name: str) -> None:
    model = retriever(encoders()[name], FirstView())
    volume, queries = torch.rand(1, 1, *SIZE), torch.randn(3, 6)
    found = relevance(model, volume, queries)
    image = model.embed_volume(volume)
    expected = cosine_similarity(queries, image).detach().numpy()
    assert found.how == "tokens"
    assert found.values.shape == (3, *found.grid.shape)
    assert found.score == pytest.approx(expected, abs=1e-5)
    assert found.values.mean((1, 2, 3)) == pytest.approx(expected, abs=1e-5)
    # each is the similarity of its token
    tokens = model.project_image(model.volume_encoder(volume).tokens[0])
    similarity = normalize(queries, dim=-1) @ (tokens / image.norm()).T
    assert found.values.reshape(3, -1) == pytest.approx(similarity.detach().numpy(), abs=1e-5)


@pytest.mark.parametrize(
    ("name", "fusion", "how"),
    [
        ("resnet", ChannelGate(), "maps"),
        ("windows", FirstView(), "maps"),
        ("patches", ChannelGate(), "tokens"),  # its class feature is the mean of its tokens
        ("vit", ChannelGate(), "gradients"),  # its class token is one of its own
        ("vit", TokenAttention(12), "tokens"),
        ("few", FirstView(), "gradients"),  # 2 × 2 × 2 tokens
        ("conv", FirstView(), "gradients"),  # says nothing of where its tokens lie
    ],
)
def test_what_a_map_is_made_of(name: str, fusion: nn.Module, how: str) -> None:
    model = retriever(encoders()[name], fusion)
    volume, queries = torch.rand(1, 1, *SIZE), torch.randn(2, 6)
    found = relevance(model, volume, queries)
    assert found.how == how
    assert found.score == pytest.approx(
        cosine_similarity(queries, model.embed_volume(volume)).detach().numpy(), abs=1e-5
    )
    assert np.isfinite(found.values).all()
    assert np.ptp(found.values[0]) > 0
    with torch.inference_mode():
        again = relevance(model, volume, queries)
    assert np.allclose(again.values, found.values, atol=1e-5)
    assert all(parameter.grad is None for parameter in model.parameters())


@pytest.mark.parametrize("checkpointing", [False, True])
def test_maps_of_stages_are_multiplied_on_the_finest_grid(checkpointing: bool) -> None:
    torch.manual_seed(0)
    encoder = ResNet3D(10, width=4, stem_stride=(1, 2, 1), max_pool=False, checkpointing=checkpointing).eval()
    model, volume, queries = retriever(encoder, FirstView()), torch.rand(1, 1, *SIZE), torch.randn(6, 6)
    found = relevance(model, volume, queries)
    # the same with the whole graph, and with the maps interpolated by scipy
    outputs: list[Tensor] = []
    x = volume
    for stage in encoder.stages:
        x = stage(x)
        outputs.append(x)
    image = model.project_image(x.flatten(2).mean(2))[0]
    products = []
    for query in normalize(queries, dim=-1):
        slopes = torch.autograd.grad(query @ image / image.detach().norm(), outputs[2:], retain_graph=True)
        product = 1
        for output, slope in zip(outputs[2:], slopes, strict=True):
            last = (output * slope).sum(1)[0].detach().numpy()
            # both grids begin at the first voxel
            ratio = SIZE[0] // 2 // last.shape[0]
            places = [
                np.minimum(np.arange(n) / ratio, m - 1) for n, m in zip(outputs[2].shape[2:], last.shape, strict=True)
            ]
            raw = ndimage.map_coordinates(last, np.meshgrid(*places, indexing="ij"), order=1)
            spread = raw.clip(0)
            product = product * spread / max(spread.max(), 1e-30)
        products.append(product / product.max() if product.max() > 0 else np.minimum(raw, 0))
    assert (found.how, found.grid) == ("maps", TokenGrid((16, 8, 20), (0.5, 0.5, 0.5), (2, 4, 2)))
    assert found.token == (2, 4, 2)
    assert found.values == pytest.approx(np.stack(products), abs=1e-4)
    highest = found.values.max((1, 2, 3))
    assert set(highest > 0) == {True, False}
    assert highest[highest > 0] == pytest.approx(1)


@pytest.mark.parametrize("max_pool", [False, True])
def test_a_resnets_maps_lie_where_it_says(max_pool: bool) -> None:
    encoder = ResNet3D(10, width=2, stem_stride=(1, 2, 1), max_pool=max_pool).eval()
    size = (64, 129, 63)
    found = encoder.feature_maps(torch.rand(1, 1, *size))
    plain = encoder(torch.rand(1, 1, *size))
    assert [tuple(one.shape[2:]) for one in found.maps] == [grid.shape for grid in found.grids]
    assert found.grids[-1] == encoder.token_grid(size)
    assert found.features.tokens.shape == plain.tokens.shape
    assert [one.requires_grad for one in found.maps] == [True, True, True]


@pytest.mark.parametrize("max_pool", [False, True])
def test_a_resnets_tokens_lie_where_it_says(max_pool: bool) -> None:
    encoder = ResNet3D(10, width=2, stem_stride=(1, 2, 1), max_pool=max_pool).eval()
    for part in encoder.modules():
        if isinstance(part, nn.Conv3d):
            nn.init.constant_(part.weight, 0.05)
    size = (144, 72, 72) if max_pool else (64, 129, 63)
    # random so that no maximum is tied, and positive so that nothing is cut off
    volume = torch.rand(1, 1, *size).requires_grad_()
    tokens, grid = encoder(volume).tokens, encoder.token_grid(size)
    assert tokens.shape[1] == np.prod(grid.shape)
    index = tuple(count // 2 for count in grid.shape)
    chosen = tokens[0, int(np.ravel_multi_index(index, grid.shape))].sum()
    (slope,) = torch.autograd.grad(chosen, volume)
    weight = slope[0, 0].abs().double().numpy()
    for axis in range(3):
        along = weight.sum(tuple(other for other in range(3) if other != axis))
        used = np.flatnonzero(along)
        if used[0] > 0 and used[-1] < size[axis] - 1:  # elsewhere the border cuts what a token sees
            centre = (along * (np.arange(size[axis]) + 0.5)).sum() / along.sum()
            assert centre == pytest.approx(grid.first[axis] + grid.step[axis] * index[axis], abs=0.5)


def test_a_transformers_tokens_lie_where_it_says() -> None:
    encoder = encoders()["vit"].eval()
    grid = encoder.token_grid(SIZE)  # type: ignore[operator]
    assert grid == TokenGrid((4, 4, 5), (4, 4, 4), (8, 8, 8))
    before = encoder.patches(torch.zeros(1, 1, *SIZE))  # type: ignore[operator]
    for number, index in enumerate(np.ndindex(*grid.shape)):
        volume = torch.zeros(1, 1, *SIZE)
        middle = [int(first + step * at) for first, step, at in zip(grid.first, grid.step, index, strict=True)]
        volume[0, 0, middle[0] - 1 : middle[0] + 1, middle[1], middle[2]] = 1
        changed = (encoder.patches(volume) - before).abs().sum((0, 2))  # type: ignore[operator]
        assert changed.nonzero().flatten().tolist() == [number]


def test_windows_as_channels_hand_on_where_the_tokens_lie() -> None:
    inside, plain = ResNet3D(10, width=4), PlainConv(8)
    assert WindowChannels(inside).token_grid(SIZE) == inside.token_grid(SIZE)
    assert WindowChannels(plain).token_grid(SIZE) is None


def test_a_token_grid_that_is_not_the_tokens_is_refused() -> None:
    encoder = PatchMeans(8, (4, 4, 8))
    encoder.token_grid = lambda size: TokenGrid((1, 2, 3), (0, 0, 0), (1, 1, 1))  # type: ignore[method-assign]
    with pytest.raises(UserError, match=r"token_grid says 1 × 2 × 3 tokens, but there are 320"):
        relevance(retriever(encoder, FirstView()), torch.rand(1, 1, *SIZE), torch.randn(1, 6))


class NoGradients(PlainConv):
    def forward(self, volume: Tensor) -> Features:
        with torch.no_grad():
            return super().forward(volume)


def test_few_tokens_are_taken_where_there_are_no_gradients() -> None:
    class Frozen(PatchMeans):
        def forward(self, volume: Tensor) -> Features:
            with torch.no_grad():
                return super().forward(volume)

    found = relevance(retriever(Frozen(8, (16, 16, 20)), FirstView()), torch.rand(1, 1, *SIZE), torch.randn(1, 6))
    assert (found.how, found.values.shape) == ("tokens", (1, 2, 2, 2))


def test_an_encoder_without_gradients_or_places_is_refused() -> None:
    with pytest.raises(UserError, match="NoGradients gives no gradients of its input"):
        relevance(retriever(NoGradients(8), FirstView()), torch.rand(1, 1, *SIZE), torch.randn(1, 6))


def test_a_map_over_tokens_is_linear_between_them() -> None:
    grid = TokenGrid((2, 3, 4), (4, 4, 4), (8, 8, 8))
    values = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    spread = on_model_grid(values, grid, (16, 24, 32))
    assert spread.shape == (16, 24, 32)
    # the middle of a token is the face between two voxels; beyond the outermost the map is constant
    assert spread[0, 11:13, 19:21].mean() == pytest.approx(values[0, 1, 2])
    assert spread[0, 0, 0] == 0
    assert spread[-1, -1, -1] == 23
    # interpolation of a plane is the plane
    assert np.allclose(np.diff(spread[5, 5, 4:28]), 1 / 8)


@settings(max_examples=25, deadline=None)
@given(
    code=st.sampled_from(["LPS", "RAS", "LAS", "SRA", "AIL", "PSR"]),
    spacing=st.tuples(*[st.sampled_from([1.0, 2.0, 3.5])] * 3),
    target=st.none() | st.tuples(*[st.sampled_from([1.5, 3.0])] * 3),
    centre=st.sampled_from(["volume", "body"]),
    seed=st.integers(0, 99),
)
def test_the_map_of_an_encoder_that_knows_the_place_peaks_there(
    tmp_path_factory: pytest.TempPathFactory,
    code: str,
    spacing: tuple[float, float, float],
    target: tuple[float, float, float] | None,
    centre: str,
    seed: int,
) -> None:
    """From a bright ball in a file of any orientation to the voxel of the NIfTI map."""
    rng = np.random.default_rng(seed)
    hu = np.full((30, 34, 38), -1000, dtype=np.int16)
    spot = rng.integers(10, 20, 3)
    hu[tuple(slice(at - 3, at + 4) for at in spot)] = 1000
    image = sitk.GetImageFromArray(hu)
    image.SetSpacing(spacing[::-1])
    image.SetOrigin((12.0, -30.0, 7.0))
    stored, folder = sitk.DICOMOrient(image, code), tmp_path_factory.mktemp("maps")
    sitk.WriteImage(stored, str(folder / "ct.nii.gz"), True)
    grid = ModelGrid((32, 40, 40), target, centre if target else "volume")  # type: ignore[arg-type]
    seen = read_on_grid(folder / "ct.nii.gz", grid)
    model = retriever(PatchMeans(8, (2, 2, 2)), FirstView())
    image_vector = model.project_image(model.volume_encoder.direction)  # type: ignore[attr-defined]
    found = relevance(model, apply_window(seen.hu, (-1000, 1000))[None, None], image_vector[None])
    found_map = SourceMap.of(found.values[0], found.grid, seen.placement)
    found_map.write(folder / "map.nii.gz")
    ct, written = nibabel.load(folder / "ct.nii.gz"), nibabel.load(folder / "map.nii.gz")
    assert written.shape == ct.shape
    assert written.affine == pytest.approx(ct.affine, abs=1e-4)
    bright = np.argwhere(ct.get_fdata() > 0)
    top = np.array(np.unravel_index(int(written.get_fdata().argmax()), written.shape))
    # a token is 2 voxels of the grid, and its middle may lie between two voxels of the source
    reach = np.array([span.step for span in seen.placement.spans])
    order = [2 - axis for axis in seen.placement.axes.order]
    margin = np.zeros(3)
    margin[order] = 2 * reach + 0.5
    assert ((top >= bright.min(0) - margin) & (top <= bright.max(0) + margin)).all()
    assert written.get_fdata()[seen.placement.file_index(np.array(found_map.peak))] == written.get_fdata().max()
    # the mass around the place is centred on it
    light = np.clip(written.get_fdata(), 0, None) ** 4
    centroid = np.array([(np.indices(light.shape)[axis] * light).sum() / light.sum() for axis in range(3)])
    assert np.abs(centroid - bright.mean(0)).max() < 1.5 * margin.max() / 2
