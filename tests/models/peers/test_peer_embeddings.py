"""Each tower's vectors are those of its own package's pipeline, with the same random weights, on the same files.

The files are real volumes, read at the tower's spacing and stored in three orientations, so that the package's own
resampling has nothing to do: everything else (axes, clipping, scale, crop, padding, network, projection) is done twice,
here and there. Resampling itself differs on purpose, and the last test says by how much.
"""

import itertools
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import normalize

from bimcvr.contracts import DataGrid
from bimcvr.data.hu.model_grid import ModelGrid
from bimcvr.data.loading.views import apply_window
from bimcvr.data.reading.resample import read_on_grid
from bimcvr.extras import is_installed
from bimcvr.models.peers.colipri import ColipriText, ColipriVolume
from bimcvr.models.peers.merlin import MerlinText, MerlinVolume
from bimcvr.models.peers.spectre import SpectreText, SpectreVolume
from bimcvr.models.peers.volume import PeerVolume
from helpers import peer_files
from helpers.peer_files import STORAGES, write_volume

pytestmark = pytest.mark.skipif(
    not is_installed("peers"), reason="the extra 'peers' is not installed (make test EXTRAS=dev,peers)"
)

REAL = os.environ.get("BIMCVR_REAL_DATA", "")
VOLUMES = {
    "LPS": "totalsegmentator/aorta_report/ct_cropped.nii.gz",
    "RAS": "cip_chest/ct-64.nrrd",
    "oblique": "elastix_lung/3DCT_lung_baseline_small.mha",
}
WINDOW = (-1024.0, 1500.0)
TEXTS = ["Large right pleural effusion, no nodule.", "There is a nodule."]


class Colipri:
    """The package's own processor and model."""

    file_size = (40, 28, 36)

    def __init__(self, folder: Path) -> None:
        from colipri import get_model, get_processor

        self.arguments: dict[str, Any] = {"model": str(folder), "random_weights": True, "reduced": peer_files.COLIPRI}
        self.tower = ColipriVolume(**self.arguments)
        self.model = get_model(folder / "model.safetensors", image_only=True, **peer_files.COLIPRI)
        self.processor = get_processor(image_only=True, input_size=32)
        self.padding_with_air = get_processor(image_only=True, input_size=32, padding_mode=-1)

    def embed(self, path: Path, processor: Any = None) -> Tensor:
        processor = processor or self.processor
        batch = processor.to_images_batch(processor.process_images(path))
        return self.model.encode_image(batch, pool=True, project=True, normalize=True)

    def tokens(self, path: Path) -> Tensor:
        return self.model.encode_image(self.processor.process_images(path)[0].data[None]).flatten(2).transpose(1, 2)

    def prepared(self, path: Path) -> Tensor:
        return self.processor.process_images(path)[0].data[0]


class Spectre:
    """What `spectre embed` does, and the head that its authors publish."""

    file_size = (70, 140, 260)

    def __init__(self, folder: Path) -> None:
        from spectre import SpectreImageFeatureExtractor
        from spectre.presets import BACKBONE_KWARGS, COMBINER_KWARGS
        from spectre.ssl.heads import SigLIPProjectionHead

        own = {"size": (64, 128, 256), "random_weights": True, "reduced": peer_files.SPECTRE}
        self.arguments: dict[str, Any] = {"model": str(folder), **own}
        self.tower = SpectreVolume(**self.arguments)
        self.model = SpectreImageFeatureExtractor(
            peer_files.SPECTRE["backbone"],
            BACKBONE_KWARGS,
            str(folder / "spectre_backbone_vit_large_patch16_128.pt"),
            peer_files.SPECTRE["combiner"],
            COMBINER_KWARGS,
            str(folder / "spectre_combiner_feature_vit_large.pt"),
        ).eval()
        self.head = SigLIPProjectionHead(input_dim=2 * 192, output_dim=512).eval()
        self.head.load_state_dict(torch.load(folder / "SigLIP_projection_head_image.pt"))

    def embed(self, path: Path) -> Tensor:
        features = self.features(path)
        return normalize(self.head(torch.cat([features[0], features[1:].mean(0)])[None]), dim=-1)

    def features(self, path: Path) -> Tensor:
        from spectre.io import load_and_window

        crops, grid, _ = load_and_window(path)  # at the file's own spacing
        return self.model.extract([crops], grid_size=[grid])[0]

    def tokens(self, path: Path) -> Tensor:
        return self.features(path)[None, 1:]

    def prepared(self, path: Path) -> Tensor:
        """The fixed steps of the transform that it was trained with.

        `spectre embed --spacing` cannot be asked: it passes MONAI an argument that 1.6 does not have.
        """
        from monai.transforms import Compose
        from spectre.ssl.transforms import SigLIPTransform

        steps = SigLIPTransform(image_size=(256, 128, 64), max_shift=(0, 0, 0)).transforms[:6]
        return Compose(steps)({"image": str(path)})["image"].as_tensor()[0]


