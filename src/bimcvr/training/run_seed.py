"""A run has one seed, `seed_everything`: the data's own is always the same."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml

from bimcvr.errors import UserError
from bimcvr.parsing.config_errors import config_files, read_config, value_of


def refuse_other_seed(words: Sequence[str], seed: int) -> None:
    """Refuse a configuration whose `data.seed` is not the run's seed: the linked value would replace it.

    Args:
        words: the command line.
        seed: of the run, `seed_everything`.

    Raises:
        UserError: a file, or the option --data, gives another seed.
    """
    for source, data in _data_of(words):
        given = data.get("seed") if isinstance(data, dict) else None
        if given is not None and str(given) != str(seed):
            raise UserError(
                f"{source}: data.seed is {given}, but the run's seed is {seed}, and a run has only one. Give it as"
                " seed_everything, and leave data.seed out."
            )


def _data_of(words: Sequence[str]) -> Iterator[tuple[str, Any]]:
    """Yield the settings of the data, and where they are given: in the configuration, or in a file that it names."""
    given = [(str(path), path.parent, read_config(path).get("data")) for path in config_files(words)]
    for source, folder, data in [*given, ("--data", Path(), value_of("--data", words))]:
        if not isinstance(data, str):
            yield source, data
        elif data.lstrip().startswith("{"):
            yield source, yaml.safe_load(data)
        elif (folder / data).is_file():
            yield str(folder / data), read_config(folder / data)
