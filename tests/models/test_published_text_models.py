"""Text models in the layouts that others publish: the vectors of sentence-transformers, or a refusal by name."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from bimcvr.errors import UserError
from bimcvr.models.text.sentence_transformer import SentenceEncoder

WORDS = "there is no a large right left pleural effusion nodule Large Right No Nodule .".split()
TEXTS = ["There is a large right pleural effusion . No Nodule .", "no nodule"]
SHAPE = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}


def write_tokenizer(folder: Path, **options: Any) -> int:
    """Write a cased tokenizer of whole words; returns the size of its vocabulary."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    ids = {token: number for number, token in enumerate(["[CLS]", "[PAD]", "[SEP]", "[UNK]", *dict.fromkeys(WORDS)])}
    tokenizer = Tokenizer(models.WordLevel(ids, unk_token="[UNK]"))  # noqa: S106
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    marks = [(token, ids[token]) for token in ("[CLS]", "[SEP]")]
    tokenizer.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=marks)
    names = {"cls_token": "[CLS]", "sep_token": "[SEP]", "unk_token": "[UNK]", "pad_token": "[PAD]"}
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, **{**names, **options}).save_pretrained(folder)
    return len(ids)


def write_bert(folder: Path, **options: Any) -> None:
    from transformers import BertConfig, BertModel

    torch.manual_seed(0)
    vocabulary = write_tokenizer(folder, model_max_length=64)
    config = BertConfig(vocab_size=vocabulary, max_position_embeddings=64, pad_token_id=1, **SHAPE)
    BertModel(config).save_pretrained(folder, **options)


def describe(folder: Path, transformer: str = "", **files: Any) -> None:
    """Write sentence-transformers' files beside a model."""
    kinds = {"Transformer": transformer, "Pooling": "1_Pooling"}
    modules = [
        {"idx": number, "name": str(number), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for number, (kind, path) in enumerate(kinds.items())
    ]
    pooling = {"word_embedding_dimension": 32, "pooling_mode_mean_tokens": True, **files.get("pooling", {})}
    (folder / "1_Pooling").mkdir(exist_ok=True)
    (folder / "1_Pooling/config.json").write_text(json.dumps(pooling))
    (folder / "modules.json").write_text(json.dumps(files.get("modules", modules)))
    settings = {"max_seq_length": 64, "do_lower_case": False, **files.get("settings", {})}
    (folder / transformer / "sentence_bert_config.json").write_text(json.dumps(settings))
    if "prompts" in files:
        (folder / "config_sentence_transformers.json").write_text(json.dumps(files["prompts"]))


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cased-bert")
    write_bert(folder)
    return folder


def assert_as_published(folder: Path) -> None:
    peer = pytest.importorskip("sentence_transformers")
    expected = torch.tensor(peer.SentenceTransformer(str(folder), device="cpu").encode(TEXTS))
    found = SentenceEncoder(str(folder), sentences=False)(TEXTS)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)


def normalizing(folder: Path) -> None:
    describe(folder)
    modules = json.loads((folder / "modules.json").read_text())
    modules.append({"idx": 2, "name": "2", "path": "2_Normalize", "type": "sentence_transformers.models.Normalize"})
    (folder / "2_Normalize").mkdir()
    (folder / "modules.json").write_text(json.dumps(modules))


def in_old_layout(folder: Path) -> None:
    below = folder / "0_Transformer"
    below.mkdir()
    for path in [path for path in folder.iterdir() if path.is_file()]:
        path.rename(below / path.name)
    describe(folder, "0_Transformer", settings={"do_lower_case": True})


