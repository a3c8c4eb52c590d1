"""Exact search over 100,000 or a million studies x 512: our index against FAISS's flat index, interleaved in one run.

    python perf/search.py [--studies 100000] [--dim 512] [--top 100] [--batch 256] [--runs 15] [--threads 2] [--check]
                                [--checkpoint runs/…/best.ckpt]

An index of that size is made first, with the same writer as `index`: rows and reports in LanceDB, vectors in the
memory-mapped file. Vectors are clusters with noise, as of a trained model. Both sides return the ids and scores of the
top studies, have the same number of threads, and alternate within each run. Times and ratios (of the two sides of one
run) are medians. Before anything is timed, both sides' answers are compared with a float64 product. A million studies
take 9 GB of memory, most of it FAISS's and the script's own, and 5 GB of disk.
"""

import argparse
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import faiss
import numpy as np
import torch

from bimcvr.models.embedder import Embedder
from bimcvr.search.index.reader import Index
from bimcvr.search.index.schema import StudyRecord
from bimcvr.search.index.writer import IndexWriter
from bimcvr.search.query.searcher import Searcher

BATCH_BAR, SINGLE_BAR, P95_BAR_MS, OPEN_BAR_S = 1.0, 0.35, 100.0, 3.0
FINDINGS = (
    "pleural effusion",
    "atelectasis",
    "a nodule",
    "consolidation",
    "emphysema",
    "an aneurysm",
    "cardiomegaly",
    "a hiatal hernia",
)


def main() -> int:
    """Measure, print, and with --check exit with 1 if a bar was not held."""
    parser = argparse.ArgumentParser(description=__doc__)
    numbers = {"studies": 100_000, "dim": 512, "top": 100, "batch": 256, "runs": 15, "threads": 2, "singles": 200}
    for name, default in numbers.items():
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--checkpoint", type=Path, help="a trained model, to time the text encoder apart")
    parser.add_argument("--check", action="store_true", help="exit with 1 if a bar was not held")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    faiss.omp_set_num_threads(options.threads)
    print(
        f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, "
        f"torch {torch.__version__}, faiss {faiss.__version__}, {options.threads} threads"
    )
    print(f"{options.studies:,} studies x {options.dim}, top {options.top}")
    with tempfile.TemporaryDirectory() as folder:
        vectors = make_index(Path(folder), options.studies, options.dim)
        began = time.perf_counter()
        with Index.open(folder) as index:
            opened = time.perf_counter() - began
            print(f"index opened in {opened:.2f} s (bar {OPEN_BAR_S:.0f} s)", flush=True)
            held = compare(index, vectors, options) and opened < OPEN_BAR_S
    if options.checkpoint:
        encoding(options.checkpoint)
    return 0 if held or not options.check else 1


