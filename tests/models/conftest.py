"""Small published-looking text models in folders, and a network that is off and counts who tries it."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from helpers.network import turn_off

HUB_NAME = "microsoft/BiomedNLP-BiomedBERT-base-uncased-abstract"
WORDS = (
    "no a of in the and is with large small right left pleural effusion nodule mass heart lung lobe "
    "upper lower normal enlarged clear atelectasis consolidation mm cm . , : 1 2 3 4 5 ##s ##ly"
).split()


@pytest.fixture
def network_off(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Make every look-up and connection fail; returns the list of those that were tried."""
    return turn_off(monkeypatch)


@pytest.fixture
def hub_offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """Set HF_HUB_OFFLINE=1, which the hub's client reads once, when it is imported."""
    from huggingface_hub import constants

    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)


def write_tokenizer(folder: Path) -> int:
    """Write the files of an uncased BERT tokenizer as published; returns the size of its vocabulary."""
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

    letters = [chr(code) for code in range(ord("a"), ord("z") + 1)]
    vocabulary = dict.fromkeys(
        ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS, *letters, *(f"##{letter}" for letter in letters)]
    )
    ids = {token: number for number, token in enumerate(vocabulary)}
    tokenizer = Tokenizer(models.WordPiece(ids, unk_token="[UNK]"))  # noqa: S106
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", ids["[SEP]"]), ("[CLS]", ids["[CLS]"]))
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "vocab.txt").write_text("\n".join(ids) + "\n", encoding="utf-8")
    names = {
        "unk_token": "[UNK]",
        "sep_token": "[SEP]",
        "pad_token": "[PAD]",
        "cls_token": "[CLS]",
        "mask_token": "[MASK]",
    }
    (folder / "special_tokens_map.json").write_text(json.dumps(names), encoding="utf-8")
    options = {"do_lower_case": True, "tokenizer_class": "BertTokenizer", "model_max_length": int(1e30)}
    (folder / "tokenizer_config.json").write_text(json.dumps({**names, **options}), encoding="utf-8")
    return len(ids)


def small_bert(vocabulary: int) -> Any:
    """A BERT config of BiomedBERT's kind, dropout included."""
    from transformers import BertConfig

    return BertConfig(
        vocab_size=vocabulary,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=300,
    )


@pytest.fixture(scope="session")
def bert_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sentence-transformers folder (Transformer, mean pooling, Normalize) of a small BERT."""
    from transformers import BertModel

    folder = tmp_path_factory.mktemp("small-bert")
    torch.manual_seed(0)
    BertModel(small_bert(write_tokenizer(folder))).save_pretrained(folder)
    kinds = {"": "Transformer", "1_Pooling": "Pooling", "2_Normalize": "Normalize"}
    modules = [
        {"idx": number, "path": path, "type": f"sentence_transformers.models.{kind}"}
        for number, (path, kind) in enumerate(kinds.items())
    ]
    (folder / "modules.json").write_text(json.dumps(modules), encoding="utf-8")
    (folder / "1_Pooling").mkdir()
    pooling = {"pooling_mode_cls_token": False, "pooling_mode_mean_tokens": True}
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(pooling), encoding="utf-8")
    (folder / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": 24}), encoding="utf-8")
    return folder


@pytest.fixture(scope="session")
def biomedclip_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small model of BiomedCLIP's classes, folder as published: its config names the hub's text model."""
    from open_clip.model import CustomTextCLIP

    folder = tmp_path_factory.mktemp("small-biomedclip")
    small_bert(write_tokenizer(folder)).save_pretrained(folder)
    text = {
        "hf_model_name": HUB_NAME,
        "hf_tokenizer_name": HUB_NAME,
        "hf_proj_type": "mlp",
        "hf_pooler_type": "cls_last_hidden_state_pooler",
        "context_length": 256,
    }
    vision = {
        "timm_model_name": "test_vit",
        "timm_model_pretrained": False,
        "timm_pool": "",
        "timm_proj": "linear",
        "image_size": 160,
    }
    preprocess = {"mean": [0.48145466, 0.4578275, 0.40821073], "std": [0.26862954, 0.26130258, 0.27577711]}
    config = {"embed_dim": 24, "vision_cfg": vision, "text_cfg": text}
    published = {"model_cfg": config, "preprocess_cfg": preprocess}
    (folder / "open_clip_config.json").write_text(json.dumps(published), encoding="utf-8")
    torch.manual_seed(1)
    model = CustomTextCLIP(24, vision, {**text, "hf_model_name": str(folder), "hf_model_pretrained": False})
    # the published file was saved by a version of transformers that still stored this constant
    surplus = {"text.transformer.embeddings.position_ids": torch.arange(300)[None]}
    torch.save({**model.state_dict(), **surplus}, folder / "open_clip_pytorch_model.bin")
    return folder


@pytest.fixture(scope="session")
def clip_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small plain CLIP as OpenAI's is published: QuickGELU, open_clip's tokenizer, float16 weights."""
    from open_clip.model import CLIP
    from safetensors.torch import save_file

    folder = tmp_path_factory.mktemp("small-clip")
    vision = {"image_size": 16, "layers": 1, "width": 64, "patch_size": 8}
    text = {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2}
    config = {"embed_dim": 16, "vision_cfg": vision, "text_cfg": text, "quick_gelu": True}
    published = {"model_cfg": config, "preprocess_cfg": {}}
    (folder / "open_clip_config.json").write_text(json.dumps(published), encoding="utf-8")
    torch.manual_seed(2)
    model = CLIP(16, vision, text, quick_gelu=True).half()
    state = {key: value.contiguous() for key, value in model.state_dict().items()}
    save_file(state, folder / "open_clip_model.safetensors")
    return folder
