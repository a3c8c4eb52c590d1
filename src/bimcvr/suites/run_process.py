"""The process of one run: fit, test, and a record of how it ended, written last."""

import importlib.util
import json
import os
import re
import subprocess
import sys
import time
import traceback
from multiprocessing import parent_process
from pathlib import Path
from typing import Any

from bimcvr.atomic_files import write_json
from bimcvr.errors import UserError, WeightsAbsent, system_problem
from bimcvr.extras import MissingExtra
from bimcvr.processes.lifeline import children_end_with_this_process, end_with
from bimcvr.run_folder import newest_run

DONE, FAILED, NOT_RUN = "done", "failed", "not run"
"""How a run ends; one whose weights or packages are not on this machine has not run, which is no failure."""
PRELOAD = (
    "bimcvr.training.lightning_cli",
    "bimcvr.suites.run_process",
    "bimcvr.phantom.oracle",
    "torchio",
    "monai.networks.nets",
    "open_clip",
    "transformers.models.auto.modeling_auto",
)
"""Modules that the fork server imports once for all runs.

Importing them starts no threads: those of OpenMP would not survive the fork.
"""

ONE_DEVICE = ("--trainer.devices=1", "--trainer.num_nodes=1", "--trainer.strategy=auto")
"""For every test: metrics are computed on one device, however many trained."""


def run_one(
    words: tuple[str, ...], trained: bool, experiment: Path, seed: int, record: Path, log: Path, threads: int
) -> None:
    """Fit and test in this process, which then ends.

    Args:
        words: The command line after the verb.
        trained: False for a model without trainable parts: it is only tested.
        experiment: The folder of the runs of this configuration.
        seed: The run's seed.
        record: The file that says how the run ended.
        log: The file that receives the output.
        threads: The number of torch threads.
    """
    _end_with_benchmark()
    stream = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
    for number in (1, 2):
        os.dup2(stream, number)
    # for the processes that this one starts: data loaders and cache workers
    os.environ.update(OMP_NUM_THREADS=str(threads), LOKY_MAX_CPU_COUNT=str(threads))
    began = time.perf_counter()
    try:
        with children_end_with_this_process():
            outcome = (_fit_and_test if trained else _test_alone)(words, experiment, seed, threads)
    except WeightsAbsent as error:
        outcome = {"status": f"{NOT_RUN}: weights absent ({_model_of(str(error))})", "reason": str(error)}
    except MissingExtra as error:
        outcome = {"status": f"{NOT_RUN}: extra absent ({error.extra})", "reason": f"it {error}"}
    except UserError as error:
        outcome = {"status": FAILED, "reason": str(error)}
    except OSError as error:
        outcome = {"status": FAILED, "reason": system_problem(error)}
    except (Exception, SystemExit) as error:
        traceback.print_exc()
        outcome = {"status": FAILED, "reason": f"{type(error).__name__}: {str(error)[:300]} (see {log})"}
    from bimcvr.provenance import peak_memory_mb

    used = {"seconds": round(time.perf_counter() - began, 2), "cpu_seconds": round(time.process_time(), 2)}
    write_json(record, {**outcome, **used, "peak_memory_mb": peak_memory_mb(), **_gpu_memory()})
    _end_cache_workers()


def _fit_and_test(words: tuple[str, ...], experiment: Path, seed: int, threads: int) -> dict[str, Any]:
    import torch

    from bimcvr.training.lightning_cli import train

    torch.set_num_threads(threads)
    before = newest_run(experiment, seed, "checkpoints/last.ckpt")
    earlier = _earlier_seconds(before) if before else 0.0
    _call(train, "fit", words, "last")
    fitted = time.time()
    run = newest_run(experiment, seed, "checkpoints/best.ckpt")
    if run is None:
        raise UserError("fit left no checkpoint: without a score on val there is none to test.")
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        _test_elsewhere(words, run / "checkpoints/best.ckpt")
    else:
        _call(train, "test", words, str(run / "checkpoints/best.ckpt"))
    # a fit writes its config when the cache is filled and training begins
    return {
        "status": DONE,
        "folder": run.name,
        "seconds_fit": round(earlier + fitted - (run / "config.yaml").stat().st_mtime, 2),
        "seconds_test": round(time.time() - fitted, 2),
        "resumed": before is not None,
        "val_score": _val_score(run / "checkpoints/best.ckpt"),
        "gate_entropy": _gate_entropy(run),
        "pairs_seen": _pairs_seen(run),
    }