class Merlin:
    """The package's own transforms, with a smaller box, and its own model."""

    file_size = (36, 44, 70)

    def __init__(self, folder: Path, model: Any) -> None:
        from merlin.data.monai_transforms import ImageTransforms
        from monai.transforms import CenterSpatialCropd, Compose, SpatialPadd

        self.arguments: dict[str, Any] = {"model": str(folder), "random_weights": True, "reduced": peer_files.MERLIN}
        self.tower = MerlinVolume(**self.arguments)
        self.model = model
        box = [64, 48, 32]
        steps = [
            {SpatialPadd: SpatialPadd("image", box), CenterSpatialCropd: CenterSpatialCropd("image", box)}.get(
                type(step), step
            )
            for step in ImageTransforms.transforms
        ]
        self.transform = Compose(steps)

    def embed(self, path: Path) -> Tensor:
        return self.model(self.prepared(path)[None, None], ["one text"])[0]

    def tokens(self, path: Path) -> Tensor:
        """The one vector that the package has for it: the mean of all."""
        net = self.model.encode_image.i3_resnet
        net.ImageEmbedding = True
        try:
            return net(self.prepared(path)[None, None]).transpose(0, 1)
        finally:
            net.ImageEmbedding = False

    def prepared(self, path: Path) -> Tensor:
        return self.transform({"image": str(path)})["image"].as_tensor()[0]


@pytest.fixture(scope="module", params=["COLIPRI", "SPECTRE", "Merlin"])
def peer(request: pytest.FixtureRequest) -> Any:
    folder = request.getfixturevalue(f"{request.param.lower()}_folder")
    makers: dict[str, Callable[[], Any]] = {
        "COLIPRI": lambda: Colipri(folder),
        "SPECTRE": lambda: Spectre(folder),
        "Merlin": lambda: Merlin(folder, request.getfixturevalue("merlin_model")),
    }
    return makers[request.param]()


def prepared(tower: PeerVolume, path: Path) -> Tensor:
    """What the data module makes of a file, as the tower's tensor (1, 1, D, H, W)."""
    grid = DataGrid(tower.wanted.size, tower.wanted.spacing, WINDOW)
    tower.accept_grid(grid)
    return apply_window(read_on_grid(path, ModelGrid(grid.size, grid.spacing)).hu, WINDOW)[None, None]


def blobs(size: tuple[int, int, int]) -> np.ndarray:
    """Smooth values from air to bone, air at the rim."""
    rng = np.random.default_rng(0)
    coarse = torch.from_numpy(rng.uniform(-1000, 1200, (1, 1, 5, 6, 7)))
    hu = torch.nn.functional.interpolate(coarse, size=size, mode="trilinear")[0, 0].numpy()
    hu[0], hu[:, 0], hu[:, :, 0] = -1000, -1000, -1000
    return np.rint(hu).astype(np.int16)


def peer_file(peer: Any, path: Path, hu: np.ndarray, storage: str) -> Path:
    """Write HU at the tower's spacing, in numbers that its package reads without loss.

    TorchIO truncates whole numbers when it resamples, by up to 1 HU, so COLIPRI gets fractions; SPECTRE's reader fails
    on these where an axis has to be flipped.
    """
    numbers = hu if isinstance(peer, Spectre) else hu.astype(np.float32)
    return write_volume(path, numbers, peer.tower.wanted.spacing, STORAGES[storage])


def assert_the_same(peer: Any, path: Path, air: bool = True) -> None:
    found = peer.tower(prepared(peer.tower, path))
    with torch.no_grad():
        expected = peer.embed(path)
        if isinstance(peer, Colipri) and not air:
            # a trap: it pads with the volume's own minimum, here the lung's, where all others and we pad with air
            assert (found.cls - expected).abs().max() > 1e-3
            expected = peer.embed(path, peer.padding_with_air)
    assert found.cls.shape == expected.shape
    torch.testing.assert_close(found.cls, expected, rtol=0, atol=1e-4)
    assert found.tokens.equal(found.cls[:, None])


def test_a_made_volume_has_the_package_s_vector(peer: Any, tmp_path: Path) -> None:
    for storage in ("oblique", "RAS"):
        path = peer_file(peer, tmp_path / f"{storage}.nii.gz", blobs(peer.file_size), storage)
        assert_the_same(peer, path)
    volume = prepared(peer.tower, path)
    both = peer.tower(torch.cat([volume.flip(2), volume])).cls
    torch.testing.assert_close(both[1:], peer.tower(volume).cls, rtol=0, atol=1e-5)
    assert (both[0] - both[1]).abs().max() > 1e-3


def test_its_own_tokens_are_the_package_s(peer: Any, tmp_path: Path) -> None:
    path = peer_file(peer, tmp_path / "made.nii.gz", blobs(peer.file_size), "LPS")
    tower = type(peer.tower)(**peer.arguments, projected=False)
    found = tower(prepared(tower, path))
    with torch.no_grad():
        expected = peer.tokens(path)
    mine = found.tokens.mean(1, keepdim=True) if isinstance(peer, Merlin) else found.tokens
    torch.testing.assert_close(mine, expected, rtol=0, atol=1e-4)
    assert found.cls.shape == (1, tower.dim)


