"""Reading a CT onto the model's grid: speed and accuracy, against SimpleITK's read and TorchIO's anti-aliased resize.

    python perf/preprocess.py [--runs 7] [--check]

One synthetic 512 × 512 × 280 int16 .nii.gz, one thread each, all alternating within each run; results are medians of
the runs' ratios. Ours are the whole volume at 128³; and voxels of 1.5 mm, all of the volume or a crop of 160 × 224 ×
224, of which the share of the lungs outside is measured too. Memory is the peak resident size of a fresh process above
its size after the imports.
"""

import argparse
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

# numpy's BLAS reads it once, on import
os.environ["OPENBLAS_NUM_THREADS"] = "1"
import numpy as np

SHAPE = (280, 512, 512)
SIZE = (128, 128, 128)
SPACING = (0.7, 0.7, 1.25)
MM = (1.5, 1.5, 1.5)
MOST_READS, MOST_READS_MM, LEAST_TORCHIO, MOST_RMS, MOST_MB = 2.2, 1.0, 15.0, 2.0, 350.0


def main() -> int:
    """Measure, print, and with --check exit with 1 if a bar was not held."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=7, help="paired runs (default 7)")
    parser.add_argument("--check", action="store_true", help="exit with 1 if a bar was not held")
    parser.add_argument("--peak-of", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.peak_of:
        print(_peak_in_this_process(options.peak_of))
        return 0
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "chest.nii.gz"
        print(_machine())
        _write_chest(path)
        print(
            f"{' × '.join(map(str, SHAPE[::-1]))} int16 .nii.gz of {path.stat().st_size / 1e6:.0f} MB to "
            f"{' × '.join(map(str, SIZE))}, 1 thread, {options.runs} paired runs"
        )
        held = _speed(path, options.runs)
        held += [_bar("rms from the float64 separable filter, HU", _rms(path), at_most=MOST_RMS)]
        held += [_bar("peak above the imports, MB", _peak(path), at_most=MOST_MB)]
    return 1 if options.check and not all(held) else 0


def _speed(path: Path, runs: int) -> list[bool]:
    import SimpleITK
    import torch

    from bimcvr.data.hu.model_grid import ModelGrid
    from bimcvr.data.reading.resample import read_on_grid, read_resized

    SimpleITK.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    torch.set_num_threads(1)
    candidates: dict[str, Callable[[], object]] = {
        "SimpleITK bare read": lambda: SimpleITK.ReadImage(str(path)),
        "bimcvr read_resized": lambda: read_resized(path, SIZE),
        "1.5 mm, whole": lambda: read_on_grid(path, ModelGrid((234, 239, 239), MM)),
        "1.5 mm, cropped": lambda: read_on_grid(path, ModelGrid((160, 224, 224), MM)),
        "TorchIO antialias": _torchio(path),
    }
    for warm in list(candidates.values())[:-1]:
        warm()
    times: dict[str, list[float]] = {name: [] for name in candidates}
    for _ in range(runs):
        for name, candidate in candidates.items():
            start = time.perf_counter()
            candidate()
            times[name].append(time.perf_counter() - start)
    for name, seconds in times.items():
        listing = " ".join(f"{second:.3f}" for second in seconds)
        print(f"  {name:22s} median {statistics.median(seconds):7.3f} s   ({listing})")
    read, ours, whole, cropped, torchio = times.values()
    in_reads, whole_in_reads, cropped_in_reads = (
        statistics.median(our / bare for our, bare in zip(seconds, read, strict=True))
        for seconds in (ours, whole, cropped)
    )
    faster = statistics.median(theirs / our for theirs, our in zip(torchio, ours, strict=True))
    return [
        _bar("times SimpleITK's bare read", in_reads, at_most=MOST_READS),
        _bar("times it at 1.5 mm, whole", whole_in_reads, at_most=MOST_READS_MM),
        _bar("times it at 1.5 mm, cropped", cropped_in_reads, at_most=MOST_READS_MM),
        _bar("times faster than TorchIO", faster, at_least=LEAST_TORCHIO),
    ]


def _torchio(path: Path) -> Callable[[], object]:
    """The pipeline of the same meaning: canonical axes, clipped HU, the same grid, aliasing kept out."""
    import torchio

    across, along, up = (mm * old / new for mm, old, new in zip(SPACING, SHAPE[::-1], SIZE[::-1], strict=True))
    pipeline = torchio.Compose(
        [
            torchio.ToCanonical(),
            torchio.Clamp(-1024, 3071),
            torchio.Resample((across, along, up), antialias=True),
        ]
    )
    return lambda: pipeline(torchio.ScalarImage(path)).data  # type: ignore[no-untyped-call]


def _write_chest(path: Path) -> None:
    """Write a body of soft tissue with two lungs, a spine, vessels and the noise of a scanner (20 HU).

    Like a scanner's, its values end at −1024, which also fills what lies outside the reconstruction circle.
    """
    import SimpleITK

    rng = np.random.default_rng(0)
    z, y, x = np.ogrid[-1 : 1 : SHAPE[0] * 1j, -1 : 1 : SHAPE[1] * 1j, -1 : 1 : SHAPE[2] * 1j]
    hu = np.full(SHAPE, -1000, dtype=np.float32)
    hu[np.broadcast_to((x / 0.9) ** 2 + (y / 0.65) ** 2 < 1, SHAPE)] = 40
    for side in (-1, 1):
        lung = ((x - side * 0.42) / 0.3) ** 2 + (y / 0.45) ** 2 + (z / 0.9) ** 2 < 1
        hu[lung] = -850
    hu[np.broadcast_to((x / 0.08) ** 2 + ((y - 0.45) / 0.08) ** 2 < 1, SHAPE)] = 400
    vessel = (np.sin(40 * x + 9 * z) * np.sin(37 * y - 7 * z) * np.sin(31 * z + 5 * x)) > 0.9
    hu[vessel & (hu < -800)] = 50
    for one in hu:
        one += 20 * rng.standard_normal(one.shape, dtype=np.float32)
    hu[np.broadcast_to(x**2 + y**2 > 1, SHAPE)] = -1024
    image = SimpleITK.GetImageFromArray(np.rint(np.maximum(hu, -1024)).astype(np.int16))
    image.SetSpacing(SPACING)
    # the order that dcm2niix writes, and with it most archives
    image.SetDirection((1, 0, 0, 0, -1, 0, 0, 0, 1))
    SimpleITK.WriteImage(image, str(path))


def _rms(path: Path) -> float:
    """Deviation from the same filter in float64, one axis at a time over the whole volume."""
    import SimpleITK

    from bimcvr.data.reading.resample import read_resized

    image = SimpleITK.DICOMOrient(SimpleITK.ReadImage(str(path)), "LPS")
    exact = SimpleITK.GetArrayFromImage(image)
    for axis, size in enumerate(SIZE):
        exact = np.moveaxis(np.tensordot(_triangle(exact.shape[axis], size), exact, axes=(1, axis)), 0, axis)
    return float(np.sqrt(np.mean((read_resized(path, SIZE).hu - exact) ** 2)))


def _triangle(old: int, new: int) -> np.ndarray:
    weights = np.zeros((new, old))
    step = old / new
    for row in range(new):
        for column in range(old):
            weights[row, column] = max(0.0, 1 - abs(column + 0.5 - (row + 0.5) * step) / max(step, 1.0))
    return np.asarray(weights / weights.sum(axis=1, keepdims=True))


def _peak(path: Path) -> float:
    command = [sys.executable, __file__, "--peak-of", str(path)]
    found = subprocess.run(command, check=True, capture_output=True, text=True)
    return float(found.stdout)


def _peak_in_this_process(path: Path) -> float:
    from bimcvr.data.reading.resample import read_resized

    before = _memory("VmRSS")
    read_resized(path, SIZE)
    return _memory("VmHWM") - before


def _memory(kind: str) -> float:
    """Return a figure of Linux' account of this process in MB: ru_maxrss would count what its parent took."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(kind)) * 1024 / 1e6


def _bar(name: str, value: float, at_most: float | None = None, at_least: float | None = None) -> bool:
    held = (at_most is None or value <= at_most) and (at_least is None or value >= at_least)
    bar = f"at most {at_most:g}" if at_most is not None else f"at least {at_least:g}"
    print(f"  {value:8.2f} {name} (bar: {bar}): {'held' if held else 'NOT HELD'}")
    return held


def _machine() -> str:
    import SimpleITK
    import torch
    import torchio

    return (
        f"{_processor()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}; Python "
        f"{platform.python_version()}, numpy {np.__version__}, torch {torch.__version__}, torchio "
        f"{torchio.__version__}, SimpleITK {SimpleITK.Version_VersionString()}"
    )


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    return next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.machine())


if __name__ == "__main__":
    sys.exit(main())
