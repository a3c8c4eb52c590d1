"""Damaged YAML, in every verb that reads one: one message that names the file."""

from pathlib import Path

import pytest

from bimcvr.cli import main
from bimcvr.errors import UserError
from bimcvr.presets import read_yaml

DAMAGED = {
    "utf16": "data: {size: [8, 8, 8]}".encode("utf-16"),
    "latin1": "out: größe".encode("latin-1"),
    "deep": b"a: " + b"[" * 2000,
    "flow": b"a: " + b"{b: " * 60 + b"1" + b"}" * 60,
    "date": b"out: 2024-02-31",
    "anchors": b"a: &x 1\nb: &x [*x]\nc: *y",
    "bomb": b"a: &a [x, x, x, x, x, x, x, x, x, x]\n"
    + b"".join(b"%c: &%c [%s]\n" % (c, c, b", ".join([b"*%c" % (c - 1)] * 10)) for c in range(ord("b"), ord("h"))),
    "endless": b"a: &a [*a]",
    "null": b"a: \0",
    "key": b"? [a]\n: b",
    "twice": b"data: {size: [8, 8, 8]}\nmodel: {}\ndata: {cache: here}",
    "tag": b"a: !!python/object/apply:os.system [ls]",
}


@pytest.mark.parametrize("name", DAMAGED)
def test_a_damaged_file_is_named(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "x.yaml"
    path.write_bytes(DAMAGED[name])
    with pytest.raises(UserError, match=r"x\.yaml"):
        read_yaml(path)
    for words in (
        ["curate", "--config", str(path)],
        ["fit", "--config", str(path), "--data.manifest", "m.csv"],
        ["sweep", str(path), "--local"],
        ["benchmark", "--suite", str(path)],
        ["preview", "m.csv", "--config", str(path)],
    ):
        assert main(words) == 1, words
        assert str(path) in capsys.readouterr().err


def test_a_sound_file_with_a_mark_of_byte_order_and_windows_line_ends_is_read(tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_bytes("a: größe\r\nb: [1, 2]\r\n".encode("utf-8-sig"))
    assert read_yaml(tmp_path / "x.yaml") == {"a": "größe", "b": [1, 2]}
