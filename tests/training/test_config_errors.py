"""A wrong configuration ends in one paragraph with the key, the nearest one, and the file or flag that holds it."""

from pathlib import Path

import pytest

from bimcvr.cli import main

RESNET = "bimcvr.models.ResNet3D"
OBJECTIVE = "{class_path: bimcvr.models.Objective, init_args: {temprature: 3}}"

# what mine.yaml says, flags, what is told, what is not
WRONG = {
    "a value given as a flag": (
        "",
        ["--data.batch_size", "abc"],
        ["given as --data.batch_size", "'data.batch_size'", "abc"],
        ["yaml"],
    ),
    "a value in a file": ("data: {batch_size: abc}", [], ["mine.yaml", "'data.batch_size'"], ["tiny.yaml"]),
    "a value in a file beside a good flag": (
        "data: {batch_size: abc}",
        ["--data.batch_size=4"],
        ["mine.yaml"],
        ["given as"],
    ),
    "a key given as a flag": (
        "",
        ["--data.batch_sise=4"],
        ["given as --data.batch_sise", "'data.batch_size'"],
        ["yaml"],
    ),
    "a key of a part in a file": (
        f"model: {{volume_encoder: {{class_path: {RESNET}, init_args: {{widht: 3}}}}}}",
        [],
        ["mine.yaml", f"init_args of {RESNET}", "Did you mean 'width'?"],
        ["tiny.yaml"],
    ),
    "a key of a part as a flag": (
        "",
        ["--model.volume_encoder", RESNET, "--model.volume_encoder.widht", "3"],
        ["given as --model.volume_encoder.widht", "Did you mean 'width'?"],
        ["yaml"],
    ),
    "a key of a part that may be absent": (
        f"model: {{objective: {OBJECTIVE}}}",
        [],
        ["mine.yaml", "Did you mean 'temperature'?"],
        [],
    ),
    "a key of a part like none": (
        f"model: {{volume_encoder: {{class_path: {RESNET}, init_args: {{qqq: 3}}}}}}",
        [],
        ["There are depth, width"],
        ["Did you mean"],
    ),
    "another seed of the data": (
        "data: {seed: 3}",
        [],
        ["mine.yaml", "data.seed is 3", "run's seed is 0"],
        ["tiny.yaml"],
    ),
    "another seed of the data as a flag": ("", ["--data", "{seed: 3}"], ["--data: data.seed is 3"], ["yaml"]),
    "broken YAML": ("a: 1\n b: [", [], ["mine.yaml cannot be read", "line 2"], ["unicode string", "tiny.yaml"]),
    "an empty file": ("\n", [], ["mine.yaml is empty"], ["tiny.yaml"]),
    "a list": ("- a", [], ["mine.yaml is no mapping"], ["tiny.yaml"]),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_one_paragraph_names_the_place(
    wrong: str, tiny_config: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text, words, told, silent = WRONG[wrong]
    (tmp_path / "mine.yaml").write_text(text)
    assert main(["fit", *tiny_config, *(["--config", str(tmp_path / "mine.yaml")] if text else []), *words]) == 1
    error = capsys.readouterr().err.strip()
    assert all(part in error for part in told), error
    assert not any(part in error for part in silent), error
    assert "\n\n" not in error


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("data: {batch_sise: 4}", ["mine.yaml", "'data.batch_size'"]),
        ("data: {batch_size: abc}", ["mine.yaml", "'data.batch_size'", "abc"]),
        ("data: [4]", ["mine.yaml", "no mapping"]),
        ("data: {\n b: [", ["mine.yaml cannot be read", "line 2"]),
    ],
)
def test_preview_says_the_same(
    text: str, told: list[str], tiny_cohort: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine.yaml").write_text(text)
    assert (
        main(["preview", str(tiny_cohort), "--config", f"{tmp_path}/mine.yaml", "--out", str(tmp_path / "p.png")]) == 1
    )
    error = capsys.readouterr().err
    assert all(part in error for part in told), error


def test_preview_takes_a_file_with_nothing_under_data(tiny_cohort: Path, tmp_path: Path) -> None:
    (tmp_path / "size.yaml").write_text("data: {size: [12, 16, 16]}")
    (tmp_path / "bare.yaml").write_text("data:\n")
    words = [
        "--config",
        f"{tmp_path}/size.yaml",
        "--config",
        f"{tmp_path}/bare.yaml",
        "--out",
        str(tmp_path / "p.png"),
        "--studies",
        "1",
    ]
    assert main(["preview", str(tiny_cohort), *words]) == 0


def test_a_grid_without_slices_is_refused(
    tiny_cohort: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["cache", str(tiny_cohort), "--size", "[0, 8, 8]", "--cache", str(tmp_path / "cache")]) == 1
    assert "[0, 8, 8]" in capsys.readouterr().err
