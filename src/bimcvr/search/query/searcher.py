"""Searching an index by text, keyword, volume, study and words; each returns `SearchResults`."""

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np

from bimcvr.data.reading.grid import GridRules
from bimcvr.errors import UserError
from bimcvr.search.asked.findings import NOTHING, Asked, asked_of, one_finding
from bimcvr.search.asked.labels import has_label
from bimcvr.search.asked.parsed_query import ParsedQuery, parse_query
from bimcvr.search.index.reader import Index, Stream
from bimcvr.search.query.encoder import Encoder
from bimcvr.search.query.feedback import moved_query
from bimcvr.search.query.hits import read_hits
from bimcvr.search.query.measured import MeasuredLabel
from bimcvr.search.query.query_encoding import EncodedQuery, encode_keyword, encode_text
from bimcvr.search.query.ranking import FUSION_DEPTH, fuse, rank_by_vector, rank_by_words
from bimcvr.search.query.reliability_notes import (
    chance_note,
    contrary_note,
    empty_filter_note,
    no_match_note,
    reliability_notes,
    unfinished_note,
)
from bimcvr.search.query.results import SearchResults
from bimcvr.search.query.volume_check import volume_notes

LeaveOut = Literal["nothing", "study", "patient"]
_WITH_MODEL = (
    "Make the index from a checkpoint (index --checkpoint …), or name the checkpoint that its vectors came from (search"
    " --checkpoint …)."
)


