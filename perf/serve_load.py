"""The search server under load: 20 clients for 30 seconds; errors, latency by kind of request, memory over time.

    python perf/serve_load.py INDEX [--clients 20] [--seconds 30] [--volume scan.nii.gz] [--check]

Starts `python -m bimcvr serve INDEX` and queries it as users do: texts, keywords, cases, thumbnails, source volumes,
and now and then an uploaded volume. Each client sends its next request when it has the answer. Every text ends in a new
number, since encoders cache what they have read: so the text tower runs for each. Keywords are not embedded again:
their prompts are in the index. Memory is the server's resident set; it counts as flat if its median in the last third
of the time is at most 8 MB above that in the second third, which in 30 s is a leak of 0.8 MB a second. Required: no
errors, flat memory.
"""

import argparse
import asyncio
import itertools
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx

TEXTS = (
    "large right pleural effusion",
    "there is a nodule in the left upper lobe",
    "cardiomegaly",
    "no acute findings",
    "consolidation of the right lower lobe",
)
ROUND = ("text", "thumbnail", "case", "thumbnail", "keyword", "thumbnail", "volume", "text", "study", "words")
EACH_UPLOAD = 25
"""One in so many requests of a client sends a volume; the first client begins with it."""

FLAT_MB = 8.0
"""How much the median of the memory may rise from the second third of the time to the last."""

_NEW = itertools.count()


@dataclass
class Load:
    """What was measured.

    Attributes:
        seconds: by kind of request, how long each took.
        errors: what went wrong, as text.
        memory_mb: the server's resident memory, twice a second.
        volumes: how large the first case's volume and what was uploaded are, as text.
    """

    seconds: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    errors: list[str] = field(default_factory=list)
    memory_mb: list[float] = field(default_factory=list)
    volumes: str = ""

    def quantile(self, share: float, kind: str | None = None) -> float:
        """Return a quantile of the latency in ms, of one kind or of all requests."""
        values = sorted(self.seconds[kind] if kind else itertools.chain(*self.seconds.values()))
        return 1000 * values[min(len(values) - 1, int(share * len(values)))]

    def is_flat(self) -> bool:
        """Tell whether the memory has stopped growing."""
        third = len(self.memory_mb) // 3
        before, after = (
            statistics.median(self.memory_mb[third : 2 * third]),
            statistics.median(self.memory_mb[2 * third :]),
        )
        return after - before <= FLAT_MB


def drive(address: str, pid: int, clients: int, seconds: float, volume: Path | None = None) -> Load:
    """Ask a server from many clients at once.

    Args:
        address: its URL.
        pid: its process, whose memory is watched.
        clients: how many ask at a time.
        seconds: for how long.
        volume: what is uploaded; the first case's volume by default.
    """
    return asyncio.run(_drive(address, pid, clients, seconds, volume))


async def _drive(address: str, pid: int, clients: int, seconds: float, volume: Path | None) -> Load:
    load = Load()
    limits = httpx.Limits(max_connections=clients)
    async with httpx.AsyncClient(base_url=address, timeout=60, limits=limits) as client:
        facts = (await client.get("/api/index")).json()
        keywords = [item["value"] for item in facts["keywords"]]
        found = (await client.post("/api/search", json={"mode": "keyword", "query": keywords[0], "top": 100})).json()
        cases = [hit["case"] for hit in found["hits"]]
        own = (await client.get("/api/volume", params={"case": cases[0]})).content
        sent, name = (volume.read_bytes(), volume.name) if volume else (own, "query.nii.gz")
        grid = (await client.get("/api/case", params={"case": cases[0]})).json()["grid"]["size"]
        load.volumes = (
            f"a case's volume has {' × '.join(map(str, grid))} voxels, {len(own) / 2**20:.1f} MB as sent; "
            f"{'another' if volume else 'the same'} is uploaded, {len(sent) / 2**20:.1f} MB"
        )
        until = time.monotonic() + seconds
        work = [_client(client, load, number, until, cases, keywords, (name, sent)) for number in range(clients)]
        await asyncio.gather(_watch(load, pid, until), *work)
    return load


