"""Source volumes for the viewer: int16 HU on their own grid, as compressed NIfTI.

Each is written when it is first asked for, and kept while its study is in the index.
"""

import hashlib
import shutil
import threading
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from isal import igzip

from bimcvr.atomic_files import replacing
from bimcvr.data.cache.volume_cache import source_identity
from bimcvr.data.reading.grid import DEFAULT_RULES, GridRules
from bimcvr.data.reading.volume import Volume, read_volume

# increase it whenever reading or writing produces a different file than before
_VERSION = 2

VIEWER = Path("derived/volumes")
"""Where they are in an index folder."""


class ViewerVolumes:
    """A folder with the volumes that the viewer shows: one sub-folder a study, with one file.

    Args:
        folder: the folder; created when it is first written to.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._making = threading.Lock()

    def get(self, study_id: str, source: Path, rules: GridRules = DEFAULT_RULES) -> Path:
        """Return the file of a study's volume; if there is none it is written, one at a time to limit memory.

        Args:
            study_id: the study.
            source: its volume file or DICOM folder; if that has changed, the older file is deleted.
            rules: which grids are accepted.

        Returns:
            The path of the NIfTI file.

        Raises:
            UserError: there is no such file or folder.
            RefusedVolume: it is not a regular volume in HU.
        """
        folder = self.folder / _hash(study_id)
        entry = folder / f"{_hash(f'{_VERSION}{rules.identity}|{source_identity(source)}')}.nii.gz"
        with self._making:
            if not entry.exists():
                volume = read_volume(source, rules)
                shutil.rmtree(folder, ignore_errors=True)
                write_nifti(volume, entry)
        return entry

    def keep_only(self, study_ids: Iterable[str]) -> None:
        """Delete the volumes of all other studies, so that nothing is left of studies removed from the index.

        Args:
            study_ids: the studies of the index.
        """
        known = {_hash(study_id) for study_id in study_ids}
        with self._making:
            for folder in self.folder.glob("*"):
                if folder.name not in known:
                    shutil.rmtree(folder, ignore_errors=True)


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def write_nifti(volume: Volume, path: Path) -> None:
    """Write a volume in HU atomically as gzipped NIfTI-1, with nothing but voxels and their grid.

    The file's axes run from right to left, front to back and bottom to top, as in memory. They may be at an angle to
    the patient's (`geometry.obliquity`): the affine has spacing and axis directions, its origin is the volume's middle.

    Args:
        volume: int16 HU (D, H, W), spacing in mm.
        path: the file, `….nii.gz`.
    """
    import nibabel

    header = nibabel.Nifti1Header()
    header.set_data_dtype(np.int16)
    header.set_data_shape(volume.hu.shape[::-1])
    header.set_zooms(volume.spacing[::-1])
    header.set_xyzt_units("mm")
    # NIfTI's world grows to the patient's right, front and top; these axes run to the left, the back and the top
    steps = np.array(volume.spacing[::-1]) * (-1, -1, 1)
    affine = np.diag([*steps, 1.0])
    affine[:3, 3] = -steps * (np.array(volume.hu.shape[::-1]) - 1) / 2
    header.set_sform(affine, code="scanner")
    image = nibabel.Nifti1Image(volume.hu.T, None, header)
    path.parent.mkdir(parents=True, exist_ok=True)
    # level 1: disk space costs less than the reader's time
    with replacing(path) as temporary, temporary.open("wb") as raw:
        # no file name and no time in gzip's header: they would reveal something about the source
        with igzip.IGzipFile(filename="", mode="wb", compresslevel=1, fileobj=raw, mtime=0) as stream:
            image.to_stream(stream)


def grid_of(path: Path) -> tuple[tuple[int, ...], tuple[float, ...]]:
    """Return shape and spacing in mm, both (D, H, W), of a file written by `write_nifti`."""
    import nibabel

    header = nibabel.Nifti1Image.from_filename(path).header
    return header.get_data_shape()[::-1], tuple(map(float, header.get_zooms()[::-1]))
