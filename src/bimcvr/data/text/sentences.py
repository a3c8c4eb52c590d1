"""Split a report into sentences."""

import re

# a full stop after one of these does not end a sentence
_ABBREVIATIONS = {
    "dr",
    "dra",
    "mr",
    "mrs",
    "ms",
    "prof",
    "st",
    "vs",
    "approx",
    "fig",
    "figs",
    "ca",
    "cf",
    "resp",
    "e.g",
    "i.e",
    "al",
    "incl",
    "max",
    "min",
    "aprox",
    "ej",
}
# after one of these it ends a sentence only if no lower-case letter follows: "a nodule of 5 mm. in the left lobe"
_MAYBE = {"mm", "cm", "ml", "cc", "im", "se", "inf", "sup", "ant", "post", "lat", "seg", "etc", "hu", "no"}
_END = re.compile(r"[.!?]+[\"')\]]*(?=\s)|(?<=[a-zà-ÿ)])\.(?=[A-ZÀ-Ý][a-zà-ÿ])")
_TITLE = re.compile(r"^[^\W\d_][\w ]{2,30}:(?:\s|$)")
_WORD = re.compile(r"\S+")
_BULLET = re.compile(r"^\s*(?:[-*•·–—]\s*|\(?\d{1,2}[.)]\s+)")


def split_sentences(text: str) -> list[str]:
    """Split a report into its sentences, in order; at least one is returned.

    A sentence ends at a full stop, an exclamation or a question mark, and at a line break unless the line was
    merely wrapped. Decimal numbers ("1.5 cm"), abbreviations ("Dr.", "e.g.") and initials do not end one.
    Pieces without a letter (list numbers, rules) are left out, unless there is nothing else.

    Args:
        text: the report.
    """
    return [" ".join(text[start:end].split()) for start, end in sentence_spans(text)] or [" ".join(text.split())]


def sentence_spans(text: str) -> list[tuple[int, int]]:
    """Return the character spans of the sentences of `split_sentences`, without list marks and outer blanks.

    Args:
        text: the report.

    Returns:
        (start, end) of each sentence, ascending; none if the text has no letter.
    """
    spans = []
    for offsets in _paragraphs(text):
        paragraph = "".join(" " if text[offset].isspace() else text[offset] for offset in offsets)
        spans += [(offsets[start], offsets[end - 1] + 1) for start, end in _cut(paragraph)]
    return [(start, end) for start, end in spans if any(map(str.isalpha, text[start:end]))]


def _paragraphs(text: str) -> list[list[int]]:
    """Join wrapped lines: one goes on if it has no end mark and the next, no title, starts in lower case.

    A paragraph is a list of the offsets of its characters in the text, with one for each run of blanks.
    """
    paragraphs: list[list[int]] = []
    broken, start = True, 0
    for line, whole in zip(text.splitlines(), text.splitlines(keepends=True), strict=True):
        bullet = _BULLET.match(line)
        offsets = _squeezed(line, bullet.end() if bullet else 0, start)
        body = "".join(" " if text[offset].isspace() else text[offset] for offset in offsets)
        if not broken and bullet is None and body[:1].islower() and not _TITLE.match(body):
            paragraphs[-1] += [paragraphs[-1][-1] + 1, *offsets]
        elif offsets:
            paragraphs.append(offsets)
        broken = not body or body[-1] in ".!?:;"
        start += len(whole)
    return paragraphs


def _squeezed(line: str, start: int, line_start: int) -> list[int]:
    """Return the offsets of a line's characters from `start` on, with one for each run of inner blanks."""
    offsets: list[int] = []
    for word in _WORD.finditer(line, start):
        offsets += [*([offsets[-1] + 1] if offsets else []), *range(line_start + word.start(), line_start + word.end())]
    return offsets


def _cut(paragraph: str) -> list[tuple[int, int]]:
    spans, start = [], 0
    for end in _END.finditer(paragraph):
        if _ends_here(paragraph, start, end):
            spans.append((start, end.end()))
            start = end.end()
    spans.append((start, len(paragraph)))
    blanks = [len(paragraph[start:end]) - len(paragraph[start:end].lstrip()) for start, end in spans]
    return [(start + blank, end) for (start, end), blank in zip(spans, blanks, strict=True) if start + blank < end]


def _ends_here(paragraph: str, start: int, end: re.Match[str]) -> bool:
    if not end.group().startswith("."):
        return True
    before = paragraph[start : end.start()]
    if before.endswith(" "):  # "no effusion . heart normal ." is tokenised text: its full stops stand apart
        return True
    word = before.split()[-1].lstrip("([\"'").lower() if before.split() else ""
    after = paragraph[end.end() :].lstrip()[:1]
    if word in _ABBREVIATIONS or (len(word) == 1 and word.isalpha()):
        return False
    if word.isdigit() and before.strip() == word:  # "2. Heart: normal" within a line
        return True
    return word not in _MAYBE or not after.islower()
