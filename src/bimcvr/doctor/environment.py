"""Python, packages, processor, memory, disk and GPU."""

import importlib
import importlib.metadata
import os
import platform
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from bimcvr.doctor.check_result import CheckResult
from bimcvr.extras import EXTRAS, is_installed

_GB = 1e9
_LOW_MEMORY, _LOW_DISK, _NO_DISK = 8 * _GB, 20 * _GB, 1 * _GB
_CGROUP = Path("/sys/fs/cgroup/memory.max")
_AGAIN = "`make install` makes an environment with the tested versions."


def check_environment(folder: Path) -> Iterator[CheckResult]:
    """Look at the machine and its Python.

    Args:
        folder: on whose disk runs will lie.
    """
    yield from check_packages("bimcvr")
    yield from check_extras()
    yield from _check_torch()
    yield _check_processor()
    yield _check_memory()
    yield _check_disk(folder)


def check_packages(distribution: str) -> Iterator[CheckResult]:
    """Compare what is installed with the ranges that a distribution asks for, those of installed extras included."""
    from packaging.requirements import Requirement
    from packaging.specifiers import SpecifierSet

    try:
        about = importlib.metadata.metadata(distribution)
    except importlib.metadata.PackageNotFoundError:
        yield CheckResult(
            "warning",
            "packages",
            f"{distribution} runs from a folder and is not installed, so its ranges are not known",
            "`pip install --editable .` in the checkout.",
        )
        return
    wanted = about["Requires-Python"] or ""
    fits = platform.python_version() in SpecifierSet(wanted)
    yield CheckResult(
        "ok" if fits else "failing",
        "python",
        f"{platform.python_version()} (wanted {wanted or 'any'})",
        "" if fits else "Install a newer Python and make the environment anew: `make PYTHON=python3.11 install`.",
    )
    needed = [Requirement(text) for text in importlib.metadata.requires(distribution) or []]
    extras = ["", *filter(is_installed, EXTRAS)]
    needed = [
        one for one in needed if one.marker is None or any(one.marker.evaluate({"extra": extra}) for extra in extras)
    ]
    right = 0
    for one in needed:
        try:
            version = importlib.metadata.version(one.name)
        except importlib.metadata.PackageNotFoundError:
            yield CheckResult(
                "failing",
                one.name,
                f"absent (wanted {one.specifier or 'any version'})",
                f"`pip install '{one}'`. {_AGAIN}",
            )
            continue
        if one.specifier.contains(version, prereleases=True):
            right += 1
        else:
            yield CheckResult(
                "failing", one.name, f"{version}, outside {one.specifier}", f"`pip install '{one}'`. {_AGAIN}"
            )
    yield CheckResult(
        "ok", "packages", f"{right} of {len(needed)} within the ranges of {distribution} {about['Version']}"
    )


def check_extras() -> Iterator[CheckResult]:
    """Say which extras of bimcvr are not installed: what needs one ends with a message."""
    for extra in EXTRAS:
        if not is_installed(extra):
            yield CheckResult(
                "warning", f"extra {extra}", "not installed", f"`pip install 'bimcvr[{extra}]'`, if you need it."
            )


def _check_torch() -> Iterator[CheckResult]:
    try:
        import torch
    except Exception as error:  # a broken build fails in its own ways
        yield CheckResult("failing", "torch", f"cannot be loaded ({type(error).__name__}: {error})", _AGAIN)
        return
    build = f"CUDA {torch.version.cuda}" if torch.version.cuda else "CPU only"
    yield CheckResult("ok", "torch", f"{torch.__version__}, {build}, {torch.get_num_threads()} threads")
    try:
        yield CheckResult("ok", "torchvision", str(importlib.import_module("torchvision").__version__))
    except Exception as error:  # from another index than torch: `operator torchvision::nms does not exist`
        yield CheckResult(
            "failing",
            "torchvision",
            f"does not fit torch {torch.__version__} ({type(error).__name__}: {error})",
            "Install torch and torchvision from the same index, in one command.",
        )
    if torch.cuda.is_available():
        for number in range(torch.cuda.device_count()):
            about = torch.cuda.get_device_properties(number)
            bf16 = "bf16" if torch.cuda.is_bf16_supported() else "no bf16: use trainer.precision 16-mixed"
            yield CheckResult("ok", f"GPU {number}", f"{about.name}, {about.total_memory / _GB:.0f} GB, {bf16}")
        if torch.cuda.device_count() > 1 and not torch.distributed.is_nccl_available():
            yield CheckResult(
                "failing",
                "NCCL",
                "absent from this torch",
                "Several GPUs need it: install PyTorch's CUDA build for Linux.",
            )
        return
    try:
        card = _card()
    except subprocess.TimeoutExpired as error:
        yield CheckResult(
            "failing",
            "GPU",
            f"nvidia-smi has not answered within {error.timeout:.0f} s: the driver hangs",
            "Restart the machine, or load its driver anew.",
        )
        return
    if card:
        yield CheckResult(
            "failing",
            "GPU",
            f"{card} is there, but torch ({build}) cannot use it",
            "Install a torch build for the driver's CUDA version (`nvidia-smi` shows it), or a newer driver.",
        )
    else:
        yield CheckResult("warning", "GPU", "none", "Phantoms train on a CPU in minutes; the paper's models need GPUs.")


def _card() -> str:
    """Return what the driver calls the first card, or nothing where there is no driver."""
    if shutil.which("nvidia-smi") is None:
        return ""
    question = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
    done = subprocess.run(question, capture_output=True, text=True, timeout=20, check=False)
    return done.stdout.strip().splitlines()[0] if done.returncode == 0 and done.stdout.strip() else ""


def _check_processor() -> CheckResult:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    info = Path("/proc/cpuinfo")
    flags = info.read_text(encoding="utf-8", errors="replace") if info.is_file() else ""
    hint = (
        "avx512_bf16: on this CPU trainer.precision bf16-mixed is the faster one"
        if "avx512_bf16" in flags
        else "no avx512_bf16: on this CPU keep trainer.precision 32-true"
    )
    return CheckResult("ok", "CPU", f"{cores} cores; {hint}")


def total_memory() -> int:
    """Return the bytes of memory that this machine has, or that its control group lets processes have."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limit = _CGROUP.read_text().strip() if _CGROUP.is_file() else "max"
    return min(total, int(limit)) if limit.isdigit() else total


def _check_memory() -> CheckResult:
    total = total_memory()
    if total < _LOW_MEMORY:
        return CheckResult(
            "warning", "memory", f"{total / _GB:.1f} GB", "Keep data.num_workers at 0 or 1 and data.batch_size small."
        )
    return CheckResult("ok", "memory", f"{total / _GB:.1f} GB")


def _check_disk(folder: Path) -> CheckResult:
    there = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    free = shutil.disk_usage(there).free
    found = f"{free / _GB:.0f} GB free at {there.resolve()}"
    if free < _NO_DISK:
        return CheckResult(
            "failing", "disk", found, "Free some space: a checkpoint would not fit. Old runs and caches can be deleted."
        )
    if free < _LOW_DISK:
        return CheckResult("warning", "disk", found, "BIMCV-R's cache takes 77 GB at 96×224×224; phantoms take a few.")
    return CheckResult("ok", "disk", found)
