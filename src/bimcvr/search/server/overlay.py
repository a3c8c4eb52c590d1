"""The map of relevance that the viewer lays over a case: on the model's grid, in the viewer's own mm."""

import base64

import numpy as np
from isal import igzip

from bimcvr.data.hu.placement import Placement
from bimcvr.models.embedder import Localised
from bimcvr.models.localisation.spread import on_model_grid
from bimcvr.search.server import schemas as api

LEVELS = 255


def overlay(found: Localised) -> api.RelevanceResponse:
    """Return a map as the viewer takes it, with the place of its highest voxel.

    What speaks against the query is left out: the map is 0 to 255, in shares of its largest value.

    Args:
        found: where the model looks.
    """
    placement, relevance = found.placement, found.relevance
    values = on_model_grid(relevance.values[0], relevance.grid, placement.size)
    seen = np.zeros(placement.size, dtype=bool)
    seen[tuple(slice(span.start, span.stop) for span in placement.spans)] = True
    values = np.where(seen, values, -np.inf)
    peak = np.array(np.unravel_index(int(values.argmax()), placement.size))
    highest = float(values.max())
    levels = np.zeros(placement.size, dtype=np.uint8)
    if highest > 0:
        levels = np.rint(np.clip(values, 0, None) * (LEVELS / highest)).astype(np.uint8)
    place = _viewer_affine(placement) @ [*peak[::-1], 1.0]
    return api.RelevanceResponse(
        score=found.score,
        speaks=highest > 0,
        made_of=relevance.how,
        token_mm=found.token_mm,
        peak_mm=tuple(place[:3].tolist()),
        note=found.note,
        map=base64.b64encode(_nifti(levels, _viewer_affine(placement))).decode(),
    )


def _viewer_affine(placement: Placement) -> np.ndarray:
    """Return the (4, 4) affine from indices x, y, z of the model's grid to the mm of the viewer's volume.

    That volume has its own axes, from right to left, front to back and bottom to top, and its middle as origin
    (`search.index.viewer_volumes.write_nifti`).
    """
    spacing = np.linalg.norm(placement.affine[:3, :3], axis=0)
    middle = (np.array(placement.shape) - 1) / 2
    ends = placement.to_source(np.array([[0.0, 0.0, 0.0], [1.0, 1.0, 1.0]]))
    signs = np.array([1.0, -1.0, -1.0])  # along D, H, W: to the head, the front and the right
    affine = np.eye(4)
    affine[:3, :3] = np.diag(((ends[1] - ends[0]) * spacing * signs)[::-1])
    affine[:3, 3] = ((ends[0] - middle) * spacing * signs)[::-1]
    return affine


def _nifti(levels: np.ndarray, affine: np.ndarray) -> bytes:
    import nibabel

    header = nibabel.Nifti1Header()
    header.set_data_dtype(np.uint8)
    header.set_xyzt_units("mm")
    image = nibabel.Nifti1Image(np.ascontiguousarray(levels.T), None, header)
    image.set_sform(affine, code="scanner")
    return bytes(igzip.compress(image.to_bytes(), 1))
