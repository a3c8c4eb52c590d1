"""One committed state of the index, as the API answers from it."""

import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np

from bimcvr.data.reading.grid import GridRules
from bimcvr.data.reading.refused import RefusedVolume
from bimcvr.data.reading.resample import read_on_grid
from bimcvr.errors import UserError
from bimcvr.models.embedder import Localised
from bimcvr.models.localisation.peak_slices import peak_slices
from bimcvr.search.index.cohort_mean import load_mean
from bimcvr.search.index.facets import count_facets
from bimcvr.search.index.filters import parse_where, split_where
from bimcvr.search.index.reader import Index
from bimcvr.search.index.series_facts import series_columns
from bimcvr.search.index.viewer_volumes import ViewerVolumes, grid_of
from bimcvr.search.query.encoder import Encoder
from bimcvr.search.query.near_duplicates import NearDuplicates
from bimcvr.search.query.reasons import explain, explain_like
from bimcvr.search.query.results import SearchResults
from bimcvr.search.query.searcher import Searcher
from bimcvr.search.server import schemas as api
from bimcvr.search.server.overlay import overlay
from bimcvr.search.server.privacy import LEAST_STUDIES, SEPARATE_COLUMNS, CaseNames, Visible, filter_columns
from bimcvr.search.server.responses import facts_out, grid_out, reasons_out, search_response, slices_out
from bimcvr.search.server.same_patient import series_out, studies_of_patient

_NEAREST = 6
_SOURCE_MISSING = "The source volume of this case is not where it was when the index was made."
_OTHER_GRID = (
    "The source volume of this case has another size or spacing than when the index was made, so it is not shown as"
    " this case. Run `index` again."
)
_NO_MODEL = (
    "This index is served without a model: keywords, cases and words of reports can be searched for, new texts and"
    " volumes cannot."
)


class CaseNotFound(UserError):
    """There is no such case, or no such picture or volume of it."""


