"""The process of `make gpu` that runs parts one after the other, and writes each down before and after."""

import gc
import os
import sys
import time
import traceback
from pathlib import Path
from typing import Any

import gpu_correct
import gpu_speed
import torch
from gpu import Ledger
from gpu_setup import Setup

from bimcvr.processes.lifeline import end_with
from bimcvr.provenance import git_commit, versions

START_AGAIN = 4


def run_parts(out: Path, scratch: Path, toy: bool, only: str, until: float) -> int:
    """Run the parts that are not done yet.

    Args:
        out: folder of gpu.json.
        scratch: folder of the cohort.
        toy: tiny shapes on the CPU.
        only: parts whose names contain this.
        until: the time (`time.time()`) after which none begins.

    Returns:
        0, or START_AGAIN where the device can no longer be used by this process.
    """
    end_with(os.getppid())
    setup = Setup(scratch, toy)
    if not toy and setup.device.type != "cuda":
        print("There is no GPU here. `--toy true` tries everything at toy size on the CPU.", file=sys.stderr)
        return 1
    parts = {"machine": _machine, **gpu_correct.PARTS, **gpu_speed.parts_of(gpu_correct.ENCODERS)}
    state = Ledger(out / "gpu.json", {"toy": toy, "commit": git_commit()})
    state.content["names"] = [name for name in parts if only in name]
    for name in state.content["names"]:
        if name in state.content["parts"]:
            continue
        if time.time() > until:
            return 0
        began = time.time()
        state.record(name, state="running")
        try:
            facts = parts[name](setup)
        except Exception as error:
            traceback.print_exc()
            reason = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
            state.record(name, state="failed", reason=reason, seconds=round(time.time() - began, 1))
            if "CUDA error" in str(error):  # every later call would fail too
                return START_AGAIN
        else:
            state.record(name, state="done", facts=facts, seconds=round(time.time() - began, 1))
        print(f"{time.time() - began:6.1f} s  {name}", file=sys.stderr)
        gc.collect()
        torch.compiler.reset()
        if setup.device.type == "cuda":
            torch.cuda.empty_cache()
    return 0


def _machine(setup: Setup) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "device": str(setup.device),
        "cores": len(os.sched_getaffinity(0)),
        "grid": list(setup.size),
        "versions": versions(),
    }
    if setup.device.type == "cuda":
        about = torch.cuda.get_device_properties(setup.device)
        facts |= {"device": about.name, "memory_gib": about.total_memory / 2**30, "cuda": torch.version.cuda}
    return facts