async def _client(
    client: httpx.AsyncClient,
    load: Load,
    number: int,
    until: float,
    cases: list[str],
    keywords: list[str],
    upload: tuple[str, bytes],
) -> None:
    for turn in itertools.count(number):
        if time.monotonic() >= until:
            return
        kind = "upload" if turn % EACH_UPLOAD == 0 else ROUND[turn % len(ROUND)]
        began = time.perf_counter()
        try:
            answer = await _ask(
                client, kind, turn, cases[turn * 7 % len(cases)], keywords[turn % len(keywords)], upload
            )
            load.seconds[kind].append(time.perf_counter() - began)
            if answer.status_code != 200:
                load.errors.append(f"{kind}: {answer.status_code} {answer.text[:200]}")
        except httpx.HTTPError as error:
            load.errors.append(f"{kind}: {type(error).__name__}")


async def _ask(
    client: httpx.AsyncClient, kind: str, turn: int, case: str, keyword: str, upload: tuple[str, bytes]
) -> httpx.Response:
    queries = {
        "text": f"{TEXTS[turn % len(TEXTS)]}, number {next(_NEW)}",
        "keyword": keyword,
        "study": case,
        "words": keyword,
    }
    if kind in queries:
        return await client.post(
            "/api/search", json={"mode": kind, "query": queries[kind], "hybrid": kind == "text" and turn % 2 == 0}
        )
    if kind == "upload":
        return await client.post("/api/search/volume", params={"name": upload[0]}, content=upload[1])
    return await client.get(f"/api/{kind}", params={"case": case})


async def _watch(load: Load, pid: int, until: float) -> None:
    while time.monotonic() < until:
        load.memory_mb.append(_memory_mb(pid))
        await asyncio.sleep(0.5)


def _memory_mb(pid: int) -> float:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


@contextmanager
def _served(index: Path) -> Iterator[tuple[str, int]]:
    command = [sys.executable, "-m", "bimcvr", "serve", str(index), "--port", "0"]
    with tempfile.TemporaryDirectory() as folder, (Path(folder) / "log").open("w") as out:
        process = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT)
        try:
            while not (found := re.search(r"http://\S+:\d+/", text := Path(out.name).read_text())):
                if process.poll() is not None:
                    sys.exit(text)
                time.sleep(0.1)
            yield found[0].replace("localhost", "127.0.0.1"), process.pid
        finally:
            process.terminate()
            process.wait()


def main() -> int:
    """Measure, print, and with --check exit with 1 if the bar was not held."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("index", type=Path)
    parser.add_argument("--clients", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--volume", type=Path)
    parser.add_argument("--check", action="store_true", help="exit with 1 if the bar was not held")
    options = parser.parse_args()
    with _served(options.index) as (address, pid):
        drive(
            address, pid, options.clients, 10, options.volume
        )  # what is loaded once is loaded, what is kept has grown
        load = drive(address, pid, options.clients, options.seconds, options.volume)
    number = sum(map(len, load.seconds.values()))
    print(
        f"{options.clients} clients, {options.seconds:g} s, {os.cpu_count()} cores: {number} requests, "
        f"{number / options.seconds:.0f} a second, {len(load.errors)} errors"
    )
    print(f"  {load.volumes}")
    for kind in (*sorted(load.seconds), None):
        of = load.seconds[kind] if kind else list(itertools.chain(*load.seconds.values()))
        print(
            f"  {kind or 'all':<10} {len(of):>6}   p50 {load.quantile(0.5, kind):>7.0f} ms   p99"
            f" {load.quantile(0.99, kind):>7.0f} ms"
        )
    tenths = load.memory_mb[:: max(1, len(load.memory_mb) // 10)]
    print(
        f"  memory     {' '.join(f'{value:.0f}' for value in tenths)} MB; median"
        f" {statistics.median(load.memory_mb):.0f}, highest {max(load.memory_mb):.0f}:"
        f" {'flat' if load.is_flat() else 'growing'}"
    )
    for error in load.errors[:5]:
        print(f"  error: {error}")
    return 1 if options.check and (load.errors or not load.is_flat()) else 0


if __name__ == "__main__":
    sys.exit(main())
