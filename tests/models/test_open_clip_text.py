"""BiomedCLIP's way: a published folder, no network, open_clip's features; what is missing is said at once."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from bimcvr.errors import UserError
from bimcvr.models.text.open_clip import OpenClipText
from bimcvr.models.text.sentence_transformer import SentenceEncoder

TEXTS = [
    "Large right pleural effusion. The heart is normal.",
    "no",
    "",
    "Small mass in the left upper lobe, 4 mm. " * 40,
]
BIOMEDCLIP = "hf-hub:microsoft/BiomedCLIP-PubMedBERT_256-vit_base_patch16_224"


def peer_features(folder: Path) -> Tensor:
    """What open_clip's own full model and tokenizer make of the texts."""
    import open_clip

    text = json.loads((folder / "open_clip_config.json").read_text())["model_cfg"]["text_cfg"]
    if "hf_model_name" in text:
        text |= {"hf_model_name": str(folder), "hf_model_pretrained": False}
    model, _ = open_clip.create_model_from_pretrained(f"local-dir:{folder}", text_cfg=text)
    tokens = open_clip.get_tokenizer(f"local-dir:{folder}")(TEXTS)
    with torch.no_grad():
        return model.eval().encode_text(tokens)


def as_safetensors(folder: Path, name: str) -> None:
    from safetensors.torch import save_file

    state = torch.load(folder / "open_clip_pytorch_model.bin", weights_only=True)
    save_file({key: value.contiguous() for key, value in state.items()}, folder / name)
    (folder / "open_clip_pytorch_model.bin").unlink()


def copied(folder: Path, tmp_path: Path, *without: str) -> Path:
    target = tmp_path / "model"
    shutil.copytree(folder, target)
    for name in without:
        (target / name).unlink()
    return target


@pytest.mark.parametrize(
    "weights", ["open_clip_pytorch_model.bin", "open_clip_model.safetensors", "open_clip_pytorch_model.safetensors"]
)
def test_biomedclip_s_kind_from_a_published_folder(
    biomedclip_folder: Path, tmp_path: Path, weights: str, network_off: list[Any], hub_offline: None
) -> None:
    folder = copied(biomedclip_folder, tmp_path)
    if weights.endswith("safetensors"):
        as_safetensors(folder, weights)
    before = {path: path.read_bytes() for path in folder.iterdir()}
    encoder = OpenClipText(str(folder))
    features = encoder(TEXTS)
    assert features.shape == (4, encoder.dim) == (4, 24)
    assert network_off == []
    assert {path: path.read_bytes() for path in folder.iterdir()} == before  # left as published
    published = torch.load(biomedclip_folder / "open_clip_pytorch_model.bin", weights_only=True)
    own = {f"text.{key}": value for key, value in encoder.tower.state_dict().items()}
    assert set(own) == {key for key in published if key.startswith("text.")} - {
        "text.transformer.embeddings.position_ids"
    }
    assert all(torch.equal(value, published[key]) for key, value in own.items())  # bit for bit
    torch.testing.assert_close(features, peer_features(folder), rtol=0, atol=2e-6)


def test_plain_clip_from_a_published_folder(clip_folder: Path, network_off: list[Any], hub_offline: None) -> None:
    from safetensors.torch import load_file

    encoder = OpenClipText(str(clip_folder))
    torch.testing.assert_close(encoder(TEXTS), peer_features(clip_folder), rtol=0, atol=2e-6)
    published = load_file(clip_folder / "open_clip_model.safetensors")
    own = encoder.tower.state_dict()
    assert all(torch.equal(value, published[key].float()) for key, value in own.items())
    assert encoder.dim == 16
    assert network_off == []


@pytest.mark.parametrize("which", ["biomedclip_folder", "clip_folder"])
def test_only_the_text_tower_and_no_dropout(which: str, request: pytest.FixtureRequest) -> None:
    folder = request.getfixturevalue(which)
    encoder = OpenClipText(str(folder)).train()
    assert not any(module.training for module in encoder.tower.modules())
    assert not any("visual" in name for name, _ in encoder.tower.named_modules())
    assert encoder.state_dict() == {}
    assert list(encoder.parameters()) == []
    assert torch.equal(encoder(TEXTS), OpenClipText(str(folder)).train()(TEXTS))


def test_context_and_sentences(biomedclip_folder: Path) -> None:
    encoder = OpenClipText(str(biomedclip_folder))
    assert torch.equal(encoder(["mass " * 254]), encoder(["mass " * 300]))  # 256 with the two special tokens
    assert not torch.equal(encoder(["mass " * 253]), encoder(["mass " * 254]))
    by_sentence = OpenClipText(str(biomedclip_folder), sentences=True)(["No mass. No nodule."])
    parts = torch.nn.functional.normalize(encoder(["No mass.", "No nodule."]), dim=-1)
    torch.testing.assert_close(by_sentence[0], parts.mean(dim=0), rtol=0, atol=2e-6)


