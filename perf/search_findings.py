"""P@10 of finding queries and of "no …" queries over the labels of a fresh phantom index, prevalence beside it.

    python perf/search_findings.py [--seed 72] [--patients 2000] [--out FOLDER] [--index FOLDER]

Makes a cohort, trains, tests and indexes as `demo` does, then asks each label of at least ten studies twice: by its
name (relevant: the studies that have the label), and denied ("no nodule"; relevant: the studies that do not), each by
meaning alone, fused with the reports' words, and by the default. The labels and the ranking by words come from the same
reports: only the column of meaning measures what the model sees.
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np

from bimcvr.cli import main as bimcvr
from bimcvr.metrics.prompts import NO_FINDING
from bimcvr.search import Index, Searcher, load_search_model
from bimcvr.search.asked.labels import has_label

TOP = 10
WAYS: dict[str, bool | None] = {"meaning": False, "fused": True, "default": None}


def precision(searcher: Searcher, query: str, relevant: np.ndarray, fused: bool | None) -> float:
    """Return the share in percent of the first ten hits of a query that are relevant (N,)."""
    hits = searcher.text(query, top=TOP, hybrid=fused).hits
    return 100 * sum(bool(relevant[searcher.index.position(hit.study_id)]) for hit in hits) / TOP


def measure(folder: Path, checkpoint: Path | None) -> None:
    """Print the table of an index."""
    with Index.open(folder) as index:
        searcher = Searcher(index, load_search_model(index, checkpoint))
        counts = {label: count for label, count in index.label_counts().items() if label not in NO_FINDING}
        labels = [label for label, count in counts.items() if count >= TOP]
        few = [f"{label} ({count})" for label, count in counts.items() if count < TOP]
        print(f"{len(index)} studies, {len(labels)} labels of at least {TOP} studies; phantom: {index.is_phantom}")
        print(f"left out, as they cannot fill ten places: {', '.join(few) or 'none'}")
        for title, template, wanted in (("finding", "{}", True), ("denied", "no {}", False)):
            print(f"\n{title + ': P@10, %':<28}{'chance':>9}" + "".join(f"{way:>9}" for way in WAYS))
            rows = []
            for label in labels:
                relevant = has_label(index, label) == wanted
                row = [100 * relevant.mean()]
                row += [precision(searcher, template.format(label), relevant, fused) for fused in WAYS.values()]
                rows.append(row)
                print(f"{template.format(label):<28}" + "".join(f"{value:>9.1f}" for value in row))
            print(f"{'mean':<28}" + "".join(f"{value:>9.1f}" for value in np.mean(rows, axis=0)))


def main() -> None:
    """Make the index unless one is named, and measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=72)
    parser.add_argument("--patients", type=int, default=2000)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--index", type=Path, help="measure an existing index instead of making one")
    parser.add_argument("--checkpoint", type=Path, help="of an existing index that was moved")
    options = parser.parse_args()
    if options.index is not None:
        measure(options.index, options.checkpoint)
        return
    with tempfile.TemporaryDirectory() as temporary:
        out = options.out or Path(temporary)
        code = bimcvr(["demo", "--out", str(out), "--patients", str(options.patients), "--seed", str(options.seed)])
        if code:
            raise SystemExit(code)
        measure(out / f"index-{options.patients}-{options.seed}", None)


if __name__ == "__main__":
    main()
