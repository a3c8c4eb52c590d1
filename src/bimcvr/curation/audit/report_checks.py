"""Checks of a report by its own text, and of the reports of a manifest against each other.

The evidence quotes no more of a report than the few words that triggered the flag.
"""

import re
from collections import defaultdict

from bimcvr.curation.audit.filename_ids import id_conflicts, subjects
from bimcvr.curation.audit.finding import Finding
from bimcvr.curation.text.lexicons import BODY, CT, CT_SIGNS, FAILURES, FILM, FILM_SIGNS, OTHER, SPANISH, plain, words
from bimcvr.data.manifest import Manifest

# the paper's filter
FEWEST_WORDS = 5
# Patients with the same text, which does not mention the body. Of the English texts in the release, 7.9 % are the
# same failure message.
PLACEHOLDER_PATIENTS = 3
# Share and number of Spanish function words in an English text. Measured: none at all in 7,516 English texts (captions,
# reports, definitions, questions, phantoms). Lines of Spanish case reports with at least 10, 15 and 20 words exceed the
# limits in 91, 97 and 99 %; English reports with one sentence left in Spanish in 61 %, with two in 94 %.
SPANISH_SHARE, SPANISH_WORDS = 0.03, 2


def check_report(study_id: str, report: str, language: str = "", original: str = "") -> list[Finding]:
    """Check one report by its own text.

    Args:
        study_id: the row.
        report: the text that models read.
        language: its stated language, `en` or `es`.
        original: the text that it was translated from, if there is one; it is checked for its modality if the report
            is a failure.
    """
    count = len(words(report))
    failure = failed_wording(report)
    findings = []
    if failure:
        findings.append(Finding(study_id, "placeholder", f"reads like a failure message: '{failure}'"))
    elif count < FEWEST_WORDS:
        findings.append(Finding(study_id, "report_short", f"{count} words; the fewest accepted are {FEWEST_WORDS}"))
    film = film_wording(original if findings and original else report)
    if film:
        findings.append(Finding(study_id, "wrong_modality", f"worded like a chest radiograph: {film}"))
    share, spanish = spanish_share(report)
    if language.lower().startswith("en") and share >= SPANISH_SHARE and spanish >= SPANISH_WORDS:
        findings.append(
            Finding(study_id, "untranslated", f"{spanish} Spanish words, {100 * share:.0f} % of an English text")
        )
    return findings


def failed_wording(report: str) -> str:
    """Return the words in a text that are typical of a failed translation or export; empty if there are none."""
    text = plain(report)
    hits = (pattern.search(text) for pattern in FAILURES)
    return next((hit[0][:40] for hit in hits if hit), "")


def film_wording(report: str) -> str:
    """Return the words by which a report describes a chest radiograph rather than a CT; empty if it does not.

    Examinations that are only compared with or recommended do not count.

    Args:
        report: the text.
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
    """Return the share and the number of Spanish function words in a text."""
    alphabetic = [word for word in words(plain(report)) if word.isalpha()]
    count = sum(word in SPANISH for word in alphabetic)
    return count / max(len(alphabetic), 1), count


def check_reports(manifest: Manifest) -> list[Finding]:
    """Check all reports of a manifest, each by itself and against each other.

    Args:
        manifest: the dataset.

    Returns:
        Findings in the order of the rows; a row has each flag at most once.
    """
    ids, reports = manifest.column("study_id"), manifest.column("report")
    by_row: dict[int, dict[str, Finding]] = defaultdict(dict)
    rows = zip(
        ids,
        reports,
        manifest.column("language"),
        manifest.column("report_original"),
        id_conflicts(manifest),
        strict=True,
    )
    for row, (study_id, report, language, original, conflict) in enumerate(rows):
        by_row[row] |= {finding.flag: finding for finding in check_report(study_id, report, language, original)}
        if conflict:
            by_row[row]["mismatch_ids"] = Finding(study_id, "mismatch_ids", conflict)
    for row, flag, evidence in _repeated(manifest):
        # a placeholder is no report, so it is no other patient's report either
        if "placeholder" not in by_row[row]:
            by_row[row].setdefault(flag, Finding(ids[row], flag, evidence))
    return [finding for row in sorted(by_row) for finding in by_row[row].values()]


def _named(pattern: re.Pattern[str], text: str) -> list[re.Match[str]]:
    """Return the mentions of an examination that are not about another one, by the 5 words before and the 3 after."""
    return [
        hit
        for hit in pattern.finditer(text)
        if not OTHER.search(" ".join([*text[: hit.start()].split()[-5:], "|", *text[hit.end() :].split()[:3]]))
    ]


def _repeated(manifest: Manifest) -> list[tuple[int, str, str]]:
    """Find texts of several patients as (row, flag, evidence); file names decide whose they are, if they say so."""
    ids, originals, patients = manifest.column("study_id"), manifest.column("report_original"), subjects(manifest)
    same = defaultdict(list)
    for row, report in enumerate(manifest.column("report")):
        key = " ".join(words(plain(report)))
        if key and patients[row]:
            same[key].append(row)
    flags = []
    for text, rows in same.items():
        owners = {patients[row] for row in rows}
        if len(owners) < 2:
            continue
        sources = {originals[row] for row in rows if originals[row]}
        if len(owners) >= PLACEHOLDER_PATIENTS and (not BODY.search(text) or len(sources) >= PLACEHOLDER_PATIENTS):
            evidence = f"the same text in {len(rows)} rows of {len(owners)} patients" + (
                f", translated from {len(sources)} different texts" if len(sources) > 1 else ", not about the body"
            )
            flags += [(row, "placeholder", evidence) for row in rows]
        elif len(text.split()) >= FEWEST_WORDS:
            for row in rows:
                other = next(ids[peer] for peer in rows if patients[peer] != patients[row])
                flags.append(
                    (row, "duplicate_report", f"the same text as {other}; {len(rows)} rows of {len(owners)} patients")
                )
    return flags
