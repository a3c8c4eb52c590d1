"""Source volumes for the viewer: int16 HU on their own grid, as compressed NIfTI.

Made once and kept while the study is in the index.
"""

import hashlib
import shutil
import struct
import threading
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from isal import igzip

from bimcvr.atomic_files import replacing
from bimcvr.data.cache.volume_cache import source_identity
from bimcvr.data.reading.volume import Volume, read_volume

# raise it whenever reading or writing gives another file than before
_VERSION = 1
_HEADER = 352

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
    """Write a volume in HU as gzipped NIfTI-1, whole or not at all; it holds nothing but voxels and their grid.

    The file's axes are right to left, front to back and bottom up, as in memory. They may lie at an angle to the
    patient's (`geometry.obliquity`): the affine has spacing and directions, its origin is the volume's middle.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # level 1: a hospital's disk is cheaper than a reader's patience
    with replacing(path) as temporary, temporary.open("wb") as raw:
        # a name or a time in gzip's header would say something about the source
        with igzip.IGzipFile(filename="", mode="wb", compresslevel=1, fileobj=raw, mtime=0) as stream:
            stream.write(nifti_header(volume.hu.shape, volume.spacing))
            for plane in volume.hu:
                stream.write(np.ascontiguousarray(plane, dtype="<i2").data)


def grid_of(path: Path) -> tuple[tuple[int, ...], tuple[float, ...]]:
    """Return shape and spacing in mm, both (D, H, W), of a file that `write_nifti` wrote."""
    with igzip.open(path, "rb") as stream:
        header = stream.read(_HEADER)
    width, height, depth = struct.unpack_from("<3h", header, 42)
    left, back, up = struct.unpack_from("<3f", header, 80)
    return (depth, height, width), (up, back, left)


def nifti_header(shape: tuple[int, ...], spacing: tuple[float, float, float]) -> bytes:
    """Return the 352 bytes before the voxels of an int16 volume (D, H, W) with a spacing in mm (D, H, W).

    NIfTI's world grows to the patient's right, front and top; our axes run to the left, the back and the top.
    """
    (depth, height, width), (up, back, left) = shape, spacing
    header = bytearray(_HEADER)
    struct.pack_into("<i", header, 0, 348)
    struct.pack_into("<8h", header, 40, 3, width, height, depth, 1, 1, 1, 1)
    # int16, 16 bits a voxel
    struct.pack_into("<2h", header, 70, 4, 16)
    struct.pack_into("<8f", header, 76, 1, left, back, up, 0, 0, 0, 0)
    # voxels begin behind the header; slope 1, intercept 0
    struct.pack_into("<3f", header, 108, _HEADER, 1, 0)
    # mm
    header[123] = 2
    # no qform; an sform in scanner space
    struct.pack_into("<2h", header, 252, 0, 1)
    middle = [(count - 1) / 2 * step for count, step in ((width, left), (height, back), (depth, up))]
    rows = (-left, 0, 0, middle[0]), (0, -back, 0, middle[1]), (0, 0, up, -middle[2])
    struct.pack_into("<12f", header, 280, *(value for row in rows for value in row))
    header[344:348] = b"n+1\0"
    return bytes(header)