class IndexSnapshot:
    """A snapshot of the index, searched by the public names of its cases.

    Args:
        folder: the index folder.
        stamp: when the snapshot was committed, the modification time of its `index.json` in ns.
        model: encodes texts and volumes; None for none.
        names: the public names of cases.
        volumes: the volumes that the viewer shows.
    """

    def __init__(
        self, folder: Path, stamp: int, model: Encoder | None, names: CaseNames, volumes: ViewerVolumes
    ) -> None:
        self.stamp, self._names, self._volumes = stamp, names, volumes
        self.index = Index.open(folder, names.name_of, LEAST_STUDIES if names.anonymous else 1)
        self._rules = GridRules(self.index.facts.get("nifti_form", "auto"))
        weakref.finalize(self, self.index.close)
        self.searcher = Searcher(self.index, model)
        self._case_names = [names.name_of(study) for study in self.index.study_ids]
        self._study_ids = dict(zip(self._case_names, self.index.study_ids, strict=True))
        self._filter_columns = filter_columns(self.index, names.anonymous)
        self._near_duplicates = NearDuplicates(self.index, by_ids=not names.anonymous)
        if names.anonymous:
            self._queryable_columns, self._case_columns = ["labels", *self._filter_columns], list(self._filter_columns)
        else:
            self._queryable_columns = self.index.columns
            self._case_columns = [name for name in self.index.columns if name not in SEPARATE_COLUMNS]
        series = series_columns(self._case_columns)
        self._visible = Visible(names, self._filter_columns, series, patients=not names.anonymous)

    def study_id(self, case: str) -> str:
        """Return the study id of a case.

        Args:
            case: its public name.

        Returns:
            The study id.

        Raises:
            CaseNotFound: there is no such case.
        """
        if case not in self._study_ids:
            raise CaseNotFound("There is no such case in this index.")
        return self._study_ids[case]

    def facts(self, max_upload_mib: int) -> api.IndexFacts:
        """Return what the index is, without any path.

        Args:
            max_upload_mib: the server's limit for uploads, MiB.

        Returns:
            The facts.
        """
        has_model = self.searcher.model is not None
        return facts_out(
            self.index, self._visible, self._queryable_columns, max_upload_mib, "" if has_model else _NO_MODEL
        )

    def counts(self, request: api.CountsRequest) -> api.CountsResponse:
        """Count what is left under some filters.

        Args:
            request: the filters.

        Raises:
            UserError: a filter is not valid for this index.
        """
        self._conditions(request.where, request.condition)
        columns = [name for name, values in self._filter_columns.items() if len(values) > 1]
        return api.CountsResponse(
            **vars(count_facets(self.index, request.where, split_where(request.condition), columns))
        )

    def search(self, request: api.SearchRequest) -> api.SearchResponse:
        """Search by text, keyword, case or words.

        Args:
            request: the query.

        Returns:
            The ranked cases.

        Raises:
            UserError: the query or a filter is not valid for this index.
        """
        where = self._conditions(request.where, request.condition)
        query, top, hybrid, into = request.query, request.top, request.hybrid, request.into
        if request.mode == "words":
            results = self.searcher.words(query, top=top, where=where)
        elif request.mode == "keyword":
            results = self.searcher.keyword(query, top=top, where=where, hybrid=hybrid, into=into)
        elif request.mode == "study":
            results = self.searcher.study(self.study_id(query), into=into, top=top, where=where)
        else:
            results = self.searcher.text(query, top=top, where=where, hybrid=hybrid, into=into)
        return self._response(results)

    def more_like(self, request: api.LikeRequest) -> api.SearchResponse:
        """Search for more cases like some, and unlike others.

        Args:
            request: the cases.

        Returns:
            The ranked cases.

        Raises:
            CaseNotFound: there is no such case.
            UserError: a case is on both sides, or a filter is not valid for this index.
        """
        fits, others = ([self.study_id(case) for case in cases] for cases in (request.relevant, request.not_relevant))
        where = self._conditions(request.where, request.condition)
        text, into, top = request.text.strip(), request.into, request.top
        return self._response(self.searcher.like(fits, others, text=text, into=into, top=top, where=where))

    def search_volume(
        self, source: Path, top: int, where: Sequence[str], condition: str, into: api.Into
    ) -> api.SearchResponse:
        """Search by a volume.

        Args:
            source: a volume file or DICOM folder.
            top: how many cases to return.
            where: conditions that must all hold.
            condition: further conditions, joined by `and`.
            into: rank volumes (`image`) or reports (`report`).

        Returns:
            The ranked cases.

        Raises:
            UserError: a filter is not valid, or there is no model.
            RefusedVolume: the source is not a regular volume in HU.
        """
        conditions = self._conditions(where, condition)
        return self._response(self.searcher.volume(source, top=top, where=conditions, into=into))

    def scores(self, request: api.ScoresRequest) -> api.ScoresResponse:
        """Return a query's cosine with every study that passes the filters.

        Args:
            request: the query.

        Returns:
            The scores; in anonymous mode sorted by case name, as the order of the manifest would reveal who is who.

        Raises:
            UserError: the query or a filter is not valid for this index.
        """
        where = self._conditions(request.where, request.condition)
        vector = self._query_vector(request.mode, request.query, request.into)
        mask = self.index.mask(where)
        scores = self.searcher.scores_all(vector, request.into).tolist()
        passing = [position for position in range(len(scores)) if mask is None or mask[position]]
        if self._names.anonymous:
            passing.sort(key=lambda position: self._case_names[position])
        return api.ScoresResponse(
            cases=[self._case_names[position] for position in passing],
            scores=[scores[position] for position in passing],
        )

    def relevance(self, request: api.RelevanceRequest) -> api.RelevanceResponse:
        """Return where in a case the model looks for a query.

        Args:
            request: the case and the query.

        Raises:
            CaseNotFound: there is no such case, or its source is missing or no longer a regular volume.
            UserError: there is no model, it gives no map, or the query is not valid.
        """
        return overlay(self._localise(request)[0])

    def relevant_slices(self, request: api.RelevanceRequest) -> api.RelevantSlicesResponse:
        """Return pictures of a case through the place where the model looks most for a query.

        Args:
            request: the case and the query.

        Raises:
            CaseNotFound: there is no such case, or its source is missing or no longer a regular volume.
            UserError: there is no model, it gives no map, or the query is not valid.
        """
        found, source = self._localise(request)
        return slices_out(peak_slices(source, found.relevance, found.placement, found.rules))

    def case(self, case: str) -> api.CaseResponse:
        """Return all that is shown of a case.

        Args:
            case: its public name.

        Returns:
            The case, with those nearest to it.

        Raises:
            CaseNotFound: there is no such case.
        """
        study_id = self.study_id(case)
        study = self.index.row(study_id)
        nearest: list[api.HitOut] = []
        if len(self.index) > 1:
            nearest = self._response(self.searcher.study(study_id, top=_NEAREST, leave_out="study")).hits
        return api.CaseResponse(
            case=case,
            report=study.report,
            labels=list(study.labels),
            columns={
                name: study.cells.get(name, "")
                for name in self._case_columns
                if name not in self._visible.series.values()
            },
            grid=grid_out(study.geometry),
            thumbnails=bool(study.geometry),
            patient=study.patient_id if self._visible.patients else "",
            series=series_out(study, self._visible),
            same_patient=studies_of_patient(self.index, study, self._visible),
            nearest=nearest,
        )

    def opening(self, case: str) -> api.OpeningResponse:
        """Return the slice of a case that differs most from the mean of the index's volumes.

        Args:
            case: its public name.

        Raises:
            CaseNotFound: as `volume`.
        """
        path, mean = self.volume(case), load_mean(self.index.folder)
        if mean is None:
            return api.OpeningResponse(slice=None, volumes=0)
        return api.OpeningResponse(slice=mean.most_different(read_on_grid(path, mean.grid)), volumes=mean.volumes)

    def reasons(self, request: api.ReasonsRequest) -> api.ReasonsResponse:
        """Return why a case is a hit of a query, as far as its report tells.

        Args:
            request: the case and the query.

        Raises:
            CaseNotFound: there is no such case.
            UserError: the query is not valid for this index.
        """
        study, model = self.study_id(request.case), self.searcher.model
        if request.mode == "study":
            return reasons_out(explain_like(self.index, model, study, self.study_id(request.query)))
        vector = self._query_vector(request.mode, request.query, "image") if model and request.mode != "words" else None
        return reasons_out(explain(self.index, model, study, request.query, vector))

    def thumbnail(self, case: str, plane: str) -> bytes:
        """Return a thumbnail of a case as JPEG.

        Args:
            case: its public name.
            plane: `axial`, `coronal` or `sagittal`.

        Returns:
            The content of the JPEG file.

        Raises:
            CaseNotFound: there is no such case, or no thumbnail of it.
        """
        thumbnails = self.index.thumbnails(self.study_id(case))
        if plane not in thumbnails:
            raise CaseNotFound("There is no such picture: the index was made without this case's volume.")
        return thumbnails[plane]

    def volume(self, case: str) -> Path:
        """Return the compressed NIfTI file of a case's source volume.

        Args:
            case: its public name.

        Returns:
            The path of the file.

        Raises:
            CaseNotFound: there is no such case, or its source is missing, no longer a regular volume, or now has
                another grid.
        """
        study_id = self.study_id(case)
        study = self.index.row(study_id)
        if not study.source:
            raise CaseNotFound(_SOURCE_MISSING)
        # the original errors may name files and series
        try:
            path = self._volumes.get(study_id, Path(study.source), self._rules)
        except RefusedVolume as refusal:
            raise CaseNotFound(f"The source volume of this case can no longer be read ({refusal.reason}).") from refusal
        except UserError as error:
            raise CaseNotFound(_SOURCE_MISSING) from error
        if study.geometry and not _has_grid(path, study.geometry):
            raise CaseNotFound(_OTHER_GRID)
        return path

    def _localise(self, request: api.RelevanceRequest) -> tuple[Localised, Path]:
        """Return where in a case the model looks, and the file of the case."""
        if self.searcher.model is None:
            raise UserError(_NO_MODEL)
        study = self.index.row(self.study_id(request.case))
        vector = self._query_vector(request.mode, request.query, "image")
        if not study.source or not Path(study.source).exists():
            raise CaseNotFound(_SOURCE_MISSING)
        try:
            found = self.searcher.model.localise_vector(Path(study.source), vector)
        except RefusedVolume as refusal:
            raise CaseNotFound(f"The source volume of this case can no longer be read ({refusal.reason}).") from refusal
        if study.geometry and list(found.placement.shape) != list(study.geometry["native_size"]):
            raise CaseNotFound(_OTHER_GRID)
        return found, Path(study.source)

    def _query_vector(self, mode: str, query: str, into: api.Into) -> np.ndarray:
        if mode == "keyword":
            results = self.searcher.keyword(query, top=1)
        elif mode == "study":
            results = self.searcher.study(self.study_id(query), into=into, top=1, leave_out="nothing")
        else:
            results = self.searcher.text(query, top=1, into=into)
        return cast(np.ndarray, results.query_vector)

    def _conditions(self, where: Sequence[str], condition: str) -> list[str]:
        """Return all conditions of a request.

        In anonymous mode those on hidden columns are refused: an answer would confirm a guessed id.
        """
        conditions = [*where, *split_where(condition)]
        parse_where(conditions, self._queryable_columns)
        return conditions

    def _response(self, results: SearchResults) -> api.SearchResponse:
        return search_response(results, self._near_duplicates.of(results.hits), self._visible)


def _has_grid(path: Path, geometry: dict[str, Any]) -> bool:
    """Return whether a viewer's volume has the grid that was indexed; the file has its spacing in float32."""
    shape, spacing = grid_of(path)
    return list(shape) == list(geometry["native_size"]) and np.allclose(
        spacing, geometry["native_spacing"], rtol=1e-4, atol=0
    )
