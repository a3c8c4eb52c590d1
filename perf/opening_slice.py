"""How often the slice that differs most from the cohort's mean goes through a finding, beside the middle and chance.

    python perf/opening_slice.py MANIFEST [--limit 200]

The manifest has the column `places` (of phantoms: `phantom --places`, as `demo` makes them). Rows without a place, or
with places on every slice, are left out. Chance is a slice drawn at random.
"""

import argparse
from pathlib import Path

import numpy as np

from bimcvr.data.hu.model_grid import ModelGrid
from bimcvr.data.manifest import read_manifest
from bimcvr.data.places import places_of
from bimcvr.data.reading.resample import read_on_grid
from bimcvr.search.index.cohort_mean import SMALL, mean_of
from bimcvr.search.ingest.sampled_mean import SAMPLE

FEW = 0.5
"""Studies whose findings lie on a smaller share of the slices are also given by themselves."""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("manifest", type=Path)
    parser.add_argument("--limit", type=int, default=200)
    options = parser.parse_args()
    manifest, grid = read_manifest(options.manifest), ModelGrid(SMALL)
    rows = range(min(len(manifest), options.limit))
    volumes = [read_on_grid(manifest.volume_path(row), grid) for row in rows]
    mean = mean_of((volume.hu for volume in volumes[:SAMPLE]), grid, "")
    if mean is None:
        parser.error("too few volumes")
    found = []
    for row, volume in zip(rows, volumes, strict=True):
        placement, inside = volume.placement, np.zeros(volume.placement.shape[0], dtype=bool)
        for place in places_of(manifest, row):
            x, y, z = place.centre
            ends = np.array([[x, y, z - place.half_axes[2]], [x, y, z + place.half_axes[2]]])
            low, high = sorted(placement.from_patient(ends)[:, 0])
            inside[max(0, int(np.ceil(low))) : max(0, int(np.floor(high)) + 1)] = True
        if inside.any() and not inside.all():
            found.append((inside[mean.most_different(volume)], inside[len(inside) // 2], inside.mean()))
    hits = np.array(found, dtype=float)
    print(f"{len(volumes)} volumes, the mean of {mean.volumes}; phantom: {manifest.is_phantom}")
    for what, chosen in (("all", hits), (f"findings on less than {FEW:.0%} of the slices", hits[hits[:, 2] < FEW])):
        shares = ", ".join(
            f"{name} {value:.1%}"
            for name, value in zip(("differs most", "middle", "chance"), chosen.mean(0), strict=True)
        )
        print(f"{what}, {len(chosen)} studies: {shares}")


if __name__ == "__main__":
    main()
