"""The notebook API: its page runs, ties share a rank, and what does not fit is refused."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

import bimcvr
from bimcvr.cli import main
from bimcvr.errors import UserError
from helpers.cli import ROOT, TINY, newest_run


@pytest.fixture(scope="module")
def run(tiny_cohort: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("notebook")
    (folder / "tiny.yaml").write_text(TINY)
    words = ["--config", str(folder / "tiny.yaml"), "--data.manifest", str(tiny_cohort), "--runs", str(folder / "runs")]
    assert main(["fit", *words]) == 0
    run = newest_run(folder / "runs")
    checkpoint = str(run / "checkpoints/best.ckpt")
    assert main(["test", "--checkpoint", checkpoint]) == 0
    index = ["--manifest", str(tiny_cohort), "--split", "test", "--out", str(folder / "index"), "--jobs", "1"]
    assert main(["index", "--checkpoint", checkpoint, *index]) == 0
    return run


def test_the_page_runs(run: Path, tiny_cohort: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = re.findall(r"```python\n(.*?)```", (ROOT / "docs/notebook.md").read_text(), re.DOTALL)[0]
    code = code.replace("runs/strong/…", str(run)).replace("scan.nii.gz", str(tiny_cohort.parent / "s25.nii.gz"))
    code = code.replace('open_index("index")', f'open_index("{run.parents[2] / "index"}")')
    exec(compile(code, "docs/notebook.md", "exec"), {})  # noqa: S102 - the page's own code
    shown = capsys.readouterr().out
    assert "R@1" in shown
    assert "'synthetic': False" in shown
    assert re.search(r"^1 s\d+ ", shown, re.MULTILINE)


def test_the_result_has_the_figures_of_the_file(run: Path) -> None:
    table = bimcvr.read_result(run / "result.json").set_index(["direction", "metric"])
    result = json.loads((run / "result.json").read_text())
    for direction in ("text_to_image", "image_to_text"):
        for metric, value in result["metrics"][direction].items():
            row = table.loc[(direction, metric)]
            assert row.value == value
            assert [row.low, row.high] == result["intervals"][direction][metric]
    assert table.attrs["n_queries"] == result["n_queries"]


def test_a_volume_is_embedded_as_in_the_test(run: Path, tiny_cohort: Path) -> None:
    model = bimcvr.load_model(run / "checkpoints/best.ckpt", "cpu")
    saved = np.load(run / "embeddings.npz")
    place = saved["study_id"].tolist().index("s25")
    assert np.allclose(model.embed_file(tiny_cohort.parent / "s25.nii.gz"), saved["image"][place], atol=1e-5)


def test_ties_share_their_mean_rank() -> None:
    table = bimcvr.rank(np.array([1.0, 0.0]), np.array([[1.0, 1.0], [2.0, 0.0], [3.0, 3.0], [0.0, 1.0]]), list("abcd"))
    assert [*table["name"][:1], {*table["name"][1:3]}, *table["name"][3:]] == ["b", {"a", "c"}, "d"]
    assert table["rank"].tolist() == [1.0, 2.5, 2.5, 4.0]
    assert table["cosine"].tolist() == pytest.approx([1.0, 0.5**0.5, 0.5**0.5, 0.0])


@pytest.mark.parametrize(
    ("query", "gallery", "message"),
    [
        ([1.0, 0.0], [[1.0, 0.0, 0.0]], "do not fit"),
        ([0.0, 0.0], [[1.0, 0.0]], "length zero"),
        ([1.0, 0.0], [[float("nan"), 0.0]], "not finite"),
    ],
)
def test_what_cannot_be_ranked_is_refused(query: list[float], gallery: list[list[float]], message: str) -> None:
    with pytest.raises(UserError, match=message):
        bimcvr.rank(np.array(query), np.array(gallery))


def test_no_result_is_told_from_a_broken_one(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="There is no result"):
        bimcvr.read_result(tmp_path / "result.json")
    (tmp_path / "result.json").write_text("[]")
    with pytest.raises(UserError, match="is no result"):
        bimcvr.read_result(tmp_path / "result.json")
