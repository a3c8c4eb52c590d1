"""The results page: it stands alone, shows what it should, and nothing in the data can break or run in it."""

import base64
import io
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import SimpleITK as sitk
import torch
from PIL import Image

from bimcvr.contracts import Gallery, Probes, Prompts
from bimcvr.data.evaluation_rows import evaluation_gallery, split_rows
from bimcvr.data.manifest import Manifest, read_manifest, split_list
from bimcvr.evaluation.embeddings import Embeddings
from bimcvr.evaluation.html_figures import recall_curve
from bimcvr.evaluation.html_page import signed_difference, with_unit, write_page
from bimcvr.evaluation.html_worst_cases import shown_queries
from bimcvr.evaluation.raw_vs_audited import raw_against_audited
from bimcvr.evaluation.result import Resampling, build_result, mean_per_query_values
from bimcvr.metrics.per_query import summarize
from bimcvr.metrics.prompts import prompt_sentences
from bimcvr.metrics.ranking.rank_engine import rank_both
from bimcvr.metrics.ranking.ranks import DIRECTIONS
from bimcvr.metrics.significance import compare_methods

RESAMPLING = Resampling(seed=0, resamples=50)
ABOUT = {"embeddings": {"mine.npz": "0123456789abcdef"}, "seed": 0, "git_commit": "abc"}


def cohort(folder: Path, size: int, **columns: list[str]) -> tuple[Gallery, Manifest]:
    """A manifest of small volumes with a bright block at the patient's right, front and top."""
    volume = np.full((6, 8, 8), -1000, dtype=np.int16)
    volume[3:, :5, :4] = 400
    for number in range(size):
        image = sitk.GetImageFromArray(volume)
        image.SetSpacing((2.0, 2.0, 4.0))
        sitk.WriteImage(image, str(folder / f"s{number}.mha"))
    table = {
        "study_id": [f"s{i}" for i in range(size)],
        "volume": [f"s{i}.mha" for i in range(size)],
        "report": [f"The report of study number {i} says this." for i in range(size)],
        "split": ["test"] * size,
        **columns,
    }
    pd.DataFrame(table).to_csv(folder / "manifest.csv", index=False)
    manifest = read_manifest(folder / "manifest.csv")
    return evaluation_gallery(manifest, *split_rows(manifest, "test"), "test"), manifest


def embeddings_of(gallery: Gallery, seed: int = 0, full: bool = False) -> Embeddings:
    generator = torch.Generator().manual_seed(seed)
    size = len(gallery.rows)
    image, text = torch.randn(2, size, 8, generator=generator)
    made = Embeddings(gallery.study_id, image, text)
    if not full:
        return made
    sentences, labels, denies = prompt_sentences(sorted(set().union(*gallery.labels)))
    return replace(
        made,
        prompts=Prompts(sentences, labels, denies, torch.randn(len(sentences), 8, generator=generator)),
        probes=Probes(gallery.study_id, ["side"] * size, torch.randn(size, 8, generator=generator)),
    )


def result_of(embeddings: Embeddings, gallery: Gallery) -> dict[str, Any]:
    return {**build_result([embeddings], gallery, resampling=RESAMPLING), "about": {**gallery.description, **ABOUT}}


def page_of(folder: Path, result: dict[str, Any], embeddings: Embeddings, gallery: Gallery, manifest: Manifest) -> str:
    write_page(folder / "page.html", result, embeddings, gallery, manifest, RESAMPLING)
    return (folder / "page.html").read_text(encoding="utf-8")


