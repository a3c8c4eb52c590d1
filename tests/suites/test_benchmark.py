"""A suite of toys from the command line: what it leaves, that it goes on after a kill, and what it never prints."""

import csv
import os
import re
import shutil
import signal
import time
from pathlib import Path

import pytest
import yaml
from toy_suite import ABSENT, SMALL

from bimcvr.cli import main
from bimcvr.data.evaluation_rows import evaluation_gallery, split_rows
from bimcvr.data.manifest import read_manifest
from bimcvr.evaluation.embeddings import load_embeddings
from bimcvr.evaluation.result import Resampling, build_result
from bimcvr.suites.tables.published import published
from helpers.forks import Forked

pytestmark = pytest.mark.slow
COST = {"seeds", "trials", "pairs seen", "min a run"}


def rows(out: Path) -> list[dict[str, str]]:
    with (out / "rows.csv").open(encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def table(out: Path, name: str) -> list[dict[str, str]]:
    with (out / "tables" / f"{name}.csv").open(encoding="utf-8") as stream:
        return [{key: value for key, value in line.items() if key not in COST} for line in csv.DictReader(stream)]


def written(out: Path) -> list[Path]:
    """Every file for people and machines, runs aside."""
    return [
        out / "rows.csv",
        out / "report.html",
        *sorted((out / "tables").iterdir()),
        *sorted((out / "figures").iterdir()),
    ]


def test_every_run_has_a_row(undisturbed: Path) -> None:
    found = rows(undisturbed)
    count = {
        name: [row["status"] for row in found if row["row"] == name]
        for name in ("one", "two", "fixed", "absent", "extra", "broken")
    }
    assert count["one"] == count["two"] == ["done"] * 3, "two trials at seed 0, and the better one at seed 1"
    assert count["fixed"] == ["done"]
    assert set(count["broken"]) == {"failed"}
    assert count["extra"] == ["not run: extra absent (peers)"]
    assert all(
        status.startswith("not run: weights absent") and ABSENT.removeprefix("hf-hub:") in status
        for status in count["absent"]
    )
    for row in found:
        assert row["data"].startswith("phantom")
        if row["status"] == "done":
            assert float(row["peak_memory_mb"]) > 50
            assert row["text_encoder"] == "HashText"
            assert row["config.model.text_encoder.class_path"] == "helpers.toy_modules.HashText"
            assert float(row["test.text_to_image.R@1"]) >= 0
    assert all(row["reason"] for row in found if row["status"] != "done")


def test_the_trial_that_val_prefers_goes_on(undisturbed: Path) -> None:
    for name in ("one", "two"):
        of = [row for row in rows(undisturbed) if row["row"] == name]
        first = {row["trial"]: float(row["val_score"]) for row in of if row["seed"] == "0"}
        chosen = {row["trial"] for row in of if row["chosen"] == "True"}
        assert len(chosen) == 1
        assert first[chosen.pop()] == max(first.values())
        assert {row["seed"] for row in of if row["chosen"] == "True"} == {"0", "1"}
        assert {float(row["learning_rate"]) for row in of} == {0.01, 0.003}


def test_tables_hold_what_the_embeddings_give(undisturbed: Path) -> None:
    """Scored anew by the function behind `evaluate`: mean over seeds, sd and interval."""
    chosen = [Path(row["run"]) for row in rows(undisturbed) if row["row"] == "two" and row["chosen"] == "True"]
    manifest = read_manifest(chosen[0] / "manifest.csv")
    gallery = evaluation_gallery(manifest, *split_rows(manifest, "test", "column"), "test")
    result = build_result(
        [load_embeddings(run / "embeddings.npz") for run in chosen], gallery, (1, 5, 10), Resampling(0, 200)
    )
    line = next(line for line in table(undisturbed, "table2") if line["Method"] == "Toy_two")
    for direction, title in (("text_to_image", "text → image"), ("image_to_text", "image → text")):
        for name in ("R@1", "R@5", "R@10", "MdR", "MnR"):
            assert line[f"{title} {name}"] == f"{result['metrics'][direction][name]:.1f}"
            assert line[f"{title} {name} sd"] == f"{result['seeds_sd'][direction][name]:.1f}"
            assert [line[f"{title} {name} {end}"] for end in ("low", "high")] == [
                f"{of:.1f}" for of in result["intervals"][direction][name]
            ]
    line = next(line for line in table(undisturbed, "table3") if line["Method"] == "Toy_two")
    for label, figures in result["metrics"]["keyword"].items():
        if label in ("atelectasis", "consolidation", "adenopathy"):
            column = f"{label} (prevalence {figures['prevalence']:.1f} %) P@20"
            assert line.get(column, "") == (f"{figures['P@20']:.1f}" if "P@20" in figures else line.get(column, ""))


def test_absent_weights_and_failures_have_no_figures(undisturbed: Path) -> None:
    for name in ("table2", "table3", "table4"):
        for line in table(undisturbed, name):
            if line["source"] in ("not run", "failed"):
                figures = [value for key, value in line.items() if re.search(r"(@\d+|M[dn]R)", key)]
                assert not any(figures)
                assert line["status"].startswith(("not run: weights absent (nobody/no-such-model)", "failed"))
                assert not line["image encoder"], "no encoder was used"
    sources = {line["Method"]: line["source"] for line in table(undisturbed, "table2")}
    assert sources["Toy absent"] == "not run"
    assert sources["Toy broken"] == "failed"
    assert sources["Toy untrained"] == "measured"


def test_rows_trained_with_labels_are_marked(undisturbed: Path) -> None:
    """By what the run's resolved configuration says, in Tables 2 and 3 in all forms and on the page."""
    for name in ("table2", "table3"):
        assert {line["Method"] for line in table(undisturbed, name) if line["label column"]} == {"Toy_two"}
        for suffix in ("md", "tex"):
            assert "trained with the label column" in (undisturbed / f"tables/{name}.{suffix}").read_text()
    page = (undisturbed / "report.html").read_text()
    assert page.count("trained with the label column") >= 2
    assert "<th>Toy_two</th>" in page
    assert page.count('<td class="left">✓</td>') >= 2


def test_p_at_100_needs_a_large_gallery(undisturbed: Path) -> None:
    text = (undisturbed / "tables/table3.md").read_text()
    assert "| P@100" not in text.replace(" P@100 ", "| P@100") or "P@100 is left out" in text
    assert not [key for key in table(undisturbed, "table3")[0] if "P@100" in key]
    assert "prevalence" in text


def blocks(path: Path) -> list[tuple[str, list[str]]]:
    """The tables of a file, each as its header and its further rows.

    What holds no table is one block without a header.
    """
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".html":
        found = [part for part in re.findall(r"<table.*?</table>", text, re.DOTALL)]
        outside = re.sub(r"<table.*?</table>", "", text, flags=re.DOTALL)
        return [
            ("", outside.splitlines()),
            *(
                (
                    re.search(r"<thead>.*?</thead>", part, re.DOTALL).group(),  # type: ignore[union-attr]
                    re.findall(r"<tr.*?</tr>", part.split("</thead>")[1], re.DOTALL),
                )
                for part in found
            ),
        ]
    if path.suffix == ".tex":
        return [
            ("".join(part.split("midrule")[0]), part.split("midrule", 1)[1].splitlines())
            for part in text.split(r"\toprule")[1:]
        ]
    lines = [line for line in text.splitlines() if path.suffix != ".md" or line.startswith("|")]
    return [(lines[0], lines[1:])]


def test_no_published_figure_stands_in_a_column_of_ours(undisturbed: Path) -> None:
    """Over all files: a table is of published figures alone, and its header says so, or it holds none."""
    rows_of_figures = [
        values
        for number in (2, 3, 4)
        for of in published()[f"table_{number}"]["rows"].values()
        for key, values in of.items()
        if key not in ("sampler", "l_mse")
    ]
    printed = [
        [f"{100 * value:.0f}" if max(values) <= 1 else str(value) for value in values] for values in rows_of_figures
    ]
    seen: dict[str, int] = {}
    for path in written(undisturbed):
        for head, lines in blocks(path):
            marked = "paper (published, BIMCV-R)" in head
            for line in lines:
                assert not (marked and re.search("measured[,<& |]", line)), (path.name, line)
                numbers = re.findall(r"\d+\.\d+|\b\d+\b", line)
                for values in printed:
                    if any(numbers[at : at + len(values)] == values for at in range(len(numbers))):
                        seen[path.name] = seen.get(path.name, 0) + 1
                        assert marked, (path.name, line)
    for number, count in ((2, 8), (3, 12), (4, 4)):
        for suffix in ("md", "tex", "csv"):
            assert seen.pop(f"table{number}_paper.{suffix}") >= count
    assert seen.pop("report.html") >= 24
    assert not seen, "no other file has one"


def test_ours_and_published_rows_are_told_apart(undisturbed: Path) -> None:
    for name in ("table1", "table2", "table3", "table4"):
        assert {line["source"] for line in table(undisturbed, name)} <= {
            "measured",
            "chance",
            "ceiling",
            "not run",
            "failed",
        }
        assert {line["source"] for line in table(undisturbed, f"{name}_paper")} == {"paper"}
        assert not set(_columns(undisturbed, name)) & set(_columns(undisturbed, f"{name}_paper"))
    ours = {line["Method"]: line["our row"] for line in table(undisturbed, "table2_paper")}
    assert (ours["MedFinder (Resnet-50)"], ours["CLIP4clip"], ours["3D-MIR"]) == ("Toy & one", "Toy broken", "")


def _columns(out: Path, name: str) -> list[str]:
    """The columns of figures: all that no table shares."""
    return [key for key in table(out, name)[0] if re.search(r"@\d+|M[dn]R|Average|Median|Range", key)]


def test_no_phantom_figure_without_the_word(undisturbed: Path) -> None:
    files = written(undisturbed)
    assert len([path for path in files if path.suffix == ".svg"]) >= 3
    for path in files:
        text = path.read_text(encoding="utf-8")
        assert "phantom" in text.lower(), path.name
    for drawing in re.findall(r"<svg role.*?</svg>", (undisturbed / "report.html").read_text(), re.DOTALL):
        assert "phantom" in drawing
    for caption in re.findall(r"<caption>(.*?)</caption>", (undisturbed / "report.html").read_text()):
        assert "phantom" in caption


def test_the_page_stands_alone_and_tells_how_it_came_about(undisturbed: Path) -> None:
    text = (undisturbed / "report.html").read_text()
    assert not re.search(r"(?:src|href)=\"(?!#|data:)", text)
    assert "<script" not in text
    for told in (
        "2 epochs",
        "2 tuning trials",
        "2 seeds",
        "Machine",
        "Runs at commit",
        "torch 2",
        "no-such-model",
        "ln D",
    ):
        assert told in text, told


def test_a_changed_option_runs_anew_and_the_same_does_not(
    suite: Path, undisturbed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    shutil.copytree(undisturbed, out)
    before = {path: path.stat().st_mtime_ns for path in (out / "records").iterdir()}
    words = ["benchmark", "--out", str(out), *SMALL]
    assert main([*words, "--suite", str(suite), "--only", "one,fixed"]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert any("R@1" in line and "  " in line for line in printed)
    assert not [line for line in printed if line.startswith("|")], "tables, not Markdown"
    assert {path: path.stat().st_mtime_ns for path in (out / "records").iterdir()} == before
    content = yaml.safe_load(suite.read_text())
    content["options"]["model.warmup"] = 0.1
    changed = suite.with_name("changed.yaml")
    changed.write_text(yaml.safe_dump(content))
    assert main([*words, "--suite", str(changed), "--only", "one", "--trials", "1", "--seeds", "1"]) == 0
    assert len(list((out / "records").iterdir())) == len(before) + 1


def test_a_killed_suite_goes_on_to_the_same_tables(
    suite: Path, undisturbed: Path, with_cohort: Path, tmp_path: Path
) -> None:
    out = with_cohort
    words = ["benchmark", "--suite", str(suite), "--out", str(out), *SMALL, "--only", "one"]
    process = Forked(words, tmp_path / "log")
    while not list(out.glob("records/*.json")) and process.wait(0.02) is None:  # however long a busy machine takes
        pass
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and _working(process.pid):
        time.sleep(0.1)
    assert not _working(process.pid), "no run outlives its suite"
    finished = {path: path.stat().st_mtime_ns for path in out.glob("records/*.json")}
    assert 1 <= len(finished) < 3
    assert main(words) == 0
    assert len(list(out.glob("records/*.json"))) == 3
    assert {path: path.stat().st_mtime_ns for path in finished} == finished, "what had ended is not run again"
    for name in ("table2", "table3", "table4"):
        resumed, whole = (
            [line for line in _figures(table(of, name)) if line["Method"] == "Toy & one"] for of in (out, undisturbed)
        )
        assert resumed == whole
        assert len(whole) == 1


def _figures(lines: list[dict[str, str]]) -> list[dict[str, str]]:
    """Without what depends on the rows that are compared: what is bold."""
    return [{key: value for key, value in line.items() if not key.endswith(" bold")} for line in lines]


def _working(session: int) -> list[int]:
    """Return the processes of a session that are not ended."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[3]) == session and fields[0] != "Z":
            found.append(int(path.parent.name))
    return [number for number in found if number != os.getpid()]