@pytest.mark.skipif(not REAL, reason="BIMCVR_REAL_DATA names no folder of real volumes")
@pytest.mark.parametrize("storage", VOLUMES)
def test_a_real_volume_has_the_package_s_vector(peer: Any, storage: str, tmp_path: Path) -> None:
    spacing = peer.tower.wanted.spacing
    hu = read_on_grid(Path(REAL) / VOLUMES[storage], ModelGrid(peer.file_size, spacing)).hu
    assert hu.std() > 100
    assert_the_same(peer, peer_file(peer, tmp_path / "real.nii.gz", hu, storage), air=hu.min() <= -1000)


def test_colipri_s_texts_have_the_package_s_vectors(colipri_folder: Path) -> None:
    from colipri.model.text import TextEncoder
    from colipri.pooling import AttentionPool1D
    from colipri.processor import Processor
    from safetensors.torch import load_file
    from transformers import BertConfig, BertModel, BertTokenizer

    tokenizer = BertTokenizer.from_pretrained(colipri_folder / "cxr-bert", model_max_length=512)
    bert = BertModel(BertConfig(vocab_size=len(tokenizer), **peer_files.COLIPRI_TEXT), add_pooling_layer=False)
    model = TextEncoder(bert, AttentionPool1D(48, 12)).eval()
    state = load_file(colipri_folder / "model.safetensors")
    model.load_state_dict({key[13:]: value for key, value in state.items() if key.startswith("text_encoder.")})
    ids, mask = Processor(None, tokenizer).process_text(TEXTS)
    assert ids.shape == (2, 512)
    with torch.no_grad():
        expected = model(ids, mask)
    found = ColipriText(
        str(colipri_folder), str(colipri_folder / "cxr-bert"), random_weights=True, reduced=peer_files.COLIPRI_TEXT
    )
    assert_texts(found, expected)


def test_spectre_s_texts_have_the_package_s_vectors(spectre_folder: Path) -> None:
    from spectre.ssl.heads import SigLIPProjectionHead
    from spectre.utils import add_lora_adapters, last_token_pool
    from transformers import AutoTokenizer, Qwen3Model

    qwen3 = spectre_folder / "qwen3"
    tokenizer = AutoTokenizer.from_pretrained(qwen3, padding_side="left")
    language = Qwen3Model.from_pretrained(qwen3)
    add_lora_adapters(language, r=16, lora_alpha=64, lora_dropout=0.05)
    adapters = torch.load(spectre_folder / "spectre_qwen3_embedding_0.6B_lora.pt")
    assert not language.load_state_dict(adapters, strict=False).unexpected_keys
    head = SigLIPProjectionHead(input_dim=32, output_dim=512).eval()
    head.load_state_dict(torch.load(spectre_folder / "SigLIP_projection_head_text.pt"))
    tokens = tokenizer([f"Findings: {text}\n" for text in TEXTS], padding=True, return_tensors="pt")
    with torch.no_grad():
        states = language.eval()(**tokens).last_hidden_state
        expected = normalize(head(last_token_pool(states, tokens["attention_mask"])), dim=-1)
    assert_texts(SpectreText(str(spectre_folder), str(qwen3), random_weights=True), expected)


def test_merlin_s_texts_have_the_package_s_vectors(merlin_folder: Path, merlin_model: Any) -> None:
    with torch.no_grad():
        expected = merlin_model(torch.zeros(2, 1, 64, 48, 32), TEXTS)[2]
    assert_texts(MerlinText(str(merlin_folder), str(merlin_folder / "longformer"), random_weights=True), expected)


def assert_texts(tower: Any, expected: Tensor) -> None:
    found = tower(TEXTS)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-4)
    assert (expected[0] - expected[1]).abs().max() > 1e-3
    assert tower.dim == expected.shape[1]
    assert tower.source == "random weights"
    receipt = json.loads(json.dumps(tower.receipt()))
    assert receipt["weights"]["random"] is True
    (other,) = (receipt["input"][name] for name in ("tokenizer", "language_model") if name in receipt["input"])
    assert all(len(digest) == 64 for digest in other["files"].values())


@pytest.mark.skipif(not REAL, reason="BIMCVR_REAL_DATA names no folder of real volumes")
def test_resampling_is_what_differs_on_a_file_of_another_spacing(peer: Any) -> None:
    path = Path(REAL) / VOLUMES["LPS"]
    ours = peer.tower.prepare(prepared(peer.tower, path))[0, 0]
    theirs = peer.prepared(path)
    assert ours.shape == theirs.shape
    low, high = peer.tower.wanted.scaled
    inner = (slice(2, -2),) * 3

    def hu_apart(other: Tensor) -> float:
        return float((other - theirs)[inner].abs().mean()) * 2000 / (high - low)

    shifts = {move: hu_apart(ours.roll(move, (0, 1, 2))) for move in itertools.product((-1, 0, 1), repeat=3)}
    # anti-aliased and centred here, linear there; an odd remainder is cut from the other side: one voxel
    assert 1 < min(shifts.values()) < 45, shifts
    assert shifts[0, 0, 0] < 60
    # what a wrong axis would look like
    assert min(hu_apart(ours.flip(axis)) for axis in range(3)) > 2 * shifts[0, 0, 0]
