"""Translation of anonymised reports: two attempts, checks of the result, and a cache on disk.

A translator is any callable with an `identity`; `openai_api.py` and `marian.py` have one each.
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
    """One report could not be translated; it goes to the review queue. The message contains no text of the report."""


class Translator(Protocol):
    """Translates Spanish reports to English.

    Attributes:
        identity: text that changes with the output (model, prompt, glossary); part of the cache's key.
    """

    @property
    def identity(self) -> str:
        """The translator's part of the cache's key."""
        ...

    def __call__(self, report: Anonymised, problems: Sequence[str] = ()) -> str:
        """Return the translation.

        Args:
            report: the anonymised report; nothing else may leave the machine.
            problems: what the checks found in the previous attempt; empty at the first.

        Raises:
            TranslationError: this report cannot be translated.
            UserError: no report can be translated.
        """
        ...


@dataclass(frozen=True)
class TranslationResult:
    """A report's translation.

    Attributes:
        text: the translation; the last attempt if the checks failed, empty if there is none.
        problems: why a person must look at it; empty if it can be used.
    """

    text: str
    problems: tuple[str, ...] = ()


class TranslationCache:
    """Translations on disk, one JSON file each, named by the hash of text and translator, so a crash loses nothing.

    The source text is not stored.

    Args:
        folder: the folder of the files, created at the first write.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)

    def path(self, text: str, identity: str) -> Path:
        """Return the file of a translation.

        Args:
            text: the source text.
            identity: the translator's identity.
        """
        key = hashlib.sha256(json.dumps([text, identity]).encode()).hexdigest()
        return self.folder / key[:2] / f"{key}.json"

    def get(self, text: str, identity: str) -> str | None:
        """Return the stored translation of a text, if there is one.

        Args:
            text: the source text.
            identity: the translator's identity.

        Raises:
            UserError: the file cannot be read.
        """
        path = self.path(text, identity)
        if not path.is_file():
            return None
        try:
            return str(json.loads(path.read_text(encoding="utf-8"))["translation"])
        except (ValueError, LookupError, TypeError) as error:
            raise UserError(
                f"The translation stored in {path} cannot be read. Delete the file; the report is translated again."
            ) from error

    def put(self, text: str, identity: str, translation: str) -> None:
        """Store a translation, completely or not at all.

        Args:
            text: the source text.
            identity: the translator's identity.
            translation: the English text.
        """
        write_json(self.path(text, identity), {"translator": identity, "translation": translation})


def translate_report(report: Anonymised, translator: Translator, cache: TranslationCache) -> TranslationResult:
    """Translate a report, or take its translation from the cache; one that fails its checks is tried once more.

    Args:
        report: the anonymised report.
        translator: the translator.
        cache: translations of earlier runs. Translations that failed their checks are stored too, so a second run
            costs nothing; failures of an endpoint are not stored.

    Returns:
        The translation. Its `problems` go to the review queue, and a text with problems must not be used as it is.

    Raises:
        UserError: no report can be translated (no key, no such model, no endpoint).
    """
    if not report.text.strip():
        return TranslationResult("")
    stored = cache.get(report.text, translator.identity)
    if stored is not None:
        # checked again, since the rules may have changed
        return TranslationResult(stored, tuple(check_translation(report.text, stored)))
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
