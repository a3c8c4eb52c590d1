"""The audit of a manifest: every check of volumes, reports and cohort.

Findings are flags with evidence, nothing is deleted.
"""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from bimcvr.curation.audit.cohort_checks import check_cohort
from bimcvr.curation.audit.facts_cache import Measured, measure_all
from bimcvr.curation.audit.finding import Finding
from bimcvr.curation.audit.flags import COHORT_FLAGS, REFUSALS, VOLUME_FLAGS
from bimcvr.curation.audit.report_checks import check_reports
from bimcvr.curation.audit.volume_checks import check_volume
from bimcvr.curation.audit.volume_facts import VolumeFacts
from bimcvr.data.manifest import REPORT_FLAGS, Manifest, split_list
from bimcvr.data.reading.refused import RefusedVolume


@dataclass(frozen=True)
class AuditResult:
    """What an audit found.

    Attributes:
        manifest: as it was read.
        findings: in the order of the rows.
        measured: for each row the facts of its volume, or the reader's refusal.
    """

    manifest: Manifest
    findings: list[Finding]
    measured: dict[int, Measured]

    def counts(self) -> dict[str, int]:
        """Return how many rows bear each flag, most first."""
        return dict(Counter(finding.flag for finding in self.findings).most_common())

    def flags(self) -> list[list[str]]:
        """Return each row's flags of this audit."""
        of_study: dict[str, list[str]] = {}
        for finding in self.findings:
            of_study.setdefault(finding.study_id, []).append(finding.flag)
        return [of_study.get(study, []) for study in self.manifest.column("study_id")]

    def examples(self, most: int = 3) -> dict[str, list[tuple[int, Finding]]]:
        """Return the first rows of each flag with their findings, the flags in the order of `counts`."""
        rows = {study: row for row, study in enumerate(self.manifest.column("study_id"))}
        chosen: dict[str, list[tuple[int, Finding]]] = {flag: [] for flag in self.counts()}
        for finding in self.findings:
            if len(chosen[finding.flag]) < most:
                chosen[finding.flag].append((rows[finding.study_id], finding))
        return chosen

    def clean(self) -> int:
        """Return how many rows have no finding."""
        return sum(not flags for flags in self.flags())

    def unread(self) -> int:
        """Return how many rows have a volume that cannot be read."""
        return sum(isinstance(facts, RefusedVolume) for facts in self.measured.values())

    def audited(self) -> Manifest:
        """Return the manifest with the flags and the geometry of `flagged_table`."""
        return Manifest(self.flagged_table(), self.manifest.path, self.manifest.root)

    def funnel(self) -> list[tuple[str, int]]:
        """Return how many rows are left after each sort of defect, from all to those without any."""
        flags = self.flags()
        refused = [isinstance(self.measured.get(row), RefusedVolume) for row in range(len(flags))]
        stages: list[tuple[str, list[bool]]] = [
            ("rows in the manifest", [True] * len(flags)),
            ("volume can be read", [not bad for bad in refused]),
            ("volume is a sound chest CT", [not set(VOLUME_FLAGS) & set(row) for row in flags]),
            (
                "report is a report, and the study's own",
                [not any(flag.startswith(REPORT_FLAGS) for flag in row) for row in flags],
            ),
            ("volume stands once, patient in one split", [not set(COHORT_FLAGS) & set(row) for row in flags]),
        ]
        left = [True] * len(flags)
        out = []
        for name, passes in stages:
            left = [both and one for both, one in zip(left, passes, strict=True)]
            out.append((name, sum(left)))
        return out

    def findings_table(self) -> pd.DataFrame:
        """Return one line a finding: study_id, flag, evidence."""
        return pd.DataFrame(
            [(f.study_id, f.flag, f.evidence) for f in self.findings], columns=["study_id", "flag", "evidence"]
        )

    def flagged_table(self) -> pd.DataFrame:
        """Return the manifest's rows with `flags` and the geometry columns filled in; nothing else is changed.

        Flags of an earlier audit that this one no longer raises are dropped; flags of other origin are kept.
        """
        ours = {*VOLUME_FLAGS, *COHORT_FLAGS, *REFUSALS}
        kept = [
            sorted(flag for flag in split_list(cell) if flag not in ours and not flag.startswith(REPORT_FLAGS))
            for cell in self.manifest.column("flags")
        ]
        flags = [";".join(dict.fromkeys([*new, *old])) for new, old in zip(self.flags(), kept, strict=True)]
        table = self.manifest.table.assign(flags=flags)
        geometry = [geometry_columns(self.measured.get(row)) for row in range(len(flags))]
        for name in geometry[0]:
            table[name] = [columns[name] for columns in geometry]
        return table


def audit_manifest(manifest: Manifest, folder: Path | None = None, jobs: int = -1) -> AuditResult:
    """Run every check on every row, also on rows that are set aside.

    Args:
        manifest: the dataset.
        folder: where the facts of volumes are kept; `facts` beside the manifest by default.
        jobs: processes to use; -1 for one a core.
    """
    measured = measure_all(manifest, folder or manifest.path.parent / "facts", jobs)
    ids = manifest.column("study_id")
    found: list[Finding] = []
    for row, facts in measured.items():
        if isinstance(facts, RefusedVolume):
            found.append(Finding(ids[row], facts.reason, f"the volume {facts.args[2]}"))
        else:
            found += check_volume(ids[row], facts)
    found += check_reports(manifest)
    found += check_cohort(manifest, {row: facts for row, facts in measured.items() if isinstance(facts, VolumeFacts)})
    return AuditResult(manifest, _in_order(found, ids), measured)


def geometry_columns(measured: Measured | None) -> dict[str, str]:
    """Return a volume's geometry as manifest columns; empty strings for a volume that cannot be read."""
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


def _in_order(found: list[Finding], ids: list[str]) -> list[Finding]:
    """Sort findings by row and drop a flag that a row has already."""
    place = {study: row for row, study in enumerate(ids)}
    once: dict[tuple[str, str], Finding] = {}
    for finding in found:
        once.setdefault((finding.study_id, finding.flag), finding)
    return sorted(once.values(), key=lambda finding: place[finding.study_id])
