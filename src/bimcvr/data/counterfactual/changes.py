"""Counterfactual reports: versions of a report with one error, to test whether an embedding prefers the true one.

R@K hardly depends on left and right, a negation or a size; these changes measure them. A change replaces a few
spans and leaves the rest of the report as it was, byte for byte. The rules of each language are data, in
`english_rules.py` and `spanish_rules.py`.
"""

import hashlib
import itertools
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from bimcvr.data.counterfactual.english_rules import ENGLISH
from bimcvr.data.counterfactual.language_rules import MEASURE, Rules, fold, in_case_of, mentions
from bimcvr.data.counterfactual.negations import Edit, affirm, deny, is_known
from bimcvr.data.counterfactual.sizes import agreed, scaled
from bimcvr.data.counterfactual.spanish_rules import SPANISH
from bimcvr.data.text.sentences import sentence_spans, split_sentences
from bimcvr.errors import UserError

# negated: an affirmed finding is negated; affirmed: a negation is removed
CHANGE_KINDS = ("side", "negated", "affirmed", "size", "lobe")

_RULES = {"en": ENGLISH, "es": SPANISH}
_FUNCTION_WORDS = {
    "en": frozenset("the of and is are in with no there a an was were on to seen right left without for at".split()),
    "es": frozenset(
        "el la los las de del en con sin se un una y no que por al es derecho izquierdo derecha izquierda".split()
    ),
}
_MEASURE = re.compile(MEASURE, re.IGNORECASE)
# "In the left lung, no nodule is seen": the part before the negation only says where
_WHERE = re.compile(r"\W*(?:in|on|at|within|en|a nivel)\b", re.IGNORECASE)
_SIDE = r"(right middle lobe|lingula|lobulo medio|right|left|derech\w+|izquierd\w+)"
_PAIR = re.compile(rf"\b{_SIDE}(?:\s*/\s*| and | or | y | o )(?:the |el |la |los |las )?{_SIDE}\b")
_LIST_BEFORE = re.compile(r"\b(?:upper|middle|lower)(?:\s*[,/&]\s*|\s+(?:and|or|to)\s+)(?:the\s+)?$", re.IGNORECASE)


@dataclass(frozen=True)
class Change:
    """One wrong version of a report.

    Attributes:
        kind: the kind of error, one of `CHANGE_KINDS`.
        finding: the finding whose side is swapped, or "" if the change is not restricted to one.
        text: the changed report.
    """

    kind: str
    finding: str
    text: str


@dataclass(frozen=True)
class _Part:
    """A statement within a sentence, and whether it affirms something."""

    start: int
    end: int
    affirmed: bool


def changed_reports(
    report: str, language: str = "", findings: Mapping[str, Sequence[str]] | Sequence[str] = ()
) -> list[Change]:
    """Change a report in one respect at a time.

    `side` swaps right and left in all affirmed statements; for each of `findings` that the report affirms on exactly
    one side, another version swaps them in the statements about that finding only. `negated` denies one finding,
    `affirmed` affirms a denied one, `size` changes one length or graded word, `lobe` moves one finding to another
    lobe; a hash of the report decides which one. Kinds that do not apply to the report are left out.

    Args:
        report: the true text.
        language: "en" or "es"; "" to guess.
        findings: the names of findings, or for each name its wordings. A "+" joins words that must all occur in
            a statement ("fluid+pleural"); accents, capitals and a plural s are ignored. `FINDING_SYNONYMS` has
            wordings of common findings.

    Returns:
        The changed versions, `side` first; each differs from the report.

    Raises:
        UserError: the language is neither English nor Spanish.
    """
    if language not in ("", *_RULES):
        raise UserError(
            f"Language {language!r}: reports are changed in en and es only; leave it empty to have it guessed."
        )
    language = language or guess_language(report)
    rules = _RULES[language]
    sentences = sentence_spans(report)
    parts = [part for start, end in sentences for part in _parts(report, start, end, rules)]
    affirmed = [part for part in parts if part.affirmed]
    changes = _side_changes(report, affirmed, language, findings)
    options = {
        "negated": _rewritten(report, [s for s in sentences if not rules.denial.search(report, *s)], deny, rules),
        "affirmed": _rewritten(report, [s for s in sentences if rules.denial.search(report, *s)], affirm, rules),
        "size": [edit for part in affirmed for edit in _size_edits(report, part, language)],
        "lobe": [edit for part in affirmed for edit in _lobe_edits(report, part, language)],
    }
    for kind, edits in options.items():
        if edits:
            changes.append(Change(kind, "", _applied(report, [_chosen(edits, kind, report)])))
    return changes


def guess_language(text: str) -> str:
    """Guess from its function words whether a text is English ("en", also when in doubt) or Spanish ("es")."""
    words = Counter(re.findall(r"\w+", text.lower()))
    english, spanish = (sum(words[word] for word in _FUNCTION_WORDS[name]) for name in ("en", "es"))
    spanish += len(re.findall(r"[ñáéíóú]", text.lower()))
    return "es" if spanish > english else "en"


class _Lexicon:
    """Phrases and their replacements; accents, capitals and the width of blanks do not matter, except for codes."""

    def __init__(self, phrases: Mapping[str, str], codes: Mapping[str, str]) -> None:
        self.new = {fold(phrase): new for phrase, new in phrases.items()}
        self.codes = codes
        words = "|".join(_loose(phrase) for phrase in sorted(phrases, key=len, reverse=True))
        self.pattern = re.compile(rf"\b(?:(?i:{words})|{'|'.join(codes) or '(?!)'})\b")

    def edits(self, report: str, part: _Part, barred: re.Pattern[str]) -> list[Edit]:
        """Return an edit for every phrase in a statement that does not overlap a match of `barred`."""
        masks = [mask.span() for mask in barred.finditer(report, part.start, part.end)]
        edits = []
        for found in self.pattern.finditer(report, part.start, part.end):
            if not any(start < found.end() and found.start() < end for start, end in masks):
                old = found.group()
                new = self.codes.get(old) or in_case_of(old, self.new[fold(" ".join(old.split()))])
                edits.append((*found.span(), new))
        return edits


