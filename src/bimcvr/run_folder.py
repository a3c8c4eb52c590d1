"""The folder of a run, which holds its config, checkpoints, logs, embeddings and result."""

import os
import re
import shutil
import time
from pathlib import Path

import yaml

from bimcvr.errors import UserError, system_problem

_FOLDER = "BIMCVR_RUN_FOLDER"
# the second part is the run's number in its experiment; folders of before have local time and no number
_NAME = re.compile(r"(\d{8}-\d{6})Z-(\d+)-\d+")
# which process this is, as torchrun, srun and Lightning tell it
_RANKS = ("RANK", "SLURM_PROCID", "LOCAL_RANK", "NODE_RANK")


def choose_run(verb: str, ckpt_path: str | None, runs: Path, experiment: str, seed: int) -> tuple[Path, str | None]:
    """Decide in which folder a verb works, and with which checkpoint.

    A new `fit` gets `runs/<experiment>/<UTC time>-<number>-<seed>`. `last` and `best` mean the newest run of the
    experiment and seed, whose number is the highest: clocks and time zones decide nothing. `fit` with `last` starts
    anew where the newest run has none, so that one command starts and resumes. A checkpoint given by path belongs to
    the run folder that holds it, and `fit` goes on in no other; where an evaluation cannot write there, its results go
    into a new folder. A verb without a checkpoint gets a new folder: only
    when the model is built it is known whether it needs one or is zero-shot.

    Args:
        verb: fit, validate, test or predict.
        ckpt_path: a path, `last`, `best` or None.
        runs: the folder of all runs.
        experiment: the experiment's name.
        seed: the run's seed.

    Raises:
        UserError: there is no such checkpoint, `fit` would go on from one that lies in no run folder, or no folder
            can be made.
    """
    inherited = os.environ.get(_FOLDER)
    if inherited and os.environ.get("LOCAL_RANK", "0") != "0":
        folder, inherited_checkpoint = inherited.split("|", 1)  # a process that the first one launched
        return Path(folder), inherited_checkpoint or None
    chosen, checkpoint = _choose(verb, ckpt_path, runs / experiment, seed)
    os.environ[_FOLDER] = f"{chosen}|{checkpoint or ''}"
    return chosen, checkpoint


def refuse_experiment(name: str | None) -> None:
    """Refuse an experiment's name that is no folder in that of all runs.

    Args:
        name: the experiment's name.

    Raises:
        UserError: it is empty, leads elsewhere, or has a variable that nothing replaces.
    """
    path = Path(name or "")
    if not path.parts or path.is_absolute() or ".." in path.parts or not str(name).isprintable() or "${" in str(name):
        raise UserError(
            f"experiment is {name!r}: give the name of a folder in --runs, without `..`, and without variables, which"
            " are not replaced in a file."
        )


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


def leave_run() -> None:
    """Forget the run folder, so that nothing that this process starts later takes it for its own."""
    os.environ.pop(_FOLDER, None)


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


def data_of_run(manifest: Path) -> tuple[Path | None, Path | None]:
    """Return the folder of the volumes and that of their cache which a run had, of the manifest.csv in its folder.

    Args:
        manifest: a manifest's file.

    Returns:
        Folders that exist; None for one that does not, and for the manifest of no run.
    """
    record = manifest.parent / "config.yaml"
    if manifest.name != "manifest.csv" or not record.is_file():
        return None, None
    content = yaml.safe_load(record.read_text(encoding="utf-8"))
    data = content.get("data") if isinstance(content, dict) else None
    if not isinstance(data, dict) or not data.get("manifest"):
        return None, None
    beside = Path(data["manifest"]).parent
    root, cache = Path(data.get("root") or beside), Path(data.get("cache") or beside / "cache")
    return (root if root.is_dir() else None), (cache if cache.is_dir() else None)


def newest_checkpoint(name: str, experiment: Path, seed: int | str) -> Path:
    """Return `last.ckpt` or `best.ckpt` of the newest run of an experiment and seed that has one.

    Raises:
        UserError: there is none.
    """
    run = newest_run(experiment, seed, f"checkpoints/{name}.ckpt")
    if run is None:
        raise UserError(
            f"There is no run of seed {seed} with checkpoints/{name}.ckpt in {experiment}. Train one with fit, or "
            "give the file as --checkpoint."
        )
    return run / f"checkpoints/{name}.ckpt"


def newest_run(experiment: Path, seed: int | str, holding: str) -> Path | None:
    """Return the newest run folder of an experiment and seed that holds a file, None where there is none."""
    found = [folder for folder in experiment.glob(f"*-{seed}") if (folder / holding).is_file()]
    return max(found, key=_order, default=None)


def _choose(verb: str, ckpt_path: str | None, experiment: Path, seed: int) -> tuple[Path, str | None]:
    if verb == "fit" and ckpt_path == "last":
        begun = newest_run(experiment, seed, "config.yaml")
        if begun is None or not (begun / "checkpoints/last.ckpt").is_file():
            return _new(experiment, seed), None
        return begun, str(begun / "checkpoints/last.ckpt")
    if ckpt_path in ("last", "best"):
        checkpoint = newest_checkpoint(ckpt_path, experiment, seed)
        return checkpoint.parent.parent, str(checkpoint)
    if ckpt_path:
        if not Path(ckpt_path).is_file():
            raise UserError(
                f"There is no checkpoint at {ckpt_path}. Give a file, or `best` or `last` for the newest run."
            )
        folder = Path(ckpt_path).parent.parent
        belongs = (folder / "config.yaml").is_file()
        if verb == "fit" and not belongs:
            raise UserError(
                f"{ckpt_path} lies in no run folder, so there is no run that `fit` could go on with. --init_from"
                f" {ckpt_path} starts a new run with its weights."
            )
        # the run of a colleague, or on a read-only disk: the results of an evaluation go into a new one
        usable = belongs and (verb == "fit" or os.access(folder, os.W_OK))
        return (folder if usable else _new(experiment, seed)), ckpt_path
    return _new(experiment, seed), None


def _new(experiment: Path, seed: int) -> Path:
    number = 1 + max((_order(folder)[0] for folder in experiment.glob("*")), default=0)
    folder = experiment / f"{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}Z-{number:04d}-{seed}"
    if not is_first_process():
        return folder  # started by srun or torchrun beside the first, which makes the folder that is used
    try:
        folder.mkdir(parents=True)
    except FileExistsError:  # another process began a run at this moment
        return _new(experiment, seed)
    except OSError as error:
        raise UserError(f"{system_problem(error)} The options --runs and --experiment name another folder.") from error
    return folder


def _order(folder: Path) -> tuple[int, str]:
    """Return what sorts run folders by age: the number that each new run takes, then the name."""
    name = _NAME.fullmatch(folder.name)
    return int(name.group(2)) if name else 0, folder.name
