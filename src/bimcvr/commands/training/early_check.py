"""What can be wrong with a configuration, told within a second: before Lightning, whose import takes several.

Only mistakes that are certain are told; the parser itself checks everything again.
"""

import ast
import json
import re
import textwrap
import warnings
from collections.abc import Iterator, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from bimcvr.errors import UserError, listed
from bimcvr.parsing.config_errors import config_files, explain, read_config, value_of
from bimcvr.parsing.home import expand_home
from bimcvr.run_folder import is_first_process
from bimcvr.suggest import did_you_mean

OPTIONS = Path(__file__).with_name("lightning_options.json")
"""The options of each verb, and the help texts of the common ones; a test compares it with the parsers."""

TRAINS = (
    "config",
    "experiment",
    "data.manifest",
    "data.size",
    "data.spacing",
    "data.batch_size",
    "data.num_workers",
    "model.volume_encoder",
    "model.text_encoder",
    "trainer.max_epochs",
    "trainer.devices",
    "trainer.precision",
    "seed_everything",
    "ckpt_path",
    "init_from",
)
"""The options that a training uses most."""
EVALUATES = (
    "ckpt_path",
    "experiment",
    "runs",
    "data.manifest",
    "data.root",
    "data.cache",
    "data.skip_refused",
    "data.eval_batch_size",
    "data.num_workers",
    "trainer.devices",
    "trainer.precision",
    "allow_trained_rows",
    "trust",
    "config",
)
"""Those that an evaluation of a checkpoint uses most; all others are as they were in its training."""

_OURS = re.compile(r"bimcvr(\.\w+)+")


def refuse_early(verb: str, words: Sequence[str]) -> None:
    """Refuse a misspelt key, a class that does not exist, and a manifest that cannot be used.

    Args:
        verb: fit, dry-run, validate, test or predict.
        words: the command line after the verb.

    Raises:
        UserError: with all of it, as the parser or the reader would say it seconds later.
    """
    if not is_first_process():
        return
    known = json.loads(OPTIONS.read_text(encoding="utf-8"))["keys"][verb]
    files = [(path, read_config(path)) for path in reversed(config_files(words))]
    keys = [*_keys_of_words(words), *(key for _, content in files for key in _unknown(content, known))]
    faults = [explain(f"Option '{key}' is not accepted", known, words) for key in keys if _is_unknown(key, known)]
    sources = [
        *((f" in {path}", _class_paths(content)) for path, content in files),
        ("", filter(_OURS.fullmatch, words)),
    ]
    for where, class_paths in sources:
        for class_path in class_paths:
            if problem := _missing_class(class_path):
                faults.append(f"Wrong configuration{where}: {problem}")
    if not any(word.startswith("--print_config") for word in words):
        try:
            _read_manifest(words, [content for _, content in files])
        except UserError as error:
            faults.append(str(error))
    if faults:
        raise UserError(listed(faults))


def common_options(verb: str, summary: str) -> str:
    """Return the help of a verb's common options, as `--help` prints it.

    Args:
        verb: fit, dry-run, validate, test or predict.
        summary: what it does.
    """
    texts = json.loads(OPTIONS.read_text(encoding="utf-8"))["common"]
    trains = verb in ("fit", "dry-run")
    lines = [
        f"  --{'checkpoint' if key == 'ckpt_path' else key}\n{_indented(texts[key])}"
        for key in (TRAINS if trains else EVALUATES)
    ]
    usage = "--config FILE [--config FILE …]" if trains else "--checkpoint FILE"
    return "\n".join(
        [
            f"usage: bimcvr {verb} {usage} [options]",
            "",
            *textwrap.wrap(f"{summary[:1].upper()}{summary[1:]}.", 80),
            *([] if trains else textwrap.wrap("Settings are those of the checkpoint's run, unless given here.", 80)),
            "",
            "The options that are used most:",
            "",
            *lines,
            "",
            f"`bimcvr {verb} --help-all` lists all options, those of Lightning's Trainer too;",
            "`--print_config` prints the configuration that results.",
        ]
    )


def _indented(text: str, width: int = 76) -> str:
    return textwrap.fill(text, width, initial_indent=" " * 6, subsequent_indent=" " * 6)


