"""Tables of galleries and pools hold what `evaluate` says of the same files; rows of random weights are apart."""

import csv
import json
import re
from pathlib import Path

import pytest

from bimcvr.cli import main

pytestmark = pytest.mark.slow
DIRECTIONS = {"text_to_image": "text → image", "image_to_text": "image → text"}
OPTIONS = {
    "gallery_all": [],
    "gallery_diagonal": ["--right_answers", "diagonal"],
    "gallery_one_per_patient": ["--gallery", "one_per_patient"],
    "gallery_one_per_report": ["--gallery", "one_per_report"],
}


def lines(out: Path, name: str) -> dict[str, dict[str, str]]:
    with (out / "tables" / f"{name}.csv").open(encoding="utf-8") as stream:
        return {line["Method"]: line for line in csv.DictReader(stream)}


def runs(out: Path, row: str, name: str = "rows.csv") -> list[Path]:
    with (out / name).open(encoding="utf-8") as stream:
        return [Path(line["run"]) for line in csv.DictReader(stream) if (line["row"], line["chosen"]) == (row, "True")]


def evaluated(folders: list[Path], words: list[str], out: Path) -> dict[str, object]:
    files = ",".join(str(folder / "embeddings.npz") for folder in folders)
    given = ["--manifest", str(folders[0] / "manifest.csv"), "--resamples", "200", *words, "--out", str(out)]
    assert main(["evaluate", files, *given]) == 0
    result: dict[str, object] = json.loads(out.read_text())
    return result


def printed(line: dict[str, str], result: dict[str, object]) -> None:
    """The figures of a line are those of a result, with sd and interval."""
    for direction, title in DIRECTIONS.items():
        found = result["metrics"][direction]  # type: ignore[index]
        names = [key.removeprefix(f"{title} ") for key in line if re.fullmatch(rf"{title} (R@\d+|MdR)", key)]
        assert "R@1" in names
        for name in names:
            assert line[f"{title} {name}"] == f"{found[name]:.1f}", name
            bounds = result["intervals"][direction][name]  # type: ignore[index]
            assert [line[f"{title} {name} {end}"] for end in ("low", "high")] == [f"{bound:.1f}" for bound in bounds]


@pytest.mark.parametrize("name", OPTIONS)
def test_a_table_of_a_gallery_holds_what_evaluate_says(name: str, undisturbed: Path, tmp_path: Path) -> None:
    found = lines(undisturbed, name)
    result = evaluated(runs(undisturbed, "two"), OPTIONS[name], tmp_path / "r.json")
    printed(found["Toy_two"], result)
    for direction, title in DIRECTIONS.items():
        spread = result["seeds_sd"][direction]["R@10"]  # type: ignore[index]
        assert found["Toy_two"][f"{title} R@10 sd"] == f"{spread:.1f}"
        assert found["chance"][f"{title} R@10"] == f"{result['chance']['R@10']:.1f}"  # type: ignore[index]
    caption = found["Toy_two"]["table"]
    size, left_out = result["n_queries"], result["about"].get("rows_left_out_of_gallery", 0)  # type: ignore[attr-defined]
    assert f"{size} queries over a gallery of {size} volumes of {result['n_patients']} patients" in caption
    assert (f"{left_out} rows left out" in caption) == ("per_" in name)
    assert "Split test by patient_hash" in caption
    assert ("own row alone" in caption) == (name == "gallery_diagonal")
    assert {"Toy & one", "Toy untrained", "Toy absent", "Toy broken", "Toy of an extra"} <= set(found)
    assert found["Toy of an extra"]["source"] == "not run"
    assert found["Toy of an extra"]["status"] == "not run: extra absent (peers)"


def test_a_table_of_pools_holds_what_evaluate_says(undisturbed: Path, tmp_path: Path) -> None:
    found = lines(undisturbed, "pools_4")
    pools = evaluated(runs(undisturbed, "one"), ["--pools", "[4]"], tmp_path / "r.json")["pools"]
    printed(found["Toy & one"], pools[0])  # type: ignore[index]
    assert found["chance"]["text → image R@1"] == f"{pools[0]['chance']['R@1']:.1f}"  # type: ignore[index]
    assert "shuffled 100 times and cut into pools" in found["chance"]["table"]
    for line in lines(undisturbed, "pools_500").values():
        assert line["source"] == "not run"
        assert line["status"].endswith("rows of the split do not fill a pool of 500")
        assert not line["text → image R@1"]


def test_random_weights_are_in_no_table_of_others(undisturbed: Path) -> None:
    """In all forms, on the page and in the table of runs: marked in title and caption, and alone."""
    for path in sorted((undisturbed / "tables").iterdir()):
        text = path.read_text(encoding="utf-8")
        apart = path.name.startswith("random_weights_")
        assert ("Toy tower" in text) == (apart and "difference" not in path.name), path.name
        assert text.count("Toy tower (random weights)") == text.count("Toy tower"), path.name
        assert ("RANDOM WEIGHTS" in text) == (apart and bool(text.strip())), path.name
        assert not (apart and ("Toy & one" in text or "Toy_two" in text or "published" in path.name)), path.name
    names = {path.stem for path in (undisturbed / "tables").iterdir()}
    assert {"random_weights_table2", "random_weights_gallery_all", "random_weights_pools_4"} <= names
    assert not [name for name in names if name.startswith("random_weights_") and "paper" in name]
    assert runs(undisturbed, "random") == []
    assert len(runs(undisturbed, "random", "random_weights_rows.csv")) == 1
    with (undisturbed / "random_weights_rows.csv").open(encoding="utf-8") as stream:
        assert {line["data"].split(",")[0] for line in csv.DictReader(stream)} == {"RANDOM WEIGHTS"}
    page = (undisturbed / "report.html").read_text(encoding="utf-8")
    assert "RANDOM WEIGHTS in Toy tower: these rows try the pipeline" in page
    for table in re.findall(r"<table.*?</table>", page, re.DOTALL):
        assert ("Toy tower" in table or "<th>random</th>" in table) <= ("RANDOM WEIGHTS" in table)
        assert not ("RANDOM WEIGHTS" in table and ("Toy_two" in table or "<th>two</th>" in table))
    for drawing in (undisturbed / "figures").iterdir():
        assert "Toy tower" not in drawing.read_text(encoding="utf-8"), drawing.name


def test_the_figures_of_random_weights_are_those_of_their_run(undisturbed: Path, tmp_path: Path) -> None:
    folders = runs(undisturbed, "random", "random_weights_rows.csv")
    result = evaluated(folders, ["--gallery", "one_per_report"], tmp_path / "r.json")
    printed(lines(undisturbed, "random_weights_gallery_one_per_report")["Toy tower (random weights)"], result)
