"""How time and memory grow with the corpus: `python -m tests.bench.scale --small 2000 --large 20000` (one JSON line).

Runs `trichord reindex` (or `--verb prepare`) with `--workers` workers on demo corpora of both sizes and samples the
resident memory of every process of it. `processes` is how many of them, besides the driver, ran at once at most.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import psutil

from tests.pipelines.lakes import write_project


def watched(verb: str, project: Path) -> tuple[dict[str, Any], dict[str, int]]:
    """Run a verb: its summary, the peak memory of driver and largest worker in MiB, and how many ran at once."""
    command = [sys.executable, "-m", "pipelines", verb, "--project", str(project), "--json"]
    with tempfile.TemporaryFile() as errors, tempfile.TemporaryFile() as result:  # a pipe would be full at some size
        driver = subprocess.Popen(command, stdout=result, stderr=errors)
        peaks: dict[int, int] = defaultdict(int)
        at_once = 0
        while driver.poll() is None:
            family = _family(driver.pid)
            at_once = max(at_once, len(family) - 1)
            for process in family:
                try:
                    peaks[process.pid] = max(peaks[process.pid], process.memory_info().rss)
                except psutil.Error:
                    continue
            time.sleep(0.05)
        result.seek(0)
        output = result.read().decode().strip().splitlines()
        if driver.returncode:
            errors.seek(0)
            raise RuntimeError(errors.read().decode()[-2_000:])
    workers = [peak for pid, peak in peaks.items() if pid != driver.pid]
    memory = {"driver_mib": peaks[driver.pid] >> 20, "largest_worker_mib": max(workers) >> 20}
    return json.loads(output[-1]), {**memory, "processes": at_once}


def run(verb: str, folder: Path, records: int, workers: int) -> dict[str, Any]:
    """Run a verb on a corpus of that size: seconds and peaks."""
    project = write_project(folder, records=records, settings={"engine": {"workers": workers}}, defects=0.009)
    started = time.monotonic()
    summary, peaks = watched(verb, project)
    return {
        "records": records,
        "workers": workers,
        "seconds": round(time.monotonic() - started, 1),
        **peaks,
        "rows_kept": summary["rows_kept"],
    } | ({"mixed_recall_at_10": summary["evaluation"]["mixed"]["recall_at_10"]} if "evaluation" in summary else {})


def _family(pid: int) -> list[psutil.Process]:
    try:
        driver = psutil.Process(pid)
        return [driver, *driver.children(recursive=True)]
    except psutil.Error:
        return []


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--small", type=int, default=2_000)
    parser.add_argument("--large", type=int, default=20_000)
    parser.add_argument("--verb", choices=("reindex", "prepare"), default="reindex")
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="trichord-scale-") as name:
        small = run(options.verb, Path(name) / "small", options.small, options.workers)
        large = run(options.verb, Path(name) / "large", options.large, options.workers)
    ratios = {key: round(large[key] / small[key], 3) for key in ("seconds", "driver_mib", "largest_worker_mib")}
    sys.stdout.write(json.dumps({"small": small, "large": large, "ratio": ratios}) + "\n")


if __name__ == "__main__":
    main()
