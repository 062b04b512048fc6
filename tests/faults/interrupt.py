"""End a reindex by a signal at many points: how it exits, what it leaves behind, and where a rerun ends.

`python -m tests.faults.interrupt --points 20` prints one JSON line. SIGTERM and SIGINT take turns. With `--engine ray`
the runs that are interrupted are on a private Ray cluster.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

from tests.faults.kill import Scene, follow, start
from tests.faults.left import is_clean, leftovers
from tests.pipelines.lakes import copy_of

EXITS = {signal.SIGTERM: 143, signal.SIGINT: 130}


def interrupt(scene: Scene, point: int, points: int, engine: str) -> dict[str, Any]:
    """Send a signal to a first run at a share of its events, then rerun."""
    number = list(EXITS)[point % 2]
    project = copy_of(scene.fresh.parent, scene.folder / f"interrupted-{point}")
    temporary = scene.folder / f"temporary-{point}"
    temporary.mkdir()
    hear = lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)  # noqa: E731 - a job in the background ignores it
    environment = {**os.environ, "TMPDIR": str(temporary), "RAY_TMPDIR": tempfile.gettempdir()}
    with start(project, "--engine", engine, env=environment, preexec_fn=hear) as driver:
        follow(driver, scene.old_gaps, (point + 1) / (points + 1))
        driver.send_signal(number)
        _, err = driver.communicate(timeout=120)
    left = leftovers(project.parent / "lake", temporary)
    digest, _ = scene.run(project)
    shutil.rmtree(project.parent)
    last = err.splitlines()[-1] if err else ""
    return {
        "signal": number.name,
        "code": driver.returncode,
        "left": left,
        "clean": is_clean(err) and '"interrupted"' in last,
        "converged": digest == scene.old_digest,
    }


def measure(points: int, records: int, engine: str = "local") -> dict[str, Any]:
    """Interrupt at `points` points. JSON-ready; `clean` and `converged` must equal `points`, and `left` be empty."""
    with tempfile.TemporaryDirectory(prefix="trichord-interrupt-") as folder:
        scene = Scene(Path(folder), records, changed=False)
        found = [interrupt(scene, point, points, engine) for point in range(points)]
    return {
        "points": points,
        "codes": dict(Counter(f"{one['signal']} {one['code']}" for one in found)),
        "clean": sum(one["clean"] for one in found),
        "converged": sum(one["converged"] for one in found),
        "left": sorted(name for one in found for name in one["left"]),
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--points", type=int, default=20)
    parser.add_argument("--records", type=int, default=160)
    parser.add_argument("--engine", default="local")
    options = parser.parse_args()
    sys.stdout.write(json.dumps(measure(options.points, options.records, options.engine)) + "\n")
