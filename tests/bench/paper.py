"""Is what `plan --rows` says of a run what the run takes? `python -m tests.bench.paper --rows 100000,400000`.

First runs over manifests of random texts, each size in a lake of its own. From the first, `plan --rows` foretells the
others. Prints, by size and stage, CPU seconds foretold and taken, and the memory of the driver and of all workers. One
epoch of training, so that it does not outweigh all else.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import yaml

from tests.bench.dedup_growth import texts_of
from tests.bench.scale import watched
from tests.pipelines.lakes import result_of, trichord

PER_PART = 2_000


def write_lake(folder: Path, rows: int) -> Path:
    """Write a manifest of random texts and its project; return the project's path."""
    folder.mkdir()
    with (folder / "rows.jsonl").open("w", encoding="utf-8") as file:
        for first in range(0, rows, PER_PART):
            for number, text in enumerate(texts_of("distinct", first, min(PER_PART, rows - first)), first):
                file.write(json.dumps({"id": f"row-{number}", "text": text}) + "\n")
    project = {
        "lake": "lake",
        "sources": [{"kind": "manifest", "name": "texts", "path": "rows.jsonl"}],
        "prepare": {"rows_per_partition": "auto"},
        "train": {"epochs": 1},
        "engine": {"workers": 2},
    }
    (folder / "trichord.yaml").write_text(yaml.safe_dump(project), encoding="utf-8")
    return folder / "trichord.yaml"


def main() -> None:
    """Print a JSON line for each size."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", default="100000,400000")
    sizes = [int(size) for size in parser.parse_args().rows.split(",")]
    with tempfile.TemporaryDirectory(prefix="paper-") as folder:
        projects = [write_lake(Path(folder, str(size)), size) for size in sizes]
        for size, project in zip(sizes, projects, strict=True):
            foretold = result_of(trichord("plan", "--rows", str(size), "--project", str(projects[0]), "--json"))
            summary, peaks = watched("reindex", project)
            sys.stdout.write(json.dumps({"rows": size, **_compared(foretold, summary), **peaks}) + "\n")
            sys.stdout.flush()


def _compared(foretold: dict[str, Any], summary: dict[str, Any]) -> dict[str, Any]:
    stages = {
        one["stage"]: {
            "foretold_cpu_s": one["core_hours"] and round(3_600 * one["core_hours"], 1),
            "taken_cpu_s": summary["stages"].get(one["stage"], {}).get("cpu_s"),
        }
        for one in foretold["stages"]
    }
    preparation = foretold["preparation"]
    return {
        "seconds": summary["seconds"],
        "stages": stages,
        "partitions": [
            preparation["partitions"],
            len(next(t for t in summary["touched"] if t["table"] == "records")["made"]),
        ],
        "foretold_driver_mib": preparation["driver_memory_bytes"] >> 20,
        "foretold_workers_mib": preparation["worker_memory_bytes"] >> 20,
    }


if __name__ == "__main__":
    main()
