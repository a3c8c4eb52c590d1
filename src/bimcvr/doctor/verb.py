"""The verb doctor."""

from collections.abc import Sequence
from pathlib import Path

from bimcvr.doctor.line import Line

_COLOURS = {"ok": "green", "warning": "yellow", "failing": "bold red"}


def doctor(
    experiment: Path | Sequence[Path] = (), cache: Path | None = None, index: Path | None = None, checkpoint: Path | None = None,
    runs: Path = Path("runs"), json: bool = False,
) -> int:
    """Check what a run needs, line by line: ok, warning or failing, and for what is not ok what to do.

    Nothing is downloaded and nothing is changed. Without `--experiment` the models of everything below `experiments` are looked
    for, and an absent one is only a warning.

    Args:
        experiment: a YAML file as given to fit, or several, `'[base.yaml, mine.yaml]'`, whose published models must be here.
        cache: a cache folder to look through.
        index: a search index to open.
        checkpoint: a checkpoint to load.
        runs: folder of all runs.
        json: print a JSON list instead of a table.

    Returns:
        0, or 1 where something fails.
    """
    from bimcvr.doctor.environment import check_environment
    from bimcvr.doctor.files import check_cache, check_checkpoint, check_index, check_wandb
    from bimcvr.doctor.weights import check_weights

    configs = [experiment] if isinstance(experiment, Path) else experiment
    lines = [*check_environment(runs), *check_weights(configs, Path("experiments"))]
    lines += check_cache(cache) if cache else []
    lines += [check_index(index)] if index else []
    lines += [check_checkpoint(checkpoint)] if checkpoint else []
    lines.append(check_wandb(runs))
    if json:
        from json import dumps

        print(dumps([line._asdict() for line in lines], indent=2))
    else:
        _print(lines)
    return 1 if any(line.state == "failing" for line in lines) else 0


def _print(lines: list[Line]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(show_lines=False)
    for head, width in (("", 7), ("what", 30), ("found", None), ("what to do", None)):
        table.add_column(head, max_width=width, overflow="fold")
    for line in lines:
        table.add_row(Text(line.state, _COLOURS[line.state]), Text(line.what), Text(line.found), Text(line.remedy))
    Console().print(table)
