"""Prepare against a bare loop of the libraries, with as many workers, in one run.

`python -m tests.bench.prepare --json` prints one JSON line for three sets: `demo` (small pictures with captions),
`photos` (1,600 × 1,200 pixels with captions) and `sound` (demo records of which each has a sound too). Both figures
are against one bare loop (`tests/bench/bare_loops.py`); all default ops are on, and starting workers is outside.

- `ops`: CPU seconds of the bare loop over those of `prepare`: reading, ops, signatures, Parquet, hashing, fsync.
- `whole`: the same over everything from files to a lake: planning, `prepare`, deduplication and all commits.

`ops_by_clock` and `whole_by_clock` are the same by the wall clock, which a busy machine blurs.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import psutil

from tests.bench import bare_loops
from tests.pipelines.lakes import rows_of, workspace_of, write_project, write_rows
from trichord.infra.config import EngineConfig
from trichord.infra.digest import generator
from trichord.infra.engines import open_engine
from trichord.infra.engines.base import Engine
from trichord.pipelines.core.workspace import Workspace
from trichord.pipelines.demo.corpus import write_corpus
from trichord.pipelines.demo.render import encode_picture
from trichord.pipelines.prepare.job import prepare_lake
from trichord.pipelines.prepare.plan import make_plan
from trichord.pipelines.prepare.records import prepare

SETS = ("demo", "photos", "sound")
PHOTO = (1_600, 1_200)


@dataclass(frozen=True, slots=True)
class Cost:
    """CPU seconds of all processes, and seconds by the clock."""

    cpu_s: float
    clock_s: float


def measured(work: Callable[[], int], records: int) -> Cost:
    """What some work costs that handles this many records."""
    cpu, clock = _cpu_s(), time.perf_counter()
    handled = work()
    cost = Cost(_cpu_s() - cpu, time.perf_counter() - clock)
    assert handled == records
    return cost


def _cpu_s() -> float:
    driver = psutil.Process()
    times = [process.cpu_times() for process in (driver, *driver.children(recursive=True))]
    return sum(each.user + each.system for each in times)


def ops(workspace: Workspace, engine: Engine) -> Callable[[], int]:
    """`prepare` alone, of a plan made before."""
    plan = make_plan(workspace)
    return lambda: sum(item.records.counts["rows_in"] for item in prepare(workspace, engine, plan.shards))


def whole(workspace: Workspace, engine: Engine) -> Callable[[], int]:
    """Planning, `prepare`, deduplication, commits."""
    return lambda: prepare_lake(workspace, engine, make_plan(workspace)).counts.rows_in


def write_set(name: str, folder: Path, records: int) -> list[tuple[str, str | None]]:
    """Write a set's corpus; return its files, record by record."""
    corpus = folder / "corpus"
    write_corpus(corpus, records=records, seed=3, defects=0.0)
    rows = rows_of(corpus)
    if name != "sound":
        rows = [{**row, "audio": None} for row in rows]
    if name == "photos":
        for number, row in enumerate(rows):
            _enlarge(corpus / row["image"], number)
    write_rows(corpus, rows)
    return [(str(corpus / row["image"]), str(corpus / row["audio"]) if row["audio"] else None) for row in rows]


def _enlarge(path: Path, number: int) -> None:
    """Make a demo picture a photo: its size, texture at every scale (so that it is no drawing), JPEG."""
    pixels = cv2.imread(str(path), cv2.IMREAD_COLOR_RGB)
    assert pixels is not None
    large, rng = cv2.resize(pixels, PHOTO, interpolation=cv2.INTER_CUBIC).astype(np.float32), generator("bench", number)
    for block in (1, 4, 16, 64):
        texture = rng.normal(0, 4 if block == 1 else 12, (PHOTO[1] // block, PHOTO[0] // block)).astype(np.float32)
        large += cv2.resize(texture, PHOTO, interpolation=cv2.INTER_LINEAR)[:, :, None]
    path.write_bytes(encode_picture(np.clip(large, 0, 255).astype(np.uint8), "jpg", 88))


def measure(name: str, records: int, workers: int, rounds: int) -> dict[str, float]:
    """Bare loop and product in turn; medians over the rounds."""
    with tempfile.TemporaryDirectory(prefix="trichord-bench-") as temporary:
        folder = Path(temporary)
        project = write_project(folder, records=2, settings={})
        files = write_set(name, folder, records)
        parts = [files[start : start + 32] for start in range(0, len(files), 32)]
        spent: dict[str, list[Cost]] = {"bare": [], "ops": [], "whole": []}
        with (
            # sessions of their own, as the engine's workers have: Linux shares a busy machine out by session
            multiprocessing.get_context("spawn").Pool(workers, initializer=os.setsid) as pool,
            open_engine(EngineConfig(kind="local", workers=workers)) as engine,
        ):
            pool.map(bare_loops.run, [parts[0]] * workers)
            for turn in range(rounds + 1):  # the first turn warms all up
                cost = measured(lambda: sum(pool.imap_unordered(bare_loops.run, parts)), records)
                spent["bare"].append(cost)
                for kind, work in (("ops", ops), ("whole", whole)):
                    workspace = workspace_of(project, f"lake={folder / f'{kind}-{turn}'}")
                    spent[kind].append(measured(work(workspace, engine), records))
    return _figures({kind: costs[1:] for kind, costs in spent.items()}, records)


def _figures(spent: dict[str, list[Cost]], records: int) -> dict[str, float]:
    figures: dict[str, float] = {}
    for kind in ("ops", "whole"):
        pairs = list(zip(spent["bare"], spent[kind], strict=True))
        figures[kind] = round(statistics.median(bare.cpu_s / ours.cpu_s for bare, ours in pairs), 3)
        figures[f"{kind}_by_clock"] = round(statistics.median(bare.clock_s / ours.clock_s for bare, ours in pairs), 3)
    for kind, costs in spent.items():
        figures[f"{kind}_cpu_ms"] = round(1e3 * statistics.median(cost.cpu_s for cost in costs) / records, 3)
    return figures


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=3_000, help="of the demo; a sixth as many photos and sounds")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", choices=SETS, action="append", help="only this set (repeatable)")
    parser.add_argument("--json", action="store_true", help="one JSON line (the only output there is)")
    options = parser.parse_args()
    figures: dict[str, Any] = {"workers": options.workers, "rounds": options.rounds, "load": os.getloadavg()[0]}
    for name in options.only or SETS:
        records = options.records if name == "demo" else options.records // 6
        figures[name] = {"records": records, **measure(name, records, options.workers, options.rounds)}
    sys.stdout.write(json.dumps(figures) + "\n")


if __name__ == "__main__":
    main()
