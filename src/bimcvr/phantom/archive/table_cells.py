"""Cells of BIMCV's tables: reports in lower case without punctuation, stringified lists, codes without quotes."""

import re

from bimcvr.phantom.archive.plan import ArchiveReport
from bimcvr.phantom.reports.vocabulary import LABELS

COLUMNS = (
    "PatientID",
    "ReportID",
    "Report",
    "Labels",
    "Localizations",
    "LabelsLocalizationsBySentence",
    "labelCUIS",
    "LocalizationsCUIS",
)
# UMLS, as BIMCV's own label trees have them; empty where those have none
_CODES = {
    "pleural effusion": "C0032227",
    "pneumothorax": "C0032326",
    "atelectasis": "C0004144",
    "consolidation": "C0521530",
    "mass": "C0149726",
    "bronchiectasis": "C0006267",
    "nodule": "C0034079",
    "adenopathy": "C0478664",
    "emphysema": "C0034067",
    "cardiomegaly": "C0018800",
    "pericardial effusion": "C0031039",
    "aortic aneurysm": "C0003486",
    "goiter": "C0018021",
    "pacemaker": "C0030163",
    "scoliosis": "C0036439",
}


def plain(text: str) -> str:
    """Return a report as in the tables: lower case, no punctuation except within a number or date."""
    return " ".join(re.sub(r"(?<!\d)[^\w\s]+|[^\w\s]+(?!\d)", " ", text.lower()).split())


def label_cells(report: ArchiveReport) -> dict[str, str]:
    """Return the label columns of a report, with the stray blanks and empty items that the real ones have."""
    names = [LABELS.get(finding.finding, finding.finding) for finding in report.facts]
    sites = [f"loc {finding.site}" if finding.site else "" for finding in report.facts]
    codes = [_CODES[finding.finding] for finding in report.facts if finding.finding in _CODES]
    by_sentence = [
        item for name, site in zip(names, sites, strict=True) for item in ([name, site, ""] if site else [name, ""])
    ]
    unique = list(dict.fromkeys(names))
    return {
        "Labels": repr(
            [f" {name}" if i % 3 == 1 else name for i, name in enumerate(unique)] + [""] if unique else ["normal"]
        ),
        "Localizations": repr([*dict.fromkeys(sites), ""]),
        "LabelsLocalizationsBySentence": repr(by_sentence or ["normal", ""]),
        "labelCUIS": f"[{','.join(dict.fromkeys(codes))}]",
        "LocalizationsCUIS": "[]",
    }
