"""Random wrong values for every option of every verb: what a user's typing, another's file or a script may give."""

import inspect
import random
from collections.abc import Iterator
from pathlib import Path

from bimcvr.cli import LIGHTNING, VERBS, verb_function
from bimcvr.parsing.option_parser import verb_parser

WORDS = (
    *("", " ", "nan", "inf", "-inf", "-1", "0", "1e999", "1.5", "7", "99999999999999999999", "true", "null", "None"),
    *("[]", "[1]", "[1, 2, 3]", "[0, 0, 0]", "[-1, 2, x]", "{}", "{a: 1}", "a: [", "&a [*a]", "[" * 500, "2024-02-31"),
    *("!!python/name:os.system", "os.system", "torch.nn.Linear", "no.such.Class", "bimcvr.models.ResNet3D"),
    *("\x1b[31m", "größe", "\udcf6", "x" * 300, "..", "~", "-", "--", "a=b", "a,b", "%s", "{0}", "${x}", "*", "@x"),
    *("1/2", "3/2", "a\nb", "'", '"', "age >= x", "train", "http://localhost:1", "`x`", "\u202e", "a.b.c", "a:b"),
)


def wrong_options(seed: int, folder: Path, base: dict[str, list[str]]) -> Iterator[list[str]]:
    """Yield command lines without end, each with one option of a verb that has a random value.

    Args:
        seed: the same seed gives the same command lines.
        folder: where files of odd content are made, that values name.
        base: for each verb the command line that the option is added to.
    """
    draw = random.Random(seed)  # noqa: S311 - test data
    options = {verb: sorted(_options_of(verb)) for verb in VERBS}
    values = [*WORDS, *map(str, _odd_files(folder))]
    while True:
        verb = draw.choice(list(VERBS))
        yield [verb, *base[verb], f"--{draw.choice(options[verb])}", draw.choice(values)]


def _options_of(verb: str) -> set[str]:
    if verb not in LIGHTNING:
        parser = verb_parser(verb_function(verb), verb)
        flags = {flag for action in parser._actions for flag in action.option_strings}
        return {flag[2:] for flag in flags if flag.startswith("--")} - {"help", "print_config"}
    from pytorch_lightning import Trainer

    from bimcvr.data.loading.datamodule import CTReportDataModule
    from bimcvr.models.retriever import Retriever

    groups = {"data": CTReportDataModule, "model": Retriever, "trainer": Trainer}
    nested = {f"{name}.{key}" for name, kind in groups.items() for key in inspect.signature(kind).parameters}
    return nested | {
        "experiment",
        "runs",
        "seed_everything",
        "ckpt_path",
        "log_examples",
        "config",
        "checkpoint.monitor",
    }


def _odd_files(folder: Path) -> list[Path]:
    """Make a folder, an empty file, one of random bytes, an empty table and a UTF-16 text; the last is absent."""
    (folder / "a folder").mkdir(parents=True)
    contents = {
        "empty.csv": b"",
        "noise.npz": random.Random(0).randbytes(2000),  # noqa: S311 - test data
        "columns.csv": b"study_id,volume,report\n",
        "utf16.yaml": "data: {size: [8, 8, 8]}".encode("utf-16"),
        "sound.yaml": b"a: {b: [1, 2]}\n",
    }
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    return [folder / "a folder", *(folder / name for name in contents), folder / "not there" / "x.csv"]