def _loose(phrase: str) -> str:
    for accented, plain in zip("áéíóúñ", "aeioun", strict=True):
        phrase = phrase.replace(accented, f"[{accented}{plain}]")
    return phrase.replace(" ", r"\s+")


_SIDES = {name: _Lexicon(rules.sides, rules.side_codes) for name, rules in _RULES.items()}
_LOBES = {name: _Lexicon(rules.lobes, rules.lobe_codes) for name, rules in _RULES.items()}
_SIZES = {name: _Lexicon(rules.sizes, {}) for name, rules in _RULES.items()}
# "lóbulo superior izquierdo (LSI)": moved in one place only, it would contradict itself
_SPELT_OUT = re.compile(r"(?:[\w-]+\s+){0,3}\((?:R[UML]L|L[UL]L|L[SI][DI]|LM)\)")


def _parts(report: str, start: int, end: int, rules: Rules) -> list[_Part]:
    cuts = sorted({start, *(cut.start() for cut in rules.cut.finditer(report, start, end)), end})
    spans = list(itertools.pairwise(cuts))
    affirmed = [rules.denial.search(report, *span) is None for span in spans]
    for i in range(len(spans) - 1):
        if affirmed[i] and not affirmed[i + 1] and _WHERE.match(report, *spans[i]):
            affirmed[i] = False
    return [_Part(*span, is_affirmed) for span, is_affirmed in zip(spans, affirmed, strict=True)]


# ---------------------------------------------------------------- sides


def _side_changes(
    report: str, affirmed: list[_Part], language: str, findings: Mapping[str, Sequence[str]] | Sequence[str]
) -> list[Change]:
    rules = _RULES[language]
    edits = {part: _SIDES[language].edits(report, part, rules.no_side) for part in affirmed}
    changes = []
    swapped = _applied(report, [edit for part in affirmed for edit in edits[part]])
    if _content(swapped) != _content(report):
        changes.append(Change("side", "", swapped))
    wordings = findings if isinstance(findings, Mapping) else {name: (name,) for name in findings}
    for name, synonyms in wordings.items():
        about = [part for part in affirmed if mentions(report[part.start : part.end], synonyms)]
        both = any(rules.both_sides.search(report, part.start, part.end) for part in about)
        finding_edits = [edit for part in about for edit in edits[part]]
        right = {
            rules.right.search(report[start:end] if report[start:end] in rules.side_codes else fold(report[start:end]))
            is not None
            for start, end, _ in finding_edits
        }
        if len(right) == 1 and not both:
            changes.append(Change("side", name, _applied(report, finding_edits)))
    return changes


def _content(report: str) -> Counter[str]:
    """Return the sentences of a report regardless of their order and of the order in "right and left"."""
    return Counter(
        _PAIR.sub(lambda found: " and ".join(sorted((found[1], found[2]))), fold(sentence))
        for sentence in split_sentences(report)
    )


# ---------------------------------------------------------------- sizes and lobes


def _size_edits(report: str, part: _Part, language: str) -> list[Edit]:
    barred = _RULES[language].no_size
    masks = [mask.span() for mask in barred.finditer(report, part.start, part.end)]
    edits = [
        (*found.span(), scaled(found.group()))
        for found in _MEASURE.finditer(report, part.start, part.end)
        if not any(start < found.end() and found.start() < end for start, end in masks)
    ]
    for start, end, new in _SIZES[language].edits(report, part, barred):
        if "*" in new:
            new = in_case_of(report[start:end], agreed(new.lower(), report[part.start : start], report[end : part.end]))
        article = re.search(r"\b([Aa])n\s+$", report[part.start : start])
        if article and language == "en":  # no new word begins with a vowel
            start, new = part.start + article.start(), f"{article[1]} {new}"
        edits.append((start, end, new))
    return [edit for edit in edits if edit[2] != report[edit[0] : edit[1]]]


def _lobe_edits(report: str, part: _Part, language: str) -> list[Edit]:
    text = fold(report[part.start : part.end])
    return [
        (start, end, new)
        for start, end, new in _LOBES[language].edits(report, part, _SPELT_OUT)
        if fold(new) not in text and not _LIST_BEFORE.search(report, part.start, start)
    ]


# ---------------------------------------------------------------- negations


def _rewritten(
    report: str, spans: list[tuple[int, int]], rewrite: Callable[[str, Rules], Edit | None], rules: Rules
) -> list[Edit]:
    """Return an edit for every sentence that can be rewritten; only those about known findings, if there are any."""
    edits, known = [], []
    for start, end in spans:
        sentence = report[start:end]
        edit = rewrite(sentence, rules)
        if edit and edit[2] != sentence[edit[0] : edit[1]]:
            edits.append((start + edit[0], start + edit[1], edit[2]))
            if is_known(sentence[edit[0] : edit[1]]):
                known.append(edits[-1])
    return known or edits


# ---------------------------------------------------------------- applying


def _chosen(edits: list[Edit], kind: str, report: str) -> Edit:
    digest = hashlib.sha256(f"{kind}\n{report}".encode("utf-8", "surrogatepass")).digest()
    return edits[int.from_bytes(digest[:8]) % len(edits)]


def _applied(report: str, edits: list[Edit]) -> str:
    for start, end, new in sorted(edits, reverse=True):
        report = report[:start] + new + report[end:]
    return report
