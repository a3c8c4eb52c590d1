"""Reading suites: what is wrong is named by row and key; those that come with bimcvr are right."""

import importlib
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml

from bimcvr.contracts import ViewFusion
from bimcvr.errors import UserError
from bimcvr.models.peers.ct_clip import _SHAPE as SHAPE
from bimcvr.suites.outputs import tried
from bimcvr.suites.run_process import DONE, FAILED
from bimcvr.suites.runs import plan
from bimcvr.suites.suite import GalleryName, Suite, read_suite
from test_docs import chain

ROOT = Path(__file__).parents[2]
SUITES = sorted((ROOT / "src/bimcvr/experiments/suites").glob("*.yaml"))

GOOD: dict[str, Any] = {
    "name": "small",
    "cohort": {"patients": 10, "seed": 1},
    "budget": {"epochs": 3, "seeds": 3, "learning_rate_factors": [1, 0.5]},
    "options": {"data.strategy": "patient_hash"},
    "rows": [
        {"name": "a", "title": "A", "files": ["a.yaml"], "tables": [2, 4]},
        {"name": "b", "title": "B", "files": ["a.yaml", "b.yaml"], "tables": [3], "seeds": 1, "paper": ["3D-MIR"]},
    ],
}


def write(folder: Path, content: dict[str, Any]) -> Path:
    (folder / "a.yaml").write_text(
        "model: {embed_dim: 8, optimizer: {class_path: torch.optim.AdamW, init_args: {lr: 0.01}}}\n"
    )
    (folder / "b.yaml").write_text("# a comment\nmodel: {embed_dim: 16}\n")
    (folder / "suite.yaml").write_text(yaml.safe_dump(content))
    return folder / "suite.yaml"


def changed(**to: Any) -> dict[str, Any]:
    """GOOD with dotted keys set, or taken out where the value is None."""
    content: dict[str, Any] = yaml.safe_load(yaml.safe_dump(GOOD))
    for name, value in to.items():
        *path, last = name.split("__")
        place: Any = content
        for part in path:
            place = place[int(part) if part.isdigit() else part]
        if value is None:
            del place[last]
        else:
            place[last] = value
    return content


def test_a_suite_is_read_with_paths_beside_it(tmp_path: Path) -> None:
    suite = read_suite(write(tmp_path, GOOD))
    assert [row.name for row in suite.rows] == ["a", "b"]
    assert suite.rows[1].files == (tmp_path / "a.yaml", tmp_path / "b.yaml")
    assert [suite.seeds_of(row) for row in suite.rows] == [3, 1]
    assert suite.budget.learning_rate_factors == (1.0, 0.5)


@pytest.mark.parametrize(
    ("to", "told"),
    [
        ({"budget__epochs": 0}, "budget: epochs is 0"),
        ({"budget__epochs": "many"}, "budget: epochs is 'many'; expected a whole number"),
        ({"budget__epoch": 3}, "there is no key 'epoch'. Did you mean 'epochs'?"),
        ({"budget__seeds": None}, "budget: the key 'seeds' is missing"),
        ({"budget__learning_rate_factors": [0]}, "learning_rate_factors is [0]"),
        ({"rows__1__tables": [1]}, "row 2 (b): tables is [1]"),
        ({"rows__1__seeds": 0}, "row 2 (b): seeds is 0"),
        ({"rows__1__titel": "B"}, "row 2 (b): there is no key 'titel'. Did you mean 'title'?"),
        ({"rows__1__name": "a"}, "the row 'a' appears twice"),
        ({"rows__1__name": "../b"}, "name is '../b'"),
        ({"rows__0__files": ["c.yaml"]}, "row 1 (a): files names"),
        (
            {"rows__1__paper": ["3D-MIRR"]},
            "row 2 (b): paper names '3D-MIRR', which is no row of Tables 2 to 4. Did you mean '3D-MIR'?",
        ),
        ({"rows": []}, "rows is empty"),
        ({"galleries": ["al"]}, "galleries is ['al']; expected a list with some of all, diagonal, one_per_patient"),
        ({"pools": [1]}, "pools is [1]; expected a list of whole numbers of at least 2"),
        ({"rows__1__tables": []}, "no table shows the row 'b'. Give it `tables`, or the suite `galleries` or `pools`"),
        ({"cohort__seed": None}, "cohort: the key 'seed' is missing"),
    ],
)
def test_what_is_wrong_is_named(to: dict[str, Any], told: str, tmp_path: Path) -> None:
    with pytest.raises(UserError) as refused:
        read_suite(write(tmp_path, changed(**to)))
    assert told in str(refused.value)


