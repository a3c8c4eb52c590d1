"""Command-line parser of a verb, made from its function's signature and docstring."""

import inspect
import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NoReturn

from jsonargparse import ActionConfigFile, ArgumentParser  # type: ignore[attr-defined]

from bimcvr.errors import printable
from bimcvr.parsing.config_errors import config_files, explain, read_config
from bimcvr.parsing.home import expand_home

# by verb what is optional, and given by position all the same
OPTIONAL_POSITIONAL = {"search": {"text": "the text: what is to be seen, like: large right pleural effusion"}}
CONFIG_HELP = "a YAML file of settings; repeat the option for several files, of which the last one decides"


def verb_parser(function: Callable[..., int], verb: str) -> "VerbParser":
    """Make the parser of a verb.

    Required parameters are positional; every other one is an option of its name. `--config` is the function's own list
    of files if it has such a parameter, else a file with the verb's options.

    Args:
        function: the verb's function; its docstring's `Args:` are the help texts.
        verb: its name on the command line.
    """
    parameters = inspect.signature(function).parameters
    description = inspect.cleandoc(function.__doc__ or "").split("\nArgs:")[0].strip()
    parser = VerbParser(prog=f"bimcvr {verb}", description=description)
    parser.verb = verb
    parser.switches = switches_of(function)
    if "checkpoint" in parameters:
        parser.renamed["--ckpt_path"] = "--checkpoint"  # Lightning's name, which the verbs of training have
    reads_files = "config" in parameters
    if reads_files:
        parser.renamed["--config"] = "--config+"  # jsonargparse's way to append to a list
    else:
        parser.add_argument("--config", action=ActionConfigFile, help=CONFIG_HELP)
    by_position = OPTIONAL_POSITIONAL.get(verb, {})
    # a file given for an option is read in its place, unless the option is the files' names
    parser.add_function_arguments(
        function, as_group=False, as_positional=True, sub_configs=not reads_files, skip=set(by_position)
    )
    for name in by_position:
        parser.add_argument(name, nargs="?", default=parameters[name].default, help=by_position[name])
    return parser


def call_with_options(function: Callable[..., int], verb: str, words: Sequence[str]) -> int:
    """Parse a verb's command line and call its function.

    Args:
        function: the verb's function.
        verb: its name on the command line.
        words: the command line after the verb.

    Returns:
        The exit code.
    """
    parser = verb_parser(function, verb)
    options: dict[str, Any] = vars(parser.instantiate(parser.parse_args(words)))
    if "config" not in inspect.signature(function).parameters:
        options.pop("config", None)
    paths = options.keys() - OPTIONAL_POSITIONAL.get(verb, {}).keys()  # a query may begin with anything
    return function(**options | {name: expand_home(options[name]) for name in paths}) or 0


class VerbParser(ArgumentParser):
    """Accepts switches that stand alone and both names of the checkpoint; ends a mistake in one paragraph."""

    verb = ""
    switches: frozenset[str] = frozenset()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.renamed: dict[str, str] = {}
        self._words: Sequence[str] = ()

    def parse_args(self, args: Sequence[str] | None = None, *rest: Any, **options: Any) -> Any:  # type: ignore[override]
        """Parse a command line."""
        self._words = complete_switches(rename_options(args or (), self.renamed), self.switches)
        for path in config_files(self._words):
            if path.is_file():
                read_config(path)  # what is no YAML is told in one message
        return super().parse_args(self._words, *rest, **options)

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """End with exit code 2 and a paragraph that names the option and the nearest one that exists."""
        if not self.exit_on_error:
            super().error(message, ex)  # a trial inside a union of types: not the last word
        known = [action.dest for action in self._actions]
        listing = f"`bimcvr {self.verb} --help` lists every option."
        self.exit(2, f"\nbimcvr {self.verb}: {printable(explain(message, known, self._words, listing))}\n")
        raise AssertionError  # never reached: exit ends the process


def switches_of(function: Callable[..., Any], prefix: str = "") -> frozenset[str]:
    """Return the options of a function's boolean parameters.

    Args:
        function: a function or class.
        prefix: what comes before a parameter's name, like `data.`.
    """
    parameters = inspect.signature(function).parameters.values()
    return frozenset(f"--{prefix}{item.name}" for item in parameters if item.annotation in (bool, bool | None))


def complete_switches(words: Sequence[str], switches: Iterable[str]) -> list[str]:
    """Give a switch that stands alone its value: `--audited` is `--audited true`.

    Args:
        words: a command line.
        switches: the options that are true or false.
    """
    known, completed = set(switches), list[str]()
    for word, following in itertools.zip_longest(words, words[1:], fillvalue=""):
        completed.append(word)
        if word in known and following.lower() not in ("true", "false"):
            completed.append("true")
    return completed


def rename_options(words: Iterable[str], names: Mapping[str, str]) -> list[str]:
    """Replace options that have a second name; `--name value` and `--name=value` alike.

    Args:
        words: a command line.
        names: the second name of an option, and its first.
    """
    parted = [word.partition("=") for word in words]
    return [names.get(option, option) + equals + value for option, equals, value in parted]
