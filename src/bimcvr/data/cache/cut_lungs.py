"""Which volumes lose lung to a grid of given spacing: counted, and said."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from bimcvr.atomic_files import replacing
from bimcvr.data.cache.volume_cache import VolumeCache
from bimcvr.data.manifest import Manifest
from bimcvr.errors import printable

LITTLE = 0.01
"""A smaller share of the lungs is not counted: coarse voxels at the edge of the grid."""


@dataclass(frozen=True)
class CutLungs:
    """How much of the lungs a grid cuts away, over some rows.

    Attributes:
        shares: row → share of the lungs' voxels outside; None where the grid cuts the volume and no lungs were found.
    """

    shares: Mapping[int, float | None]

    @property
    def cut(self) -> dict[int, float]:
        """The rows that lose more than 1 % of their lungs, worst first."""
        lost = {row: share for row, share in self.shares.items() if share is not None and share > LITTLE}
        return dict(sorted(lost.items(), key=lambda item: -item[1]))

    def only(self, rows: list[int]) -> "CutLungs":
        """Return what concerns some rows."""
        return CutLungs({row: self.shares[row] for row in rows if row in self.shares})

    def facts(self) -> dict[str, Any]:
        """Return what a result states of it."""
        return {
            "volumes": len(self.shares),
            "cut": len(self.cut),
            "worst_share": max(self.cut.values(), default=0.0),
            "no_lungs_found": sum(share is None for share in self.shares.values()),
        }

    def describe(self, manifest: Manifest, most: int = 5) -> str:
        """Return a sentence on the rows that lose lung, with the worst of them; empty if there is none.

        Args:
            manifest: the dataset.
            most: how many rows are named.
        """
        cut = self.cut
        if not cut:
            return ""
        studies = manifest.column("study_id")
        named = ", ".join(f"{studies[row]} {share:.0%}" for row, share in list(cut.items())[:most])
        more = f" and {len(cut) - most} more" if len(cut) > most else ""
        return printable(
            f"The grid cuts away more than {LITTLE:.0%} of the lungs in {len(cut)} of {len(self.shares)} volumes (share"
            f" outside: {named}{more}). A larger size or spacing keeps them."
        )

    def write(self, manifest: Manifest, path: Path) -> None:
        """Write the rows that lose lung, or of whose lungs nothing is known, as CSV: study_id, share_outside."""
        unknown = {row: share for row, share in self.shares.items() if share is None}
        studies = manifest.column("study_id")
        parts = [(studies[row], share) for row, share in {**self.cut, **unknown}.items()]
        with replacing(path) as temporary:
            pd.DataFrame(parts, columns=["study_id", "share_outside"]).to_csv(temporary, index=False)


def cut_lungs(cache: VolumeCache, entries: Mapping[int, Path]) -> CutLungs:
    """Look up how much of the lungs the grid cuts away; of a grid without a spacing it is nothing, and none is read.

    Args:
        cache: the cache.
        entries: row → cache file, all of which exist.

    Raises:
        UserError: a cache file is damaged.
    """
    if cache.grid.spacing is None:
        return CutLungs({})
    return CutLungs({row: cache.lungs_outside(entry) for row, entry in entries.items()})