def in_shards(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    write_bert(folder, max_shard_size="20KB")
    assert (folder / "model.safetensors.index.json").is_file()
    describe(folder)


def with_pickled_weights(folder: Path) -> None:
    from safetensors.torch import load_file

    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    describe(folder)


def with_a_tokenizer_of_fewer_tokens(folder: Path) -> None:
    write_tokenizer(folder, model_max_length=6)
    describe(folder)


PROMPTS = {"prompts": {"query": "large nodule "}, "default_prompt_name": "query"}


@pytest.mark.parametrize(
    "prepare",
    [
        lambda folder: describe(folder, settings={"do_lower_case": True}),
        lambda folder: describe(folder, prompts=PROMPTS, settings={"do_lower_case": True}),
        lambda folder: describe(folder, prompts={**PROMPTS, "default_prompt_name": None}),
        lambda folder: describe(folder, settings={"max_seq_length": 5}),
        normalizing,
        in_old_layout,
        in_shards,
        with_pickled_weights,
        with_a_tokenizer_of_fewer_tokens,
    ],
    ids=["lower", "prompt", "no default prompt", "short", "normalize", "old layout", "shards", "pickled", "lengths"],
)
def test_vectors_are_those_of_sentence_transformers(bert: Path, tmp_path: Path, prepare: Any) -> None:
    folder = tmp_path / "model"
    shutil.copytree(bert, folder)
    prepare(folder)
    assert_as_published(folder)


def test_roberta_has_fewer_tokens_than_positions(tmp_path: Path) -> None:
    from transformers import RobertaConfig, RobertaModel

    vocabulary = write_tokenizer(tmp_path)
    config = RobertaConfig(vocab_size=vocabulary, max_position_embeddings=66, pad_token_id=1, **SHAPE)
    RobertaModel(config).save_pretrained(tmp_path)
    encoder = SentenceEncoder(str(tmp_path), sentences=False)
    assert encoder.max_tokens == 64
    assert encoder(["nodule " * 62]).equal(encoder(["nodule " * 500]))
    assert_as_published(tmp_path)
    for wrong in (65, 2):
        with pytest.raises(UserError, match=rf"max_tokens is {wrong}.* at most 64"):
            SentenceEncoder(str(tmp_path), max_tokens=wrong)


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"prompts": {**PROMPTS, "default_prompt_name": "passage"}}, "passage"),
        ({"prompts": PROMPTS, "pooling": {"include_prompt": False}}, "pooling leaves out"),
        ({"settings": {"tokenizer_args": {"trust_remote_code": True}}}, "tokenizer_args"),
        ({"prompts": {"truncate_dim": 8}}, "truncate_dim"),
        ({"settings": {"max_seq_length": 0}}, "max_seq_length is 0"),
        ({"settings": {"max_seq_length": "64"}}, "max_seq_length is '64'"),
        ({"modules": [{"path": "", "type": "Normalize"}, {"path": "", "type": "Pooling"}]}, "in the order Normalize"),
        ({"settings": {"transformer_task": "text-generation"}}, "text-generation"),
        ({"modules": [{"path": ""}]}, "modules.json"),
        ({"modules": {}}, "holds no list"),
    ],
)
def test_settings_that_are_not_followed_are_refused(bert: Path, tmp_path: Path, files: Any, said: str) -> None:
    shutil.copytree(bert, tmp_path / "model")
    describe(tmp_path / "model", **files)
    with pytest.raises(UserError, match=said):
        SentenceEncoder(str(tmp_path / "model"))


