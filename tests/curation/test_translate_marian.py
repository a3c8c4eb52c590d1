"""The local translator on a tiny Marian made here.

Its own folder, no network, sentences in order, refusals that say what to do.
"""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from bimcvr.curation.anonymise.anonymiser import Anonymised
from bimcvr.curation.translation.marian import MarianTranslator
from bimcvr.curation.translation.translator import TranslationCache, TranslationError, translate_report
from bimcvr.errors import UserError

SENTENCES = [
    "No se observa derrame pleural derecho.",
    "Nódulo de 8 mm en el lóbulo superior.",
    "Sin adenopatías.",
    "Resto sin cambios.",
    "No pleural effusion is seen on the right.",
    "Nodule of 8 mm in the upper lobe.",
    "Without lymph nodes.",
    "Otherwise unchanged.",
]


@pytest.fixture(scope="module")
def marian_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random Marian model as it is published: two sentencepiece models, a joint vocabulary, a config, weights."""
    sentencepiece = pytest.importorskip("sentencepiece", reason="Marian's tokenizer needs sentencepiece")
    from transformers import MarianConfig, MarianMTModel

    folder = tmp_path_factory.mktemp("marian")
    for name in ("source", "target"):
        with (folder / f"{name}.spm").open("wb") as stream:
            sentencepiece.SentencePieceTrainer.train(
                sentence_iterator=iter(SENTENCES * 20),
                model_writer=stream,
                vocab_size=60,
                hard_vocab_limit=False,
                bos_id=-1,
                eos_id=0,
                unk_id=1,
                minloglevel=2,
            )
    processor = sentencepiece.SentencePieceProcessor(model_file=str(folder / "source.spm"))
    pieces = [
        "</s>",
        "<unk>",
        *(processor.id_to_piece(number) for number in range(2, processor.get_piece_size())),
        "<pad>",
    ]
    (folder / "vocab.json").write_text(
        json.dumps({piece: number for number, piece in enumerate(pieces)}), encoding="utf-8"
    )
    described = {"source_lang": "es", "target_lang": "en", "tokenizer_class": "MarianTokenizer"}
    (folder / "tokenizer_config.json").write_text(json.dumps(described))
    torch.manual_seed(0)
    pad = len(pieces) - 1
    config = MarianConfig(
        vocab_size=len(pieces),
        d_model=16,
        encoder_layers=1,
        decoder_layers=1,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=32,
        decoder_ffn_dim=32,
        max_position_embeddings=40,
        pad_token_id=pad,
        eos_token_id=0,
        decoder_start_token_id=pad,
        forced_eos_token_id=0,
    )
    MarianMTModel(config).save_pretrained(folder)
    return folder


def test_a_published_folder_translates_without_a_network(
    marian_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import socket

    def refuse(*_: Any, **__: Any) -> None:
        raise OSError("the network is off in this test")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    translator = MarianTranslator(str(marian_folder))
    report = Anonymised(" ".join(SENTENCES[:2]), {})
    once = translator(report)
    assert isinstance(once, str)
    assert translator(report) == once  # no sampling
    cache = TranslationCache(tmp_path)
    result = translate_report(report, translator, cache)  # random words: the checks must hold something against them
    assert result.problems
    assert translate_report(report, translator, cache) == result


def test_sentences_and_lines_keep_their_order(marian_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    translator = MarianTranslator(str(marian_folder), batch_size=2)
    seen: list[tuple[list[str], int]] = []

    def echo(sentences: list[str], beams: int) -> list[str]:
        seen.append((sentences, beams))
        return [sentence.upper() for sentence in sentences]

    monkeypatch.setattr(translator, "_translate", echo)
    text = "TÓRAX: Derrame. Nódulo de 1.5 cm.\n\nNo se ve más. [NAME] firma."
    assert translator(Anonymised(text, {})) == text.upper()
    assert [len(sentences) for sentences, _ in seen] == [2, 2]
    translator(Anonymised("Una.", {}), ["numbers lost: 8"])
    assert seen[-1][1] > seen[0][1]  # a wider search after failed checks


def test_batches_do_not_change_a_sentence(marian_folder: Path) -> None:
    text = Anonymised("\n".join(SENTENCES[:4]), {})
    assert MarianTranslator(str(marian_folder), batch_size=1)(text) == MarianTranslator(
        str(marian_folder), batch_size=4
    )(text)


def test_a_sentence_beyond_the_model_is_for_a_person(marian_folder: Path) -> None:
    with pytest.raises(TranslationError, match="40 tokens"):
        MarianTranslator(str(marian_folder))(Anonymised("derrame " * 60, {}))


def test_absent_and_broken_models_say_what_to_do(tmp_path: Path, marian_folder: Path) -> None:
    with pytest.raises(UserError, match="no model folder"):
        MarianTranslator("./nowhere/at/all")
    for path in marian_folder.iterdir():
        if path.suffix != ".spm":
            (tmp_path / path.name).write_bytes(path.read_bytes())
    with pytest.raises(UserError, match="cannot be loaded"):
        MarianTranslator(str(tmp_path))
