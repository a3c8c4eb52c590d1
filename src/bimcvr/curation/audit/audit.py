"""The audit of a manifest: all checks of volumes, reports and cohort, which raise flags and delete nothing."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from bimcvr.curation.audit.cohort_checks import check_cohort
from bimcvr.curation.audit.facts_cache import Measured, measure_all, stored_facts
from bimcvr.curation.audit.finding import Finding
from bimcvr.curation.audit.flags import COHORT_FLAGS, REFUSALS, VOLUME_FLAGS
from bimcvr.curation.audit.report_checks import check_reports
from bimcvr.curation.audit.volume_checks import check_volume
from bimcvr.curation.audit.volume_facts import VolumeFacts
from bimcvr.data.manifest import REPORT_FLAGS, Manifest, split_list
from bimcvr.data.reading.grid import DEFAULT_RULES, GridRules
from bimcvr.data.reading.refused import RefusedVolume


@dataclass(frozen=True)
class AuditResult:
    """The result of an audit.

    Attributes:
        manifest: the manifest as it was read.
        findings: the flags with their evidence, in the order of the rows.
        measured: for each row, the facts of its volume or the reader's refusal; of `stored_audit` where they are known.
        rules: which grids were accepted.
    """

    manifest: Manifest
    findings: list[Finding]
    measured: dict[int, Measured]
    rules: GridRules

    def counts(self) -> dict[str, int]:
        """Return the number of rows with each flag, the most frequent flag first."""
        return dict(Counter(finding.flag for finding in self.findings).most_common())

    def flags(self) -> list[list[str]]:
        """Return the flags that this audit raised for each row."""
        by_study: dict[str, list[str]] = {}
        for finding in self.findings:
            by_study.setdefault(finding.study_id, []).append(finding.flag)
        return [by_study.get(study, []) for study in self.manifest.column("study_id")]

    def examples(self, most: int = 3) -> dict[str, list[tuple[int, Finding]]]:
        """Return the first rows of each flag with their findings, in the order of `counts`.

        Args:
            most: the number of rows for each flag.
        """
        rows = {study: row for row, study in enumerate(self.manifest.column("study_id"))}
        chosen: dict[str, list[tuple[int, Finding]]] = {flag: [] for flag in self.counts()}
        for finding in self.findings:
            if len(chosen[finding.flag]) < most:
                chosen[finding.flag].append((rows[finding.study_id], finding))
        return chosen

    def clean(self) -> int:
        """Return the number of rows without a flag."""
        return sum(not flags for flags in self.flags())

    def unread(self) -> int:
        """Return the number of rows whose volume cannot be read."""
        return sum(isinstance(facts, RefusedVolume) for facts in self.measured.values())

    def audited(self) -> Manifest:
        """Return the manifest with the columns of `flagged_table`."""
        return Manifest(self.flagged_table(), self.manifest.path, self.manifest.root)

    def funnel(self) -> list[tuple[str, int]]:
        """Return the number of rows left after each kind of defect is excluded, from all rows to flawless ones."""
        flags = self.flags()
        refused = [isinstance(self.measured.get(row), RefusedVolume) for row in range(len(flags))]
        stages: list[tuple[str, list[bool]]] = [
            ("rows in the manifest", [True] * len(flags)),
            ("volume can be read", [not bad for bad in refused]),
            ("volume is a valid chest CT", [not set(VOLUME_FLAGS) & set(row) for row in flags]),
            (
                "report is a report, and belongs to the study",
                [not any(flag.startswith(REPORT_FLAGS) for flag in row) for row in flags],
            ),
            ("volume is unique, patient in one split", [not set(COHORT_FLAGS) & set(row) for row in flags]),
        ]
        left = [True] * len(flags)
        counts = []
        for name, passes in stages:
            left = [before and now for before, now in zip(left, passes, strict=True)]
            counts.append((name, sum(left)))
        return counts

    def findings_table(self) -> pd.DataFrame:
        """Return a table with a line for each finding: study_id, flag, evidence."""
        return pd.DataFrame(
            [(f.study_id, f.flag, f.evidence) for f in self.findings], columns=["study_id", "flag", "evidence"]
        )

    def flagged_table(self) -> pd.DataFrame:
        """Return the manifest's rows with `flags` and the geometry columns filled in; nothing else is changed.

        Flags of an earlier audit that this one no longer raises are removed; flags from elsewhere are kept.
        """
        audit_flags = {*VOLUME_FLAGS, *COHORT_FLAGS, *REFUSALS}
        other_flags = [
            sorted(flag for flag in split_list(cell) if flag not in audit_flags and not flag.startswith(REPORT_FLAGS))
            for cell in self.manifest.column("flags")
        ]
        flags = [";".join(dict.fromkeys([*new, *old])) for new, old in zip(self.flags(), other_flags, strict=True)]
        table = self.manifest.table.assign(flags=flags)
        geometry = [geometry_columns(self.measured.get(row)) for row in range(len(flags))]
        for name in geometry[0]:
            table[name] = [columns[name] for columns in geometry]
        return table


def audit_manifest(
    manifest: Manifest, folder: Path | None = None, jobs: int = -1, rules: GridRules = DEFAULT_RULES
) -> AuditResult:
    """Run every check on every row, also on rejected rows.

    Args:
        manifest: the dataset.
        folder: where the facts of volumes are stored; `facts` beside the manifest by default.
        jobs: processes to use; -1 for one a core.
        rules: which grids are accepted.
    """
    measured = measure_all(manifest, folder or manifest.path.parent / "facts", jobs, rules)
    return _audit(manifest, measured, rules)


def stored_audit(manifest: Manifest, folder: Path, rules: GridRules = DEFAULT_RULES) -> AuditResult:
    """Run every check as `audit_manifest` does, on the facts that are stored; no volume is read.

    Args:
        manifest: the dataset.
        folder: where the facts of volumes are stored.
        rules: which grids are accepted.
    """
    return _audit(manifest, stored_facts(manifest, folder, rules), rules)


def _audit(manifest: Manifest, measured: dict[int, Measured], rules: GridRules) -> AuditResult:
    ids = manifest.column("study_id")
    findings: list[Finding] = []
    for row, facts in measured.items():
        if isinstance(facts, RefusedVolume):
            findings.append(Finding(ids[row], facts.reason, f"the volume {facts.args[2]}"))
        else:
            findings += check_volume(ids[row], facts)
    findings += check_reports(manifest)
    findings += check_cohort(
        manifest, {row: facts for row, facts in measured.items() if isinstance(facts, VolumeFacts)}
    )
    return AuditResult(manifest, _in_order(findings, ids), measured, rules)


def geometry_columns(measured: Measured | None) -> dict[str, str]:
    """Return a volume's geometry as manifest columns; empty texts for a volume that cannot be read.

    Args:
        measured: the facts of the volume, or the reader's refusal.
    """
    names = (
        "width",
        "height",
        "slices",
        "spacing_w",
        "spacing_h",
        "spacing_d",
        "padding_inside",
        "padding_outside",
        "missing",
    )
    if not isinstance(measured, VolumeFacts):
        return dict.fromkeys(names, "")
    numbers = (
        *measured.size[::-1],
        *measured.spacing[::-1],
        measured.padding_inside,
        measured.padding_outside,
        measured.missing,
    )
    return {name: f"{number:.6g}" for name, number in zip(names, numbers, strict=True)}


def _in_order(findings: list[Finding], ids: list[str]) -> list[Finding]:
    """Sort findings by row, and keep the first finding of each flag in a row."""
    row_of = {study: row for row, study in enumerate(ids)}
    unique: dict[tuple[str, str], Finding] = {}
    for finding in findings:
        unique.setdefault((finding.study_id, finding.flag), finding)
    return sorted(unique.values(), key=lambda finding: row_of[finding.study_id])
