"""Are the labels that curation reads from reports right?

Prints three comparisons. Phantom reports against what was planted: precision and recall over the phantom's own labels,
the share of planted findings whose phrasing is missing from the keyword library (its literal phrases alone do not find
them), and the recall of those. Spanish clinical sentences of NUBes (Lima Lopez et al., LREC 2020; BRAT files in
$BIMCVR_REAL_DATA/text_es_nubes) against their annotated negation spans: the share of library mentions that are
correctly placed inside or outside of a negation, by halves of the documents, since the triggers were written with the
first half in view. Hard sentences (tests/curation/probes) against what they assert: precision and recall of each class
with Wilson's 95 % intervals, for the sentences that were held out while the rules were written and for the others.
`--errors` lists the wrong decisions, but never those on held-out sentences.
"""

import argparse
import hashlib
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bimcvr.curation.labels.extractor import NORMAL, LabelExtractor
from bimcvr.curation.labels.keyword_library import KeywordLibrary, read_library
from bimcvr.phantom.cohort.studies import plan_patient
from bimcvr.phantom.reports.vocabulary import LABELS, PHRASES

PROBES = Path(__file__).parents[1] / "tests/curation/probes"
SIGNS = {"+": "present", "-": "absent", "?": "uncertain", "h": "history"}
# the PadChest tree, whose words the library uses, calls calcified aortic walls so
NAMES = {**LABELS, "aortic calcification": "aortic atheromatosis"}


@dataclass(frozen=True)
class Agreement:
    """Labels read from phantom reports, against what was planted.

    Attributes:
        precision: the share of labels given that are true, over the phantom's labels and `normal`.
        recall: the share of true labels given.
        unknown: the share of true labels that the library's literal phrases do not find.
        unknown_recall: the share of those given.
        missed: how often each label was missed.
    """

    precision: float
    recall: float
    unknown: float
    unknown_recall: float
    missed: Counter[str]


def phantom_agreement(patients: int, seed: int, library: KeywordLibrary | None = None) -> Agreement:
    """Read the labels of a phantom cohort's reports; a finding counts as given where a narrower one is."""
    library = library or read_library()
    extractor, literal = LabelExtractor(library), LabelExtractor(library.without_patterns())
    ours = {NAMES.get(name, name) for name in PHRASES} | {NORMAL}
    count: Counter[str] = Counter()
    missed: Counter[str] = Counter()
    for study in (study for patient in range(patients) for study in plan_patient(seed, patient)):
        truth = {NAMES.get(finding.finding, finding.finding) for finding in study.findings} or {NORMAL}
        given = set(extractor.labels(study.report, parents=True)) & ours
        unknown = truth - set(literal.labels(study.report, parents=True))
        count.update(
            true=len(truth), given=len(given), both=len(truth & given), unknown=len(unknown), found=len(unknown & given)
        )
        missed.update(truth - given)
    return Agreement(
        count["both"] / count["given"], count["both"] / count["true"], count["unknown"] / count["true"],
        count["found"] / count["unknown"], missed,
    )  # fmt: skip


@dataclass(frozen=True)
class Decision:
    """One library mention in an annotated document.

    Attributes:
        document: the document's name.
        first_half: whether the triggers were written with it in view.
        label: the finding.
        negated: whether an annotated negation span holds it.
        absent: whether we say that it is absent.
        line: its line, the mention in brackets.
    """

    document: str
    first_half: bool
    label: str
    negated: bool
    absent: bool
    line: str


def nubes_decisions(folder: Path) -> list[Decision]:
    """Return the decision on every library mention in the BRAT documents below a folder."""
    extractor = LabelExtractor()
    decisions = []
    for path in sorted(folder.rglob("*.ann")):
        text, spans = (
            path.with_suffix(".txt").read_text(encoding="utf-8"),
            list(_negations(path.read_text(encoding="utf-8"))),
        )
        first_half = hashlib.sha256(path.stem.encode()).digest()[0] % 2 == 0
        for mention in extractor(text):
            if mention.label == NORMAL:
                continue
            middle = (mention.start + mention.end) / 2
            start = text.rfind("\n", 0, mention.start) + 1
            rest = text[mention.end :].split("\n")[0]
            line = f"{text[start : mention.start]}[{text[mention.start : mention.end]}]{rest}"
            negated = any(low <= middle < high for low, high in spans)
            decisions.append(
                Decision(path.stem, first_half, mention.label, negated, mention.assertion == "absent", line)
            )
    return decisions


def _negations(annotation: str) -> Iterator[tuple[int, int]]:
    """Yield the spans in the scope of a negation cue."""
    rows = [line.split("\t") for line in annotation.splitlines() if line]
    entities = {row[0]: row[1].split(" ", 1) for row in rows if row[0].startswith("T")}
    for row in rows:
        if row[0].startswith("R") and row[1].split()[0] in ("Scope", "DiscScope"):
            cue, scope = (argument.split(":")[1] for argument in row[1].split()[1:])
            if entities[cue][0].startswith("Neg"):
                for part in entities[scope][1].split(";"):
                    low, high = part.split()
                    yield int(low), int(high)


