"""docs/options.md and the parsers of all verbs name the same options with the same meanings."""

import contextlib
import io
import re
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from bimcvr.cli import LIGHTNING, VERBS, main, verb_function
from bimcvr.parsing.option_parser import complete_switches, rename_options, verb_parser
from bimcvr.training import lightning_cli

PAGE = (Path(__file__).parents[1] / "docs/options.md").read_text(encoding="utf-8")
# Lightning's own: whole groups, what is only of its loop, and what every parser has
NOT_OURS = {"help", "print_config", "trainer", "model", "data", "verbose", "weights_only", "return_predictions"}
# Lightning writes their help
NAMED_BY_LIGHTNING = {"--ckpt_path", "--seed_everything"}


def table() -> dict[str, tuple[str, list[str]]]:
    """Each option's meaning, and the verbs that have it; a dagger marks those that take it by position."""
    lines = re.findall(r"^\| `(--\w+)` \| (.+?) \| (.+?) \|$", PAGE, flags=re.MULTILINE)
    assert len(lines) == len({option for option, _, _ in lines}), "an option appears on two lines"
    return {option: (meaning, verbs.split(", ")) for option, meaning, verbs in lines}


@cache
def actions_of(verb: str) -> list[Any]:
    """What a verb's parser takes."""
    if verb not in LIGHTNING:
        return list(verb_parser(verb_function(verb), verb)._actions)
    with pytest.raises(SystemExit), contextlib.redirect_stdout(io.StringIO()):
        main([verb, "--help-all" if verb in LIGHTNING else "--help"])
    name = "fit" if verb == "dry-run" else verb
    return next(list(parser._actions) for parser in lightning_cli._Parser.created if parser.prog.endswith(f" {name}"))


def options_of(verb: str) -> dict[str, tuple[str, bool]]:
    """The options of a verb: their help, and whether they are given by position."""
    options = {
        f"--{action.dest}": (re.sub(r"\s+", " ", str(action.help)), not action.option_strings)
        for action in actions_of(verb)
        if "." not in action.dest and action.dest not in (NOT_OURS if verb in LIGHTNING else ("help", "print_config"))
    }
    if "--checkpoint" in options:
        options.setdefault("--ckpt_path", ("", False))
    return options


@pytest.mark.parametrize("verb", VERBS)
def test_the_table_has_the_options_of_each_verb_and_no_others(verb: str) -> None:
    marked = {option: f"{verb}{'†' * by_position}" for option, (_, by_position) in options_of(verb).items()}
    assert marked == {
        option: name for option, (_, verbs) in table().items() for name in verbs if name.rstrip("†") == verb
    }


@pytest.mark.parametrize("verb", VERBS)
def test_an_option_means_the_same_in_every_verb(verb: str) -> None:
    for option, (text, _) in options_of(verb).items():
        if option not in NAMED_BY_LIGHTNING:
            assert text.startswith(table()[option][0]), f"{verb} {option}: {text}"


def test_the_table_names_no_verb_that_does_not_exist() -> None:
    assert {verb.rstrip("†") for _, verbs in table().values() for verb in verbs} == set(VERBS)


def test_an_unknown_option_is_refused_with_the_nearest_one(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["search", "index", "nodule", "--leaveout", "patient"])
    assert ended.value.code == 2
    assert "Did you mean 'leave_out'?" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["evaluate", "e.npz", "--page", "result.html"])
    assert "`bimcvr evaluate --help` lists every option." in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "completed"),
    [
        (["--audited"], ["--audited", "true"]),
        (["--audited", "true"], ["--audited", "true"]),
        (["--audited", "False"], ["--audited", "False"]),
        (["--audited=false"], ["--audited=false"]),
        (["--audited", "--out", "r.json"], ["--audited", "true", "--out", "r.json"]),
        ([], []),
    ],
)
def test_a_switch_may_stand_alone(words: list[str], completed: list[str]) -> None:
    assert complete_switches(words, {"--audited"}) == completed


def test_a_second_name_is_replaced_as_a_whole_word_only() -> None:
    words = ["fit", "--checkpoint", "last", "--checkpoint=best", "--checkpoint.mode", "max", "checkpoint"]
    assert rename_options(words, {"--checkpoint": "--ckpt_path"}) == [
        "fit",
        "--ckpt_path",
        "last",
        "--ckpt_path=best",
        "--checkpoint.mode",
        "max",
        "checkpoint",
    ]


@pytest.mark.parametrize("option", ["--checkpoint", "--ckpt_path"])
def test_both_names_of_the_checkpoint_reach_every_verb(option: str, capsys: pytest.CaptureFixture[str]) -> None:
    for words, answer in (
        (["test", option, "last"], "--checkpoint last is the newest run's"),
        (["index", "--manifest", "absent.csv", option, "absent.ckpt"], "absent"),
        (["doctor", option, "absent.ckpt"], "absent.ckpt"),
    ):
        assert main(words) == 1
        captured = capsys.readouterr()
        assert answer in captured.out + captured.err
