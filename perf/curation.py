"""Curating a CT of real size: what a study costs beyond reading it, and how much memory a worker takes.

    python perf/curation.py [--runs 7] [--check]

A synthetic chest of 512 × 512 × 280, as .nii.gz and as a folder of uncompressed DICOM slices. Ours is what `curate`
does to a study without a model's grid: checksum, reading, every fact that its checks want. The bare read is
SimpleITK's, for a folder by its series reader. One thread each, all alternating within each run; figures are seconds of
a core, which other work on the machine lengthens less than those of a clock, and medians of the runs' ratios. Memory is
the peak resident size of a fresh process above its size after the imports.
"""

import argparse
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from preprocess import SPACING, _bar, _machine, _memory, _write_chest

MOST_READS, MOST_MB, STUDIES, CORES = 2.0, 400.0, 8_069, 16


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
        print(_machine())
        nifti, series = Path(folder) / "chest.nii.gz", Path(folder) / "series"
        _write_chest(nifti)
        _write_series(nifti, series)
        held = [bar for source in (nifti, series) for bar in _measure(source, Path(folder), options.runs)]
    return 1 if options.check and not all(held) else 0


def _measure(source: Path, folder: Path, runs: int) -> list[bool]:
    import SimpleITK
    import torch

    from bimcvr.curation.audit.volume_facts import measure_volume
    from bimcvr.curation.pipeline.ingest import checksum

    SimpleITK.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    torch.set_num_threads(1)
    parts: dict[str, Callable[[], object]] = {
        "bare read": lambda: _bare_read(source),
        "all of ours": lambda: _ingest(source, folder / "out"),
        "checksum alone": lambda: checksum(source),
        "facts alone": lambda: measure_volume(source),
    }
    times: dict[str, list[float]] = {name: [] for name in parts}
    for run in range(runs + 1):
        for name, part in parts.items():
            began = time.process_time()
            part()
            times[name] += [time.process_time() - began] if run else []  # the first is untimed
    print(f"{source.name}, 1 thread, {runs} paired runs")
    for name, seconds in times.items():
        print(f"  {name:15s} median {statistics.median(seconds):6.3f} s of a core")
    reads = statistics.median(a / b for a, b in zip(times["all of ours"], times["bare read"], strict=True))
    hours = STUDIES * statistics.median(times["all of ours"]) / CORES / 3600
    print(f"  {STUDIES:,} such studies on {CORES} cores: {60 * hours:.0f} minutes by estimate, disks aside")
    peak = subprocess.run(
        [sys.executable, __file__, "--peak-of", str(source)], check=True, capture_output=True, text=True
    )
    return [
        _bar("times the bare read", reads, at_most=MOST_READS),
        _bar("peak above the imports, MB", float(peak.stdout), at_most=MOST_MB),
    ]


def _bare_read(source: Path) -> object:
    import SimpleITK

    if source.is_file():
        return SimpleITK.ReadImage(str(source))
    return SimpleITK.ReadImage(SimpleITK.ImageSeriesReader.GetGDCMSeriesFileNames(str(source)))


def _ingest(source: Path, out: Path) -> object:
    from bimcvr.curation.pipeline.ingest import IngestSettings, ingest_study
    from bimcvr.curation.study import SourceStudy

    shutil.rmtree(out, ignore_errors=True)  # else the facts would be there already
    found = ingest_study(SourceStudy("one", source, "There is a nodule."), IngestSettings(out))
    if getattr(found, "refused", ""):
        raise SystemExit(f"refused: {found}")
    return found


def _peak_in_this_process(source: Path) -> float:
    from bimcvr.curation.audit.volume_facts import measure_volume  # noqa: F401  # its imports

    with tempfile.TemporaryDirectory() as folder:
        before = _memory("VmRSS")
        _ingest(source, Path(folder) / "out")
    return _memory("VmHWM") - before


def _write_series(nifti: Path, folder: Path) -> None:
    """Write the same voxels as slices, as a scanner's archive has them."""
    import numpy as np
    import SimpleITK
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

    voxels = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(nifti)))
    folder.mkdir()
    study, series = generate_uid(), generate_uid()
    for number, values in enumerate(voxels):
        header = Dataset()
        header.file_meta = FileMetaDataset()
        header.file_meta.MediaStorageSOPClassUID = header.SOPClassUID = CTImageStorage
        header.file_meta.MediaStorageSOPInstanceUID = header.SOPInstanceUID = generate_uid()
        header.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        header.SeriesInstanceUID, header.StudyInstanceUID, header.FrameOfReferenceUID = series, study, study
        header.Modality, header.ImageType, header.InstanceNumber = "CT", ["ORIGINAL", "PRIMARY", "AXIAL"], number + 1
        header.PhotometricInterpretation, header.SamplesPerPixel = "MONOCHROME2", 1
        header.Rows, header.Columns = values.shape
        header.BitsAllocated = header.BitsStored = 16
        header.HighBit, header.PixelRepresentation = 15, 1
        header.PixelSpacing, header.SliceThickness = list(SPACING[:2]), SPACING[2]
        header.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
        header.ImagePositionPatient = [0, 0, SPACING[2] * number]
        header.RescaleSlope, header.RescaleIntercept = 1, -1024
        header.PixelData = (np.asarray(values) + 1024).astype("<i2").tobytes()
        header.save_as(folder / f"{number:04}.dcm", enforce_file_format=True)


if __name__ == "__main__":
    sys.exit(main())
