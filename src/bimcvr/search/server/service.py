"""What lies between the API and the search: names of cases, what may be shown, and one look at the model at a time."""

import hashlib
import re
import secrets
import threading
import time
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np

from bimcvr import __version__
from bimcvr.data.reading.refused import RefusedVolume
from bimcvr.errors import UserError
from bimcvr.search.index.commit import NAME
from bimcvr.search.index.filters import parse_where, split_where
from bimcvr.search.index.reader import Index
from bimcvr.search.index.viewer_volumes import VIEWER, ViewerVolumes, grid_of
from bimcvr.search.query.encoder import Encoder
from bimcvr.search.query.results import Hit, SearchResults
from bimcvr.search.query.searcher import Searcher
from bimcvr.search.server import schemas as api
from bimcvr.search.server.uploads import sweep_uploads, upload_folder

_FEW = 30
"""A column of at most so many values is shown and offered as a filter."""

REOPEN_SECONDS = 5.0
"""How long a state of the index is served at least before a newer one is looked for."""

_CROWD = 5
"""How many studies at least share each value of a column that is shown in anonymous mode."""

_GONE = "The source volume of this case is not where it was when the index was made."
_NEAREST = 6
# a path in what a library says of an upload
_UPLOADED = re.compile(r"\S*upload-\d+-\S*")
# what the case has a place of its own for, or what no reader needs
_APART = ("study_id", "report", "report_original", "labels", "volume", "sha256", "facts", "planted")
# what says who it is, whatever its values
_IDENTIFYING = ("study_id", "patient_id", "report_id", "volume", "sha256")


class CaseNotFound(UserError):
    """There is no such case."""


class SearchService:
    """Answers the API's questions from the newest state of an index.

    Args:
        folder: of the index.
        model: what embeds texts and volumes; None if the index was made without one.
        anonymous: names of cases are opaque, and nothing that identifies a patient leaves: ids, paths, columns of many
            values.
    """

    def __init__(self, folder: Path, model: Encoder | None, anonymous: bool) -> None:
        self.folder, self.model, self.anonymous = folder, model, anonymous
        self.volumes = ViewerVolumes(folder / VIEWER)
        self.uploads = folder / "derived" / "uploads"
        self._secret = secrets.token_bytes(16)
        self._newest: IndexSnapshot | None = None
        self._opening, self._next = threading.Lock(), 0.0
        _make_room(self.uploads)
        sweep_uploads(self.uploads)
        self.snapshot()

    def snapshot(self) -> "IndexSnapshot":
        """Return the index as it is committed.

        It is opened anew when a writer has committed, though not at every batch of one.

        An older state is held open for as long as a request is at it, and let go of with the last reference to it.
        """
        with self._opening:
            if self._newest is not None and time.monotonic() < self._next:
                return self._newest
            stamp = (self.folder / NAME).stat().st_mtime_ns
            if self._newest is None or self._newest.stamp != stamp:
                self._newest = IndexSnapshot(self, stamp)
                self.volumes.keep_only(self._newest.index.study_ids)
            self._next = time.monotonic() + REOPEN_SECONDS
            return self._newest

    def close(self) -> None:
        """Let go of the index."""
        if self._newest is not None:
            self._newest.index.close()

    def name_of(self, study_id: str) -> str:
        """Return what a case is called outside."""
        if not self.anonymous:
            return study_id
        return hashlib.blake2b(study_id.encode(), key=self._secret, digest_size=8).hexdigest()

    def plain(self, error: UserError) -> str:
        """Return an error's message for a client, without a path of this machine."""
        if isinstance(error, RefusedVolume):
            _, _, wrong, remedy = error.args
            return _UPLOADED.sub("the upload", f"The volume {wrong} {remedy}")
        return str(error).replace(f" {self.folder}", "")


