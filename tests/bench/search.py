"""What a search costs: `python -m tests.bench.search --json`.

1,000 text queries (the texts of its records in turn) against the demo's index, through one open searcher: in one call
of `search_many`, and one by one by `search`; then one `trichord search` as a process. The first queries, which load
dictionaries and records, are not counted. Wall time, and CPU time, which says more on a machine in use.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import trichord
from trichord.pipelines.demo.corpus import write_corpus
from trichord.pipelines.demo.run import write_project


def demo_project(folder: Path, records: int) -> Path:
    """Index the demo's corpus; returns the project file."""
    write_corpus(folder / "corpus", records=records, seed=0)
    project = write_project(folder)
    trichord.open(project).reindex()
    return project


def measure(project: Path, queries: int) -> dict[str, Any]:
    """Time the queries. JSON-ready: milliseconds a query, and seconds of opening and of the command."""
    workspace = trichord.open(project)
    captions = workspace.records().to_table(columns=["text"])["text"].drop_null().to_pylist()
    texts = list(islice(cycle(captions), queries))
    found: list[trichord.Searcher] = []
    opening = _timed(lambda: found.append(workspace.searcher()))
    [searcher] = found
    searcher.search_many(texts[:300])
    many = _timed(lambda: searcher.search_many(texts))
    one = _timed(lambda: [searcher.search(text) for text in texts])
    live = workspace.status().to_dict()
    return {
        "rows": live["live"]["counts"]["rows_kept"],
        "queries": queries,
        "search_many_ms": _milliseconds(many, queries),
        "search_ms": _milliseconds(one, queries),
        "open_s": {name: round(seconds, 2) for name, seconds in opening.items()},
        "command_s": command(project, texts[0]),
    }


def command(project: Path, text: str) -> dict[str, float]:
    """Wall and CPU seconds of one `trichord search`."""
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    line = [sys.executable, "-m", "trichord.pipelines", "search", "--text", text, "--project", str(project), "--json"]
    subprocess.run(line, check=True, capture_output=True)
    after, ended = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"wall": round(ended - started, 2), "cpu": round(cpu, 2)}


def _timed(job: Callable[[], object]) -> dict[str, float]:
    wall, cpu = time.monotonic(), time.process_time()
    job()
    return {"wall": time.monotonic() - wall, "cpu": time.process_time() - cpu}


def _milliseconds(took: dict[str, float], queries: int) -> dict[str, float]:
    return {name: round(1e3 * seconds / queries, 2) for name, seconds in took.items()}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--records", type=int, default=2_000)
    parser.add_argument("--queries", type=int, default=1_000)
    parser.add_argument("--project", type=Path, help="of a demo that is indexed already")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="trichord-search-") as name:
        result = measure(options.project or demo_project(Path(name), options.records), options.queries)
    sys.stdout.write(json.dumps(result) + "\n")