def test_a_smaller_suite(tmp_path: Path) -> None:
    suite = read_suite(write(tmp_path, GOOD))
    small = suite.smaller(("b",), 5, 2, 1, 1, 1)
    assert (small.cohort and small.cohort.patients, small.budget.epochs, len(small.rows)) == (5, 1, 1)
    assert small.factors_of(small.rows[0]) == (1.0,)
    with pytest.raises(UserError, match=r"there is no row 'bb'\. Did you mean 'b'"):
        suite.smaller(("bb",), None, None, None, None, None)
    real = read_suite(write(tmp_path, changed(cohort=None)))
    with pytest.raises(UserError, match="leave --patients"):
        real.smaller((), 5, None, None, None, None)


def identities(suite: Suite, digest: str = "m") -> list[str]:
    return [of[0].identity for row in suite.rows for of in plan(suite, row, Path("m.csv"), None, digest, Path("runs"))]


def test_the_identity_follows_what_is_run(tmp_path: Path) -> None:
    """A value or the data make a new run; a comment, a title, the order of keys or another seed do not."""
    before = identities(read_suite(write(tmp_path, GOOD)))
    assert len(set(before)) == 4, "two rows with two learning rates"
    assert identities(read_suite(write(tmp_path, changed(rows__0__title="Another")))) == before
    assert identities(read_suite(tmp_path / "suite.yaml"), digest="n") != before
    path = write(tmp_path, GOOD)
    (tmp_path / "b.yaml").write_text("# another comment\nmodel:\n  embed_dim: 16\n")
    assert identities(read_suite(path)) == before
    (tmp_path / "b.yaml").write_text("model: {embed_dim: 17}\n")
    assert [one == other for one, other in zip(identities(read_suite(path)), before, strict=True)] == [
        True,
        True,
        False,
        False,
    ]
    assert not set(identities(read_suite(write(tmp_path, changed(budget__epochs=4))))) & set(before)


def test_all_rows_get_the_same_budget_and_options(tmp_path: Path) -> None:
    suite = read_suite(write(tmp_path, GOOD))
    for row in suite.rows:
        trials = plan(suite, row, Path("m.csv"), None, "m", Path("runs"))
        assert [of[0].learning_rate for of in trials] == [0.01, 0.005]
        for run in (run for of in trials for run in of):
            assert {"--trainer.max_epochs=3", "--data.strategy=patient_hash", f"--seed_everything={run.seed}"} <= set(
                run.words
            )
            assert f"--model.optimizer.init_args.lr={run.learning_rate}" in run.words


def test_trials_that_count_are_those_that_ended_well(tmp_path: Path) -> None:
    suite = read_suite(write(tmp_path, changed(budget__learning_rate_factors=[1, 0.5, 2])))
    trials = plan(suite, suite.rows[0], Path("m.csv"), None, "m", Path("runs"))
    ended = {trials[0][0]: DONE, trials[1][0]: FAILED, trials[2][0]: DONE, trials[2][1]: DONE}
    records = {run: {"status": status} for run, status in ended.items()}
    assert tried(trials, records) == 2, "a trial that failed and further seeds are none"
    untrained = plan(suite, suite.rows[0].model_copy(update={"train": False}), Path("m.csv"), None, "m", Path("runs"))
    assert tried(untrained, {untrained[0][0]: {"status": DONE}}) == 0


def test_a_row_without_a_learning_rate_cannot_be_tuned(tmp_path: Path) -> None:
    suite = read_suite(write(tmp_path, GOOD))
    (tmp_path / "a.yaml").write_text("model: {embed_dim: 8}\n")
    with pytest.raises(UserError, match=r"row a: its files set no number model\.optimizer\.init_args\.lr"):
        plan(suite, suite.rows[0], Path("m.csv"), None, "m", Path("runs"))


