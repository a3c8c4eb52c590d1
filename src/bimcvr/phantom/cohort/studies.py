"""The plan of a cohort: patients, studies, findings and reports, without any voxels."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from bimcvr.phantom.image.acquisition import Scan
from bimcvr.phantom.reports.english_report import write_english
from bimcvr.phantom.reports.findings import PlantedFinding, draw_findings, follow_up, to_json
from bimcvr.phantom.reports.vocabulary import LABELS

TWO_STUDIES, TWO_VOLUMES = 0.08, 0.06


@dataclass(frozen=True)
class PhantomStudy:
    """One examination.

    Attributes:
        patient: the patient's number.
        session: the number of the examination, from 1.
        runs: how many volumes it has, all under one report.
        findings: what it shows.
        report: its text.
        facts: the findings as the report states them.
        seed: the cohort's seed.
    """

    patient: int
    session: int
    runs: int
    findings: tuple[PlantedFinding, ...]
    report: str
    facts: tuple[PlantedFinding, ...]
    seed: int

    @property
    def patient_id(self) -> str:
        """The patient's name, like `sub-P0001`."""
        return f"sub-P{self.patient + 1:04d}"

    @property
    def report_id(self) -> str:
        """The examination's name, like `sub-P0001_ses-1`."""
        return f"{self.patient_id}_ses-{self.session}"

    def scans(self) -> list[Scan]:
        """Return its volumes."""
        return [
            Scan(f"{self.report_id}_run-{run}", self.patient, (self.session, run), self.findings, self.seed)
            for run in range(1, self.runs + 1)
        ]


def plan_patient(seed: int, patient: int) -> list[PhantomStudy]:
    """Draw the studies of a patient; they depend on the seed and the patient's number alone."""
    rng = np.random.default_rng([seed, patient, 0])
    count = 2 if rng.random() < TWO_STUDIES else 1
    studies: list[PhantomStudy] = []
    for session in range(1, count + 1):
        findings = follow_up(studies[-1].findings, rng) if studies else draw_findings(rng)
        report, facts = write_english(findings, rng)
        runs = 2 if rng.random() < TWO_VOLUMES else 1
        studies.append(PhantomStudy(patient, session, runs, findings, report, facts, seed))
    return studies


def manifest_table(studies: list[PhantomStudy]) -> pd.DataFrame:
    """Return the manifest of a cohort: one row a volume, see the manifest's contract.

    Two columns exist in phantoms only, both JSON as `findings.to_json` writes it: `facts`, the findings as the report
    states them, and `planted`, the findings with all their sizes.
    """
    rows = []
    for study in studies:
        names = dict.fromkeys(LABELS.get(f.finding, f.finding) for f in study.findings)
        for scan in study.scans():
            rows.append(
                {
                    "study_id": scan.study_id,
                    "volume": f"volumes/{study.patient_id}/{scan.study_id}.nii.gz",
                    "report": study.report,
                    "patient_id": study.patient_id,
                    "report_id": study.report_id,
                    "labels": ";".join(names) or "normal",
                    "labels_source": "phantom",
                    "source": "phantom",
                    "language": "en",
                    "facts": to_json(study.facts),
                    "planted": to_json(study.findings),
                }
            )
    return pd.DataFrame(rows)
