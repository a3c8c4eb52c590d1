"""Reading volumes at full resolution, against SimpleITK and against an older version of this code.

    python perf/reading.py [--runs 7] [--before SRC]

One 512 × 512 × 120 int16 volume in each format; the readers take turns within each run, one thread each. The figures
are medians of the runs' ratios, of elapsed time and of the process's own CPU time. `--before` names the `src` folder of
an older checkout, which is read by a process of its own.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

SHAPE = (120, 512, 512)
SPACING = (0.7, 0.7, 1.25)
READER = """
import importlib, pathlib, sys, time
for name in ("bimcvr.data.reading.volume", "bimcvr.data.volume"):
    try:
        read = importlib.import_module(name).read_volume
        break
    except ModuleNotFoundError:
        pass
import SimpleITK
SimpleITK.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
def by_itk(path):
    if not path.is_dir():
        return SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(path)))
    reader = SimpleITK.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(path)))
    return SimpleITK.GetArrayFromImage(reader.Execute())
read = by_itk if sys.argv[1] == "itk" else read
for line in sys.stdin:
    wall, cpu = time.perf_counter(), time.process_time()
    read(pathlib.Path(line.strip()))
    print(time.perf_counter() - wall, time.process_time() - cpu, flush=True)
"""


def main() -> None:
    """Measure and print a table of ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=7, help="paired runs (default 7)")
    parser.add_argument("--before", type=Path, help="the src folder of an older checkout")
    options = parser.parse_args()
    here = Path(__file__).parents[1] / "src"
    readers = {"now": _reader("ours", here), "SimpleITK": _reader("itk", here)}
    if options.before:
        readers["before"] = _reader("ours", options.before)
    with tempfile.TemporaryDirectory() as folder:
        print(
            f"{' × '.join(map(str, SHAPE[::-1]))} int16, one thread, medians of {options.runs} paired runs: time (CPU)"
        )
        for path in _volumes(Path(folder)):
            times: dict[str, list[tuple[float, float]]] = {name: [] for name in readers}
            for run in range(options.runs + 1):
                for name, read in readers.items():
                    measured = read(path)
                    times[name] += [measured] if run else []  # the first run warms up
            own = statistics.median(wall for wall, _ in times["now"])
            ratios = [
                f"{name} {_ratio(times['now'], others, 0):.2f} ({_ratio(times['now'], others, 1):.2f})"
                for name, others in times.items()
                if name != "now"
            ]
            print(f"{path.name:<12} {own:6.2f} s; now to {', to '.join(ratios)}")


def _ratio(own: list[tuple[float, float]], others: list[tuple[float, float]], which: int) -> float:
    return statistics.median(one[which] / other[which] for one, other in zip(own, others, strict=True))


def _reader(kind: str, source: Path) -> Callable[[Path], tuple[float, float]]:
    environment = os.environ | {"PYTHONPATH": str(source), "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        [sys.executable, "-c", READER, kind],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment,
    )  # fmt: skip

    def read(path: Path) -> tuple[float, float]:
        assert process.stdin is not None
        assert process.stdout is not None
        print(path, file=process.stdin, flush=True)
        wall, cpu = process.stdout.readline().split()
        return float(wall), float(cpu)

    return read


def _volumes(folder: Path) -> list[Path]:
    import SimpleITK

    rng = np.random.default_rng(0)
    z, y, x = np.ogrid[-1 : 1 : SHAPE[0] * 1j, -1 : 1 : SHAPE[1] * 1j, -1 : 1 : SHAPE[2] * 1j]
    hu = np.where(x**2 + 2 * y**2 + 0 * z < 0.7, 40, -1000) + rng.normal(0, 15, SHAPE)
    image = SimpleITK.GetImageFromArray(hu.astype(np.int16))
    image.SetSpacing(SPACING)
    paths = [folder / f"chest.{suffix}" for suffix in ("nii.gz", "nii", "mha", "nrrd")]
    for path in paths:
        SimpleITK.WriteImage(image, str(path), True)
    series = folder / "dicom"
    series.mkdir()
    for number in range(SHAPE[0]):
        _write_slice(series / f"{number:03d}.dcm", hu[number].astype(np.int16), number)
    return [*paths, series]


def _write_slice(path: Path, hu: np.ndarray, number: int) -> None:
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

    data = Dataset()
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data.SOPClassUID = data.file_meta.MediaStorageSOPClassUID = CTImageStorage
    data.SOPInstanceUID = data.file_meta.MediaStorageSOPInstanceUID = f"1.2.3.4.{number + 1}"
    data.PatientID, data.Modality = "P", "CT"
    data.StudyInstanceUID, data.SeriesInstanceUID, data.FrameOfReferenceUID = "1.2.3", "1.2.3.4", "1.2.3.5"
    data.ImagePositionPatient, data.ImageOrientationPatient = [0, 0, SPACING[2] * number], [1, 0, 0, 0, 1, 0]
    data.PixelSpacing, data.RescaleSlope, data.RescaleIntercept = list(SPACING[:2]), 1, -1024
    data.Rows, data.Columns = hu.shape
    data.SamplesPerPixel, data.PhotometricInterpretation, data.InstanceNumber = 1, "MONOCHROME2", number
    data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = 16, 16, 15, 0
    data.PixelData = (hu + 1024).clip(0).astype("<u2").tobytes()
    data.save_as(path, enforce_file_format=True)


if __name__ == "__main__":
    main()
