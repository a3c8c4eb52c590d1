"""What a report says against itself, and what the reports of a manifest say against each other.

Of a report's text the evidence holds no more than the few words that gave it away.
"""

import re
from collections import defaultdict

from bimcvr.curation.audit.filename_ids import id_conflicts, subjects
from bimcvr.curation.audit.finding import Finding
from bimcvr.curation.text.lexicons import BODY, CT, CT_SIGNS, FAILURES, FILM, FILM_SIGNS, OTHER, SPANISH, plain, words
from bimcvr.data.manifest import Manifest

# the paper's filter
FEWEST_WORDS = 5
# Patients with one text that does not speak of the body. Of the release's English texts 7.9 % are one failure message.
PLACEHOLDER_PATIENTS = 3
# Share of Spanish words of grammar in an English text, and how many. Measured: none at all in 7,516 English texts
# (captions, reports, definitions, questions, phantoms). Of lines of Spanish case reports with 10, 15 and 20 words and
# more, 91, 97 and 99 % lie above; an English report with one sentence left in Spanish in 61 %, with two in 94 %.
SPANISH_SHARE, SPANISH_WORDS = 0.03, 2


def check_report(study_id: str, report: str, language: str = "", original: str = "") -> list[Finding]:
    """Judge one report by its own text.

    Args:
        study_id: the row.
        report: the text that models read.
        language: what language it claims to be, `en` or `es`.
        original: the text that it was translated from, if there is one: read for its modality where the report is
            unfit.
    """
    count = len(words(report))
    failure = failed_wording(report)
    found = []
    if failure:
        found.append(Finding(study_id, "placeholder", f"reads like a failure message: '{failure}'"))
    elif count < FEWEST_WORDS:
        found.append(Finding(study_id, "report_short", f"{count} words; the fewest accepted are {FEWEST_WORDS}"))
    film = film_wording(original if found and original else report)
    if film:
        found.append(Finding(study_id, "wrong_modality", f"worded like a chest film: {film}"))
    share, spanish = spanish_share(report)
    if language.lower().startswith("en") and share >= SPANISH_SHARE and spanish >= SPANISH_WORDS:
        found.append(
            Finding(study_id, "untranslated", f"{spanish} Spanish words, {100 * share:.0f} % of an English text")
        )
    return found


def failed_wording(report: str) -> str:
    """Return the words of a text that a failed translation or export leaves behind; empty if there are none."""
    text = plain(report)
    hits = (pattern.search(text) for pattern in FAILURES)
    return next((hit[0][:40] for hit in hits if hit), "")


def film_wording(report: str) -> str:
    """Return the words by which a report is one of a chest film rather than of a CT; empty if it is not.

    A film or a CT that the words around it only compare with, or advise, does not count.
    """
    text = plain(report)
    if _named(CT, text):
        return ""
    films = _named(FILM, text)
    tomographic = {hit[0] for hit in CT_SIGNS.finditer(text)}
    if films and (len(tomographic) < 2 or len(text[: films[0].start()].split()) < 12):
        return f"'{films[0][0]}'"
    signs = sorted({hit[0] for hit in FILM_SIGNS.finditer(text)})
    return f"'{signs[0]}', '{signs[1]}'" if len(signs) >= 2 and not tomographic else ""


def spanish_share(report: str) -> tuple[float, int]:
    """Return the share and the number of Spanish words of grammar in a text."""
    found = [word for word in words(plain(report)) if word.isalpha()]
    count = sum(word in SPANISH for word in found)
    return count / max(len(found), 1), count


def check_reports(manifest: Manifest) -> list[Finding]:
    """Judge all reports of a manifest, by themselves and against each other.

    Returns:
        Findings in the order of the rows; a row has each flag once.
    """
    ids, reports = manifest.column("study_id"), manifest.column("report")
    found: dict[int, dict[str, Finding]] = defaultdict(dict)
    rows = zip(
        ids,
        reports,
        manifest.column("language"),
        manifest.column("report_original"),
        id_conflicts(manifest),
        strict=True,
    )
    for row, (study_id, report, language, original, conflict) in enumerate(rows):
        found[row] |= {finding.flag: finding for finding in check_report(study_id, report, language, original)}
        if conflict:
            found[row]["mismatch_ids"] = Finding(study_id, "mismatch_ids", conflict)
    for row, flag, evidence in _repeated(manifest):
        # a text that is no report belongs to nobody: it is no report of another patient
        if "placeholder" not in found[row]:
            found[row].setdefault(flag, Finding(ids[row], flag, evidence))
    return [finding for row in sorted(found) for finding in found[row].values()]


def _named(pattern: re.Pattern[str], text: str) -> list[re.Match[str]]:
    """Return the mentions of an examination that are not about another one, by five words before and three after."""
    return [
        hit
        for hit in pattern.finditer(text)
        if not OTHER.search(" ".join([*text[: hit.start()].split()[-5:], "|", *text[hit.end() :].split()[:3]]))
    ]


def _repeated(manifest: Manifest) -> list[tuple[int, str, str]]:
    """Find texts that stand under several patients: whose they are by the file names, where these say so."""
    ids, originals, patients = manifest.column("study_id"), manifest.column("report_original"), subjects(manifest)
    same = defaultdict(list)
    for row, report in enumerate(manifest.column("report")):
        key = " ".join(words(plain(report)))
        if key and patients[row]:
            same[key].append(row)
    out = []
    for text, rows in same.items():
        owners = {patients[row] for row in rows}
        if len(owners) < 2:
            continue
        sources = {originals[row] for row in rows if originals[row]}
        if len(owners) >= PLACEHOLDER_PATIENTS and (not BODY.search(text) or len(sources) >= PLACEHOLDER_PATIENTS):
            why = f"one text in {len(rows)} rows of {len(owners)} patients" + (
                f", translated from {len(sources)} different ones"
                if len(sources) > 1
                else ", none of it about the body"
            )
            out += [(row, "placeholder", why) for row in rows]
        elif len(text.split()) >= FEWEST_WORDS:
            for row in rows:
                other = next(ids[peer] for peer in rows if patients[peer] != patients[row])
                out.append(
                    (row, "duplicate_report", f"the same text as {other}; {len(rows)} rows of {len(owners)} patients")
                )
    return out
