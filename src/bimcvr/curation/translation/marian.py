"""Translation on this machine with a published Hugging Face model such as Helsinki-NLP/opus-mt-es-en."""

from collections.abc import Sequence
from typing import Any

from bimcvr.curation.anonymise.anonymiser import Anonymised
from bimcvr.curation.translation.sentences import sentences_to_translate
from bimcvr.curation.translation.translator import TranslationError
from bimcvr.errors import UserError
from bimcvr.extras import MissingExtra
from bimcvr.hub import REPAIR, first_line, model_folder

_WEIGHTS = ("model.safetensors", "pytorch_model.bin")
_BEAMS, _MORE_BEAMS = 4, 8  # the first attempt, and the one after failed checks


class MarianTranslator:
    """Translates sentence by sentence with a sequence-to-sequence model of transformers (Marian and similar).

    Args:
        model: a hub id (`Helsinki-NLP/opus-mt-es-en`) or the folder that `hf download` wrote.
        device: the device it runs on.
        batch_size: sentences per batch.

    Raises:
        UserError: the model is missing or incomplete, or its tokenizer needs a package that is not installed.
    """

    def __init__(self, model: str, device: str = "cpu", batch_size: int = 16) -> None:
        from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

        folder = model_folder(model, "config.json", _WEIGHTS)
        options = {"local_files_only": True, "trust_remote_code": False}
        try:
            self._tokenizer: Any = AutoTokenizer.from_pretrained(str(folder), **options)
            model_of_folder: Any = AutoModelForSeq2SeqLM.from_pretrained(str(folder), **options)
        except ImportError as error:
            raise MissingExtra("curate", "the tokenizer of Marian models") from error
        except (OSError, ValueError, KeyError, TypeError, RuntimeError) as error:
            raise UserError(
                f"The translation model in {folder} cannot be loaded: {type(error).__name__}: {first_line(error)}. "
                f"{REPAIR}"
            ) from error
        self._model = model_of_folder.to(device).eval()
        self._name, self._device, self._batch_size = model, device, batch_size

    @property
    def identity(self) -> str:
        """The model and its beam sizes."""
        return f"local {self._name} beams {_BEAMS} {_MORE_BEAMS}"

    def __call__(self, report: Anonymised, problems: Sequence[str] = ()) -> str:
        """Return the translation of one report, with more beams if an earlier translation failed its checks.

        Args:
            report: the anonymised report.
            problems: what the checks found in the previous attempt.

        Raises:
            TranslationError: a sentence is longer than the model can read.
        """
        import torch

        lines = [sentences_to_translate(line) for line in report.text.split("\n")]
        sentences = [sentence for line in lines for sentence in line]
        english: list[str] = []
        with torch.inference_mode():
            for start in range(0, len(sentences), self._batch_size):
                english += self._translate(
                    sentences[start : start + self._batch_size], _MORE_BEAMS if problems else _BEAMS
                )
        rest = iter(english)
        return "\n".join(" ".join(next(rest) for _ in line) for line in lines).strip()

    def _translate(self, sentences: list[str], beams: int) -> list[str]:
        tokens = self._tokenizer(sentences, return_tensors="pt", padding=True).to(self._device)
        longest = int(getattr(self._model.config, "max_position_embeddings", 512))
        if tokens["input_ids"].shape[1] > longest:
            raise TranslationError(f"a sentence is longer than the model's {longest} tokens")
        made = self._model.generate(**tokens, num_beams=beams, do_sample=False, max_new_tokens=longest - 1)
        return [text.strip() for text in self._tokenizer.batch_decode(made, skip_special_tokens=True)]
