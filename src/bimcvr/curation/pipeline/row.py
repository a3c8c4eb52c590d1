"""The rows of a manifest while curation works on them."""

from collections.abc import Sequence
from dataclasses import dataclass

from bimcvr.curation.pipeline.ingest import IngestedStudy


@dataclass
class CurationRow:
    """One volume, its report, and what the steps have decided about them so far.

    Attributes:
        ingested: the study as it was ingested.
        original: the report in the archive's words, anonymised if that step is on.
        report: the text that models read.
        language: the language of `report`.
        translation: the archive's own English text; empty if it has none.
        tag_counts: the number of tags of each type that replaced personal data in the original.
        regions: (region, text) of the archive's second table of texts, anonymised if that step is on.
        review_text: the text that reviewers are asked about.
        translation_problems: why the translation needs a reviewer's approval.
        labels: the findings.
        labels_source: `keywords`, `archive` or `expert`; empty without labels.
        flags: the audit's flags.
        status: `ok`, `rejected` or `review`.
        split: `train`, `val` or `test`; empty where there is none.
    """

    ingested: IngestedStudy
    original: str
    report: str
    language: str
    translation: str
    tag_counts: dict[str, int]
    regions: tuple[tuple[str, str], ...] = ()
    review_text: str = ""
    translation_problems: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    labels_source: str = ""
    flags: tuple[str, ...] = ()
    status: str = "ok"
    split: str = ""

    @property
    def study_id(self) -> str:
        """The unique name of the row."""
        return self.ingested.study.study_id


def start_rows(ingested: Sequence[IngestedStudy]) -> list[CurationRow]:
    """Return a row for each study, with its report as the archive has it."""
    studies = (item.study for item in ingested)
    return [
        CurationRow(
            item, study.report, study.report, study.language, study.translation, {}, study.regions, study.report
        )
        for item, study in zip(ingested, studies, strict=True)
    ]