class IndexSnapshot:
    """One committed state of the index, and the names of its cases."""

    def __init__(self, service: SearchService, stamp: int) -> None:
        self.service, self.stamp = service, stamp
        self.index = Index.open(service.folder)
        weakref.finalize(self, self.index.close)
        self.searcher = Searcher(self.index, service.model)
        self.names = [service.name_of(study) for study in self.index.study_ids]
        self._studies = dict(zip(self.names, self.index.study_ids, strict=True))
        counts = {name: self.index.counts(name) for name in self.index.columns if name not in _APART}
        self.few = {
            name: values for name, values in counts.items() if len(values) <= _FEW and self._may_show(name, values)
        }
        self.open_columns = ["labels", *self.few] if service.anonymous else self.index.columns
        self.shown = (
            list(self.few) if service.anonymous else [name for name in self.index.columns if name not in _APART]
        )

    def _may_show(self, name: str, values: dict[str, int]) -> bool:
        if not self.service.anonymous:
            return name not in _IDENTIFYING
        # a value that few studies share points at them
        return name not in _IDENTIFYING and min(values.values(), default=0) >= _CROWD

    def study(self, case: str) -> str:
        """Return the study that a case's name stands for.

        Raises:
            Unknown: there is none.
        """
        if case not in self._studies:
            raise CaseNotFound("There is no such case in this index.")
        return self._studies[case]

    def facts(self, upload_mb: int) -> api.IndexFacts:
        """Return what the index says of itself, without a path."""
        known, index = self.index.facts, self.index
        labels = [api.ValueCount(value=value, count=number) for value, number in index.label_counts().items()]
        prompts = set(index.prompts.labels) if index.prompts else set()
        return api.IndexFacts(
            version=__version__,
            studies=len(index),
            patients=len(set(index.patients)) if "patient_id" in index.columns else None,
            model=" + ".join(str(known[name]) for name in ("volume_encoder", "text_encoder") if known.get(name)),
            created=str(known.get("created", "")),
            phantom=index.is_phantom,
            has_patients=index.has_patients,
            anonymous=self.service.anonymous,
            can_embed=self.service.model is not None,
            why_not=(
                ""
                if self.service.model
                else (
                    "This index is served without a model: keywords, cases and words of reports can be asked, "
                    "new texts and volumes cannot."
                )
            ),
            labels=labels,
            keywords=[label for label in labels if self.service.model or label.value in prompts],
            columns=[
                api.Column(
                    name=name, values=[api.ValueCount(value=value, count=number) for value, number in values.items()]
                )
                for name, values in self.few.items()
                if len(values) > 1
            ],
            all_columns=self.open_columns,
            upload_mb=upload_mb,
        )

    def search(self, asked: api.SearchRequest) -> api.SearchResponse:
        """Answer a query.

        Raises:
            UserError: the query or a filter is none that this index can answer.
        """
        where = self._checked(asked.where, asked.condition)
        if asked.mode == "words":
            return self._found(self.searcher.words(asked.query, top=asked.top, where=where))
        if asked.mode == "keyword":
            return self._found(
                self.searcher.keyword(asked.query, top=asked.top, where=where, hybrid=asked.hybrid, into=asked.into)
            )
        if asked.mode == "study":
            return self._found(
                self.searcher.study(self.study(asked.query), into=asked.into, top=asked.top, where=where)
            )
        return self._found(
            self.searcher.text(asked.query, top=asked.top, where=where, hybrid=asked.hybrid, into=asked.into)
        )

    def search_volume(
        self, source: Path, top: int, where: Sequence[str], condition: str, into: api.Into
    ) -> api.SearchResponse:
        """Answer a query by a volume file or DICOM folder.

        Raises:
            UserError: the filter is none, or there is no model.
            RefusedVolume: it is no regular volume in HU.
        """
        return self._found(self.searcher.volume(source, top=top, where=self._checked(where, condition), into=into))

    def scores(self, asked: api.ScoresRequest) -> api.ScoresResponse:
        """Return a query's cosine with every study that passes the filters."""
        where = self._checked(asked.where, asked.condition)
        if asked.mode == "keyword":
            answer = self.searcher.keyword(asked.query, top=1)
        elif asked.mode == "study":
            answer = self.searcher.study(self.study(asked.query), into=asked.into, top=1, leave_out="nothing")
        else:
            answer = self.searcher.text(asked.query, top=1, into=asked.into)
        mask = self.index.mask(where)
        scores = self.searcher.scores_all(cast(np.ndarray, answer.query), asked.into).tolist()
        kept = [place for place in range(len(scores)) if mask is None or mask[place]]
        if self.service.anonymous:
            # the order of the manifest would tell who is who
            kept.sort(key=lambda place: self.names[place])
        return api.ScoresResponse(cases=[self.names[place] for place in kept], scores=[scores[place] for place in kept])

    def case(self, case: str) -> api.CaseResponse:
        """Return all that is shown of a case."""
        study = self.study(case)
        row = self.index.row(study)
        nearest = (
            self._found(self.searcher.study(study, top=_NEAREST, leave_out="study")).hits if len(self.index) > 1 else []
        )
        return api.CaseResponse(
            case=case,
            report=row.report,
            labels=list(row.labels),
            columns={name: row.cells.get(name, "") for name in self.shown},
            grid=_grid(row.geometry),
            thumbnails=bool(row.geometry),
            nearest=nearest,
        )

    def thumbnail(self, case: str, plane: str) -> bytes:
        """Return a case's picture as JPEG.

        Raises:
            Unknown: there is no such case, or no picture of it.
        """
        pictures = self.index.thumbnails(self.study(case))
        if plane not in pictures:
            raise CaseNotFound("There is no such picture: the index was made without this case's volume.")
        return pictures[plane]

    def volume(self, case: str) -> Path:
        """Return the compressed NIfTI of a case's source volume.

        Raises:
            Unknown: there is no such case, or its source is not where it was, no regular volume any more or of another
                grid.
        """
        study = self.study(case)
        row = self.index.row(study)
        if not row.source:
            raise CaseNotFound(_GONE)
        # what the errors say may name files and series
        try:
            path = self.service.volumes.get(study, Path(row.source))
        except RefusedVolume as refusal:
            raise CaseNotFound(
                f"The source volume of this case cannot be read any more ({refusal.reason})."
            ) from refusal
        except UserError as error:
            raise CaseNotFound(_GONE) from error
        if row.geometry and not _is_on(path, row.geometry):
            raise CaseNotFound(
                "The source volume of this case has another size or spacing than when the index was made: it is not"
                " shown as this case. Run `index` again."
            )
        return path

    def _checked(self, where: Sequence[str], condition: str) -> list[str]:
        """Return all conditions; in anonymous mode refuse those on what is hidden.

        An answer would confirm a guessed id.
        """
        conditions = [*where, *split_where(condition)]
        parse_where(conditions, self.open_columns)
        return conditions

    def _found(self, answer: SearchResults) -> api.SearchResponse:
        score_is = {"words": "BM25 of the query's words in the report"}.get(
            answer.mode, "cosine of the query and the case"
        )
        if answer.hybrid:
            score_is = "fused rank: 1 / (60 + rank) by vector and by words, added up"
        return api.SearchResponse(
            hits=[self._hit(hit) for hit in answer.hits],
            among=answer.among,
            score_is=score_is,
            asked=list(answer.asked) if answer.mode in ("text", "keyword") else [],
            notes=list(answer.notes),
            seconds=answer.encode_seconds + answer.search_seconds,
            encode_seconds=answer.encode_seconds,
        )

    def _hit(self, hit: Hit) -> api.HitOut:
        return api.HitOut(
            rank=hit.rank,
            case=self.service.name_of(hit.study_id),
            score=hit.score,
            labels=list(hit.labels),
            report=hit.report,
            spans=[api.HighlightOut(start=span.start, end=span.end, kind=span.kind) for span in hit.spans],
            columns={name: hit.row[name] for name, values in self.few.items() if len(values) > 1 and hit.row.get(name)},
            thumbnails=hit.has_pictures,
        )


def _grid(geometry: dict[str, Any]) -> api.GridOut | None:
    if not geometry:
        return None
    depth, height, width = geometry["native_size"]
    up, back, across = geometry["native_spacing"]
    return api.GridOut(size=(width, height, depth), spacing_mm=(across, back, up), obliquity=geometry["obliquity"])


def _is_on(path: Path, geometry: dict[str, Any]) -> bool:
    """Tell whether a viewer's volume has the grid that was indexed; a file holds its spacing in float32."""
    shape, spacing = grid_of(path)
    return list(shape) == list(geometry["native_size"]) and np.allclose(
        spacing, geometry["native_spacing"], rtol=1e-4, atol=0
    )


def _make_room(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with upload_folder(folder):
            pass
    except OSError as error:
        raise UserError(
            f"{folder} cannot be written to ({error.strerror}): uploads and the viewer's volumes need room there. Give "
            "the server's user the right to write."
        ) from error
