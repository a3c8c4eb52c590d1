"""Whether `fit` may go on with a run: what the run is may not change, and what may change takes effect."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from bimcvr.data.loading.datamodule import CTReportDataModule
from bimcvr.data.manifest import Manifest
from bimcvr.errors import UserError
from bimcvr.models.checkpoint import read_checkpoint
from bimcvr.parsing.config_errors import read_config
from bimcvr.training.checkpoints import Progress

# what a run is; of all other settings the new value holds from the resume on
_IDENTITY = (
    "seed_everything",
    "experiment",
    "checkpoint",
    "model",
    "data.size",
    "data.spacing",
    "data.centre",
    "data.window",
    "data.nifti_form",
    "trainer.limit_val_batches",  # a score on a part of `val` is no match for one on another part
)
_MAY_CHANGE = frozenset(
    f"model.{name}"
    for name in (
        "warmup",
        "keywords",
        "prompts",
        "denials",
        "probes",
        "pointing",
        "eval_autocast",
        "chunk_size",
        "slice_hits",
    )
) | frozenset(f"model.optimizer.init_args.{name}" for name in ("lr", "weight_decay", "betas", "eps"))
_NEUTRAL = ("checkpointing", "cache_size")  # arguments of parts that change no result
# what may end a training; EarlyStopping is one of the callbacks
_LIMITS = tuple(
    f"trainer.{name}" for name in ("max_epochs", "max_steps", "max_time", "min_epochs", "min_steps", "callbacks")
)
# columns that say how a row is used
_USE = ("split", "status", "flags")


def refuse_other_folder(run: Path, runs: str | None = None, experiment: str | None = None) -> None:
    """Refuse to go on with a run in a place that the command line does not name.

    Args:
        run: the folder of the checkpoint's run.
        runs: the folder of all runs, as far as it was given.
        experiment: the experiment's name, as far as it was given.

    Raises:
        UserError: the run is not there.
    """
    parent = run.resolve().parent
    for option, given, same in (
        ("--runs", runs, runs is None or Path(runs).resolve() == parent.parent),
        ("--experiment", experiment, experiment in (None, parent.name)),
    ):
        if not same:
            raise UserError(
                f"The checkpoint is one of the run {run}, and {option} is {given}. Leave {option} out to go on with"
                " that run, or start a new one with its weights: --init_from in place of --checkpoint."
            )


def refuse_other_settings(run: Path, config: Mapping[str, Any]) -> None:
    """Refuse to go on with a run under settings that make another run of it.

    Args:
        run: its folder.
        config: the settings of the resume, nested.

    Raises:
        UserError: such a setting differs from the run's `config.yaml`.
    """
    before, now = _flat(read_config(run / "config.yaml")), _flat(config)
    # runs of before there were spacings have none
    compared = before.keys() & now.keys() | _class_paths(before, now) | ({"data.spacing"} & now.keys())
    for name in sorted(compared):
        if _is_identity(name) and before.get(name) != now.get(name):
            raise UserError(
                f"This run was trained with {name} {_shown(before.get(name))}, not {_shown(now.get(name))}: a resume"
                f" goes on with the same model ({run}). Leave the option out; or start a new run with these weights:"
                f" --init_from {run / 'checkpoints/last.ckpt'} instead of --checkpoint."
            )


def recorded_start(run: Path, given: str | None) -> str | None:
    """Return the checkpoint whose weights a run began with, which a resume records again.

    Args:
        run: its folder.
        given: the `--init_from` of the resume.

    Raises:
        UserError: another one is given, which would have no effect.
    """
    before: str | None = read_config(run / "config.yaml").get("init_from")
    if given not in (None, before):
        raise UserError(
            f"The run {run} began with {f'the weights of {before}' if before else 'weights of its own'}, and a resume"
            f" does not take those of {given}. Leave --init_from out, or leave --checkpoint out to start a new run."
        )
    return before


def refuse_other_rows(run: Path, manifest: Manifest, split: list[str]) -> None:
    """Refuse to go on with a run on another manifest or another split.

    Args:
        run: its folder, whose `manifest.csv` is what it was trained on.
        manifest: the manifest of the resume.
        split: the split of each of its rows.

    Raises:
        UserError: rows, reports or splits differ. Rows that either side has set aside are not compared.
    """
    trained = run / "manifest.csv"
    try:
        before = pd.read_csv(trained, dtype=str, keep_default_na=False).set_index("study_id")
    except (ValueError, KeyError) as error:  # no table, no UTF-8, no such column
        raise UserError(
            f"{trained}, which says what this run was trained on, is damaged ({error}). Restore it; or start a new run"
            f" with these weights: --init_from {run / 'checkpoints/last.ckpt'} instead of --checkpoint."
        ) from error
    now = manifest.with_column("split", split).table.set_index("study_id")
    remedy = (
        f"Go on with --data.manifest {trained}, or start a new run with these weights: --init_from"
        f" {run / 'checkpoints/last.ckpt'} instead of --checkpoint."
    )
    if list(before.index) != list(now.index):
        other = before.index.symmetric_difference(now.index, sort=False)
        what = (
            f"{len(other)} rows are in one of the two only ({_some(list(other))})"
            if len(other)
            else "the order differs"
        )
        raise UserError(f"This run was trained on another manifest than {manifest.path}: {what}. {remedy}")
    used = (before["split"] != "") & (now["split"] != "")
    moved = before.index[used & (before["split"] != now["split"])]
    if len(moved):
        leaked = before.index[used & (before["split"] == "train") & (now["split"] != "train")]
        raise UserError(
            f"This run was trained on another split of {manifest.path}: {len(moved)} rows have changed theirs, and"
            f" {len(leaked)} rows that would be evaluated were trained on ({_some(list(leaked))}). {remedy}"
        )
    for column in [name for name in before.columns if name in now and name not in _USE]:
        odd = before.index[before[column] != now[column]]
        if len(odd):
            raise UserError(
                f"This run was trained on another content of {manifest.path}: the column '{column}' of {len(odd)} rows"
                f" differs ({_some(list(odd))}). {remedy}"
            )


def refuse_other_labels(checkpoint: Path, manifest: Manifest) -> None:
    """Refuse to go on with other labels than a run was trained with, made by other rules or written since.

    Args:
        checkpoint: that of the resume.
        manifest: the manifest of the resume, with its labels.

    Raises:
        UserError: the labels of some rows differ.
    """
    trained = read_checkpoint(checkpoint).get(CTReportDataModule.__qualname__, {}).get("labels")
    if trained and trained["digest"] != manifest.labels_digest:
        raise UserError(
            f"This run was trained with other labels ({trained['from']}) than {manifest.path} has now"
            f" ({manifest.labels_from}). Go on with those; or start a new run with these weights: --init_from"
            f" {checkpoint} instead of --checkpoint."
        )


def nothing_left(run: Path, progress: Progress, config: Mapping[str, Any]) -> bool:
    """Return whether a run is complete under the settings of its resume.

    Args:
        run: its folder.
        progress: that of its checkpoint.
        config: the settings of the resume, nested.

    Raises:
        UserError: it has more epochs than the settings ask for, or ended in the middle of an epoch and would go on.
    """
    before, now = _flat(read_config(run / "config.yaml")), _flat(config)
    max_epochs, max_steps = now["trainer.max_epochs"], now["trainer.max_steps"]
    if max_epochs is None:
        max_epochs = 1000 if max_steps == -1 else -1  # as Lightning does
    if -1 < max_epochs < progress.epochs:
        raise UserError(
            f"The run {run} has {progress.epochs} epochs already, more than trainer.max_epochs {max_epochs}: there is"
            " nothing to train."
        )
    if (progress.epochs == max_epochs and progress.resumable) or -1 < max_steps <= progress.steps:
        return True
    if progress.stopped and all(before.get(name) == now.get(name) for name in _LIMITS):
        return True
    if not progress.resumable:
        raise UserError(
            f"The run {run} cannot go on from this checkpoint: it was written in the middle of an epoch (as best.ckpt"
            " is, and last.ckpt of a run that trainer.max_steps or max_time has ended). Go on with --checkpoint last,"
            " or start a new run with these weights: --init_from in place of --checkpoint."
        )
    return False


def _is_identity(name: str) -> bool:
    if name in _MAY_CHANGE or name.split(".")[-1] in _NEUTRAL:
        return False
    return any(name == group or name.startswith(f"{group}.") for group in _IDENTITY)


def _class_paths(before: Mapping[str, Any], now: Mapping[str, Any]) -> set[str]:
    """Return the names of parts that only one of two configurations has."""
    return {name for name in before.keys() ^ now.keys() if name.endswith(".class_path")}


def _flat(nested: Any, name: str = "") -> dict[str, Any]:
    return dict(_leaves(nested, name))


def _leaves(nested: Any, name: str) -> Iterator[tuple[str, Any]]:
    if isinstance(nested, Mapping) and nested:
        for key, value in nested.items():
            yield from _leaves(value, f"{name}.{key}" if name else str(key))
    else:
        yield name, nested


def _shown(value: Any) -> str:
    return str(value)[:80]


def _some(names: list[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