def right_share(decisions: Sequence[Decision], draws: int = 2000) -> tuple[float, float, float]:
    """Return the share of right decisions and its 95 % interval, from a bootstrap over documents."""
    documents = sorted({decision.document for decision in decisions})
    right = {name: np.zeros(2) for name in documents}
    for decision in decisions:
        right[decision.document] += (decision.negated == decision.absent, 1)
    table = np.array([right[name] for name in documents])
    drawn = table[np.random.default_rng(0).integers(len(table), size=(draws, len(table)))].sum(1)
    low, high = np.percentile(drawn[:, 0] / drawn[:, 1], [2.5, 97.5])
    return float(table[:, 0].sum() / table[:, 1].sum()), float(low), float(high)


@dataclass(frozen=True)
class Probe:
    """A finding in a hard sentence.

    Attributes:
        sentence: the sentence.
        held_out: whether no rule was written with it in view.
        label: the finding.
        expected: what the sentence asserts about it.
        given: what we say; empty if the finding is not found.
    """

    sentence: str
    held_out: bool
    label: str
    expected: str
    given: str


def probe_decisions(path: Path) -> list[Probe]:
    """Return the decisions on a file of hard sentences (see tests/curation/probes/README.md)."""
    extractor = LabelExtractor()
    probes: list[Probe] = []
    number = 0
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.startswith("#"):
            number = 0
            continue
        number += 1
        sentence, findings = line.rsplit(" | ", 1)
        mentions = extractor(sentence)
        for label, sign in (finding.rsplit(":", 1) for finding in findings.split("; ")):
            given = {
                mention.assertion
                for mention in mentions
                if mention.label == label or label in extractor.library.ancestors(mention.label)
            }
            probes.append(Probe(sentence, number % 2 == 0, label, SIGNS[sign], "/".join(sorted(given))))
    return probes


def wilson(right: int, total: int, z: float = 1.96) -> tuple[float, float]:
    """Return the 95 % interval of a share (Wilson, J Am Stat Assoc 22 (1927) 209-212)."""
    centre = (right + z * z / 2) / (total + z * z)
    half = z / (total + z * z) * (right * (total - right) / total + z * z / 4) ** 0.5
    return max(0.0, centre - half), min(1.0, centre + half)


def _print_probes(name: str, probes: Sequence[Probe]) -> None:
    right = sum(probe.given == probe.expected for probe in probes)
    print(f"probes, {name}: {_share(right, len(probes))} right")
    for assertion in SIGNS.values():
        both = sum(probe.given == probe.expected == assertion for probe in probes)
        given, expected = (sum(getattr(p, side) == assertion for p in probes) for side in ("given", "expected"))
        print(f"  {assertion}: precision {_share(both, given)}, recall {_share(both, expected)}")


def _share(right: int, total: int) -> str:
    if not total:
        return "0 of 0"
    low, high = wilson(right, total)
    return f"{right} of {total} = {right / total:.3f} [{low:.3f}, {high:.3f}]"


def main() -> None:
    """Print the comparisons."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--patients", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--library", type=Path, help="another keyword library, for the phantom comparison")
    parser.add_argument("--errors", action="store_true", help="list the wrong decisions on the annotated sentences")
    args = parser.parse_args()
    agreement = phantom_agreement(args.patients, args.seed, read_library(args.library) if args.library else None)
    print(f"phantom, {args.patients} patients: precision {agreement.precision:.3f}, recall {agreement.recall:.3f}")
    print(
        f"  phrasings missing from the library: {agreement.unknown:.3f} of the findings, their recall"
        f" {agreement.unknown_recall:.3f}"
    )
    print(f"  missed: {dict(agreement.missed.most_common())}")
    for language in ("english", "spanish"):
        probes = probe_decisions(PROBES / f"{language}.txt")
        for half in (False, True):
            chosen = [probe for probe in probes if probe.held_out == half]
            _print_probes(f"{language}, {'held out' if half else 'seen'}", chosen)
        for probe in probes if args.errors else ():
            if not probe.held_out and probe.given != probe.expected:
                print(f"  {probe.label}, {probe.expected}, given {probe.given or 'nothing'}: {probe.sentence}")
    if not os.environ.get("BIMCVR_REAL_DATA"):
        print("BIMCVR_REAL_DATA names no folder: the annotated sentences are left out")
        return
    decisions = nubes_decisions(Path(os.environ["BIMCVR_REAL_DATA"]) / "text_es_nubes")
    halves = {
        "first half": [d for d in decisions if d.first_half],
        "second half": [d for d in decisions if not d.first_half],
    }
    for name, part in {**halves, "all": decisions}.items():
        share, low, high = right_share(part)
        print(
            f"NUBes, {name}: {len(part)} mentions ({sum(d.negated for d in part)} negated), {share:.3f} right"
            f" [{low:.3f}, {high:.3f}]"
        )
    for decision in decisions if args.errors else ():
        if decision.negated != decision.absent:
            side = "first" if decision.first_half else "second"
            print(
                f"  {side} half, {'negated' if decision.negated else 'not negated'}, {decision.label}: {decision.line}"
            )


if __name__ == "__main__":
    main()
