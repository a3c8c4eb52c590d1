"""Every kind of query, on a small index."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch

from bimcvr.contracts import Gallery
from bimcvr.data.evaluation_rows import evaluation_gallery, split_rows
from bimcvr.data.manifest import read_manifest
from bimcvr.data.text.stop_words import INDEX_STOP_WORDS
from bimcvr.errors import UserError
from bimcvr.evaluation.embeddings import Embeddings
from bimcvr.evaluation.result import build_result
from bimcvr.metrics.ranking.ranks import TIE, Ranks
from bimcvr.search.index.reader import Index
from bimcvr.search.index.writer import IndexWriter
from bimcvr.search.output.html_page import highlighted_report
from bimcvr.search.query.query_encoding import EncodedQuery
from bimcvr.search.query.ranking import RRF
from bimcvr.search.query.reliability_notes import reliability_notes
from bimcvr.search.query.searcher import Searcher
from bimcvr.search.server.schemas import SearchRequest
from bimcvr.search.server.service import SearchService
from helpers.index_factory import DIM, WordEncoder, make_index, study, vector_of

COUNT = 40


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Index:
    return Index.open(
        make_index(tmp_path_factory.mktemp("made") / "index", [study(f"s{number}") for number in range(COUNT)])
    )


@pytest.fixture(scope="module")
def searcher(index: Index) -> Searcher:
    return Searcher(index, WordEncoder())


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    a, b = a.astype(np.float64), b.astype(np.float64)
    return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))


def test_a_text_is_read_whole_and_ranks_volumes(searcher: Searcher) -> None:
    text = "There is a large nodule. No effusion."
    results = searcher.text(text, top=COUNT, hybrid=False)
    assert results.query_parts == ("There is a large nodule.", "No effusion.")
    query = WordEncoder().embed_texts([text])[0]
    slow = sorted(((cosine(query, vector_of(f"s{number}i0")), f"s{number}") for number in range(COUNT)), reverse=True)
    assert [hit.study_id for hit in results.hits] == [name for _, name in slow]
    assert [hit.score for hit in results.hits] == pytest.approx([score for score, _ in slow], abs=1e-6)
    assert [hit.rank for hit in results.hits] == list(range(1, COUNT + 1))
    hit = results.hits[0]
    assert (hit.row["volume"], hit.patient_id, hit.cosine) == (
        f"{hit.study_id}.nii.gz",
        f"p{int(hit.study_id[1:]) // 2}",
        hit.score,
    )
    assert results.phantom


@pytest.mark.parametrize("text", ["pleural effusion", "Pleural effusions", "derrame pleural"])
def test_a_bare_finding_is_asked_through_prompts(searcher: Searcher, text: str) -> None:
    results = searcher.text(text, hybrid=False)
    assert results.query_parts == ("There is pleural effusion.", "pleural effusion is seen.")
    by_keyword = searcher.keyword("pleural effusion", hybrid=False)
    assert [(hit.study_id, hit.score) for hit in results.hits] == [(hit.study_id, hit.score) for hit in by_keyword.hits]
    queries = WordEncoder().embed_texts(results.query_parts).astype(np.float64)
    mean = (queries / np.linalg.norm(queries, axis=1, keepdims=True)).mean(0)
    assert results.hits[0].score == pytest.approx(cosine(mean, vector_of(f"{results.hits[0].study_id}i0")), abs=1e-6)


@pytest.mark.parametrize("text", ["nodule", "Nodules", "nódulo"])
def test_a_bare_finding_ranks_no_report_that_denies_it(searcher: Searcher, text: str) -> None:
    into = {stream: searcher.text(text, into=stream, top=COUNT) for stream in ("image", "report")}
    assert {hit.labels for hit in into["report"].hits} == {("nodule",)}
    assert (into["report"].candidates, into["image"].candidates) == (10, COUNT)
    assert (into["report"].mode, into["report"].label) == ("text", "nodule")


def test_labels_match_in_any_case_and_an_unknown_one_is_named(tmp_path: Path) -> None:
    studies = [
        replace(study(f"s{number}"), labels=(label,))
        for number, label in enumerate(["Nodule", "Pleural Effusion", "emphysema"])
    ]
    with Index.open(make_index(tmp_path / "index", studies, with_prompts=False)) as opened:
        searcher = Searcher(opened, WordEncoder())
        for name in ("pleural effusion", "Pleural Effusion", "PLEURAL effusion."):
            assert [hit.study_id for hit in searcher.keyword(name, holding=True).hits] == ["s1"]
            assert searcher.keyword(name).label == "Pleural Effusion"
        assert {span.kind for hit in searcher.keyword("nodule").hits for span in hit.spans} == {"absent", "present"}
        for results in (
            searcher.keyword("nodule", where=["labels = noduel"]),
            searcher.words("case1", where="labels = noduel"),
        ):
            assert results.notes == ("No study of this index has the label 'noduel'. Did you mean 'Nodule'?",)


def test_words_that_are_too_common_are_not_missed(searcher: Searcher) -> None:
    assert "too common" in searcher.words("no from").notes[0]
    assert searcher.words("zygapophyseal").notes == ("No report of this index contains any of these words.",)
    assert searcher.text("There was a nodule seen from which it is").notes == (
        "Words that occur in no report of this index: seen.",
    )


def test_stop_words_are_those_of_the_full_text_index(tmp_path: Path) -> None:
    plain = "during above before because very any only once hilum sin hay del las mass left right".split()
    studies = [
        study(f"s{number}", report=f"zebra {word} lion")
        for number, word in enumerate([*sorted(INDEX_STOP_WORDS), *plain])
    ]
    with Index.open(make_index(tmp_path / "index", studies)) as opened:
        assert [word for word in INDEX_STOP_WORDS if opened.has_word(word)] == []
        assert [word for word in plain if not opened.has_word(word)] == []


def test_a_low_best_score_gets_a_note_where_a_hundred_queries_were_measured(index: Index) -> None:
    encoded = EncodedQuery(np.ones(DIM), (), "keyword")
    for count, highest, expected in ((99, 0.01, 0), (100, 0.01, 1), (100, 0.0729, 0)):
        limits = {"keyword_image": {"lowest": 0.0730, "median": 0.5, "of": count, "what": "keywords"}}
        opened = SimpleNamespace(commit=SimpleNamespace(calibration=limits))
        assert len(reliability_notes(opened, encoded, None, highest, "image")) == expected  # type: ignore[arg-type]


def test_a_keyword_needs_no_model_where_the_index_has_its_prompts(index: Index, searcher: Searcher) -> None:
    assert [hit.study_id for hit in Searcher(index).keyword("nodule").hits] == [
        hit.study_id for hit in searcher.keyword("nodule").hits
    ]
    with pytest.raises(UserError, match="no vectors of the keyword 'pneumothorax'"):
        Searcher(index).keyword("pneumothorax")
    assert searcher.keyword("pneumothorax").query_parts == ("There is pneumothorax.", "pneumothorax is seen.")


def test_a_keyword_ranks_reports_too(searcher: Searcher) -> None:
    results = searcher.keyword("nodule", into="report", top=COUNT)
    queries = WordEncoder().embed_texts(results.query_parts).astype(np.float64)
    mean = (queries / np.linalg.norm(queries, axis=1, keepdims=True)).mean(0)
    expected = {hit.study_id: cosine(mean, WordEncoder().embed_texts([hit.report])[0]) for hit in results.hits}
    assert results.into == "report"
    assert {hit.study_id: hit.score for hit in results.hits} == pytest.approx(expected, abs=1e-6)
    assert results.hits[0].score > searcher.keyword("nodule").hits[0].score


def test_labels_heed_negation(index: Index, searcher: Searcher) -> None:
    assert index.label_counts() == dict.fromkeys(("atelectasis", "emphysema", "nodule", "pleural effusion"), 10)
    holding, lacking = (searcher.keyword("nodule", holding=holds, top=COUNT) for holds in (True, False))
    assert {hit.labels for hit in holding.hits} == {("nodule",)}
    assert (len(holding.hits), len(lacking.hits), holding.candidates) == (10, 30, 10)
    assert searcher.keyword("nodule", into="report").candidates == 10, "no report that denies it"
    assert searcher.keyword("nodule", into="report", holding=False).candidates == 30
    kinds = {
        (span.kind, hit.report[span.start : span.end]) for hit in [*holding.hits, *lacking.hits] for span in hit.spans
    }
    assert kinds == {("present", "nodule"), ("absent", "nodule")}


def test_a_volume_is_embedded_by_the_model(searcher: Searcher, index: Index) -> None:
    assert "Half of it is cut away." in searcher.volume(Path("cut1")).notes
    results = searcher.volume(Path("s3i0"), top=1)
    assert (results.hits[0].study_id, results.query_parts) == ("s3", ("s3i0",))
    assert results.hits[0].score == pytest.approx(1)
    with pytest.raises(UserError, match="without a model"):
        Searcher(index).volume(Path("s3i0"))


def test_a_study_asks_with_its_volume(searcher: Searcher) -> None:
    like = searcher.study("s4", top=COUNT)
    assert len(like.hits) == COUNT - 1
    assert "s4" not in [hit.study_id for hit in like.hits]
    others = {hit.study_id for hit in searcher.study("s4", top=COUNT, leave_out="patient").hits}
    assert others == {f"s{number}" for number in range(COUNT)} - {"s4", "s5"}
    reports = searcher.study("s4", into="report", top=COUNT)
    assert len(reports.hits) == COUNT
    text = WordEncoder().embed_texts([reports.hits[0].report])[0]
    assert reports.hits[0].score == pytest.approx(cosine(vector_of("s4i0"), text), abs=1e-6)
    assert searcher.study("s4", leave_out="nothing", top=1).hits[0].study_id == "s4"
    with pytest.raises(UserError, match="no study 's99'"):
        searcher.study("s99")


def test_hybrid_is_the_sum_of_reciprocal_ranks(searcher: Searcher) -> None:
    text = "nodule in case10"
    by_vector = [hit.study_id for hit in searcher.text(text, top=COUNT, hybrid=False).hits]
    by_words = [hit.study_id for hit in searcher.words(text, top=COUNT).hits]
    assert by_words[0] == "s10"
    expected = {name: 1 / (RRF + rank) for rank, name in enumerate(by_vector, 1)}
    for rank, name in enumerate(by_words, 1):
        expected[name] += 1 / (RRF + rank)
    results = searcher.text(text, top=COUNT, hybrid=True)
    assert {hit.study_id: hit.score for hit in results.hits} == pytest.approx(expected)
    assert [hit.score for hit in results.hits] == sorted((hit.score for hit in results.hits), reverse=True)
    hit = results.hits[0]
    assert by_vector[hit.vector_rank - 1] == by_words[hit.words_rank - 1] == hit.study_id


def test_a_filter_ranks_what_it_leaves_as_a_whole_index_would(searcher: Searcher) -> None:
    everything = searcher.text("There is a nodule.", top=COUNT, hybrid=False)
    results = searcher.text("There is a nodule.", top=COUNT, hybrid=False, where="age >= 40 and labels != emphysema")
    wanted = [hit.study_id for hit in everything.hits if int(hit.row["age"]) >= 40 and hit.labels != ("emphysema",)]
    assert [hit.study_id for hit in results.hits] == wanted
    assert (results.candidates, results.studies) == (len(wanted), COUNT)
    assert len(searcher.words("nodule", top=COUNT, where="age < 30").hits) == 2
    empty = searcher.text("There is a nodule.", where="age > 1000")
    assert empty.hits == ()
    assert "No study of this index passes the filter." in empty.notes


@pytest.mark.parametrize(
    "text",
    [
        "' OR 1=1 --",
        'nodule" AND report:*',
        "*",
        "()",
        "a:b^5~",
        "\\",
        "nodule' ; DROP TABLE rows; --",
        "😀",
        "\x00",
        "+nodule -effusion",
        "NOT",
        "a" * 10_000,
    ],
)
def test_no_text_is_run_as_a_query_language(searcher: Searcher, text: str) -> None:
    assert len(searcher.words(text, top=COUNT).hits) <= COUNT
    for where in (f"study_id = '{text}'", [f"labels = {text}"]):
        assert searcher.keyword("nodule", where=where).hits == ()
    with pytest.raises(UserError):
        searcher.study(text)
    assert len(searcher.index) == COUNT


def test_reliability_notes(searcher: Searcher, index: Index) -> None:
    assert searcher.text("There is a nodule.").notes == ()
    assert "None of the query's words occurs in any report" in searcher.text("stock market").notes[0]
    assert (
        searcher.text("nodule beside stock").notes[0] == "Words that occur in no report of this index: beside, stock."
    )
    with pytest.raises(UserError, match="has no text encoder"):
        Searcher(index).text("There is a nodule.")
    for empty in ("", "  "):
        with pytest.raises(UserError, match="empty"):
            searcher.text(empty)


def test_an_unfinished_index_shows_the_pictures_that_it_has(tmp_path: Path) -> None:
    with IndexWriter(tmp_path / "index", DIM) as writer:
        writer.put([study("s1"), replace(study("s2"), geometry={}, thumbnails={})])
    service = SearchService(tmp_path / "index", None, anonymous=False)
    found = service.snapshot().search(SearchRequest(mode="words", query="case1 case2"))
    assert {hit.case: hit.thumbnails for hit in found.hits} == {"s1": True, "s2": False}
    service.close()


def test_an_unfinished_index_gets_a_note_in_every_mode(tmp_path: Path) -> None:
    with IndexWriter(tmp_path / "index", DIM) as writer:
        writer.put([study("s1"), study("s2")])
    for notes in (("This index is unfinished (2 studies so far): run `index` again.",), ()):
        with Index.open(tmp_path / "index") as opened:
            searcher = Searcher(opened, WordEncoder())
            results = [
                searcher.text("There is a nodule."),
                searcher.keyword("nodule"),
                searcher.study("s1"),
                searcher.volume(Path("s1i0")),
                searcher.words("case1"),
            ]
            assert [each.notes[:1] for each in results] == [notes] * 5
        with IndexWriter(tmp_path / "index", DIM) as writer:
            writer.finish({}, {}, None)


def test_a_model_of_another_width_is_refused(index: Index) -> None:
    class Wide(WordEncoder):
        def embed_texts(self, texts: object) -> np.ndarray:
            return np.ones((1, DIM + 1), dtype=np.float32)

    with pytest.raises(UserError, match="another model"):
        Searcher(index, Wide()).text("some nodule here")


def test_a_report_is_escaped_on_the_page(tmp_path: Path) -> None:
    evil = "<script>alert('nodule')</script> & a nodule."
    folder = make_index(tmp_path / "index", [study("s1", report=evil), study("s2")])
    with Index.open(folder) as opened:
        hit = next(hit for hit in Searcher(opened, WordEncoder()).text("some nodule").hits if hit.study_id == "s1")
    page = str(highlighted_report(hit))
    assert "<script" not in page
    assert page.count('<mark class="present">nodule</mark>') == 2


def test_scores_give_evaluates_figures(tmp_path: Path) -> None:
    """Acceptance: the rank engine, fed with the scores for the whole gallery, gives `evaluate`'s figures to 1e-6."""
    rng = np.random.default_rng(3)
    studies = []
    for number in range(60):
        made = study(f"s{number}", report=study(f"s{number % 50}").cells["report"])  # ten reports appear twice
        vector = WordEncoder().embed_texts([made.cells["report"]])[0] + 0.3 * rng.standard_normal(DIM).astype(
            np.float32
        )
        object.__setattr__(made, "image", vector)
        studies.append(made)
    pd.DataFrame([made.cells for made in studies]).to_csv(tmp_path / "manifest.csv", index=False)
    manifest = read_manifest(tmp_path / "manifest.csv")
    gallery = evaluation_gallery(manifest, *split_rows(manifest, "all"), "all")
    image, text = (
        torch.from_numpy(np.stack([getattr(made, stream) for made in studies])) for stream in ("image", "text")
    )
    expected = build_result([Embeddings(gallery.study_id, image, text)], gallery, (1, 5, 10))["metrics"]
    with Index.open(make_index(tmp_path / "index", studies[30:] + studies[:30])) as opened:
        searcher, order = Searcher(opened, WordEncoder()), [opened.position(name) for name in gallery.study_id]
        reports = manifest.column("report")
        by_text = np.stack([searcher.scores_all(searcher.text(report).query_vector)[order] for report in reports])
        by_image = np.stack(
            [searcher.scores_all(searcher.study(name).query_vector, "report")[order] for name in gallery.study_id]
        )
    for way, scores in (("text_to_image", by_text), ("image_to_text", by_image)):
        for name, value in figures(scores, gallery).items():
            assert value == pytest.approx(expected[way][name], abs=1e-6), (way, name)


def figures(scores: np.ndarray, gallery: Gallery) -> dict[str, float]:
    """The rank engine's figures from a matrix of scores, right answers by group."""
    right = gallery.group[:, None] == gallery.group[None, :]
    best = np.where(right, scores, -np.inf).max(1, keepdims=True)
    tied = np.abs(scores - best) <= TIE
    ranks = Ranks(
        *(
            torch.from_numpy(count)
            for count in ((~right & (scores > best + TIE)).sum(1), (~right & tied).sum(1), (right & tied).sum(1))
        )
    )
    hits = {f"R@{k}": 100 * ranks.hit_probability(k).mean().item() for k in (1, 5, 10)}
    expected = ranks.expected.numpy()
    return {
        **hits,
        "MdR": float(np.median(expected)),
        "MnR": float(expected.mean()),
        "MRR": ranks.reciprocal.mean().item(),
    }
