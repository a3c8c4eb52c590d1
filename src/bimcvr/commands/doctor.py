"""The verb doctor."""

from collections.abc import Sequence
from pathlib import Path

from bimcvr.commands.stdout import say_json
from bimcvr.doctor.check_result import CheckResult
from bimcvr.errors import printable

_COLOURS = {"ok": "green", "warning": "yellow", "failing": "bold red"}


def doctor(
    config: Sequence[Path] = (),
    cache: Path | None = None,
    index: Path | None = None,
    checkpoint: Path | None = None,
    runs: Path = Path("runs"),
    trust: str = "",
    hub: bool = False,
    json: bool = False,
) -> int:
    """Check what a run needs, line by line: ok, warning or failing, and for what is not ok what to do.

    Nothing is downloaded and nothing is changed; the network is only used with `--hub`. Without `--config` the models
    of everything below `experiments` are looked for, and an absent one is only a warning.

    Args:
        config: a YAML file of settings; repeat the option for several files, of which the last one decides. They are
            those of `fit`, and their published models must be here.
        cache: the folder of volumes resized to the model's grid, to look through; by default `cache`, if it is here.
        index: the folder of the search index, to read through; by default `index`, if it is here.
        checkpoint: the checkpoint of a trained model, to load.
        runs: the folder of all runs.
        trust: classes, modules or packages of others whose code a checkpoint may run, with commas between.
        hub: ask the model hub whether it would hand over the published towers of other groups that are not here.
        json: print JSON instead of a table.

    Returns:
        0, or 1 where something fails.
    """
    from bimcvr.doctor.environment import check_environment
    from bimcvr.doctor.files import check_cache, check_checkpoint, check_wandb
    from bimcvr.doctor.index import check_index
    from bimcvr.doctor.peers import check_peers
    from bimcvr.doctor.weights import check_weights
    from bimcvr.parsing.trust import split_trust
    from bimcvr.presets import FOLDER

    lines = [
        *check_environment(runs),
        *check_weights(config, local if (local := Path("experiments")).is_dir() else FOLDER),
    ]
    lines += check_peers(hub)
    cache = cache or _default("cache", ".")
    index = index or _default("index", "index.json")
    lines += check_cache(cache) if cache else [_not_given("cache")]
    lines += [check_index(index)] if index else [_not_given("index")]
    lines += [check_checkpoint(checkpoint, split_trust(trust))] if checkpoint else []
    lines.append(check_wandb(runs))
    if json:
        from json import dumps

        say_json(dumps([line._asdict() for line in lines], indent=2))
    else:
        _print(lines)
    return 1 if any(line.state == "failing" for line in lines) else 0


def _default(name: str, holds: str) -> Path | None:
    """Return the folder that the other verbs take by default, where it is here."""
    return Path(name) if (Path(name) / holds).exists() else None


def _not_given(what: str) -> CheckResult:
    return CheckResult(
        "warning",
        what,
        f"none was given and there is no ./{what}: not looked at",
        f"Name it, if you have one: --{what} FOLDER.",
    )


def _print(lines: list[CheckResult]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(show_lines=False)
    for head, width in (("", 7), ("what", 30), ("found", None), ("what to do", None)):
        table.add_column(head, max_width=width, overflow="fold")
    told: dict[str, str] = {}
    for line in lines:
        first = told.setdefault(line.remedy, line.what)
        remedy = line.remedy if first == line.what or len(line.remedy) < 60 else f"As for {first}."
        cells = (Text(printable(cell)) for cell in (line.what, line.found, remedy))
        table.add_row(Text(line.state, _COLOURS[line.state]), *cells)
    Console().print(table)
