"""The other studies of a case's patient, with how long before or after it they were made."""

import numpy as np

from bimcvr.search.index.reader import Index
from bimcvr.search.index.schema import IndexedStudy
from bimcvr.search.index.series_facts import days_between, series_facts
from bimcvr.search.server import schemas as api
from bimcvr.search.server.privacy import Visible

MOST_STUDIES = 50
"""How many other studies of a patient are listed."""


def studies_of_patient(index: Index, study: IndexedStudy, visible: Visible) -> list[api.PatientStudyOut]:
    """Return the other studies of a patient, the newest first, those without a date last.

    Args:
        index: the index.
        study: the study whose patient is meant.
        visible: what clients may see; nothing where patients are hidden.
    """
    if not visible.patients or not study.patient_id:
        return []
    ids, codes = index.distinct("patient_id")
    own = index.position(study.study_id)
    others = [int(row) for row in np.flatnonzero(codes == ids.index(study.patient_id)) if row != own][:MOST_STUDIES]
    day = series_facts(study.cells, visible.series).day
    found = [_study_out(other, day, visible) for other in index.rows(others)]
    return sorted(sorted(found, key=lambda one: one.case), key=lambda one: one.series.day, reverse=True)


def _study_out(study: IndexedStudy, day: str, visible: Visible) -> api.PatientStudyOut:
    series = series_facts(study.cells, visible.series)
    return api.PatientStudyOut(
        case=visible.names.name_of(study.study_id),
        series=series_out(study, visible),
        days_later=days_between(day, series.day),
        labels=list(study.labels),
    )


def series_out(study: IndexedStudy, visible: Visible) -> api.SeriesFactsOut:
    """Convert what the manifest says of a study's series."""
    return api.SeriesFactsOut(**vars(series_facts(study.cells, visible.series)))