def make_index(folder: Path, count: int, dim: int) -> np.ndarray:
    """Write the index, and return its unit vectors (N, E)."""
    rng = np.random.default_rng(0)
    centre = rng.standard_normal((1000, dim), dtype=np.float32)
    vectors = centre[rng.integers(0, 1000, count)] + rng.standard_normal((count, dim), dtype=np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    began = time.perf_counter()
    with IndexWriter(folder, dim) as writer:
        for start in range(0, count, 5000):
            writer.put([study(number, vectors[number]) for number in range(start, min(start + 5000, count))])
        writer.finish({}, {}, None)
    print(f"index written in {time.perf_counter() - began:.0f} s")
    return vectors


def study(number: int, vector: np.ndarray) -> StudyRecord:
    """A study with a short report."""
    found = FINDINGS[number % len(FINDINGS)]
    cells = {"study_id": f"s{number:07}", "volume": f"{number}.nii.gz", "patient_id": f"p{number // 2}"}
    cells["report"] = f"There is {found}. Case {number}."
    return StudyRecord(cells, vector, vector, labels=(found.removeprefix("a ").removeprefix("an "),))


def compare(index: Index, vectors: np.ndarray, options: argparse.Namespace) -> bool:
    """Time both sides in turn."""
    rng = np.random.default_rng(1)
    queries = vectors[rng.integers(0, len(vectors), options.batch)]
    queries = queries + 0.05 * rng.standard_normal(queries.shape, dtype=np.float32)
    queries /= np.linalg.norm(queries, axis=1, keepdims=True)
    before = resident_mb()
    searcher, top = Searcher(index), options.top
    searcher.top(queries[:1], top=top)
    mapped = resident_mb() - before
    flat = faiss.IndexFlatIP(options.dim)
    flat.add(vectors)
    check(searcher, flat, vectors, queries[:32], top)

    single = paired(
        options.runs * 8,
        lambda i: searcher.top(queries[i % len(queries)][None], top=top),
        lambda i: flat.search(queries[i % len(queries)][None], top),
    )
    batch = paired(options.runs, lambda _: searcher.top(queries, top=top), lambda _: flat.search(queries, top))
    p95 = 1000 * percentile(lambda i: searcher.top(queries[i % len(queries)][None], top=top), options.singles, 95)
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew from what is held now
    before = peak_mb()
    searcher.top(queries, top=top)
    lifted = peak_mb() - before

    def whole(i: int) -> object:
        return searcher.study(index.study_ids[i], top=top)

    print(f"one query: {single[0]:.1f} ms, FAISS {single[1]:.1f} ms, ratio {single[2]:.2f} (bar {SINGLE_BAR})")
    print(
        f"batch of {options.batch}: {batch[0]:.0f} ms ({1000 * options.batch / batch[0]:.0f} queries/s), FAISS"
        f" {batch[1]:.0f} ms, ratio {batch[2]:.2f} (bar {BATCH_BAR})"
    )
    print(
        f"p95 of one query's vector search: {p95:.1f} ms (bar {P95_BAR_MS:.0f}); a whole answer with {top} rows and"
        f" marked words: median {1000 * percentile(whole, 50, 50):.0f} ms, p95"
        f" {1000 * percentile(whole, 50, 95):.0f} ms"
    )
    print(
        f"memory: {vectors.nbytes / 2**20:.0f} MB of vectors a stream, mapped from the file ({mapped:.0f} MB resident"
        f" after one scan); a batch lifts the peak by {lifted:.0f} MB; FAISS holds its own copy of"
        f" {vectors.nbytes / 2**20:.0f} MB"
    )
    return batch[2] <= BATCH_BAR and single[2] <= SINGLE_BAR and p95 < P95_BAR_MS


def check(searcher: Searcher, flat: "faiss.IndexFlatIP", vectors: np.ndarray, queries: np.ndarray, top: int) -> None:
    """Compare ours with a float64 product and FAISS's, for a batch and one by one."""
    # block by block: a million vectors in float64 would be 4 GB
    blocks = np.array_split(vectors, -(-len(vectors) // 50_000))
    exact = np.hstack([queries.astype(np.float64) @ block.astype(np.float64).T for block in blocks])
    best = np.argsort(-exact, axis=1, kind="stable")[:, :top]
    _, theirs = flat.search(queries, top)
    batch = searcher.top(queries, top=top)
    alone = [searcher.top(query[None], top=top)[0] for query in queries]
    ours = [[int(name[1:]) for name, _ in found] for found in batch]
    same = sum(list(row) == found for row, found in zip(best, ours, strict=True))
    print(
        f"checked: {same} of {len(queries)} lists equal float64's in order, FAISS's sets overlap by "
        f"{np.mean([len(set(a) & set(b)) / top for a, b in zip(theirs, ours, strict=True)]):.4f}"
    )
    if batch != alone or same < len(queries):
        raise SystemExit("our answers are not exact")


def paired(runs: int, ours: Callable[[int], object], theirs: Callable[[int], object]) -> tuple[float, float, float]:
    """Return both sides' median milliseconds and the median of the ratios.

    The first is untimed, and they take turns in going first.
    """
    times: dict[str, list[float]] = {"ours": [], "theirs": []}
    sides = [("ours", ours), ("theirs", theirs)]
    for i in range(runs + 1):
        for name, side in sides if i % 2 else reversed(sides):
            seconds = timed(side, i)
            times[name] += [seconds] if i else []
    ratio = statistics.median(a / b for a, b in zip(times["ours"], times["theirs"], strict=True))
    return 1000 * statistics.median(times["ours"]), 1000 * statistics.median(times["theirs"]), ratio


def percentile(work: Callable[[int], object], runs: int, percent: float) -> float:
    """Return a percentile of a call's seconds."""
    return float(np.percentile([timed(work, i) for i in range(runs)], percent))


def timed(work: Callable[[int], object], i: int) -> float:
    """Return seconds of one call."""
    began = time.perf_counter()
    work(i)
    return time.perf_counter() - began


def encoding(checkpoint: Path) -> None:
    """Time the text encoder on sentences it has not seen."""
    model = Embedder(checkpoint)
    model.embed_texts(["There is no nodule."])
    median = percentile(lambda i: model.embed_texts([f"There is a nodule of {i} mm in the right upper lobe."]), 21, 50)
    print(f"text encoding ({model.names()['text_encoder']}): median {1000 * median:.0f} ms a query")


def resident_mb() -> float:
    """Return this process's resident memory (Linux)."""
    return _status_mb("VmRSS")


def peak_mb() -> float:
    """Return this process's peak resident memory (Linux)."""
    return _status_mb("VmHWM")


def _status_mb(name: str) -> float:
    return (
        int(
            next(
                line.split()[1] for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(name)
            )
        )
        / 1024
    )


if __name__ == "__main__":
    sys.exit(main())