class Tags(HTMLParser):
    """Every tag with its attributes, and the headings' texts."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.headings: list[str] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data
        if self.tags and self.tags[-1][0] == "h2" and data.strip():
            self.headings.append(data.strip())


def test_all_sections_and_nothing_from_outside(tmp_path: Path) -> None:
    labels = ["nodule;goiter", "nodule", "", "goiter", "nodule;mass", "mass"] * 5
    flags = ["mismatch", "mismatch", "", "mismatch", "placeholder", "mismatch"] * 5
    gallery, manifest = cohort(tmp_path, 30, labels=labels, flags=flags, source=["phantom"] * 30)
    mine, other = embeddings_of(gallery, full=True), embeddings_of(gallery, 1)
    result = result_of(mine, gallery)
    result["audited"] = raw_against_audited([mine], gallery, (1, 10), RESAMPLING)
    one, two = (mean_per_query_values([of], gallery, (1, 10), "report") for of in (mine, other))
    result["compared_with"] = [
        {
            "embeddings": ["other.npz"],
            "metrics": {direction: summarize(two[direction]) for direction in DIRECTIONS},
            "differences": {
                direction: compare_methods(one[direction], two[direction], gallery.patient, 0, 50)
                for direction in DIRECTIONS
            },
        }
    ]
    result["ceiling"] = {direction: {"R@1": 77.7, "MdR": 1.0} for direction in DIRECTIONS}
    result["about"]["patient_overlap"] = 7
    result["about"]["labels_from"] = "reports, by some rules"
    page = page_of(tmp_path, result, mine, gallery, manifest)
    seen = Tags(page)
    for section in ("Metrics", "lift", "AUROC", "Shared labels", "probes", "Comparison", "audited", "worst"):
        assert any(section in heading for heading in seen.headings), section
    for text in (
        "PHANTOM (synthetic data)",
        "a fixed gallery, 50 resamples",
        "77.7 %",
        "7 patients occur in more than one split",
        "other.npz",
        "rows without flags",
        "flags: mismatch",
        "lift@20",
        "reports, by some rules",
        "hash " + manifest.digest,
        "patient's right is on the left",
    ):
        assert text in seen.text, text
    assert "Contains patient data" not in page
    for direction in DIRECTIONS:
        assert with_unit("R@10", result["metrics"][direction]["R@10"]) in seen.text
    assert not [tag for tag, _ in seen.tags if tag in ("script", "link", "iframe", "object", "embed", "base", "form")]
    for tag, attributes in seen.tags:
        for name in ("src", "href", "xlink:href"):
            if name in attributes:
                assert str(attributes[name]).startswith(("data:image/png;base64,", "#")), (tag, attributes[name])
        assert not [name for name in attributes if name.startswith("on")]
    assert "@import" not in page
    assert not re.search(r"url\((?!#)", page)
    assert any("default-src 'none'" in str(attributes.get("content")) for tag, attributes in seen.tags if tag == "meta")
    ids = [attributes["id"] for _, attributes in seen.tags if "id" in attributes]
    assert len(ids) == len(set(ids))


def test_one_phantom_in_train_does_not_hide_the_patients(tmp_path: Path) -> None:
    gallery, manifest = cohort(tmp_path, 5, source=["hospital"] * 4 + ["phantom"], split=["test"] * 4 + ["train"])
    made = embeddings_of(gallery)
    seen = Tags(page_of(tmp_path, result_of(made, gallery), made, gallery, manifest))
    assert (
        "Contains patient data: reports and images. Keep it where they may be. Part is PHANTOM (synthetic data)"
        in seen.text
    )
    assert not [tag for tag, attributes in seen.tags if attributes.get("class") == "banner phantom"]


def test_the_curve_s_bands_are_drawn_as_often_as_the_result_s(tmp_path: Path) -> None:
    gallery, _ = cohort(tmp_path, 12)
    made = embeddings_of(gallery)
    group = torch.as_tensor(gallery.group)
    ranked = dict(zip(DIRECTIONS, rank_both(made.image, made.text, group), strict=True))
    few, more, other = (
        recall_curve(ranked, group, gallery.patient, Resampling(*of)) for of in ((0, 5), (0, 50), (1, 50))
    )
    assert len({few, more, other}) == 3


def test_three_studies_without_anything_optional(tmp_path: Path) -> None:
    gallery, manifest = cohort(tmp_path, 3)
    made = embeddings_of(gallery)
    seen = Tags(page_of(tmp_path, result_of(made, gallery), made, gallery, manifest))
    assert seen.headings == ["Metrics", "Ranks of the right answers", "The worst queries", "Good queries"]
    assert "Contains patient data: reports and images. Keep it where they may be." in seen.text
    assert "the embeddings hold no changed reports" in seen.text


def test_one_study_found_at_once_leaves_no_failure(tmp_path: Path) -> None:
    gallery, manifest = cohort(tmp_path, 1)
    made = embeddings_of(gallery)
    page = page_of(tmp_path, result_of(made, gallery), made, gallery, manifest)
    assert page.count("No query failed") == 2
    assert "<img" not in page[: page.index('<h2 id="best"')]


@pytest.mark.parametrize("column", ["report", "study_id", "labels", "patient_id"])
def test_data_cannot_run(tmp_path: Path, column: str) -> None:
    evil = '<script>alert(1)</script><img src=x onerror="alert(2)">'
    gallery, manifest = cohort(tmp_path, 4, **{column: [f"{evil} {i}" for i in range(4)]})
    made = embeddings_of(gallery, full=column == "labels")
    page = page_of(tmp_path, result_of(made, gallery), made, gallery, manifest)
    assert "<script" not in page
    assert 'onerror="' not in page
    if column != "patient_id":
        assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page


def test_a_volume_that_cannot_be_read_shows_why(tmp_path: Path) -> None:
    gallery, manifest = cohort(tmp_path, 4)
    (tmp_path / "s1.mha").write_bytes(b"ObjectType = Image\nno volume at all")
    (tmp_path / "s2.mha").unlink()
    made = embeddings_of(gallery)
    page = page_of(tmp_path, result_of(made, gallery), made, gallery, manifest)
    reasons = re.findall(r'class="refused">No picture: ([^<]*)<', page)
    assert {next(name for name in ("s1.mha", "s2.mha") if name in reason) for reason in reasons} == {"s1.mha", "s2.mha"}
    assert "axial middle slice of s0" in page or "axial middle slice of s3" in page


def test_figures_without_a_value_are_dashes(tmp_path: Path) -> None:
    gallery, manifest = cohort(tmp_path, 24, labels=["nodule", ""] * 12)
    made = embeddings_of(gallery, full=True)
    result = result_of(made, gallery)
    nan = float("nan")
    result["metrics"]["keyword"]["nodule"] = dict.fromkeys(result["metrics"]["keyword"]["nodule"], nan)
    result["metrics"]["zero_shot"]["nodule"]["AUROC"] = nan
    result["metrics"]["probes"]["side"]["won"] = nan
    result["intervals"]["text_to_image"]["MnR"] = [nan, nan]
    result["intervals"]["keyword"] = {}
    result["intervals"]["zero_shot"]["nodule"] = {"AUROC": [nan, nan]}
    seen = Tags(page_of(tmp_path, result, made, gallery, manifest))
    assert "nan" not in re.sub(r"[a-z]*nan[a-z]+", "", seen.text.lower())


def test_worst_queries_against_a_full_sort(tmp_path: Path) -> None:
    reports = [f"The report of study number {i // 2} says this." for i in range(40)]
    gallery, manifest = cohort(
        tmp_path, 40, report=reports, labels=[f"even;n{i}" if i % 2 == 0 else f"n{i}" for i in range(40)]
    )
    image, text = torch.randn(2, 40, 4, generator=torch.Generator().manual_seed(3), dtype=torch.float64).float()
    text[1::2] = text[::2]  # as a report, so its vector
    made = Embeddings(gallery.study_id, image, text)
    group = torch.as_tensor(gallery.group)
    ranked = dict(zip(DIRECTIONS, rank_both(image, text, group), strict=True))
    shown = shown_queries(made, gallery, group, ranked, manifest)
    cases = shown["worst"]
    assert [case.rank for case in shown["best"]["text_to_image"]] == [1, 1]
    scores = torch.nn.functional.cosine_similarity(text.double()[:, None], image.double()[None], dim=-1).numpy()
    for direction, table in (("text_to_image", scores), ("image_to_text", scores.T)):
        ranks = ranked[direction].expected.numpy()
        wanted = sorted(range(40), key=lambda i: -ranks[i])
        if direction == "text_to_image":
            wanted = wanted[::2]  # both rows of a report rank alike
        assert [case.rank for case in cases[direction]] == [ranks[i] for i in wanted[: len(cases[direction])]]
        assert len(cases[direction]) == (5 if direction == "text_to_image" else 3)
        for case in cases[direction]:
            query = gallery.study_id.index(case.query.study_id)
            assert [item.score for item in case.retrieved] == pytest.approx(
                sorted(table[query], reverse=True)[:5], abs=1e-6
            )
            assert case.right_answers == 2
            for item in [case.query, *case.retrieved]:
                place = gallery.study_id.index(item.study_id)
                assert item.score == pytest.approx(table[query, place], abs=1e-6)
                assert item.right == (place // 2 == query // 2)
                assert {label for label, _ in item.labels} == split_list(manifest.column("labels")[place])
                assert all(shared == (label in gallery.labels[query]) for label, shared in item.labels)
    assert len({case.query.report for case in cases["text_to_image"]}) == 5


def test_a_comparison_shows_both_curves_and_the_queries_that_differ(tmp_path: Path) -> None:
    """The other method is right everywhere: it wins every query that this one loses, and loses none."""
    gallery, manifest = cohort(tmp_path, 6)
    made, perfect = embeddings_of(gallery), Embeddings(gallery.study_id, torch.eye(6), torch.eye(6))
    result = result_of(made, gallery)
    write_page(tmp_path / "page.html", result, made, gallery, manifest, RESAMPLING, {"perfect.npz": perfect})
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    seen = Tags(page)
    assert "text → image, perfect.npz" in page
    assert "The queries that lose most against perfect.npz" in seen.headings
    assert "The queries that win most against perfect.npz" in seen.headings
    assert "; perfect.npz: rank 1" in page
    assert page[page.index('<h2 id="best"') :].count("There is none.") == 2
    write_page(tmp_path / "page.html", result_of(perfect, gallery), perfect, gallery, manifest, RESAMPLING, {"m": made})
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert page[page.index('<h2 id="worst"') : page.index('<h2 id="best"')].count("There is none.") == 2


def test_slices_are_in_radiological_convention_with_square_pixels(tmp_path: Path) -> None:
    gallery, manifest = cohort(tmp_path, 4)
    made = embeddings_of(gallery)
    page = page_of(tmp_path, result_of(made, gallery), made, gallery, manifest)
    for plane, shape in (("axial", (176, 176)), ("coronal", (176, 117))):  # the volume is 24 mm high and 16 mm wide
        uri = re.search(rf'src="data:image/png;base64,([^"]+)" alt="{plane}', page)
        assert uri is not None
        picture = np.asarray(Image.open(io.BytesIO(base64.b64decode(uri[1]))))
        assert picture.shape == shape
        high, wide = (size // 4 for size in shape)
        # the block lies right, in front and above: left and top in both planes
        corners = [picture[y, x] for y in (high, 3 * high) for x in (wide, 3 * wide)]
        assert corners[0] == 255, plane
        assert max(corners[1:]) == 0, plane


def test_numbers_as_text() -> None:
    assert (
        with_unit("R@1", 50.04),
        with_unit("MRR", 0.5),
        with_unit("MnR", -1.25),
        with_unit("R@1", -0.01),
        with_unit("R@1", None),
    ) == (
        "50.0 %",
        "0.500",
        "−1.2",
        "0.0 %",
        "–",
    )
    assert (signed_difference("R@1", 1.0), signed_difference("R@1", -0.01), signed_difference("MRR", -0.5)) == (
        "+1.0",
        "+0.0",
        "−0.500",
    )
