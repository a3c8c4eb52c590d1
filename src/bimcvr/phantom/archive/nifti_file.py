"""A NIfTI-1 file taken apart, so that single fields of its header can be spoilt as they are in real archives."""

import gzip
from dataclasses import dataclass
from pathlib import Path

import nibabel
import numpy as np

from bimcvr.atomic_files import replacing

_RGB = np.dtype([("R", "u1"), ("G", "u1"), ("B", "u1")])


@dataclass
class NiftiFile:
    """A volume as it lies in its file.

    Attributes:
        voxels: (z, y, x) as stored.
        spacing: mm along x, y and z.
        rows: the sform, (3, 4).
        header: the other fields.
    """

    voxels: np.ndarray
    spacing: np.ndarray
    rows: np.ndarray
    header: nibabel.Nifti1Header

    def turned(self, voxels: np.ndarray, spacing: np.ndarray) -> "NiftiFile":
        """Return other voxels under the same axes: the header's directions stay, whatever was done to the voxels."""
        rows = self.rows.copy()
        rows[:, :3] = np.diag(np.sign(np.diag(self.rows[:, :3])) * spacing)
        return NiftiFile(voxels, spacing, rows, self.header)

    def respaced(self, spacing: np.ndarray) -> "NiftiFile":
        """Return the same voxels with other distances between them, in mm along x, y and z."""
        return self.turned(self.voxels, spacing)


def read_nifti(path: Path) -> NiftiFile:
    """Read an int16 NIfTI-1 file as the phantom writes them."""
    image = nibabel.Nifti1Image.from_filename(path)
    header = image.header
    spacing = header["pixdim"][1:4].astype(np.float64)
    rows = np.array([header[name] for name in ("srow_x", "srow_y", "srow_z")], dtype=np.float64)
    return NiftiFile(np.asarray(image.dataobj.get_unscaled()).T, spacing, rows, header)


def write_nifti(image: NiftiFile, path: Path) -> None:
    """Write a compressed NIfTI-1 file; the sform alone places it.

    Args:
        image: the volume; voxels with a fourth axis of length 3 are colours (red, green, blue).
        path: the file.
    """
    voxels = np.ascontiguousarray(image.voxels)
    if voxels.ndim == 4:
        voxels = voxels.view(_RGB)[..., 0]
    header = image.header.copy()
    header.set_data_shape(voxels.shape[::-1])
    header.set_data_dtype(voxels.dtype)
    header["pixdim"] = (1.0, *image.spacing, *image.header["pixdim"][4:])
    header["qform_code"], header["sform_code"] = 0, 1
    header["srow_x"], header["srow_y"], header["srow_z"] = image.rows
    # without an affine, nibabel leaves the header as it is, however wrong
    content = nibabel.Nifti1Image(voxels.T, None, header).to_bytes()
    with replacing(path) as temporary:
        temporary.write_bytes(gzip.compress(content, compresslevel=1, mtime=0))
