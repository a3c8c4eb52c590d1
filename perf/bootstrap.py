"""Intervals of R@1, R@5, R@10, MdR and MnR in both directions: 10,000 resamples at N = 1,614 on one core.

    python perf/bootstrap.py [--runs 3] [--check]

The limit is 10 seconds. tests/metrics/test_bootstrap.py compares the intervals with a naive loop over the same draws.
"""

import argparse
import statistics
import sys
import time

import torch

from bimcvr.metrics.bootstrap import RESAMPLES, bootstrap_intervals
from bimcvr.metrics.per_query import per_query_values
from bimcvr.metrics.ranking.ranks import Ranks

N, MOST_SECONDS = 1_614, 10.0


def main() -> int:
    """Measure, print, and with --check exit with 1 if the limit was exceeded."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--check", action="store_true", help="exit with 1 if the limit was exceeded")
    options = parser.parse_args()
    torch.set_num_threads(1)
    random = torch.Generator().manual_seed(0)
    above, tied = torch.randint(300, (2, N), generator=random), torch.zeros(N, dtype=torch.long)
    patients = [f"p{i // 2 if i < 600 else i}" for i in range(N)]
    seconds = []
    for _ in range(options.runs):
        began = time.perf_counter()
        for direction in above:
            bootstrap_intervals(per_query_values(Ranks(direction, tied, tied + 1), (1, 5, 10)), patients)
        seconds.append(time.perf_counter() - began)
    print(
        f"N = {N:,}, {RESAMPLES:,} resamples, both directions, R@1/5/10, MRR, MdR, MnR, one thread:"
        f" {statistics.median(seconds):.1f} s (median of {options.runs})"
    )
    return 0 if statistics.median(seconds) <= MOST_SECONDS or not options.check else 1


if __name__ == "__main__":
    sys.exit(main())
