"""Ranking both directions exactly: time and memory, against the bare product, a chunked argsort and torchmetrics.

    python perf/ranks.py [--runs 7] [--threads 2] [--busy 0] [--check]

d = 512. Texts are images with noise, as of a trained model. All candidates alternate within each run; results are
medians of the runs' ratios. "Bare product" is the float32 product of the same pairs in tiles, of all pairs once, by
torch's own threads. Memory is the peak resident size of a fresh process above its size with the embeddings loaded.
With `--busy 2`, two other processes compute all the time, and only N = 10,000 is ranked, against the product alone.
"""

import argparse
import contextlib
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import normalize

from bimcvr.metrics.ranking.rank_engine import rank_both, rank_queries

WIDTH, TILE = 512, 1024
MOST_PRODUCTS, MOST_BUSY_PRODUCTS, LEAST_ARGSORT, LEAST_TORCHMETRICS, MOST_MB = 1.25, 1.6, 4.0, 8.0, 200.0
MANY, QUERIES = 50_000, 1_000


def main() -> int:
    """Measure, print, and with --check exit with 1 if a bar was not held."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=7, help="paired runs (default 7)")
    parser.add_argument("--threads", type=int, default=2, help="torch's threads (default 2)")
    parser.add_argument("--busy", type=int, default=0, help="other processes that compute meanwhile (default 0)")
    parser.add_argument("--check", action="store_true", help="exit with 1 if a bar was not held")
    parser.add_argument("--peak-of", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.peak_of:
        print(peak_in_this_process(options.peak_of))
        return 0
    print(
        f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, torch {torch.__version__},"
        f" {options.threads} threads, {options.runs} paired runs, d = {WIDTH},"
        f" {options.busy} busy processes beside it, load {os.getloadavg()[0]:.1f}"
    )
    if options.busy:
        with busy(options.busy):
            held_busy = beside_others(10_000, options.runs)
        return 0 if held_busy or not options.check else 1
    held = [
        whole(1_614, options.runs, with_torchmetrics=True),
        whole(6_000, options.runs),
        whole(10_000, options.runs),
        part(options.runs),
        memory(10_000),
    ]
    return 0 if all(held) or not options.check else 1


@contextlib.contextmanager
def busy(processes: int) -> Iterator[None]:
    """Let other processes compute, as `stress` does, until the block ends."""
    others = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(processes)]
    try:
        yield
    finally:
        for other in others:
            other.kill()
            other.wait()


def beside_others(n: int, runs: int) -> bool:
    """All pairs of N studies, both directions, where other processes want the cores too."""
    image, text = embeddings(n)
    group = torch.arange(n)
    times = measure(
        {"ours": lambda: rank_both(image, text, group), "product": lambda: product(image, text)},
        runs,
    )
    products = statistics.median(a / b for a, b in zip(times["ours"], times["product"], strict=True))
    shown = f"{1000 * statistics.median(times['ours']):.0f} ms = {products:.2f} x the bare product"
    print(f"N = {n:,}, both directions: {shown}", flush=True)
    return products <= MOST_BUSY_PRODUCTS


def whole(n: int, runs: int, with_torchmetrics: bool = False) -> bool:
    """All pairs of N studies, both directions."""
    image, text = embeddings(n)
    group = torch.arange(n)
    candidates: dict[str, Callable[[], object]] = {
        "ours": lambda: rank_both(image, text, group),
        "product": lambda: product(image, text),
        "argsort": lambda: argsort(image, text),
    }
    if with_torchmetrics:
        candidates["torchmetrics"] = lambda: torchmetrics_recall(image, text)
    times = measure(candidates, runs)
    ratios = {
        name: statistics.median(a / b for a, b in zip(times[name], times["ours"], strict=True)) for name in candidates
    }
    products = 1 / ratios["product"]
    shown = (
        f"N = {n:,}, both directions: {1000 * statistics.median(times['ours']):.0f} ms = {products:.2f} x the bare"
        " product; "
    )
    shown += f"argsort takes {ratios['argsort']:.1f} x ours"
    shown += f", torchmetrics {ratios['torchmetrics']:.1f} x ours" if with_torchmetrics else ""
    print(shown, flush=True)
    if n == 10_000:
        return products <= MOST_PRODUCTS and ratios["argsort"] >= LEAST_ARGSORT
    return not with_torchmetrics or ratios["torchmetrics"] >= LEAST_TORCHMETRICS


def part(runs: int) -> bool:
    """1,000 texts over 50,000 images, and 1,000 images over 50,000 texts."""
    image, text = embeddings(MANY)
    group, some = torch.arange(MANY), torch.arange(QUERIES) * (MANY // QUERIES)

    def ours() -> None:
        rank_queries(text[some], image, group[some], group)
        rank_queries(image[some], text, group[some], group)

    def bare() -> None:
        product(text[some], image)
        product(image[some], text)

    times = measure({"ours": ours, "product": bare}, runs)
    products = statistics.median(a / b for a, b in zip(times["ours"], times["product"], strict=True))
    shown = f"{1000 * statistics.median(times['ours']):.0f} ms = {products:.2f} x the bare product"
    print(f"N = {MANY:,}, {QUERIES:,} queries each way: {shown}", flush=True)
    return products <= MOST_PRODUCTS


def memory(n: int) -> bool:
    """Peak above the embeddings, in a process of its own."""
    done = subprocess.run([sys.executable, __file__, "--peak-of", str(n)], capture_output=True, text=True, check=True)
    peak = float(done.stdout)
    print(f"N = {n:,}: peak {peak:.0f} MB above the embeddings")
    return peak <= MOST_MB


def peak_in_this_process(n: int) -> float:
    """Return by how many MB ranking lifts the peak of a process that has ranked a few studies already (Linux)."""
    image, text = embeddings(n)
    rank_both(image[:50], text[:50], torch.arange(50))
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew from what is held now
    before = _peak_kb()
    rank_both(image, text, torch.arange(n))
    return (_peak_kb() - before) / 1024


def _peak_kb() -> int:
    return int(
        next(line.split()[1] for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    )


def embeddings(n: int) -> tuple[Tensor, Tensor]:
    """Return (N, 512) images and texts, with the cosines of a model of middling skill."""
    random = torch.Generator().manual_seed(0)
    image = torch.randn(n, WIDTH, generator=random)
    return image, image + 4 * torch.randn(n, WIDTH, generator=random)


def product(image: Tensor, text: Tensor) -> None:
    """The float32 product of all pairs, tile by tile in one memory; nothing is counted."""
    images, texts = normalize(image), normalize(text)
    spare = torch.empty(TILE, TILE)
    for i in range(0, len(images), TILE):
        for j in range(0, len(texts), TILE):
            left, right = images[i : i + TILE], texts[j : j + TILE]
            torch.mm(left, right.T, out=spare[: len(left), : len(right)])


def argsort(image: Tensor, text: Tensor, chunk: int = 512) -> tuple[Tensor, Tensor]:
    """Ranks by sorting every query's scores, chunk by chunk: ties as they fall."""
    images, texts = normalize(image), normalize(text)
    ways = []
    for query, gallery in ((texts, images), (images, texts)):
        ranks = [
            (
                (query[i : i + chunk] @ gallery.T).argsort(dim=1, descending=True)
                == torch.arange(i, min(i + chunk, len(query)))[:, None]
            )
            .int()
            .argmax(1)
            + 1
            for i in range(0, len(query), chunk)
        ]
        ways.append(torch.cat(ranks))
    return ways[0], ways[1]


def torchmetrics_recall(image: Tensor, text: Tensor) -> Tensor:
    """R@10 of one direction by torchmetrics, scores lifted above zero since it drops what is not positive."""
    from torchmetrics.retrieval import RetrievalRecall

    n = len(image)
    metric = RetrievalRecall(top_k=10)
    metric.update(
        (normalize(text) @ normalize(image).T).flatten() + 2,
        torch.eye(n, dtype=torch.bool).flatten(),
        torch.arange(n).repeat_interleave(n),
    )
    recall: Tensor = metric.compute()
    return recall


def measure(candidates: dict[str, Callable[[], object]], runs: int) -> dict[str, list[float]]:
    """Time all candidates in turn, after one untimed turn."""
    times: dict[str, list[float]] = {name: [] for name in candidates}
    for run in range(runs + 1):
        for name, candidate in candidates.items():
            began = time.perf_counter()
            candidate()
            if run:
                times[name].append(time.perf_counter() - began)
    return times


if __name__ == "__main__":
    sys.exit(main())