def test_a_known_text_model_needs_no_config(
    biomedclip_folder: Path, tmp_path: Path, network_off: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    import transformers

    small = transformers.BertConfig.from_pretrained(biomedclip_folder)
    folder = copied(biomedclip_folder, tmp_path, "config.json")
    with pytest.raises(UserError, match="do not fit"):  # BERT-base is not what this small model is
        OpenClipText(str(folder))
    monkeypatch.setattr(transformers, "BertConfig", lambda: small)
    assert torch.equal(OpenClipText(str(folder))(TEXTS), OpenClipText(str(biomedclip_folder))(TEXTS))
    assert network_off == []


@pytest.mark.parametrize(
    ("missing", "named"),
    [
        (["open_clip_config.json"], "open_clip_config.json"),
        (["open_clip_pytorch_model.bin"], "open_clip_pytorch_model.bin"),
        (["tokenizer.json", "vocab.txt"], "tokenizer.json"),
    ],
)
def test_a_folder_that_is_not_whole(
    biomedclip_folder: Path, tmp_path: Path, missing: list[str], named: str, network_off: list[Any]
) -> None:
    folder = copied(biomedclip_folder, tmp_path, *missing)
    with pytest.raises(UserError, match=named) as caught:
        OpenClipText(str(folder))
    assert str(folder) in str(caught.value)
    assert "hf download" in str(caught.value)
    assert network_off == []


def test_an_unknown_text_model_without_config(biomedclip_folder: Path, tmp_path: Path, network_off: list[Any]) -> None:
    folder = copied(biomedclip_folder, tmp_path, "config.json")
    path = folder / "open_clip_config.json"
    path.write_text(path.read_text().replace("microsoft/BiomedNLP-BiomedBERT", "someone/other-bert"))
    with pytest.raises(UserError, match="hf download someone/other-bert-base-uncased-abstract config"):
        OpenClipText(str(folder))
    assert network_off == []


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("open_clip_config.json", "{", "not an open_clip config"),
        ("open_clip_config.json", "[]", "not an open_clip config"),
        ("open_clip_config.json", '{"model_cfg": {"embed_dim": 4}}', "text_cfg"),
        ("config.json", '{"model_type": "no-such-model"}', "cannot be made"),
        ("config.json", "{}", "cannot be made"),
        ("tokenizer.json", "{", "cannot be made"),
        ("open_clip_pytorch_model.bin", "broken", "cannot be read"),
    ],
)
def test_damaged_files(
    biomedclip_folder: Path, tmp_path: Path, name: str, content: str, said: str, network_off: list[Any]
) -> None:
    folder = copied(biomedclip_folder, tmp_path)
    (folder / name).write_text(content)
    with pytest.raises(UserError, match=said) as caught:
        OpenClipText(str(folder))
    assert str(folder) in str(caught.value)
    assert network_off == []


@pytest.mark.parametrize("change", ["lacks", "has more", "other shape"])
def test_weights_that_do_not_fit(biomedclip_folder: Path, tmp_path: Path, change: str) -> None:
    folder = copied(biomedclip_folder, tmp_path)
    path = folder / "open_clip_pytorch_model.bin"
    state = torch.load(path, weights_only=True)
    if change == "lacks":
        del state["text.proj.0.weight"]
    elif change == "has more":
        state["text.proj.4.weight"] = torch.ones(2)
    else:
        state["text.proj.0.weight"] = torch.ones(2, 2)
    torch.save(state, path)
    with pytest.raises(UserError, match=r"do not fit .*text|do not fit .*proj"):
        OpenClipText(str(folder))


def test_a_pickle_is_not_run(biomedclip_folder: Path, tmp_path: Path) -> None:
    folder = copied(biomedclip_folder, tmp_path)
    torch.save({"text.x": pytest.UsageError}, folder / "open_clip_pytorch_model.bin")
    with pytest.raises(UserError, match="cannot be read"):
        OpenClipText(str(folder))


@pytest.mark.parametrize(
    "make",
    [
        lambda: OpenClipText(BIOMEDCLIP),
        lambda: OpenClipText("ViT-B-32", pretrained="openai"),
        lambda: SentenceEncoder("someone/some-encoder"),
    ],
)
def test_a_missing_model_says_so_offline(
    make: Any, network_off: list[Any], hub_offline: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    empty_cache(tmp_path, monkeypatch)
    with pytest.raises(UserError, match=r"HF_HUB_OFFLINE.*hf download \S+/\S+ --local-dir DIR"):
        make()
    assert network_off == []


@pytest.mark.parametrize("make", [lambda: OpenClipText(BIOMEDCLIP), lambda: SentenceEncoder("someone/some-encoder")])
def test_a_missing_model_asks_the_network_once(
    make: Any, network_off: list[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    empty_cache(tmp_path, monkeypatch)
    with pytest.raises(UserError, match=r"cannot be downloaded.*hf download \S+/\S+ --local-dir DIR"):
        make()
    assert len(network_off) == 1  # no retries


@pytest.mark.parametrize("model", ["/no/such/folder", "./models/biomedclip", "~/no/such", "models/bio/clip"])
def test_a_missing_folder_is_not_looked_for_on_the_hub(model: str, network_off: list[Any]) -> None:
    with pytest.raises(UserError, match="no model folder") as caught:
        OpenClipText(model)
    assert model in str(caught.value)
    assert network_off == []


def test_open_clip_s_names(network_off: list[Any]) -> None:
    with pytest.raises(UserError, match=r"ViT-B-32.*openai"):
        OpenClipText("ViT-B-32", pretrained="opnai")
    with pytest.raises(UserError, match="not one of its names"):
        OpenClipText("ViT-B-23", pretrained="openai")
    assert network_off == []


@pytest.mark.parametrize("model", ["someone/biomed", "hf-hub:someone/biomed"])
def test_a_model_in_the_hub_s_cache_needs_no_network(
    model: str, biomedclip_folder: Path, tmp_path: Path, network_off: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = empty_cache(tmp_path, monkeypatch)
    place = cache / "models--someone--biomed"
    shutil.copytree(biomedclip_folder, place / "snapshots" / ("a" * 40))
    (place / "refs").mkdir()
    (place / "refs" / "main").write_text("a" * 40)
    assert torch.equal(OpenClipText(model)(TEXTS), OpenClipText(str(biomedclip_folder))(TEXTS))
    assert network_off == []


def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "hub"