def _keys_of_words(words: Sequence[str]) -> Iterator[str]:
    """Yield the keys of flags; `--trainer.callbacks+=…` appends to a list."""
    for word in words:
        if word.startswith("--"):
            key = word[2:].split("=", 1)[0].rstrip("+")
            yield "ckpt_path" if key == "checkpoint" else key


def _is_unknown(key: str, known: Sequence[str]) -> bool:
    """Return whether neither a key nor a part or a whole of it is an option; `a.b` belongs to the part `a`."""
    names = {name for name in known if not name.endswith(".help")}
    parts = key.split(".")
    above = [".".join(parts[:count]) for count in range(1, len(parts) + 1)]
    for name in above:
        if any(other.startswith(f"{name}.") for other in names):
            continue  # a group: what it holds is listed
        return name not in names and key not in known
    return False


def _unknown(content: Mapping[Any, Any], known: Sequence[str], under: str = "") -> Iterator[str]:
    """Yield the keys of a file that are to be looked up: each as deep as the list of options goes."""
    names = [name for name in known if not name.endswith(".help")]
    for name, value in content.items():
        key = f"{under}{name}".removesuffix("+")  # `callbacks+:` appends to a list
        if isinstance(value, Mapping) and any(other.startswith(f"{key}.") for other in names):
            yield from _unknown(value, known, f"{key}.")
        else:
            yield key


def _class_paths(content: Any) -> Iterator[str]:
    """Yield the classes that a configuration names; ours may be named without the key `class_path`."""
    if isinstance(content, Mapping):
        for name, value in content.items():
            if isinstance(value, str) and (name == "class_path" or _OURS.fullmatch(value)):
                yield value
            else:
                yield from _class_paths(value)
    elif isinstance(content, list):
        for value in content:
            yield from _class_paths(value)


def _missing_class(class_path: str) -> str:
    """Return what is wrong with a class path, empty where it is right or cannot be known without importing it."""
    package, *rest = class_path.split(".")
    if not rest or not class_path.replace(".", "").isidentifier():
        return ""
    try:
        spec = find_spec(package)
    except (ValueError, ImportError):
        return ""
    if spec is None:
        return f"there is no package '{package}', which class_path {class_path} names. Install it, or correct the name."
    if package != "bimcvr" or not spec.origin:
        return ""
    place = Path(spec.origin).parent
    for depth, name in enumerate(rest):
        if (place / name).is_dir():
            place = place / name
        elif (place / f"{name}.py").is_file():
            return _unless(rest[depth + 1 :], place / f"{name}.py", class_path)
        else:
            return _unless(rest[depth:], place / "__init__.pyi", class_path)
    return ""


def _unless(rest: Sequence[str], module: Path, class_path: str) -> str:
    """Return what is wrong where a module of ours does not define a name."""
    if len(rest) != 1 or not module.is_file():
        return ""
    names = list(_defined(ast.parse(module.read_text(encoding="utf-8"))))
    if rest[0] in names:
        return ""
    where = class_path.rpartition(".")[0]
    return f"class_path {class_path}: there is no '{rest[0]}' in {where}.{did_you_mean(rest[0], names)}"


def _defined(tree: ast.Module) -> Iterator[str]:
    for node in tree.body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef):
            yield node.name
        elif isinstance(node, ast.Import | ast.ImportFrom):
            yield from (alias.asname or alias.name for alias in node.names)
        elif isinstance(node, ast.Assign):
            yield from (target.id for target in node.targets if isinstance(target, ast.Name))


def _read_manifest(words: Sequence[str], files: Sequence[Mapping[str, Any]]) -> None:
    """Read the manifest that the configuration names, if it names one."""
    from bimcvr.data.manifest import read_manifest

    given: dict[str, Any] = {}
    for content in files:
        data = content.get("data")
        given |= data if isinstance(data, Mapping) else {}
    given |= {name: value for name in ("manifest", "root") if (value := value_of(f"--data.{name}", words)) is not None}
    manifest, root = expand_home(given.get("manifest")), expand_home(given.get("root"))
    if isinstance(manifest, str) and (root is None or isinstance(root, str)):
        with warnings.catch_warnings(action="ignore"):  # they come with the run
            read_manifest(manifest, root)
