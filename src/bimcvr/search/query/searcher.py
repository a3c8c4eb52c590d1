"""Queries: by text, volume, study, keyword and words; each gives an `Answer`."""

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np

from bimcvr.curation.text.tokens import sentences
from bimcvr.data.text.stop_words import INDEX_STOP_WORDS
from bimcvr.errors import UserError
from bimcvr.search.index.filters import parse_where
from bimcvr.search.index.reader import Index, IndexedStudy, Stream
from bimcvr.search.query.encoder import Encoder
from bimcvr.search.query.highlights import HighlightSpan, extractor, highlight_findings, highlight_words
from bimcvr.search.query.query_encoding import EncodedQuery, canonical_label, encode_keyword, encode_text
from bimcvr.search.query.reliability_notes import reliability_notes
from bimcvr.search.query.results import Hit, RankedRow, SearchResults, fuse
from bimcvr.suggest import nearest

LeaveOut = Literal["nothing", "study", "patient"]
FUSED = 1000
"""Depth to which two rankings are fused."""


class Searcher:
    """Asks an index.

    Args:
        index: an open index.
        model: the retriever that made it; without one, queries by text and volume are refused and keywords are asked
            through the prompts that the index has.

    Raises:
        UserError: the model's vectors have another width than the index's.
    """

    def __init__(self, index: Index, model: Encoder | None = None) -> None:
        self.index, self.model = index, model

    def text(
        self, text: str, *, top: int = 10, where: str | Sequence[str] = "", hybrid: bool = False, into: Stream = "image"
    ) -> SearchResults:
        """Find the studies that a text describes.

        Args:
            text: free text is read whole, by sentences as in training; a bare finding (`pleural effusion`) is asked as
                a keyword.
            top: how many.
            where: a filter, as `filters.parse_where`.
            hybrid: fuse the ranking by vectors with the one by the text's words in the reports.
            into: rank volumes or reports.

        Raises:
            UserError: the text is empty, the index has no text encoder, or the filter is none.
        """
        if not text.strip():
            raise UserError("The query is empty. Write what is to be seen, like: large right pleural effusion.")
        if canonical_label(text, self.index):
            return replace(self.keyword(text, top=top, where=where, hybrid=hybrid, into=into), mode="text")
        began = time.perf_counter()
        query = encode_text(text, self._text_encoder())
        return self._answer("text", query, began, top, where, into, words=text, fused=text if hybrid else "")

    def keyword(
        self,
        keyword: str,
        *,
        top: int = 10,
        where: str | Sequence[str] = "",
        holding: bool | None = None,
        hybrid: bool = False,
        into: Stream = "image",
    ) -> SearchResults:
        """Find the studies with a finding.

        Args:
            keyword: a label or another name of one (`enlarged heart`); others are asked as they are, if there is a
                model.
            top: how many.
            where: a filter.
            holding: only studies whose labels hold the finding, or a narrower one (True), or do not (False); labels
                heed negation. By default all volumes, but of reports those that hold it: one that denies a finding is
                as near to its prompt.
            hybrid: fuse with the ranking by words.
            into: rank volumes or reports.

        Raises:
            UserError: the keyword is empty, or nothing can embed its prompts.
        """
        if not keyword.strip():
            raise UserError("The keyword is empty. Give one of the index's labels, like: atelectasis.")
        began = time.perf_counter()
        label = canonical_label(keyword, self.index) or keyword.strip()
        query = encode_keyword(label, self.model, self.index)
        holders = self._holders(label)
        if holding is None and into == "report" and holders.any():
            holding = True
        holds = None if holding is None else holders == holding
        return self._answer(
            "keyword",
            query,
            began,
            top,
            where,
            into,
            words=keyword,
            fused=keyword if hybrid else "",
            label=label,
            among=holds,
        )

    def volume(
        self, path: str | Path, *, top: int = 10, where: str | Sequence[str] = "", into: Stream = "image"
    ) -> SearchResults:
        """Find the studies like a volume: a file or a DICOM folder.

        Raises:
            RefusedVolume: it is no regular volume in HU.
            UserError: the index has no model.
        """
        if self.model is None:
            raise UserError(
                f"The index {self.index.folder} was opened without a model, so no volume can be embedded. {_WITH_MODEL}"
            )
        began = time.perf_counter()
        query = EncodedQuery(self.model.embed_file(Path(path)), (Path(path).name,), "volume")
        return self._answer("volume", query, began, top, where, into)

    def study(
        self,
        study_id: str,
        *,
        into: Stream = "image",
        top: int = 10,
        where: str | Sequence[str] = "",
        leave_out: LeaveOut | None = None,
    ) -> SearchResults:
        """Find the volumes, or the reports, like a study's volume.

        Args:
            study_id: of the index.
            into: rank volumes or reports.
            top: how many.
            where: a filter.
            leave_out: not the study itself (`study`, the default into volumes), nor any of its patient (`patient`), or
                leave all in (`nothing`, the default into reports).

        Raises:
            UserError: there is no such study.
        """
        began = time.perf_counter()
        place = self.index.place(study_id)
        chosen = leave_out or ("study" if into == "image" else "nothing")
        among = None
        if chosen != "nothing":
            among = np.ones(len(self.index), dtype=bool)
            among[place] = False
            if chosen == "patient":
                own = self.index.patients[place]
                among[[i for i, patient in enumerate(self.index.patients) if patient == own]] = False
        query = EncodedQuery(self.index.image.row(place), (study_id,), "study")
        return self._answer("study", query, began, top, where, into, among=among)

    def words(self, words: str, *, top: int = 10, where: str | Sequence[str] = "") -> SearchResults:
        """Find the reports that hold some words, by full text alone; needs no model.

        Raises:
            UserError: there are no words, or the filter is none.
        """
        if not words.strip():
            raise UserError("The query is empty. Give words that a report may hold.")
        began = time.perf_counter()
        allowed = self.index.mask(where)
        found = self.index.word_ranks(words, allowed)[:top]
        ranked = [RankedRow(place, score, words_rank=rank) for rank, (place, score) in enumerate(found, 1)]
        hits = self._hits(ranked, words, "")
        notes = (*self._unfinished(), *(() if ranked else (self._no_words(words, where, allowed),)))
        return SearchResults(
            "words",
            (words,),
            "report",
            tuple(hits),
            self._among(allowed),
            len(self.index),
            notes,
            self.index.is_phantom,
            self.index.has_patients,
            0.0,
            time.perf_counter() - began,
        )

    def top(self, queries: np.ndarray, *, top: int = 10, into: Stream = "image") -> list[list[tuple[str, float]]]:
        """Return for each of many query vectors (Q, E) the best studies and their cosines.

        Nothing is read of their rows.
        """
        found = self.index.vectors(into).top(queries, top)
        name = self.index.study_ids.__getitem__
        return [list(zip(map(name, best.place.tolist()), best.score.tolist(), strict=True)) for best in found]

    def scores_all(self, query: np.ndarray, into: Stream = "image") -> np.ndarray:
        """Return the cosines (N,) of a query vector (E,) with all studies in float64.

        In the order of `index.study_ids`.
        """
        return self.index.vectors(into).scores(query)

    def _answer(
        self,
        mode: str,
        query: EncodedQuery,
        began: float,
        top: int,
        where: str | Sequence[str],
        into: Stream,
        *,
        words: str = "",
        fused: str = "",
        label: str = "",
        among: np.ndarray | None = None,
    ) -> SearchResults:
        searched = time.perf_counter()
        allowed = self.index.mask(where)
        if among is not None:
            allowed = among if allowed is None else allowed & among
        if query.vector.shape != (self.index.commit.dim,):
            raise UserError(
                f"The model's vectors have the width {len(query.vector)}, those of the index"
                f" {self.index.commit.dim}: it was made with another model."
            )
        best = self.index.vectors(into).top(query.vector[None], max(top, FUSED) if fused else max(top, 1), allowed)[0]
        ranked = [
            RankedRow(int(p), float(s), cosine=float(s), vector_rank=r)
            for r, (p, s) in enumerate(zip(best.place, best.score, strict=True), 1)
        ]
        highest = ranked[0].score if ranked else None
        if fused:
            ranked = fuse(ranked, self.index.word_ranks(fused, allowed)[:FUSED], self.index)
        ended = time.perf_counter()
        notes = (
            *self._unfinished(),
            *query.notes,
            *reliability_notes(self.index, query, words, highest if allowed is None else None, into),
        )
        if not ranked:
            notes = (*notes, self._why_none(where))
        hits = self._hits(ranked[:top], words, label)
        return SearchResults(
            mode,
            query.asked,
            into,
            tuple(hits),
            self._among(allowed),
            len(self.index),
            notes,
            self.index.is_phantom,
            self.index.has_patients,
            searched - began,
            ended - searched,
            hybrid=bool(fused),
            label=label,
            query=query.vector,
        )

    def _hits(self, ranked: Sequence[RankedRow], words: str, label: str) -> list[Hit]:
        rows = self.index.rows([place.place for place in ranked])
        return [
            Hit(
                rank,
                row.study_id,
                place.score,
                row.patient_id,
                row.labels,
                row.report,
                tuple(self._spans(row, words, label)),
                row.cells,
                place.cosine,
                place.vector_rank,
                place.words_rank,
                bool(row.geometry),
            )
            for rank, (place, row) in enumerate(zip(ranked, rows, strict=True), 1)
        ]

    def _spans(self, row: IndexedStudy, words: str, label: str) -> list[HighlightSpan]:
        if label.casefold() in extractor().library.keywords:
            return highlight_findings(row.report, label.casefold(), row.cells.get("language", ""))
        return highlight_words(row.report, words)

    def _why_none(self, where: str | Sequence[str]) -> str:
        """Say why a filter lets no study through: a label that none has, with the nearest."""
        known = {label.casefold(): label for label in self.index.label_counts()}
        for condition in parse_where(where, self.index.columns):
            if (condition.column, condition.operator) == ("labels", "=") and condition.value not in known.values():
                match = nearest(condition.value.casefold(), known)
                hint = f" Did you mean '{known[match]}'?" if match else ""
                return f"No study of this index has the label '{condition.value}'.{hint}"
        return "No study of this index passes the filter."

    def _no_words(self, words: str, where: str | Sequence[str], allowed: np.ndarray | None) -> str:
        if allowed is not None and not allowed.any():
            return self._why_none(where)
        if all(word.text in INDEX_STOP_WORDS for sentence in sentences(words) for word in sentence):
            return f"Words like these are too common to be searched: {words.strip()[:60]}"
        return "No report of this index holds any of these words."

    def _unfinished(self) -> tuple[str, ...]:
        if self.index.commit.complete:
            return ()
        return (f"This index is unfinished ({len(self.index):,} studies so far): run `index` again.",)

    def _among(self, allowed: np.ndarray | None) -> int:
        return len(self.index) if allowed is None else int(allowed.sum())

    def _holders(self, label: str) -> np.ndarray:
        library, wanted = extractor().library, label.casefold()
        known = {own: own.casefold() for own in self.index.label_counts()}
        holding = {
            own
            for own, name in known.items()
            if name == wanted or (name in library.keywords and wanted in library.ancestors(name))
        }
        return np.array([not holding.isdisjoint(row) for row in self.index.labels], dtype=bool)

    def _text_encoder(self) -> Encoder:
        if self.model is None:
            held = self.index.prompts.labels if self.index.prompts else []
            keywords = f"Keywords can be asked: {', '.join(held[:5])} … ({len(held)} of them). " if held else ""
            raise UserError(
                f"The index {self.index.folder} has no text encoder, so a text cannot be embedded. {keywords}"
                f"The reports' words can be searched (--words). {_WITH_MODEL}"
            )
        return self.model


_WITH_MODEL = (
    "Make the index from a checkpoint (index --checkpoint …), or name the one that its vectors came from (search"
    " --checkpoint …)."
)