def test_adapters_and_tokens_without_a_vector_are_refused(bert: Path, tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    folder = tmp_path / "model"
    shutil.copytree(bert, folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.add_tokens(["pneumatocele"])
    tokenizer.save_pretrained(folder)
    encoder = SentenceEncoder(str(folder))
    assert encoder(["large nodule"]).isfinite().all()
    with pytest.raises(UserError, match="token 'pneumatocele'"):
        encoder(["large pneumatocele"])
    (folder / "adapter_config.json").write_text("{}")
    with pytest.raises(UserError, match="is an adapter"):
        SentenceEncoder(str(folder))


def test_models_of_other_kinds_are_refused(bert: Path, tmp_path: Path) -> None:
    from transformers import GPT2Config, GPT2Model, T5Config, T5Model

    gpt, t5, left, code = (tmp_path / name for name in ("gpt", "t5", "left", "code"))
    vocabulary = write_tokenizer(gpt, pad_token=None)
    GPT2Model(GPT2Config(vocab_size=vocabulary, n_embd=32, n_layer=1, n_head=2, n_positions=64)).save_pretrained(gpt)
    write_tokenizer(t5)
    T5Model(T5Config(vocab_size=vocabulary, d_model=32, d_kv=16, d_ff=64, num_layers=1, num_heads=2)).save_pretrained(
        t5
    )
    shutil.copytree(bert, left)
    write_tokenizer(left, padding_side="left")
    shutil.copytree(bert, code)
    config = json.loads((code / "config.json").read_text())
    (code / "config.json").write_text(
        json.dumps({**config, "model_type": "own", "auto_map": {"AutoConfig": "own.Own"}})
    )
    (code / "own.py").write_text(f"open({str(tmp_path / 'run')!r}, 'w')\n")
    for folder, said in ((gpt, "no padding token"), (t5, "T5Model"), (left, "pads on the left"), (code, "of its own")):
        with pytest.raises(UserError, match=said) as caught:
            SentenceEncoder(str(folder))
        assert str(folder) in str(caught.value)
    assert not (tmp_path / "run").exists()


INSTRUCTION = "no large left : "


def write_qwen3(folder: Path, **options: Any) -> None:
    """Write a small language model in the layout of Qwen3-Embedding: an end token, the last token's state, length 1."""
    from tokenizers import processors
    from transformers import PreTrainedTokenizerFast, Qwen3Config, Qwen3Model

    torch.manual_seed(0)
    vocabulary = write_tokenizer(folder, padding_side="left", model_max_length=64)
    tokenizer = PreTrainedTokenizerFast.from_pretrained(folder)
    end = [("[SEP]", tokenizer.convert_tokens_to_ids("[SEP]"))]
    template = processors.TemplateProcessing(single="$A [SEP]", special_tokens=end)
    tokenizer.backend_tokenizer.post_processor = template
    tokenizer.save_pretrained(folder)
    shape = {**SHAPE, "num_key_value_heads": 1, "head_dim": 16, "max_position_embeddings": 64}
    Qwen3Model(Qwen3Config(vocab_size=vocabulary, pad_token_id=1, **shape)).to(
        options.pop("dtype", None)
    ).save_pretrained(folder)
    prompts = {"prompts": {"query": INSTRUCTION, "document": ""}, "default_prompt_name": None}
    pooling = {"pooling_mode_mean_tokens": False, "pooling_mode_lasttoken": True, "include_prompt": True}
    describe(folder, pooling=pooling, prompts=prompts)
    (folder / "sentence_bert_config.json").unlink()
    modules = json.loads((folder / "modules.json").read_text())
    modules.append({"idx": 2, "name": "2", "path": "2_Normalize", "type": "sentence_transformers.models.Normalize"})
    (folder / "modules.json").write_text(json.dumps(modules))


@pytest.fixture(scope="module")
def qwen3(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("qwen3-embedding")
    write_qwen3(folder)
    return folder


@pytest.mark.parametrize(
    "prompt", [{}, {"prompt_name": "query"}, {"prompt_name": "document"}, {"prompt": "a pleural "}], ids=str
)
def test_the_last_token_is_that_of_sentence_transformers(qwen3: Path, prompt: dict[str, str]) -> None:
    peer = pytest.importorskip("sentence_transformers").SentenceTransformer(str(qwen3), device="cpu")
    assert peer.tokenizer.padding_side == "left"
    texts = [*TEXTS, "effusion " * 80]  # of several lengths in one batch, one of them cut
    encoder = SentenceEncoder(str(qwen3), sentences=False, **prompt)
    assert (encoder.pooling, encoder.max_tokens) == ("lasttoken", 64)
    found = encoder(texts)
    torch.testing.assert_close(found, torch.tensor(peer.encode(texts, **prompt)), rtol=0, atol=1e-5)
    torch.testing.assert_close(encoder.encode(texts), found, rtol=0, atol=1e-5)  # as TunedText reads a batch
    plain = SentenceEncoder(str(qwen3), sentences=False)(texts)
    assert torch.allclose(found, plain, atol=1e-3) == (prompt in ({}, {"prompt_name": "document"}))


def test_a_language_model_in_bfloat16_computes_in_float32(tmp_path: Path) -> None:
    from transformers import Qwen3Model

    write_qwen3(tmp_path, dtype=torch.bfloat16)
    encoder = SentenceEncoder(str(tmp_path), sentences=False)
    model = Qwen3Model.from_pretrained(tmp_path).float().eval()
    ids = encoder._tokenizer(TEXTS[0], return_tensors="pt").input_ids
    assert int(ids[0, -1]) == 2  # [SEP]
    with torch.no_grad():
        last = model(ids).last_hidden_state[0, -1]
    torch.testing.assert_close(encoder(TEXTS[:1])[0], last / last.norm(), rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("prompt", "said"),
    [
        ({"prompt_name": "querry"}, r"no prompt named 'querry' \(its prompts are document, query\)"),
        ({"prompt_name": "query", "prompt": "Query:"}, "both given"),
    ],
)
def test_a_prompt_that_is_not_there_is_refused(qwen3: Path, prompt: dict[str, str], said: str) -> None:
    with pytest.raises(UserError, match=said):
        SentenceEncoder(str(qwen3), **prompt)