@pytest.mark.parametrize("path", SUITES, ids=lambda path: path.stem)
def test_suites_that_come_with_bimcvr(path: Path) -> None:
    suite = read_suite(path)
    assert path.read_text().startswith("# ")
    assert (suite.galleries and suite.pools) or {2, 3, 4} == {table for row in suite.rows for table in row.tables}
    assert {"data.strategy", "data.fractions"} <= set(suite.options), "no row's file decides what it is tested on"
    for row in suite.rows:
        assert [file.resolve() for file in row.files] == chain(row.files[-1].resolve()), (
            "the files that its own says it goes over"
        )
        plan(suite, row, Path("m.csv"), None, "m", Path("runs"))


@pytest.mark.parametrize("path", SUITES, ids=lambda path: path.stem)
def test_rows_of_a_suite_share_batch_and_trainer(path: Path) -> None:
    """What decides how many negatives a step has, and how often it is taken."""
    suite = read_suite(path)
    same_grid = {"data.size"} if path.stem != "peers" else set()  # each tower reads the voxels it was trained on
    trained = [plan(suite, row, Path("m.csv"), None, "m", Path("runs"))[0][0].config for row in suite.rows if row.train]
    for name in (
        "data.batch_size",
        *same_grid,
        "trainer.accumulate_grad_batches",
        "trainer.precision",
        "trainer.max_epochs",
        "trainer.sync_batchnorm",
        "data.strategy",
    ):
        assert len({str(config.get(name)) for config in trained}) == 1, name


def test_the_suite_of_peers_has_every_peer_twice_and_leaves_the_grids_to_them() -> None:
    """Zero-shot and with a head, beside ours, under every protocol; no published row of the paper is beside them."""
    suite = read_suite(ROOT / "src/bimcvr/experiments/suites/peers.yaml")
    shipped = {file.stem for file in (ROOT / "src/bimcvr/experiments/peers").glob("*.yaml")} - {"base"}
    assert {row.name for row in suite.rows} == {*shipped, "paper", "strong"}
    assert not {"data.size", "data.spacing", "data.window", "data.centre"} & set(suite.options)
    assert set(suite.galleries) == set(get_args(GalleryName))
    assert not [row.name for row in suite.rows if row.tables or row.paper]
    for row in suite.rows:
        head = row.name.endswith("_head")
        if row.name in shipped:
            config = plan(suite, row, Path("m.csv"), None, "m", Path("runs"))[0][0].config
            assert row.train is head
            assert (config["data.spacing"] is not None, config.get("data.two_views", True)) == (True, not head)
    grid = yaml.safe_load((ROOT / "src/bimcvr/experiments/peers/ctclip.yaml").read_text())["data"]["size"]
    assert grid == [SHAPE["slices"], SHAPE["image_size"], SHAPE["image_size"]]


def test_the_phantom_suite_is_the_benchmark_that_is_promised() -> None:
    suite = read_suite(ROOT / "src/bimcvr/experiments/suites/phantom.yaml")
    assert suite.cohort
    assert 1.2 * suite.cohort.patients * suite.options["data.fractions"][2] >= 420, "a gallery of 400 or more"
    main = [
        row
        for row in suite.rows
        if row.name in ("clip4clip_meanp", "mir3d_head", "paper", "paper_vit", "paper_learned", "strong")
    ]
    assert [suite.seeds_of(row) for row in main] == [3] * 6


def test_the_research_suite_differs_by_what_its_rows_name() -> None:
    """Each row over the same base; only the settings that are asked about differ, and lost code can be imported."""
    suite = read_suite(ROOT / "research/strong.yaml")
    asked = ("volume_encoder", "fusion", "objective", "two_views", "view_2", "data.size", "callbacks", "experiment")
    planned = [plan(suite, row, Path("m.csv"), None, "m", Path("runs"))[0][0].config for row in suite.rows]
    for row, config in zip(suite.rows, planned, strict=True):
        changed = {key for key in config | planned[0] if config.get(key) != planned[0].get(key)}
        assert not {key for key in changed if not any(name in key for name in asked)}, row.name
        assert row.name == "quick" or changed
    assert issubclass(importlib.import_module("research.candidates").MeanAndMax, ViewFusion)
    tried = {file.stem for row in suite.rows for file in row.files if file.parent.name == "rows"}
    assert tried == {file.stem for file in (ROOT / "research/rows").glob("*.yaml")}
