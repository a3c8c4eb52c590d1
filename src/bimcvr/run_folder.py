"""The folder of a run, which holds its config, checkpoints, logs, embeddings and result."""

import os
import shutil
import time
from pathlib import Path

from bimcvr.errors import UserError

_FOLDER = "BIMCVR_RUN_FOLDER"
# which process this is, as torchrun, srun and Lightning tell it
_RANKS = ("RANK", "SLURM_PROCID", "LOCAL_RANK", "NODE_RANK")


def choose_run(verb: str, ckpt_path: str | None, runs: Path, experiment: str, seed: int) -> tuple[Path, str | None]:
    """Decide in which folder a verb works, and with which checkpoint.

    A new `fit` gets `runs/<experiment>/<time>-<seed>`. `last` and `best` mean the newest run of the experiment and
    seed; `fit` with `last` starts anew where there is none, so that one command starts and resumes. A checkpoint given
    by path belongs to the run folder that holds it; where an evaluation cannot write there, its results go into a new
    folder. A verb without a checkpoint gets a new folder: only when the model
    is built it is known whether it needs one or is zero-shot.

    Args:
        verb: fit, validate, test or predict.
        ckpt_path: a path, `last`, `best` or None.
        runs: the folder of all runs.
        experiment: the experiment's name.
        seed: the run's seed.

    Raises:
        UserError: there is no such checkpoint.
    """
    inherited = os.environ.get(_FOLDER)
    if inherited and os.environ.get("LOCAL_RANK", "0") != "0":
        folder, inherited_checkpoint = inherited.split("|", 1)  # a process that the first one launched
        return Path(folder), inherited_checkpoint or None
    chosen, checkpoint = _choose(verb, ckpt_path, runs / experiment, seed)
    os.environ[_FOLDER] = f"{chosen}|{checkpoint or ''}"
    return chosen, checkpoint


def is_first_process() -> bool:
    """Return whether this is the one process that makes the run folder and writes into it."""
    return not any(int(os.environ.get(name) or 0) for name in _RANKS)


def run_in_use() -> Path:
    """Return the run folder that was chosen last; the working folder where none was."""
    return Path(os.environ.get(_FOLDER, "|").split("|", 1)[0])


def remove_empty_run() -> None:
    """Remove the run folder that was chosen last, if there is no file in it: its verb failed before it began."""
    folder = run_in_use()
    if is_first_process() and folder.name and folder.is_dir() and not any(path.is_file() for path in folder.rglob("*")):
        shutil.rmtree(folder)


def refuse_without_checkpoint(verb: str, ckpt_path: str | None, zero_shot: bool) -> None:
    """Refuse to evaluate weights that were never trained, and to train a model that has none to train.

    Args:
        verb: fit, validate, test or predict.
        ckpt_path: the checkpoint that was chosen.
        zero_shot: whether the model has nothing to train.

    Raises:
        UserError: the checkpoint is missing, or a zero-shot model would be trained.
    """
    if verb == "fit" and zero_shot:
        raise UserError(
            "this model has nothing to train: it is zero-shot. Call `test` with the same options and no checkpoint."
        )
    if verb != "fit" and not zero_shot and not ckpt_path:
        raise UserError(needs_checkpoint(verb))


def needs_checkpoint(verb: str) -> str:
    """Return the message for a verb that was given no checkpoint."""
    return (
        f"{verb} needs a checkpoint: --checkpoint runs/…/checkpoints/best.ckpt, or --experiment NAME --checkpoint best"
        " for the newest run of an experiment."
    )


def config_beside(ckpt_path: str) -> Path | None:
    """Return the config of the run that a checkpoint file belongs to, if it lies in a run folder."""
    config = Path(ckpt_path).parent.parent / "config.yaml"
    return config if Path(ckpt_path).is_file() and config.is_file() else None


def newest_checkpoint(name: str, experiment: Path, seed: int | str) -> Path:
    """Return `last.ckpt` or `best.ckpt` of the newest run of an experiment and seed that has one.

    Raises:
        UserError: there is none.
    """
    checkpoints = sorted(experiment.glob(f"*-{seed}/checkpoints/{name}.ckpt"), key=lambda path: path.parent.parent.name)
    if not checkpoints:
        raise UserError(
            f"There is no run of seed {seed} with checkpoints/{name}.ckpt in {experiment}. Train one with fit, or "
            "give the file as --checkpoint."
        )
    return checkpoints[-1]


def _choose(verb: str, ckpt_path: str | None, experiment: Path, seed: int) -> tuple[Path, str | None]:
    if ckpt_path in ("last", "best"):
        if verb == "fit" and ckpt_path == "last" and not any(experiment.glob(f"*-{seed}/checkpoints/last.ckpt")):
            return _new(experiment, seed), None
        checkpoint = newest_checkpoint(ckpt_path, experiment, seed)
        return checkpoint.parent.parent, str(checkpoint)
    if ckpt_path:
        if not Path(ckpt_path).is_file():
            raise UserError(
                f"There is no checkpoint at {ckpt_path}. Give a file, or `best` or `last` for the newest run."
            )
        folder = Path(ckpt_path).parent.parent
        # the run of a colleague, or on a read-only disk: the results of an evaluation go into a new one
        usable = (folder / "config.yaml").is_file() and (verb == "fit" or os.access(folder, os.W_OK))
        return (folder if usable else _new(experiment, seed)), ckpt_path
    return _new(experiment, seed), None


def _new(experiment: Path, seed: int) -> Path:
    stamp = time.strftime("%Y%m%d-%H%M%S")
    if not is_first_process():
        return (
            experiment / f"{stamp}-{seed}"
        )  # started by srun or torchrun beside the first, which makes the folder that is used
    for attempt in range(100):
        folder = experiment / f"{stamp}{f'.{attempt}' if attempt else ''}-{seed}"
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            continue
        return folder
    raise UserError(f"No new run folder can be made in {experiment}: 100 runs began in this second.")
