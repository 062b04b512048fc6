"""What planning costs: CPU, memory and parts of a plan by source, and what a task pays to open its partition.

`python -m tests.bench.planning` prints one table; `--json` one JSON line. CPU seconds are of the process that plans
(steadier than the clock on a busy machine), without start-up. `--open` is the cost of a partition's rows in plans of
so many partitions of one row each; `--rows` plans sources of so many rows, whole, again unchanged, and after a change
of one file, whole and with that file as its scope; each in a process of its own, whose peak memory is given.
`--divided` plans manifests of so many rows (`--folders`: folders) in one process and on two workers in turn, and gives
their seconds by the clock and of CPU, workers included. `--driver` is the memory of the driver of `plan` for so many
rows in partitions of at most 16, before it plans, with the plan in hand, and at most; `--preparation` that of `prepare`
for so many partitions of one row.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from trichord.infra.config import (
    EngineConfig,
    FolderSource,
    ManifestSource,
    PrepareConfig,
    Project,
    Source,
    StorageConfig,
)
from trichord.infra.lake import layout
from trichord.infra.lake.lake import Lake
from trichord.infra.lake.storage import Storage
from trichord.infra.lake.versions import VersionCache
from trichord.pipelines.core.workspace import Workspace
from trichord.pipelines.prepare.job import prepare_only
from trichord.pipelines.prepare.plan import make_plan
from trichord.pipelines.prepare.plan_workers import open_workers
from trichord.transforms.collect import Scope, plan_source, replan_source
from trichord.transforms.collect.last_plan import keep_plan, last_plan, settings_of
from trichord.transforms.collect.partitions import PlannedRow
from trichord.transforms.collect.plan_parts import read_plan, write_plan

ROWS_PER_PARTITION = 256
OPENED = 20  # partitions, spread over the plan


def cpu(work: Callable[[], Any]) -> tuple[float, Any]:
    """(CPU seconds of this process, result)."""
    started = time.process_time()
    result = work()
    return round(time.process_time() - started, 3), result


def opening(partitions: int) -> dict[str, Any]:
    """Milliseconds of CPU to read a partition of a plan of so many partitions, the last one among them."""

    def rows() -> Iterator[PlannedRow]:
        for i in range(partitions):
            yield PlannedRow(key=f"record-{i}", line={"text": f"text {i}"}, media={})

    with tempfile.TemporaryDirectory() as folder:
        lake = Lake(Storage(StorageConfig()), folder)
        seconds, planned = cpu(lambda: write_plan(rows(), "bench", lake, 1))
        chosen = [*planned[:: max(1, len(planned) // OPENED)], planned[-1]]
        opened, read = cpu(lambda: [read_plan(one, lake) for one in chosen])
        assert all(len(found) == one.rows for found, one in zip(read, chosen, strict=True))
        parts = len(os.listdir(Path(folder) / layout.PLANS))
    return {
        "partitions": len(planned),
        "parts": parts,
        "write_cpu_s": seconds,
        "open_ms": round(opened * 1000 / len(chosen), 2),
    }


def write_source(kind: str, rows: int, folder: Path) -> Source:
    """Write a source of so many small files, or of a manifest that names none."""
    if kind == "folder":
        for i in range(rows):
            place = folder / f"{i // 1_000:05d}"
            place.mkdir(exist_ok=True)
            (place / f"{i}.txt").write_text(f"text {i}")
            os.utime(place / f"{i}.txt", (1_600_000_000, 1_600_000_000))
        return FolderSource(kind="folder", name="bench", path=str(folder))
    with open(folder / "rows.jsonl", "w", encoding="utf-8") as file:
        for i in range(rows):
            file.write(json.dumps({"id": f"record-{i}", "text": f"text {i}", "split": "train", "n": i}) + "\n")
    return ManifestSource(kind="manifest", name="bench", path=str(folder / "rows.jsonl"))


def whole(kind: str, rows: int) -> dict[str, Any]:
    """Plan a source, plan it again unchanged, and again after a change of one row."""
    with tempfile.TemporaryDirectory() as folder:
        place, lake = Path(folder) / "source", Lake(Storage(StorageConfig()), f"{folder}/lake")
        place.mkdir()
        source = write_source(kind, rows, place)
        cache_uri = lake.uri(layout.PLAN_VERSIONS)

        def plan() -> Any:
            cache = VersionCache.load(lake.storage, cache_uri)
            found = plan_source(source, lake, rows_per_partition=ROWS_PER_PARTITION, cache=cache)
            cache.save(lake.storage, cache_uri)
            return found

        first, found = cpu(plan)
        again, same = cpu(plan)
        assert same == found
        assert found.rows == rows
        kept = {path.name for path in (Path(folder) / "lake" / layout.PLANS).glob("*.parquet")}
        parts = len(kept) - 1
        if kind == "folder":
            (place / "00000" / "7.txt").write_text("another text")
        else:
            text = Path(source.path).read_text(encoding="utf-8")
            Path(source.path).write_text(text.replace('"text 7"', '"another text"'), encoding="utf-8")
        changed, other = cpu(plan)
        assert sum(one != old for one, old in zip(other.partitions, found.partitions, strict=True)) > 0
        settings = settings_of(source, ROWS_PER_PARTITION, PrepareConfig())
        keep_plan(lake, source, settings, found)
        key = "00000/7" if kind == "folder" else "record-7"

        def replan() -> Any:
            last = last_plan(lake, source, settings)
            assert last is not None
            scope = Scope(source="bench", keys=frozenset([key]))
            done = replan_source(source, lake, scope, last, rows_per_partition=ROWS_PER_PARTITION)
            keep_plan(lake, source, settings, done or last)
            return done

        for path in (Path(folder) / "lake" / layout.PLANS).glob("*.parquet"):  # as if only the first plan was made
            if path.name not in kept and not path.name.startswith("last-"):
                path.unlink()
        scoped, same = cpu(replan)
        assert same.partitions == other.partitions
    return {
        "kind": kind,
        "rows": rows,
        "partitions": len(found.partitions),
        "parts": parts,
        "first_cpu_s": first,
        "unchanged_cpu_s": again,
        "one_changed_cpu_s": changed,
        "one_changed_scoped_cpu_s": scoped,
        "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10,
    }


def divided(rows: int, kind: str = "manifest") -> dict[str, Any]:
    """Plan a source alone and on two workers, for the first time and again; the plans are the same."""

    def spent() -> float:
        both = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
        return sum(one.ru_utime + one.ru_stime for one in both)

    found: dict[str, Any] = {"kind": kind, "rows": rows}
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "source").mkdir()
        source, plans = write_source(kind, rows, Path(folder) / "source"), []
        for name in ("first", "unchanged"):
            for how, count in (("alone", 1), ("workers", 2)):
                project = Project(lake=f"{folder}/{how}", sources=[source], engine=EngineConfig(workers=count))
                workspace = Workspace(project)
                cache = VersionCache.load(workspace.storage, workspace.lake.uri(layout.PLAN_VERSIONS))
                clock, before = time.monotonic(), spent()
                with open_workers(workspace) as workers:
                    plans.append(
                        plan_source(
                            source,
                            workspace.lake,
                            rows_per_partition=ROWS_PER_PARTITION,
                            cache=cache,
                            workers=workers,
                        )
                    )
                found[f"{name}_{how}_s"] = round(time.monotonic() - clock, 2)
                found[f"{name}_{how}_cpu_s"] = round(spent() - before, 2)
                cache.save(workspace.storage, workspace.lake.uri(layout.PLAN_VERSIONS))
        assert all(plan == plans[0] for plan in plans)
    return found


def memory(rows: int, verb: str) -> dict[str, Any]:
    """Mebibytes of this process: before it plans or prepares, after that, and at most."""

    def resident() -> int:
        status = Path("/proc/self/status").read_text(encoding="ascii")
        return int(status.partition("VmRSS:")[2].split()[0]) >> 10

    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "source").mkdir()
        source = write_source("manifest", rows, Path(folder) / "source")
        limit, workers = (16, 1) if verb == "plan" else (1, 2)
        settings = {"rows_per_partition": limit, "dedup": {"near": False}}
        project = {"lake": f"{folder}/lake", "sources": [source], "engine": {"workers": workers}, "prepare": settings}
        workspace, before = Workspace(Project.model_validate(project)), resident()
        started = time.process_time()
        plan = make_plan(workspace)
        if verb == "prepare":
            prepare_only(workspace)
        spent = round(time.process_time() - started, 2)
        partitions = len(plan.shards)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
        found = {"verb": verb, "rows": rows, "partitions": partitions, "before_mib": before, "after_mib": resident()}
    return {**found, "peak_mib": peak, "driver_cpu_s": spent}


def apart(*arguments: str) -> dict[str, Any]:
    """Run one measurement in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.bench.planning", "--one", *arguments], stdout=subprocess.PIPE, check=True
    )
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--open", type=int, nargs="*", default=[512, 4_000, 40_000])
    parser.add_argument("--rows", type=int, nargs="*", default=[100_000])
    parser.add_argument("--kinds", nargs="*", default=["folder", "manifest"])
    parser.add_argument("--divided", type=int, nargs="*", default=[])
    parser.add_argument("--folders", type=int, nargs="*", default=[])
    parser.add_argument("--driver", type=int, nargs="*", default=[])
    parser.add_argument("--preparation", type=int, nargs="*", default=[])
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one is not None:
        kind, size = args.one
        measures: dict[str, Callable[[int], dict[str, Any]]] = {
            "open": opening,
            "divided": divided,
            "folders": lambda rows: divided(rows, "folder"),
            "driver": lambda rows: memory(rows, "plan"),
            "preparation": lambda rows: memory(rows, "prepare"),
        }
        measure = measures.get(kind, lambda rows: whole(kind, rows))
        sys.stdout.write(json.dumps(measure(int(size))))
        return
    found = {
        "open": [apart("open", str(size)) for size in args.open],
        "plan": [apart(kind, str(size)) for size in args.rows for kind in args.kinds],
        "divided": [apart("divided", str(size)) for size in args.divided],
        "folders": [apart("folders", str(size)) for size in args.folders],
        "driver": [apart("driver", str(size)) for size in args.driver],
        "preparation": [apart("preparation", str(size)) for size in args.preparation],
    }
    if args.json:
        sys.stdout.write(json.dumps(found) + "\n")
        return
    for rows in found.values():
        for row in rows:
            sys.stdout.write("  ".join(f"{name} {value}" for name, value in row.items()) + "\n")


if __name__ == "__main__":
    main()
