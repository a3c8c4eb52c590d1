"""The verb `sweep`: a hyper-parameter search in W&B's file format, on W&B or on this machine alone."""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from bimcvr.commands.stdout import say, width
from bimcvr.errors import UserError

if TYPE_CHECKING:
    from bimcvr.sweeps.config import Sweep


def sweep(
    sweep_file: Path, local: bool = False, trials: int | None = None, out: Path | None = None, seed: int = 0
) -> int:
    """Search hyper-parameters as a file in W&B's sweep format says.

    On W&B the sweep is created and this process becomes an agent of it; more agents, `wandb agent ID`, may join from
    other machines. With `--local` the same file runs on this machine one trial after the other, without a server or a
    login; killed and started again, it resumes.

    Args:
        sweep_file: the YAML file in W&B's sweep format, such as experiments/sweeps/phantom_bayes.yaml.
        local: run on this machine instead of on W&B.
        trials: how many tuning trials: in all with --local, by this agent otherwise. By default the file's run_cap, or
            the whole grid.
        out: where the result is written: with --local, a folder for study, trials and table, runs/sweeps/NAME by
            default.
        seed: the seed of random numbers: with --local, of the proposals.
    """
    from bimcvr.sweeps.config import read_sweep

    if trials is not None and trials < 1:
        raise UserError(f"--trials is {trials}: at least one.")
    wanted = read_sweep(sweep_file)
    if local:
        from bimcvr.extras import require_extra

        require_extra("sweep", "--local")
        return _run_here(wanted, out or Path("runs/sweeps") / sweep_file.stem, trials, seed)
    _on_server(wanted.content, trials)
    return 0


def _run_here(wanted: "Sweep", folder: Path, trials: int | None, seed: int) -> int:
    """Run a sweep on this machine and print its trials; return 3 if one failed, 1 if all did."""
    from bimcvr.evaluation.columns import columns
    from bimcvr.sweeps.local import run_locally
    from bimcvr.sweeps.report import failures, trials_rows

    result = run_locally(wanted, folder, trials, seed)
    say(f"{wanted.name} ({wanted.method}, {wanted.goal} {wanted.metric})\n")
    say("\n".join([*columns(trials_rows(wanted, result.trials), width()), *failures(result.trials)]))
    say(f"\nall trials: {folder / 'trials.csv'}")
    if (picture := folder / "importance.png").is_file():
        say(f"which parameter matters: {picture}")
    if result.best is not None:
        about = result.best.user_attrs
        say(f"best: trial {about['place']}, {wanted.metric} {result.best.value:.4g}\n{about['command']}")
    if result.best is None:
        return 1
    return 3 if result.failed else 0


def _on_server(content: dict[str, object], trials: int | None) -> None:
    import wandb
    from wandb.errors import Error

    mode = os.environ.get("WANDB_MODE", "online")
    if mode != "online":
        raise UserError(
            f"WANDB_MODE is {mode}, and a sweep on W&B needs its server. Unset it, or add --local to run the same file"
            " here."
        )
    # the agent calls plain `python`: make that this interpreter
    os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    project = str(content.get("project", "bimcvr"))
    try:
        name = wandb.sweep(content, project=project)
        wandb.agent(name, project=project, count=trials)
    except Error as error:
        reason = " ".join(str(error).split())[:300]
        raise UserError(
            f"W&B did not accept the sweep ({reason}). Log in with `wandb login` or set WANDB_API_KEY, or add --local"
            " to run the same file on this machine without a server."
        ) from error
