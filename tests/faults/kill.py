"""Kill a reindex at many points and look at what readers saw and where a rerun ends.

`python -m tests.faults.kill --driver 50 --worker 20` prints one JSON line. Half the driver's kills hit a first run on
an empty lake, half a run that follows a change, with a reader that opens the live index all the while.
"""

from __future__ import annotations

import argparse
import json
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections import Counter
from contextlib import suppress
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import psutil

from tests.command import COMMAND
from tests.pipelines.lakes import (
    SETTINGS,
    copy_of,
    result_of,
    rows_of,
    trichord,
    workspace_of,
    write_project,
    write_rows,
)
from tests.warm_workers import warm_workers
from trichord.index_builders.faiss_search import open_searcher
from trichord.index_builders.manifest import read_manifest
from trichord.infra.digest import generator

CHANGED = 12  # one row in so many is taken away before the second run


class Scene:
    """A corpus, its index, and what uninterrupted runs before and after a change of the corpus end in and report."""

    def __init__(self, folder: Path, records: int, *, changed: bool = True) -> None:
        self.folder = folder
        self.fresh = write_project(folder / "fresh", records=records, settings={**SETTINGS, "engine": {"workers": 2}})
        self.old = copy_of(self.fresh.parent, folder / "old")
        self.old_digest, self.old_gaps = self.run(self.old)
        if not changed:
            return
        self.changed = copy_of(self.old.parent, folder / "changed")
        write_rows(self.changed.parent / "corpus", rows_of(self.changed.parent / "corpus")[records // CHANGED :])
        done = copy_of(self.changed.parent, folder / "done")
        self.new_digest, self.new_gaps = self.run(done)

    def run(self, project: Path) -> tuple[str, list[float]]:
        """Reindex without being disturbed: the digest, and for each event it reports the seconds to the next."""
        with warm_workers():
            done = trichord("reindex", "--project", str(project), "--json")
        events = [json.loads(line) for line in done.stderr.splitlines() if line.startswith("{")]
        at = [datetime.fromisoformat(event["at"]).timestamp() for event in events]
        return result_of(done)["manifest_digest"], [later - earlier for earlier, later in pairwise(at)]

    def kill_driver(self, point: int, points: int) -> dict[str, Any]:
        """SIGKILL the driver at a share of its events, then rerun."""
        first_run = point % 2 == 0
        template, gaps, wanted = (
            (self.fresh, self.old_gaps, self.old_digest)
            if first_run
            else (self.changed, self.new_gaps, self.new_digest)
        )
        allowed = {wanted} if first_run else {self.old_digest, self.new_digest}
        project = copy_of(template.parent, self.folder / f"driver-{point}")
        with start(project) as driver, Reader(project, allowed) as reader:
            follow(driver, gaps, (point + 1) / (points + 1))
            driver.kill()
            driver.communicate()
            digest, _ = self.run(project)
        shutil.rmtree(project.parent)
        return {
            "killed": driver.returncode == -signal.SIGKILL,
            "converged": digest == wanted,
            "reads": reader.reads,
            "wrong": reader.wrong,
        }

    def kill_worker(self, point: int, points: int) -> dict[str, Any]:
        """SIGKILL one worker at a share of the run's events; the run must end well by itself."""
        project = copy_of(self.fresh.parent, self.folder / f"worker-{point}")
        with start(project) as driver:
            follow(driver, self.old_gaps, (point + 1) / (points + 1))
            victims = list[psutil.Process]()
            with suppress(psutil.NoSuchProcess):  # the run has ended
                victims = [child for child in psutil.Process(driver.pid).children(recursive=True) if _is_worker(child)]
            if victims:
                victims[int(generator("victim", point).integers(len(victims)))].kill()
            out, err = driver.communicate(timeout=300)
        digest = json.loads(out.strip().splitlines()[-1])["manifest_digest"] if driver.returncode == 0 else None
        shutil.rmtree(project.parent)
        detail = "" if driver.returncode == 0 else err[-500:]
        return {"killed": bool(victims), "converged": digest == self.old_digest, "detail": detail}


class Reader(threading.Thread):
    """Opens the live index again and again: it must always be whole, and one of the allowed ones."""

    def __init__(self, project: Path, allowed: set[str]) -> None:
        super().__init__(daemon=True)
        self.workspace, self.allowed = workspace_of(project), allowed
        self.reads, self.wrong = 0, Counter[str]()
        self._stop_now = threading.Event()

    def __enter__(self) -> Reader:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop_now.set()
        self.join()

    def run(self) -> None:
        """Read until stopped."""
        while not self._stop_now.is_set():
            try:
                self._read()
            except Exception as error:  # noqa: BLE001 - whatever a reader meets is what this counts
                self.wrong[f"{type(error).__name__}: {error}"[:200]] += 1
            self._stop_now.wait(0.05)

    def _read(self) -> None:
        workspace = self.workspace
        live = workspace.publications.live()
        if live is None:
            return
        manifest = read_manifest(workspace.lake, live.manifest, live.manifest_digest)
        searcher = open_searcher(workspace.lake, manifest, live.fingerprint)
        self.reads += 1
        if live.manifest_digest not in self.allowed or searcher.rows != live.counts.rows_kept:
            self.wrong["neither the old index nor the new one"] += 1


def start(project: Path, *arguments: str, **options: Any) -> subprocess.Popen[str]:
    """Start a reindex as a user does."""
    command = [*COMMAND, "reindex", "--project", str(project), "--json", *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options)


def follow(driver: subprocess.Popen[str], gaps: list[float], share: float) -> None:
    """Return when the run has reported this share of its events, and a part of the time to the next has passed."""
    assert driver.stderr is not None
    position = share * len(gaps)
    for _ in range(int(position) + 1):
        while not driver.stderr.readline().startswith("{"):
            assert driver.poll() is None, "the run ended before it was killed"
    with suppress(subprocess.TimeoutExpired):
        driver.wait((position % 1) * gaps[int(position)])


def _is_worker(process: psutil.Process) -> bool:
    """A process that runs tasks: no helper of multiprocessing (fork server, resource tracker)."""
    try:
        command = " ".join(process.cmdline())
        return "resource_tracker" not in command and bool(process.parent()) and not process.children()
    except psutil.Error:
        return False


def measure(driver: int, worker: int, records: int) -> dict[str, Any]:
    """Kill at `driver` and at `worker` points. Counts, JSON-ready; `converged` must equal `kills`, `wrong` be empty."""
    with tempfile.TemporaryDirectory(prefix="trichord-kill-") as folder:
        scene = Scene(Path(folder), records)
        drivers = [scene.kill_driver(point, driver) for point in range(driver)]
        workers = [scene.kill_worker(point, worker) for point in range(worker)]
    wrong = sum((item["wrong"] for item in drivers), Counter[str]())
    return {
        "driver": {
            "kills": sum(item["killed"] for item in drivers),
            "converged": sum(item["converged"] for item in drivers),
            "reads": sum(item["reads"] for item in drivers),
            "wrong": dict(wrong),
        },
        "worker": {
            "kills": sum(item["killed"] for item in workers),
            "converged": sum(item["converged"] for item in workers),
            "details": [item["detail"] for item in workers if item["detail"]],
        },
        "events": len(scene.old_gaps) + 1,
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--driver", type=int, default=50)
    parser.add_argument("--worker", type=int, default=20)
    parser.add_argument("--records", type=int, default=160)
    options = parser.parse_args()
    sys.stdout.write(json.dumps(measure(options.driver, options.worker, options.records)) + "\n")
