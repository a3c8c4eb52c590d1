"""The findings of phantom patients: how often they occur, where, and how large."""

import dataclasses
import json
from dataclasses import dataclass

import numpy as np

Rng = np.random.Generator

LOBES = ("right upper lobe", "right middle lobe", "right lower lobe", "left upper lobe", "left lower lobe")
STATIONS = (
    "right paratracheal",
    "prevascular",
    "subcarinal",
    "right hilar",
    "left hilar",
    "right axillary",
    "left axillary",
)
SIDES = ("right", "left")


@dataclass(frozen=True)
class PlantedFinding:
    """One planted abnormality, or what a report states of it.

    Attributes:
        finding: its name, as in the label column.
        site: where it is: a lobe, a lymph node station, a side, a part of the aorta, or "" if there is
            only one place.
        size: millimetres in steps of five, or a grade ("small", "severe"), or None where the report leaves it
            out.
    """

    finding: str
    site: str = ""
    size: int | str | None = None

    @property
    def side(self) -> str:
        """The patient's side, "right" or "left", or "" if the site has none."""
        first = self.site.split(" ")[0]
        return first if first in SIDES else ""

    @property
    def lobe(self) -> str:
        """The lobe, or "" if the finding is not in one."""
        return self.site if self.site in LOBES else ""

    @property
    def millimetres(self) -> int:
        """The size as a length.

        Raises:
            TypeError: the size is a grade or absent.
        """
        if not isinstance(self.size, int):
            raise TypeError(f"{self.finding} has the size {self.size!r}, which is no length")
        return self.size


@dataclass(frozen=True)
class FindingKind:
    """How one kind of finding occurs.

    Attributes:
        prevalence: the share of studies that have it.
        sites: where it may be.
        sizes: its sizes, in mm or as grades (None if it has none).
        counts: the probabilities of occurring at one, two, three sites.
        fills_lobe: whether it takes its lobe for itself, so that no other such finding hides it.
    """

    prevalence: float
    sites: tuple[str, ...]
    sizes: tuple[int | str | None, ...]
    counts: tuple[float, ...] = (1.0,)
    fills_lobe: bool = False


# Prevalences of atelectasis, consolidation, adenopathy, effusion, ground glass and nodule follow the label
# column of BIMCV-R; the others are set so that a cohort of some hundreds has enough of each to learn from.
# Lengths are generous: at the small grids of a CPU run a voxel is 11 mm wide.
FINDING_KINDS: dict[str, FindingKind] = {
    "pleural effusion": FindingKind(0.20, SIDES, ("small", "moderate", "large"), (0.65, 0.35)),
    "pneumothorax": FindingKind(0.07, SIDES, ("small", "moderate", "large")),
    "atelectasis": FindingKind(0.22, LOBES, ("partial", "complete"), fills_lobe=True),
    "consolidation": FindingKind(0.14, LOBES, ("segmental", "lobar"), (0.8, 0.2), fills_lobe=True),
    "mass": FindingKind(0.09, LOBES, (40, 45, 50, 55, 60, 65, 70), fills_lobe=True),
    "bronchiectasis": FindingKind(0.09, LOBES, ("mild", "severe"), (0.8, 0.2), fills_lobe=True),
    "ground glass": FindingKind(0.31, LOBES, ("patchy", "extensive"), (0.45, 0.35, 0.2), fills_lobe=True),
    "nodule": FindingKind(0.22, LOBES, (20, 25, 30), (0.75, 0.25), fills_lobe=True),
    "adenopathy": FindingKind(0.21, STATIONS, (25, 30, 35, 40, 45, 50, 55, 60), (0.7, 0.3)),
    "emphysema": FindingKind(0.16, ("upper lobe predominant", "diffuse"), ("mild", "moderate", "severe")),
    "cardiomegaly": FindingKind(0.16, ("",), ("mild", "moderate", "severe")),
    "pericardial effusion": FindingKind(0.09, ("",), (10, 15, 20, 25)),
    "aortic calcification": FindingKind(0.20, ("arch", "descending", "arch and descending"), ("mild", "severe")),
    "aortic aneurysm": FindingKind(0.08, ("ascending", "descending"), (50, 55, 60, 65, 70)),
    "hiatal hernia": FindingKind(0.10, ("",), (40, 50, 60, 70)),
    "goiter": FindingKind(0.07, SIDES, (30, 40, 50, 60)),
    "pacemaker": FindingKind(0.07, SIDES, (None,)),
    "scoliosis": FindingKind(0.08, SIDES, ("mild", "severe")),
    "hepatic steatosis": FindingKind(0.10, ("",), ("mild", "severe")),
}


def draw_findings(rng: Rng, earlier: tuple[PlantedFinding, ...] = ()) -> tuple[PlantedFinding, ...]:
    """Draw what a study shows.

    Args:
        rng: for the random draws.
        earlier: findings of an earlier study that are still there; their kinds are not drawn again.

    Returns:
        The findings, in the order of `FINDING_KINDS`.
    """
    drawn = list(earlier)
    taken = {lobe for finding in earlier for lobe in _lobes_of(finding)}
    present_kinds = {finding.finding for finding in earlier}
    for name, kind in FINDING_KINDS.items():
        # every draw is made, so that one finding never changes the probability of another
        present = rng.random() < kind.prevalence
        count = 1 + int(rng.choice(len(kind.counts), p=kind.counts))
        sites = [kind.sites[i] for i in rng.permutation(len(kind.sites))]
        sizes = [kind.sizes[i] for i in rng.integers(len(kind.sizes), size=count)]
        if not present or name in present_kinds:
            continue
        free = [site for site in sites if not (kind.fills_lobe and site in taken)]
        new = [PlantedFinding(name, site, size) for site, size in zip(free, sizes, strict=False)]
        taken |= {lobe for finding in new for lobe in _lobes_of(finding)}
        drawn += new
    return tuple(sorted(drawn, key=lambda finding: (list(FINDING_KINDS).index(finding.finding), finding.site)))


def follow_up(findings: tuple[PlantedFinding, ...], rng: Rng) -> tuple[PlantedFinding, ...]:
    """Draw a later study of the same patient: findings stay, change their size, go or come."""
    kept = []
    for finding in findings:
        chance = rng.random()
        sizes = FINDING_KINDS[finding.finding].sizes
        if chance < 0.5:
            kept.append(finding)
        elif chance < 0.75:
            kept.append(dataclasses.replace(finding, size=sizes[rng.integers(len(sizes))]))
    return draw_findings(rng, tuple(kept))


def to_json(findings: tuple[PlantedFinding, ...]) -> str:
    """Write findings as compact JSON: a list of objects with finding, side, site and size."""
    rows = [{"finding": f.finding, "side": f.side, "site": f.site, "size": f.size} for f in findings]
    return json.dumps(rows, separators=(",", ":"))


def from_json(text: str) -> tuple[PlantedFinding, ...]:
    """Read what `to_json` wrote."""
    return tuple(PlantedFinding(row["finding"], row["site"], row["size"]) for row in json.loads(text))


def _lobes_of(finding: PlantedFinding) -> set[str]:
    if FINDING_KINDS[finding.finding].fills_lobe:
        return {finding.site}
    # fluid of that extent covers the lower lobe, and nothing in it could be seen
    if finding.finding == "pleural effusion" and finding.size != "small":
        return {f"{finding.site} lower lobe"}
    return set()