def _test_elsewhere(words: tuple[str, ...], checkpoint: Path) -> None:
    """Test on one device in a new process, independent of the fit's distributed processes, which have ended."""
    launched = ("LOCAL_RANK", "NODE_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT", "BIMCVR_RUN_FOLDER")
    environment = {name: value for name, value in os.environ.items() if name not in launched}
    command = [sys.executable, "-m", "bimcvr", "test", *words, *ONE_DEVICE, "--checkpoint", str(checkpoint)]
    if subprocess.run(command, env=environment, check=False).returncode:
        raise UserError("test on one device failed; the log says why.")


def _test_alone(words: tuple[str, ...], experiment: Path, seed: int, threads: int) -> dict[str, Any]:
    import torch

    from bimcvr.training.lightning_cli import train

    torch.set_num_threads(threads)
    began = time.time()
    _call(train, "test", (*words, *ONE_DEVICE), None)
    run = newest_run(experiment, seed, "result.json")
    if run is None:
        raise UserError("test left no result.")
    return {
        "status": DONE,
        "folder": run.name,
        "seconds_fit": 0.0,
        "seconds_test": round(time.time() - began, 2),
        "resumed": False,
        "val_score": None,
        "gate_entropy": None,
        "pairs_seen": 0,
    }


def _call(train: Any, verb: str, words: tuple[str, ...], checkpoint: str | None) -> None:
    arguments = [verb, *words, *(["--checkpoint", checkpoint] if checkpoint else [])]
    # by these Lightning starts further processes where a run has several devices, and errors name the file
    sys.argv = ["bimcvr", *arguments]
    sys.modules["__main__"].__spec__ = importlib.util.find_spec("bimcvr.__main__")
    train(arguments)


def _end_with_benchmark() -> None:
    """End this process when the benchmark ends, in whatever way: two processes must not work on one run."""
    benchmark = parent_process()
    if benchmark is not None and benchmark.pid is not None:
        end_with(benchmark.pid)


def _end_cache_workers() -> None:
    """End the cache workers: they idle for minutes, and this process would wait for them."""
    from joblib.externals.loky import get_reusable_executor

    get_reusable_executor().shutdown(wait=True, kill_workers=True)


def _earlier_seconds(run: Path) -> float:
    """Return how long earlier processes, which were killed, trained up to the checkpoint that this one resumes.

    `config.yaml` is written when a fit begins, `last.ckpt` at each epoch's end. The time of each process is stored
    under the time it began, so that nothing counts twice.
    """
    config, last, kept = run / "config.yaml", run / "checkpoints/last.ckpt", run / "earlier_seconds.json"
    spent: dict[str, float] = json.loads(kept.read_text(encoding="utf-8")) if kept.is_file() else {}
    if config.is_file():
        spent[str(config.stat().st_mtime_ns)] = round(max(0.0, last.stat().st_mtime - config.stat().st_mtime), 2)
    write_json(kept, spent)
    return sum(spent.values())


def _val_score(checkpoint: Path) -> float | None:
    import torch

    kept = torch.load(checkpoint, map_location="cpu", weights_only=True)["run"]
    return kept["score"] if kept["monitor"] == "val/score" else None


def _pairs_seen(run: Path) -> int:
    """Return how many pairs the optimiser's steps saw, over all processes."""
    import torch
    import yaml

    config = yaml.safe_load((run / "config.yaml").read_text(encoding="utf-8"))
    steps = torch.load(run / "checkpoints/last.ckpt", map_location="cpu", weights_only=True)["global_step"]
    world = torch.distributed.get_world_size() if torch.distributed.is_initialized() else 1
    return int(steps) * int(config["data"]["batch_size"]) * int(config["trainer"]["accumulate_grad_batches"]) * world


def _gate_entropy(run: Path) -> float | None:
    """Return the mean of the entropy / ln D that training logged, None where the fusion has none."""
    import pandas as pd

    logged = [pd.read_csv(path) for path in sorted(run.glob("logs/version_*/metrics.csv")) if path.stat().st_size]
    values = [table["train/gate_entropy"].dropna() for table in logged if "train/gate_entropy" in table]
    joined = pd.concat(values) if values else pd.Series(dtype=float)
    return float(joined.mean()) if len(joined) else None


def _gpu_memory() -> dict[str, float]:
    import torch

    if not torch.cuda.is_available():
        return {}
    return {"peak_gpu_memory_mb": round(torch.cuda.max_memory_allocated() / 1024**2, 1)}


def _model_of(message: str) -> str:
    named = re.search(r"'([^']+)'", message)
    return named.group(1) if named else message.split(".")[0]
