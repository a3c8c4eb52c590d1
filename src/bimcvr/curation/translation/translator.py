"""Translating reports: each is anonymised first, checked after, tried twice.

Kept on disk under the hash of what made it.

A translator is any callable with an `identity`; `translate_openai.py` and `translate_local.py` hold two.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from bimcvr.atomic_files import write_json
from bimcvr.curation.anonymise.anonymiser import Anonymised
from bimcvr.curation.translation.checks import check_translation
from bimcvr.errors import UserError


class TranslationError(Exception):
    """One report could not be translated: it goes to the review queue. The message holds no text of the report."""


class Translator(Protocol):
    """What turns Spanish reports into English ones.

    Attributes:
        identity: all that decides its output (model, prompt, glossary): part of the cache's key.
    """

    @property
    def identity(self) -> str:
        """What the cache's key holds of it."""
        ...

    def __call__(self, report: Anonymised, problems: Sequence[str] = ()) -> str:
        """Return the translation.

        Args:
            report: the report, without its people: nothing else may leave the machine.
            problems: what the checks held against the last attempt; empty at the first.

        Raises:
            TranslationError: this report cannot be translated.
            UserError: none can be.
        """
        ...


@dataclass(frozen=True)
class TranslationResult:
    """A report's translation.

    Attributes:
        text: the translation; the last attempt's where the checks failed, empty where there is none.
        problems: why a person must look at it; empty where it may be used.
        cached: whether it was there before.
    """

    text: str
    problems: tuple[str, ...] = ()
    cached: bool = False


class TranslationCache:
    """Translations on disk, one JSON file each, named by the hash of (text, translator): a crash loses nothing.

    The source text is not stored.

    Args:
        folder: where the files lie; made at the first write.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)

    def path(self, text: str, identity: str) -> Path:
        """Return the file of a text's translation."""
        key = hashlib.sha256(json.dumps([text, identity]).encode()).hexdigest()
        return self.folder / key[:2] / f"{key}.json"

    def get(self, text: str, identity: str) -> str | None:
        """Return the translation that is kept of a text, if any."""
        path = self.path(text, identity)
        if not path.is_file():
            return None
        try:
            return str(json.loads(path.read_text(encoding="utf-8"))["translation"])
        except (ValueError, LookupError, TypeError) as error:
            raise UserError(
                f"The translation kept in {path} cannot be read. Delete the file; the report is translated again."
            ) from error

    def put(self, text: str, identity: str, translation: str) -> None:
        """Keep a translation, whole or not at all."""
        write_json(self.path(text, identity), {"translator": identity, "translation": translation})


def translate_report(report: Anonymised, translator: Translator, cache: TranslationCache) -> TranslationResult:
    """Translate one report, or take it from the cache; a translation that fails its checks is tried once more.

    Args:
        report: the report, anonymised.
        translator: who translates.
        cache: what is kept from earlier runs. Translations that failed their checks are kept too, so a second run costs
            nothing; an endpoint's failure is not kept.

    Returns:
        the translation; its `problems` are for the review queue, and a text with problems is not to be used as it is.

    Raises:
        UserError: no report can be translated (no key, no such model, no endpoint).
    """
    if not report.text.strip():
        return TranslationResult("")
    kept = cache.get(report.text, translator.identity)
    if kept is not None:
        # checked anew: the rules may have become stricter since
        return TranslationResult(kept, tuple(check_translation(report.text, kept)), cached=True)
    problems: list[str] = []
    try:
        for _ in range(2):
            text = translator(report, problems)
            problems = check_translation(report.text, text)
            if not problems:
                break
    except TranslationError as error:
        return TranslationResult("", (str(error),))
    cache.put(report.text, translator.identity, text)
    return TranslationResult(text, tuple(problems))
