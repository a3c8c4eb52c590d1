"""An audit as an HTML page: flags with their meaning and examples, the funnel, the noise ceiling, the splits."""

import base64
from pathlib import Path
from typing import NamedTuple

from markupsafe import Markup

from bimcvr.atomic_files import replacing, write_text
from bimcvr.curation.audit.audit import AuditResult
from bimcvr.curation.audit.facts_cache import facts_path
from bimcvr.curation.audit.finding import Finding
from bimcvr.curation.audit.flags import FlagMeaning, meaning
from bimcvr.curation.audit.output.highlight import highlight, offending_words
from bimcvr.curation.audit.output.summary import NoiseCeiling
from bimcvr.curation.audit.output.thumbnail import thumbnail_jpeg
from bimcvr.data.manifest import SPLITS, Manifest, split_list
from bimcvr.data.reading.refused import RefusedVolume
from bimcvr.errors import UserError
from bimcvr.evaluation.text_table import cell
from bimcvr.html.render import render
from bimcvr.metrics.ranking.ranks import DIRECTION_TITLES
from bimcvr.provenance import git_commit, versions

MOST_EXAMPLES = 3
"""Rows shown for each flag."""


class Example(NamedTuple):
    """A row with a flag.

    Attributes:
        study_id: the row.
        evidence: the evidence of the flag.
        texts: (title, text with the offending words highlighted).
        picture: a data URI, or empty.
        no_picture: why there is no picture.
    """

    study_id: str
    evidence: str
    texts: list[tuple[str, Markup]]
    picture: str
    no_picture: str


class FlagCount(NamedTuple):
    """A flag with its meaning, the number of rows with it, and some of these rows."""

    name: str
    meaning: FlagMeaning
    rows: int
    examples: list[Example]


class SplitCount(NamedTuple):
    """The numbers of a split.

    Attributes:
        name: of the split.
        rows: number of rows.
        patients: number of patients.
        flagged: number of rows with a flag.
        shared: number of patients that are in another split, too.
    """

    name: str
    rows: int
    patients: int
    flagged: int
    shared: int


def write_audit_page(path: Path, result: AuditResult, ceilings: list[NoiseCeiling], folder: Path) -> None:
    """Write a self-contained page, without scripts and requests; it shows reports and slices of volumes.

    Args:
        path: the HTML file.
        result: the result of `audit_manifest`.
        ceilings: the result of `noise_ceilings`.
        folder: where the facts of volumes are stored; pictures are stored beside them.
    """
    from rich.progress import track

    manifest = result.manifest
    examples = result.examples(MOST_EXAMPLES)
    rows = sorted({row for chosen in examples.values() for row, _ in chosen})
    pictures = {
        row: _picture(result, row, folder) for row in track(rows, description="pictures for the page", disable=not rows)
    }
    counts = [
        FlagCount(
            flag,
            meaning(flag),
            count,
            [_example(manifest, row, finding, pictures[row]) for row, finding in examples[flag]],
        )
        for flag, count in result.counts().items()
    ]
    write_text(
        path,
        render(
            "curation/audit/output/page.html",
            synthetic=manifest.is_phantom,
            has_patients=manifest.has_patients,
            name=manifest.path.name,
            total=len(manifest),
            clean=result.clean(),
            facts=_facts(result),
            counts=counts,
            funnel=result.funnel(),
            ceilings=ceilings,
            ways=DIRECTION_TITLES,
            format_figure=cell,
            splits=split_counts(result),
            patients_known=any(manifest.column("patient_id")),
            other_flags=_other_flags(result),
            unread=result.unread(),
        ),
    )


def split_counts(result: AuditResult) -> list[SplitCount]:
    """Return the numbers of each split in the manifest's `split` column; empty if it has none.

    Args:
        result: the result of `audit_manifest`.
    """
    splits, patients, flags = result.manifest.column("split"), result.manifest.column("patient_id"), result.flags()
    rows_of = {split: [row for row, name in enumerate(splits) if name == split] for split in SPLITS}
    people = {split: {patients[row] for row in rows} - {""} for split, rows in rows_of.items()}
    return [
        SplitCount(
            split,
            len(rows),
            len(people[split]),
            sum(bool(flags[row]) for row in rows),
            len(people[split] & set().union(*(people[other] for other in SPLITS if other != split))),
        )
        for split, rows in rows_of.items()
        if rows
    ]


def _facts(result: AuditResult) -> dict[str, str]:
    manifest = result.manifest
    patients = len(set(manifest.column("patient_id")) - {""})
    not_accepted = len(manifest) - len(manifest.accepted())
    return {
        "Manifest": f"{manifest.path}, hash {manifest.digest}",
        "Rows": f"{len(manifest)}"
        + (f", of which {not_accepted} have the status rejected or review" if not_accepted else ""),
        "Volumes read": (
            f"{len(manifest) - result.unread()}" + (f"; {result.unread()} cannot be read" if result.unread() else "")
        ),
        "Patients": str(patients) if patients else "unknown: the manifest has no patient_id",
        "Version": f"bimcvr {versions().get('bimcvr', '')}, commit {git_commit()}",
    }


def _other_flags(result: AuditResult) -> dict[str, int]:
    """Return the number of rows with each flag that this audit did not raise."""
    counts: dict[str, int] = {}
    for flags, audit_flags in zip(result.flagged_table()["flags"], result.flags(), strict=True):
        for flag in sorted(split_list(flags) - set(audit_flags)):
            counts[flag] = counts.get(flag, 0) + 1
    return counts


def _example(manifest: Manifest, row: int, finding: Finding, picture: tuple[str, str]) -> Example:
    report, original = manifest.cell("report", row), manifest.cell("report_original", row)
    words = offending_words(finding, report)
    texts = [("Report", highlight(report, words))]
    # the report is a failed translation, and its original was checked instead
    if original and original != report and words and "<mark>" not in texts[0][1]:
        texts.append(("Original text", highlight(original, words)))
    return Example(finding.study_id, finding.evidence, texts, *picture)


def _picture(result: AuditResult, row: int, folder: Path) -> tuple[str, str]:
    """Return (data URI of a volume's slices, reason why there is none); pictures are stored beside the facts."""
    measured = result.measured[row]
    if isinstance(measured, RefusedVolume):
        return "", "the volume cannot be read"
    source = result.manifest.volume_path(row)
    entry = facts_path(source, result.manifest.cell("sha256", row), folder, result.rules)
    stored = entry.with_suffix(".jpg") if entry else None
    try:
        if stored is None or not stored.exists():
            jpeg = thumbnail_jpeg(source, rules=result.rules)
            if stored is not None:
                with replacing(stored) as temporary:
                    temporary.write_bytes(jpeg)
        else:
            jpeg = stored.read_bytes()
    except (UserError, OSError) as error:
        # the page is written without this picture
        return "", f"the volume could not be read again ({type(error).__name__})"
    return "data:image/jpeg;base64," + base64.b64encode(jpeg).decode(), ""
