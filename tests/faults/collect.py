"""Run `gc --delete` over and over beside a reindex that finds shards of old, which nothing names any more.

`python -m tests.faults.collect --times 20` prints one JSON line: how the runs ended, how often gc looked, what it
removed beside them, and whether each lake is whole.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
import threading
from collections import Counter
from pathlib import Path
from typing import Any

from tests.faults.kill import CHANGED, Scene, start
from tests.faults.left import is_clean, leftovers
from tests.pipelines.lakes import copy_of, rows_of, workspace_of, write_rows
from trichord.pipelines.core.workspace import Workspace
from trichord.pipelines.publish.gc import gc
from trichord.pipelines.publish.verify import verify

UNNEEDED = ("gc_grace_s=0", "keep_publications=1")


class Collector(threading.Thread):
    """Collects without a pause: from before the run starts, or as soon as it is seen at work."""

    def __init__(self, workspace: Workspace) -> None:
        super().__init__(daemon=True)
        self.workspace, self.seen = workspace, Counter[str]()
        self._stop_now = threading.Event()

    def run(self) -> None:
        """Collect until stopped."""
        while not self._stop_now.is_set():
            try:
                found = gc(self.workspace, delete=True)
            except Exception as error:  # noqa: BLE001 - whatever gc meets is what this counts
                self.seen[f"{type(error).__name__}: {error}"[:200]] += 1
                continue
            self.seen["waited" if found.at_work else "collected"] += 1
            self.seen["removed"] += found.files if found.removed else 0

    def stop(self) -> None:
        """End after the round that is under way."""
        self._stop_now.set()
        self.join()


class Returning:
    """A lake whose rows went and came back, so that all of its first shards can be found again."""

    def __init__(self, folder: Path, records: int) -> None:
        self.folder, scene = folder, Scene(folder, records, changed=False)
        self.digest = scene.old_digest
        self.project = scene.old
        corpus = self.project.parent / "corpus"
        rows = rows_of(corpus)
        write_rows(corpus, rows[records // CHANGED :])
        scene.run(self.project)
        write_rows(corpus, rows)

    def collect(self, time: int) -> dict[str, Any]:
        """Run with a collector beside it; every second time the collector starts first."""
        project = copy_of(self.project.parent, self.folder / f"beside-{time}")
        temporary = self.folder / f"temporary-{time}"
        temporary.mkdir()
        workspace = workspace_of(project, *UNNEEDED)
        collector = Collector(workspace)
        if time % 2:
            collector.start()
        with start(project, env={**os.environ, "TMPDIR": str(temporary)}) as driver:
            assert driver.stderr is not None
            first = driver.stderr.readline()
            if not time % 2:
                collector.start()
            out, err = driver.communicate(timeout=300)
        collector.stop()
        verify(workspace)
        left = leftovers(project.parent / "lake", temporary)
        shutil.rmtree(project.parent)
        digest = json.loads(out.splitlines()[-1])["manifest_digest"] if driver.returncode == 0 else None
        return {
            "code": driver.returncode,
            "converged": digest == self.digest,
            "gc": collector.seen,
            "left": left,
            "clean": is_clean(first + err),
        }


def measure(times: int, records: int) -> dict[str, Any]:
    """Collect beside `times` runs. JSON-ready; `converged` and `clean` must equal `times`, and `left` be empty."""
    with tempfile.TemporaryDirectory(prefix="trichord-collect-") as folder:
        scene = Returning(Path(folder), records)
        found = [scene.collect(time) for time in range(times)]
    return {
        "times": times,
        "codes": dict(Counter(str(one["code"]) for one in found)),
        "converged": sum(one["converged"] for one in found),
        "clean": sum(one["clean"] for one in found),
        "gc": dict(sum((one["gc"] for one in found), Counter[str]())),
        "left": sorted(name for one in found for name in one["left"]),
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=20)
    parser.add_argument("--records", type=int, default=40)
    options = parser.parse_args()
    sys.stdout.write(json.dumps(measure(options.times, options.records)) + "\n")
