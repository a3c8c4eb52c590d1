"""MkDocs hook: writes the command reference from the commands' own signatures and docstrings.

The parsers are made from the same signatures, and a test compares the page with what `--help` prints. The code is read,
not imported, so a build needs none of the heavy packages.
"""

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import griffe

SOURCE = Path(__file__).parents[2] / "src"
MARKER = "<!-- command reference -->"
LIGHTNING = ("fit", "validate", "test", "predict", "dry-run")


class Option(NamedTuple):
    """An option or a positional argument of a verb."""

    name: str
    type: str
    default: str
    help: str


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Put the reference where the page asks for it."""
    return markdown.replace(MARKER, "\n".join(reference())) if MARKER in markdown else markdown


def reference() -> Iterator[str]:
    """Yield the lines of the page: a section per verb, with its arguments and options."""
    for group, verbs in groups().items():
        yield f"\n## {group}\n"
        for verb, (target, summary) in verbs.items():
            yield f"\n### {verb} {{ #{verb} }}\n"
            if verb in LIGHTNING:
                yield f"{summary[0].upper()}{summary[1:]}.\n"
                yield from _lightning(verb)
            else:
                yield from _function(verb, target)


def groups() -> dict[str, dict[str, tuple[str, str]]]:
    """Return what `bimcvr.cli` lists: by group, for each verb where its function is, and one line about it."""
    sys.path.insert(0, str(SOURCE))
    try:
        from bimcvr.cli import GROUPS
    finally:
        sys.path.remove(str(SOURCE))
    return GROUPS


def _function(verb: str, target: str) -> Iterator[str]:
    module, name = target.split(":")
    functions = _load(module).functions
    function = functions.get(verb.replace("-", "_"), functions[name])
    options = list(_options(function, "--"))
    unnamed = {f"--{argument}" for argument in _optional_positional(verb)}
    positional = [option for option in options if not option.default or option.name in unnamed]
    options = [option for option in options if option not in positional]
    words = " ".join(option.name.removeprefix("--").upper() for option in positional)
    yield f"```text\nbimcvr {verb} {words}{' ' * bool(words)}[options]\n```\n"
    yield from _description(function)
    yield from _table([option._replace(name=option.name.removeprefix("--")) for option in positional], "argument")
    yield from _table(options, "option")


def _lightning(verb: str) -> Iterator[str]:
    yield f"```text\nbimcvr {verb} --config FILE [--config FILE …] [options]\n```\n"
    if verb == "dry-run":
        yield "All options of [fit](#fit), and these:\n"
        yield from _table(list(_added("bimcvr.training.dry_run", "DryRunCLI")), "option")
    elif verb != "fit":
        yield "Takes the options of [fit](#fit). Without `--config` it starts from the `config.yaml` of the run that"
        yield "`--checkpoint` names; flags come on top.\n"
    else:
        yield from _table([*_OF_LIGHTNING, *_added("bimcvr.training.lightning_cli", "RetrieverCLI")], "option")
        yield "\n**The model** (`bimcvr.models.Retriever`), as `model:` in a YAML file or as flags:\n"
        yield from _table(list(_options(_class("bimcvr.models.retriever", "Retriever"), "--model.")), "option")
        yield "\n**The data** (`bimcvr.data.CTReportDataModule`), as `data:` in a YAML file or as flags:\n"
        data = _options(_class("bimcvr.data.loading.datamodule", "CTReportDataModule"), "--data.")
        yield from _table([option for option in data if option.name != "--data.seed"], "option")
        yield "\n`--trainer.*` are the arguments of Lightning's `Trainer`, `--checkpoint.*` those of its"
        yield "`ModelCheckpoint`, `--model.optimizer.*` those of the optimizer: `bimcvr fit --help-all` lists them all."


def _optional_positional(verb: str) -> list[str]:
    """Return the arguments of a verb that have a default and are given without their names all the same."""
    value = str(_load("bimcvr.parsing.option_parser").attributes["OPTIONAL_POSITIONAL"].value)
    return list(ast.literal_eval(value).get(verb, {}))


_OF_LIGHTNING = [
    Option(
        "--config", "file", "none", "A YAML file. May be given several times; later files win, and flags win over all."
    ),
    Option("--print_config", "", "off", "Print the configuration that results, and exit."),
    Option("--seed_everything", "bool | int", "0", "The seed of everything that is random."),
    Option(
        "--checkpoint",
        "file, best or last",
        "None",
        "The checkpoint to test, or to resume from; `best` and `last` mean the newest run of the experiment.",
    ),
    Option("--ckpt_path", "file, best or last", "None", "Lightning's name of `--checkpoint`."),
]


def _file(module: str) -> Path:
    return SOURCE.joinpath(*module.split(".")).with_suffix(".py")


def _load(module: str) -> Any:
    code = _file(module).read_text(encoding="utf-8")
    return griffe.visit(module, filepath=_file(module), code=code, docstring_parser=griffe.Parser.google)


def _class(module: str, name: str) -> Any:
    return _load(module).classes[name]


def _options(owner: Any, prefix: str) -> Iterator[Option]:
    sections = owner.docstring.parsed if owner.docstring else []
    about = {
        entry.name: " ".join(entry.description.split())
        for section in sections
        if section.kind is griffe.DocstringSectionKind.parameters
        for entry in section.value
    }
    for parameter in owner.parameters:
        if parameter.name != "self":
            default = "" if parameter.default is None else str(parameter.default)
            yield Option(f"{prefix}{parameter.name}", str(parameter.annotation), default, about.get(parameter.name, ""))


def _description(function: Any) -> Iterator[str]:
    for section in function.docstring.parsed:
        if section.kind is griffe.DocstringSectionKind.text:
            yield section.value + "\n"


def _added(module: str, name: str) -> Iterator[Option]:
    """Yield what a class adds by `parser.add_argument`."""
    loaded = _load(module)
    for call in _calls_of_add_argument(module, name):
        given = {word.arg: word.value for word in call.keywords}
        kind, default = (ast.unparse(given[key]) if key in given else "" for key in ("type", "default"))
        yield Option(str(ast.literal_eval(call.args[0])), kind, default, _text(given["help"], loaded))


def _calls_of_add_argument(module: str, within: str = "") -> Iterator[ast.Call]:
    """Yield a module's, or a class's, calls of `add_argument`."""
    tree: ast.AST = ast.parse(_file(module).read_text(encoding="utf-8"))
    if within:
        tree = next(node for node in ast.walk(tree) if isinstance(node, ast.ClassDef) and node.name == within)
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "add_argument":
            yield node


def _text(node: ast.expr, module: Any) -> str:
    """Return a help text, with the values of the constants that it names."""
    if isinstance(node, ast.JoinedStr):
        return "".join(_text(part, module) for part in node.values)
    if isinstance(node, ast.FormattedValue):
        return _constant(ast.unparse(node.value), module)
    return str(ast.literal_eval(node))


def _constant(name: str, module: Any) -> str:
    """Return the value of a constant of a module, or of the one that it imports it from."""
    if name in module.attributes:
        return str(module.attributes[name].value)
    source, _, name = module.imports[name].rpartition(".")
    return _constant(name, _load(source))


def _table(options: list[Option], first: str) -> Iterator[str]:
    if not options:
        return
    yield f"| {first} | type | {'default | ' * (first == 'option')}meaning |"
    yield "|---|---|" + "---|" * (first == "option") + "---|"
    for option in options:
        cells = [f"`{option.name}`", _type(option.type)]
        cells += [_default(option.default)] if first == "option" else []
        yield f"| {' | '.join(cells)} | {_sentence(option.help)} |"
    yield ""


def _type(annotation: str) -> str:
    """Return a type as it is given on a command line: a choice as its words, an optional one without its None."""
    annotation = annotation.replace(" | None", "")
    choices = re.fullmatch(r"Literal\[(.*)\]", annotation)
    return ", ".join(f"`{word}`" for word in re.findall(r"'([^']*)'", choices[1])) if choices else _code(annotation)


def _default(text: str) -> str:
    """Return a default as it would be given on a command line; nothing where it is nothing."""
    text = re.sub(r"Path\('([^']*)'\)", r"\1", text).strip("'\"")
    return "" if text in ("None", "()") else _code(text)


def _code(text: str) -> str:
    return f"`{text}`" if text else ""


def _sentence(text: str) -> str:
    text = re.sub(r"(?<!\\)\|", r"\\|", " ".join(text.split()))
    return text[:1].upper() + text[1:]
