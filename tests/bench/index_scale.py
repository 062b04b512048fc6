"""Time a row and peak memory of an index build as rows grow.

`python -m tests.bench.index_scale --json` prints one JSON line: `ratio` (time a row at 1,000,000 rows over that at
100,000), `peak_bytes` (most memory of the driver and its workers together, at the largest size), and the sizes. Every
size is built in a process of its own on vectors that stand in the lake already.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import psutil

from tests.bench.vectors_lake import model_of, workspace_at, write_corpus
from trichord.infra.config import EngineConfig
from trichord.infra.engines import open_engine
from trichord.pipelines.index.build_faiss import build_faiss

INDEX: dict[str, Any] = {"kind": "auto", "recall": 0.95}
WATCH_S = 0.05


def peak_of(process: psutil.Process, stop: threading.Event, found: list[int]) -> None:
    """Keep the most proportional memory that a process and its children have held together."""
    while not stop.is_set():
        total = 0
        for each in [process, *process.children(recursive=True)]:
            try:
                total += each.memory_full_info().pss
            except psutil.Error:  # it ended meanwhile
                continue
        found[0] = max(found[0], total)
        stop.wait(WATCH_S)


def one(rows: int, dimension: int, workers: int) -> dict[str, Any]:
    """Build once, in this process."""
    with tempfile.TemporaryDirectory(prefix="trichord-bench-") as name:
        workspace = workspace_at(Path(name), INDEX, workers)
        vectors = write_corpus(workspace, Path(name), rows, dimension)
        with open_engine(EngineConfig(workers=workers)) as engine:
            list(engine.map(str, ["workers", "start"]))
            stop, peak = threading.Event(), [0]
            watcher = threading.Thread(target=peak_of, args=(psutil.Process(), stop, peak))
            watcher.start()
            started = time.perf_counter()
            built = build_faiss(workspace, engine, vectors, model_of(dimension), None)
            seconds = time.perf_counter() - started
            stop.set()
            watcher.join()
    return {
        "rows": rows,
        "build_s": round(seconds, 2),
        "us_a_row": round(seconds / rows * 1e6, 3),
        "peak_bytes": peak[0],
        "kind": built.manifest.kind,
        "shards": len(built.manifest.shards),
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--small", type=int, default=100_000)
    parser.add_argument("--large", type=int, default=1_000_000)
    parser.add_argument("--dimension", type=int, default=128)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--json", action="store_true", help="one JSON line (the only output there is)")
    options = parser.parse_args()
    if options.one:
        sys.stdout.write(json.dumps(one(options.one, options.dimension, options.workers)) + "\n")
        return
    found = []
    for rows in (options.small, options.large):
        command = [sys.executable, "-m", "tests.bench.index_scale", "--one", str(rows)]
        command += ["--dimension", str(options.dimension), "--workers", str(options.workers)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        found.append(json.loads(done.stdout.strip().splitlines()[-1]))
    small, large = found
    ratio = round(large["us_a_row"] / small["us_a_row"], 3)
    sys.stdout.write(json.dumps({"ratio": ratio, "peak_bytes": large["peak_bytes"], "sizes": found}) + "\n")


if __name__ == "__main__":
    main()
