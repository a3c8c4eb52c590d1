"""Nodules of real CTs lie where four radiologists outlined them, on the source's grid and on the model's."""

import os
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pydicom
import pytest

from bimcvr.data.hu.model_grid import ModelGrid
from bimcvr.data.reading.resample import read_on_grid
from bimcvr.data.reading.volume import read_volume

REAL = Path(os.environ.get("BIMCVR_REAL_DATA", ""), "lidc_idri_small")
pytestmark = pytest.mark.skipif(
    not os.environ.get("BIMCVR_REAL_DATA"), reason="BIMCVR_REAL_DATA names no folder of real volumes"
)
SPACE = {"lidc": "http://www.nih.gov"}


def outlines(study: Path) -> Iterator[np.ndarray]:
    """The edge (n, 3) of each outlined nodule on the slices that are here, in mm of the patient."""
    headers = {float(header.ImagePositionPatient[2]): header for header in map(pydicom.dcmread, study.glob("*.dcm"))}
    (xml,) = study.glob("*.xml")
    for nodule in ElementTree.parse(xml).iterfind(".//lidc:unblindedReadNodule", SPACE):  # noqa: S314
        edge = []
        for roi in nodule.iterfind("lidc:roi", SPACE):
            height = float(roi.findtext("lidc:imageZposition", "nan", SPACE))
            points = [
                [float(point.findtext(f"lidc:{axis}Coord", "nan", SPACE)) for axis in "xy"]
                for point in roi.iterfind("lidc:edgeMap", SPACE)
            ]
            if height in headers and len(points) > 4:
                down, across = headers[height].PixelSpacing
                corner = headers[height].ImagePositionPatient
                edge += [[corner[0] + across * x, corner[1] + down * y, height] for x, y in points]
        if edge:
            yield np.array(edge, dtype=np.float64)


@pytest.mark.parametrize("study", ["LIDC-IDRI-0001", "LIDC-IDRI-0003"])
@pytest.mark.parametrize("grid", [ModelGrid((24, 256, 256)), ModelGrid((40, 260, 260), (1.5, 1.5, 1.5))], ids=str)
def test_nodules_lie_where_they_were_outlined(study: str, grid: ModelGrid) -> None:
    source, seen = read_volume(REAL / study), read_on_grid(REAL / study, grid)
    placed = seen.placement
    found = 0
    for edge in outlines(REAL / study):
        middle, reach = edge.mean(axis=0), np.ptp(edge, axis=0).max() / 2
        here = placed.from_patient(middle)
        # an outline stands on a slice, and on whole pixels of it
        assert placed.from_patient(edge) == pytest.approx(np.rint(placed.from_patient(edge)), abs=2e-3)
        for hu, place in ((source.hu, here), (seen.hu, placed.to_model(here))):
            assert hu[tuple(np.rint(place).astype(int))] > -500, "solid, in lung of -850"
        # the nodule is denser than the ring around it, on both grids
        for hu, affine in ((source.hu, placed.affine), (seen.hu, placed.model_affine())):
            centre = np.rint(np.linalg.solve(affine, [*middle, 1])[:3]).astype(int)
            low, high = np.maximum(centre - 50, 0), np.minimum(centre + 50, hu.shape)
            index = np.stack(np.meshgrid(*map(np.arange, low, high), indexing="ij"), axis=-1)
            away = np.linalg.norm(index @ affine[:3, :3].T + affine[:3, 3] - middle, axis=-1)
            hu = hu[tuple(map(slice, low, high))]
            core = hu[away < max(0.4 * reach, 2.0)]
            ring = hu[(away > reach + 3) & (away < reach + 8)]
            assert core.mean() > np.median(ring) + 200
        found += 1
    assert found >= 4