class Searcher:
    """Searches an index.

    Args:
        index: an open index.
        model: the model that made it. Without one, queries by text and volume are refused, and only keywords whose
            prompt vectors the index has can be searched for.
    """

    def __init__(self, index: Index, model: Encoder | None = None) -> None:
        self.index, self.model = index, model

    def text(
        self,
        text: str | ParsedQuery,
        *,
        top: int = 10,
        where: str | Sequence[str] = "",
        hybrid: bool | None = None,
        into: Stream = "image",
    ) -> SearchResults:
        """Find the studies that a text describes.

        Args:
            text: free text is encoded as a whole, as reports are in training; a bare finding (`pleural effusion`, `no
                pleural effusion`) is searched for as a keyword.
            top: how many hits to return.
            where: a filter, as `filters.parse_where` takes it.
            hybrid: fuse the ranking by vectors with the one by the text's words in the reports, in which a report that
                denies what is asked is no match; by default where volumes are ranked and the text names a finding.
            into: rank volumes (`image`) or reports (`report`).

        Returns:
            The results.

        Raises:
            UserError: the text is empty, there is no text encoder, or the filter is not valid.
        """
        query = parse_query(text)
        if not query.text.strip():
            raise UserError("The query is empty. Describe findings, like: large right pleural effusion.")
        if one_finding(query, self.index)[0]:
            return replace(self.keyword(query, top=top, where=where, hybrid=hybrid, into=into), mode="text")
        began = time.perf_counter()
        encoded = encode_text(query.text, self._text_encoder())
        asked = asked_of(query)
        return self._by_vector("text", encoded, began, top, where, into, query=query, hybrid=hybrid, asked=asked)

    def keyword(
        self,
        keyword: str | ParsedQuery,
        *,
        top: int = 10,
        where: str | Sequence[str] = "",
        holding: bool | None = None,
        hybrid: bool | None = None,
        into: Stream = "image",
    ) -> SearchResults:
        """Find the studies with a finding.

        Args:
            keyword: a label or another name of one (`enlarged heart`), or its denial (`no enlarged heart`), for which
                the volumes least like the finding come first; any other text is put into the model's prompts as it is,
                if there is a model.
            top: how many hits to return.
            where: a filter, as `filters.parse_where` takes it.
            holding: rank only studies that have the label, or that of a narrower finding (True), or only those that do
                not (False); labels respect negation. By default all volumes are ranked, but only the reports that have
                the label: a report that denies a finding is as close to its prompt as one that affirms it.
            hybrid: as in `text`.
            into: rank volumes (`image`) or reports (`report`).

        Returns:
            The results.

        Raises:
            UserError: the keyword is empty, nothing can encode its prompts, or the filter is not valid.
        """
        query = parse_query(keyword)
        if not query.text.strip():
            raise UserError("The keyword is empty. Give one of the index's labels, like: atelectasis.")
        began = time.perf_counter()
        known, denied = one_finding(query, self.index)
        label, denied = known or query.text.strip(), denied and bool(known)
        encoded = encode_keyword(label, self.model, self.index, denied)
        labelled = has_label(self.index, label)
        if holding is None and into == "report" and labelled.any():
            holding = not denied
        candidates = None if holding is None else labelled == holding
        return self._by_vector(
            "keyword",
            encoded,
            began,
            top,
            where,
            into,
            query=query,
            hybrid=hybrid,
            label=label,
            asked=asked_of(query, known, denied),
            candidates=candidates,
        )

    def volume(
        self, path: str | Path, *, top: int = 10, where: str | Sequence[str] = "", into: Stream = "image"
    ) -> SearchResults:
        """Find the studies that are similar to a volume.

        Args:
            path: a volume file or a DICOM folder.
            top: how many hits to return.
            where: a filter, as `filters.parse_where` takes it.
            into: rank volumes (`image`) or reports (`report`).

        Returns:
            The results.

        Raises:
            RefusedVolume: it is not a regular volume in HU.
            UserError: there is no model, or the filter is not valid.
        """
        if self.model is None:
            raise UserError(
                f"The index {self.index.folder} was opened without a model, so no volume can be encoded. {_WITH_MODEL}"
            )
        began = time.perf_counter()
        vector, note = self.model.encode_file(Path(path))
        rules = GridRules(self.index.facts.get("nifti_form", "auto"))
        said = (*([note] if note else []), *volume_notes(Path(path), rules))
        encoded = EncodedQuery(vector, (Path(path).name,), "volume", said)
        return self._by_vector("volume", encoded, began, top, where, into)

    def study(
        self,
        study_id: str,
        *,
        into: Stream = "image",
        top: int = 10,
        where: str | Sequence[str] = "",
        leave_out: LeaveOut | None = None,
    ) -> SearchResults:
        """Find the volumes, or the reports, that are similar to a study's volume.

        Args:
            study_id: a study of the index.
            into: rank volumes (`image`) or reports (`report`).
            top: how many hits to return.
            where: a filter, as `filters.parse_where` takes it.
            leave_out: leave out the study itself (`study`, the default for volumes), all studies of its patient
                (`patient`), or nothing (`nothing`, the default for reports).

        Returns:
            The results.

        Raises:
            UserError: there is no such study, or the filter is not valid.
        """
        began = time.perf_counter()
        position = self.index.position(study_id)
        left_out = leave_out or ("study" if into == "image" else "nothing")
        candidates = None
        if left_out != "nothing":
            candidates = np.ones(len(self.index), dtype=bool)
            candidates[position] = False
            if left_out == "patient":
                patients = self.index.patients
                candidates[[i for i, patient in enumerate(patients) if patient == patients[position]]] = False
        encoded = EncodedQuery(self.index.image.row(position), (study_id,), "study")
        return self._by_vector("study", encoded, began, top, where, into, candidates=candidates)

    def like(
        self,
        relevant: Sequence[str],
        not_relevant: Sequence[str] = (),
        *,
        text: str = "",
        into: Stream = "image",
        top: int = 10,
        where: str | Sequence[str] = "",
    ) -> SearchResults:
        """Find more studies like some, and unlike others; none of them is among the hits.

        Args:
            relevant: studies that fit.
            not_relevant: studies that do not.
            text: the query that they were judged for, which is moved; without one the studies alone are the query.
            into: rank volumes (`image`) or reports (`report`).
            top: how many hits to return.
            where: a filter, as `filters.parse_where` takes it.

        Returns:
            The results.

        Raises:
            UserError: no study fits, one is unknown or named on both sides, or the filter is not valid.
        """
        if not relevant:
            raise UserError("More like what? Name at least one study that fits.")
        if both := sorted(set(relevant) & set(not_relevant)):
            raise UserError(f"The study '{both[0]}' cannot both fit and not fit.")
        began = time.perf_counter()
        start = self.text(text, top=1, hybrid=False).query_vector if text else None
        vector = moved_query(self.index, relevant, not_relevant, start)
        candidates = np.ones(len(self.index), dtype=bool)
        candidates[[self.index.position(study) for study in (*relevant, *not_relevant)]] = False
        parts = (
            *([text] if text else []),
            *(f"like {one}" for one in relevant),
            *(f"unlike {one}" for one in not_relevant),
        )
        encoded = EncodedQuery(vector, parts, "like")
        return self._by_vector("like", encoded, began, top, where, into, candidates=candidates)

    def words(self, words: str | ParsedQuery, *, top: int = 10, where: str | Sequence[str] = "") -> SearchResults:
        """Find the reports that contain some words, by full-text search alone; needs no model.

        Args:
            words: the words.
            top: how many hits to return.
            where: a filter, as `filters.parse_where` takes it.

        Returns:
            The results.

        Raises:
            UserError: there are no words, or the filter is not valid.
        """
        query = parse_query(words)
        if not query.text.strip():
            raise UserError("The query is empty. Give words that reports contain.")
        began = time.perf_counter()
        allowed = self.index.mask(where)
        asked = asked_of(query, *one_finding(query, self.index))
        ranked, contrary = rank_by_words(self.index, asked, top, allowed)
        notes = [*unfinished_note(self.index), *contrary_note(asked, contrary)]
        if not ranked and not contrary:
            notes.append(no_match_note(self.index, query, where, allowed))
        return SearchResults(
            "words",
            (query.text,),
            "report",
            read_hits(self.index, ranked, query, asked),
            self._count(allowed),
            len(self.index),
            tuple(notes),
            self.index.is_phantom,
            self.index.has_patients,
            encode_seconds=0.0,
            search_seconds=time.perf_counter() - began,
        )

    def top(self, queries: np.ndarray, *, top: int = 10, into: Stream = "image") -> list[list[tuple[str, float]]]:
        """Return the best studies for many query vectors; nothing but vectors and ids is read.

        Args:
            queries: (Q, E).
            top: how many studies to return for each.
            into: rank volumes (`image`) or reports (`report`).

        Returns:
            For each query, study ids and cosines, best first.
        """
        name = self.index.study_ids.__getitem__
        return [
            list(zip(map(name, best.position.tolist()), best.score.tolist(), strict=True))
            for best in self.index.vectors(into).top(queries, top)
        ]

    def scores_all(self, query: np.ndarray, into: Stream = "image") -> np.ndarray:
        """Return the cosines of a query vector with all studies.

        Args:
            query: (E,).
            into: compare with volumes (`image`) or reports (`report`).

        Returns:
            (N,) float64, in the order of `index.study_ids`.
        """
        return self.index.vectors(into).scores(query)

    def _by_vector(
        self,
        mode: str,
        encoded: EncodedQuery,
        began: float,
        top: int,
        where: str | Sequence[str],
        into: Stream,
        *,
        query: ParsedQuery | None = None,
        hybrid: bool | None = False,
        label: str = "",
        asked: Asked = NOTHING,
        candidates: np.ndarray | None = None,
    ) -> SearchResults:
        """Rank by vectors, fuse with the ranking by words where `hybrid`, and read the hits."""
        if hybrid is None:
            hybrid = asked.names_any and into == "image"
        measured = MeasuredLabel.of(self.index, label) if label and into == "image" else None
        encoded_at = time.perf_counter()
        allowed = self.index.mask(where)
        if candidates is not None:
            allowed = candidates if allowed is None else allowed & candidates
        depth = max(top, FUSION_DEPTH) if hybrid else max(top, 1)
        ranked = rank_by_vector(self.index, encoded.vector, into, depth, allowed)
        best_score = ranked[0].score if ranked and allowed is None else None
        if hybrid and query is not None:
            ranked = fuse(ranked, rank_by_words(self.index, asked, FUSION_DEPTH, allowed)[0], self.index)
        ranked_at = time.perf_counter()
        notes = [
            *unfinished_note(self.index),
            *chance_note(measured, label, hybrid),
            *reliability_notes(self.index, encoded, query, best_score, into),
        ]
        if not ranked:
            notes.append(empty_filter_note(self.index, where))
        return SearchResults(
            mode,
            encoded.parts,
            into,
            read_hits(self.index, ranked[:top], query, asked),
            self._count(allowed),
            len(self.index),
            tuple(notes),
            self.index.is_phantom,
            self.index.has_patients,
            encode_seconds=encoded_at - began,
            search_seconds=ranked_at - encoded_at,
            hybrid=hybrid,
            label=label,
            denied=encoded.kind == "denied",
            measured=measured,
            query_vector=encoded.vector,
        )

    def _count(self, allowed: np.ndarray | None) -> int:
        return len(self.index) if allowed is None else int(allowed.sum())

    def _text_encoder(self) -> Encoder:
        if self.model is None:
            labels = self.index.prompts.labels if self.index.prompts else []
            keywords = f"These keywords can be used: {', '.join(labels[:5])} … ({len(labels)} in all). "
            raise UserError(
                f"The index {self.index.folder} has no text encoder, so a text cannot be encoded."
                f" {keywords if labels else ''}The words of the reports can be searched (--words). {_WITH_MODEL}"
            )
        return self.model
