"""How time and memory grow with the corpus: `python -m tests.bench.scale --small 2000 --large 20000` (one JSON line).

Runs `trichord reindex` on demo corpora of both sizes and samples the resident memory of every process of it.
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


def run(folder: Path, records: int) -> dict[str, Any]:
    """Reindex a corpus of that size: seconds, and the peak of every kind of process in MiB (RSS)."""
    project = write_project(folder, records=records, settings={})
    command = [sys.executable, "-m", "pipelines", "reindex", "--project", str(project), "--json"]
    started = time.monotonic()
    driver = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    peaks: dict[str, int] = defaultdict(int)
    while driver.poll() is None:
        for process in _family(driver.pid):
            try:
                role = "driver" if process.pid == driver.pid else f"process-{process.pid}"
                peaks[role] = max(peaks[role], process.memory_info().rss)
            except psutil.Error:
                continue
        time.sleep(0.1)
    seconds = time.monotonic() - started
    assert driver.stdout is not None
    summary = json.loads(driver.stdout.read().strip().splitlines()[-1])
    workers = [peak for role, peak in peaks.items() if role != "driver"]
    return {
        "records": records,
        "seconds": round(seconds, 1),
        "driver_mib": peaks["driver"] >> 20,
        "largest_worker_mib": max(workers) >> 20,
        "rows_kept": summary["rows_kept"],
        "mixed_recall_at_10": summary["evaluation"]["mixed"]["recall_at_10"],
    }


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
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="trichord-scale-") as name:
        small = run(Path(name) / "small", options.small)
        large = run(Path(name) / "large", options.large)
    ratios = {key: round(large[key] / small[key], 3) for key in ("seconds", "driver_mib", "largest_worker_mib")}
    sys.stdout.write(json.dumps({"small": small, "large": large, "ratio": ratios}) + "\n")


if __name__ == "__main__":
    main()
