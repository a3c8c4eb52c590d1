"""From a suite to single runs, each with the identity by which a finished run is recognised."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bimcvr.errors import UserError
from bimcvr.presets import read_yaml
from bimcvr.suites.suite import Suite, SuiteRow

RATE = "model.optimizer.init_args.lr"


@dataclass(frozen=True)
class Run:
    """One fit and test.

    Attributes:
        row: the row's name.
        trial: which tuning trial, from 0.
        seed: of the run.
        learning_rate: None where nothing is trained: such a run is a test alone.
        config: the row's files and the suite's options in one flat mapping, dotted names.
        identity: a hash of `config` and of the manifest's content; the seed is not in it.
        words: the command line after `fit` or `test`.
    """

    row: str
    trial: int
    seed: int
    learning_rate: float | None
    config: Mapping[str, Any] = field(hash=False, compare=False)
    identity: str
    words: tuple[str, ...]

    @property
    def experiment(self) -> str:
        """The name of the folder of this row's runs with this configuration."""
        return f"{self.row}-{self.identity}"

    @property
    def name(self) -> str:
        """The name of this run's record and log."""
        return f"{self.experiment}-{self.seed}"

    def __str__(self) -> str:
        return f"{self.row}, seed {self.seed}" + (
            f", learning rate {self.learning_rate:g}" if self.learning_rate is not None else ""
        )


def plan(
    suite: Suite, row: SuiteRow, manifest: Path, root: Path | None, manifest_hash: str, folder: Path
) -> list[list[Run]]:
    """Return a row's possible runs, by trial and seed; only one trial continues beyond seed 0.

    Args:
        suite: The suite, with the budget and the options of all rows.
        row: One of its rows.
        manifest: The cohort's manifest.
        root: The folder that its volumes are relative to, if not its own.
        manifest_hash: The hash of its content.
        folder: Where runs are written.

    Raises:
        UserError: A file is no YAML, or names no learning rate to tune.
    """
    merged = flat(_merged(row))
    base_rate = merged.get(RATE)
    if row.train and not isinstance(base_rate, int | float):
        raise UserError(
            f"{suite.path}, row {row.name}: its files set no number {RATE}, so there is no learning rate to try."
        )
    trials = []
    for trial, factor in enumerate(suite.factors_of(row)):
        rate = float(f"{base_rate * factor:.6g}") if row.train and base_rate is not None else None
        options = {**suite.options, **({"trainer.max_epochs": suite.budget.epochs, RATE: rate} if row.train else {})}
        config = {**merged, **options}
        identity = _identity(config, manifest_hash)
        places = {
            "data.manifest": str(manifest),
            **({"data.root": str(root)} if root else {}),
            "experiment": f"{row.name}-{identity}",
            "runs": str(folder),
        }
        given = tuple(word for file in row.files for word in ("--config", str(file)))
        set_to = tuple(f"--{key}={_as_word(value)}" for key, value in {**options, **places}.items())
        trials.append(
            [
                Run(row.name, trial, seed, rate, config, identity, (*given, *set_to, f"--seed_everything={seed}"))
                for seed in range(suite.seeds_of(row))
            ]
        )
    return trials


def flat(nested: Any, name: str = "") -> dict[str, Any]:
    """Return a nested mapping with dotted names."""
    if not isinstance(nested, Mapping) or not nested:
        return {name: nested}
    return {
        key: value
        for part, content in nested.items()
        for key, value in flat(content, f"{name}.{part}" if name else str(part)).items()
    }


def _merged(row: SuiteRow) -> dict[str, Any]:
    merged: dict[str, Any] = {}
    for path in row.files:
        merged = _over(merged, read_yaml(path) or {})
    return merged


def _over(below: Any, above: Any) -> Any:
    if not isinstance(below, dict) or not isinstance(above, dict):
        return above
    if above.get("class_path", below.get("class_path")) != below.get("class_path"):
        return above  # another class does not take the arguments of the previous one
    return {**below, **{key: _over(below.get(key), value) for key, value in above.items()}}


def _identity(config: Mapping[str, Any], manifest_hash: str) -> str:
    text = json.dumps([dict(config), manifest_hash], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _as_word(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
