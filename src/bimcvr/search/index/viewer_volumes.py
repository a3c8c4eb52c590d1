"""Source volumes for the viewer: int16 HU on their own grid, as compressed NIfTI.

Made once and kept while the study is in the index.
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
from bimcvr.data.reading.volume import Volume, read_volume

# raise it whenever reading or writing gives another file than before
_VERSION = 2

VIEWER = Path("derived/volumes")
"""Where they lie in an index's folder."""


class ViewerVolumes:
    """A folder of volumes as the viewer shows them: for each study a folder, in it one file.

    Args:
        folder: made when first written to.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._making = threading.Lock()

    def get(self, study_id: str, source: Path) -> Path:
        """Return the path of a study's volume, made now if it is not there: one at a time, for memory's sake.

        Args:
            study_id: whose it is.
            source: its volume file or DICOM folder; if that has changed, the file made of it before is deleted.

        Raises:
            UserError: there is no such file or folder.
            RefusedVolume: it is no regular volume in HU.
        """
        folder = self.folder / _hash(study_id)
        entry = folder / f"{_hash(f'{_VERSION}|{source_identity(source)}')}.nii.gz"
        with self._making:
            if not entry.exists():
                volume = read_volume(source)
                shutil.rmtree(folder, ignore_errors=True)
                write_nifti(volume, entry)
        return entry

    def keep_only(self, study_ids: Iterable[str]) -> None:
        """Delete the volumes of all other studies.

        What has been taken out of the index is not to be found beside it.
        """
        known = {_hash(study_id) for study_id in study_ids}
        with self._making:
            for folder in self.folder.glob("*"):
                if folder.name not in known:
                    shutil.rmtree(folder, ignore_errors=True)


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def write_nifti(volume: Volume, path: Path) -> None:
    """Write a volume in HU as gzipped NIfTI-1, whole or not at all; the file has nothing but voxels and their grid.

    The file's axes are right to left, front to back and bottom up, as in memory. They may lie at an angle to the
    patient's (`geometry.obliquity`): the affine has spacing and directions, its origin is the volume's middle.

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
    # level 1: a hospital's disk is cheaper than a reader's patience
    with replacing(path) as temporary, temporary.open("wb") as raw:
        # a name or a time in gzip's header would say something about the source
        with igzip.IGzipFile(filename="", mode="wb", compresslevel=1, fileobj=raw, mtime=0) as stream:
            image.to_stream(stream)


def grid_of(path: Path) -> tuple[tuple[int, ...], tuple[float, ...]]:
    """Return shape and spacing in mm, both (D, H, W), of a file that `write_nifti` wrote."""
    import nibabel

    header = nibabel.Nifti1Image.from_filename(path).header
    return header.get_data_shape()[::-1], tuple(map(float, header.get_zooms()[::-1]))
