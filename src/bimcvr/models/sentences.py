"""Cutting a report into sentences, for encoders that read it sentence by sentence."""

import re

# a full stop after one of these ends no sentence
_ABBREVIATIONS = {"dr", "dra", "mr", "mrs", "ms", "prof", "st", "vs", "approx", "fig", "figs", "ca", "cf",
                  "resp", "e.g", "i.e", "al", "incl", "max", "min", "aprox", "ej"}
# after one of these it ends one only if no small letter follows: "a nodule of 5 mm. in the left lobe"
_MAYBE = {"mm", "cm", "ml", "cc", "im", "se", "inf", "sup", "ant", "post", "lat", "seg", "etc", "hu", "no"}
_END = re.compile(r"[.!?]+[\"')\]]*(?=\s)|(?<=[a-zà-ÿ)])\.(?=[A-ZÀ-Ý][a-zà-ÿ])")
_TITLE = re.compile(r"^[^\W\d_][\w ]{2,30}:(?:\s|$)")
_BULLET = re.compile(r"^\s*(?:[-*•·–—]\s*|\(?\d{1,2}[.)]\s+)")


def split_sentences(text: str) -> list[str]:
    """Cut a report into its sentences, in order; at least one is returned.

    A sentence ends at a full stop, an exclamation or a question mark, and at a line break unless the line was
    merely wrapped. Decimal numbers ("1.5 cm"), abbreviations ("Dr.", "e.g.") and initials do not end one.
    Pieces without a single letter (list numbers, rules) are left out, unless nothing else is there.
    """
    sentences = [sentence for paragraph in _paragraphs(text) for sentence in _cut(paragraph)]
    return [sentence for sentence in sentences if any(map(str.isalpha, sentence))] or [" ".join(text.split())]


def _paragraphs(text: str) -> list[str]:
    """Join wrapped lines: one goes on if it has no end mark and the next, no title, starts in lower case."""
    paragraphs: list[str] = []
    broken = True
    for line in text.splitlines():
        bullet = _BULLET.match(line)
        body = " ".join((line[bullet.end() :] if bullet else line).split())
        if not broken and bullet is None and body[:1].islower() and not _TITLE.match(body):
            paragraphs[-1] += f" {body}"
        elif body:
            paragraphs.append(body)
        broken = not body or body[-1] in ".!?:;"
    return paragraphs


def _cut(paragraph: str) -> list[str]:
    sentences, start = [], 0
    for end in _END.finditer(paragraph):
        if _ends_here(paragraph, start, end):
            sentences.append(paragraph[start : end.end()].strip())
            start = end.end()
    return [sentence for sentence in (*sentences, paragraph[start:].strip()) if sentence]


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
