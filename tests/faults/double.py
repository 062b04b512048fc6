"""Start two reindexes of one lake at once, over and over: one is refused or waits, and the history is linear.

`python -m tests.faults.double --times 25` prints one JSON line. Each time a row has changed; half the second runs wait
(`--wait`), half do not. `ray` as the engine starts a private cluster for each run.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

from tests.faults.kill import start
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


def measure(times: int, records: int, engine: str = "local") -> dict[str, Any]:
    """Start two runs, over and over. JSON-ready; `linear` and `as_one_run` must be true, `codes` hold 0 and 4 alone."""
    codes = Counter[str]()
    with tempfile.TemporaryDirectory(prefix="trichord-double-") as folder:
        project = write_project(Path(folder), records=records, settings={**SETTINGS, "engine": {"workers": 1}})
        workspace = workspace_of(project)
        seen: list[str] = []
        linear = True
        for number in range(times):
            rows = rows_of(project.parent / "corpus")
            changed = {**rows[number], "text": f"A grey stone beside road {number}."}
            write_rows(project.parent / "corpus", [*rows[:number], changed, *rows[number + 1 :]])
            wait = ("--wait",) if number % 2 else ()
            runs = [start(project, "--engine", engine, *more) for more in ((), wait)]
            ended = [run.communicate(timeout=300) for run in runs]
            codes[" ".join(str(code) for code in sorted(run.returncode for run in runs))] += 1
            linear = linear and not any("Traceback" in err for _, err in ended)
            history = [one.id for one in workspace.publications.rows()]
            if not seen:  # one model is trained: the lake to compare with starts here
                quiet = copy_of(project.parent, Path(folder) / "quiet")
            grown = history[: len(seen)] == seen and len(set(history)) == len(history) <= len(seen) + 1
            linear, seen = linear and grown, history
        verified = result_of(trichord("verify", "--project", str(project), "--json"))
        write_rows(quiet.parent / "corpus", rows_of(project.parent / "corpus"))
        wanted = result_of(trichord("reindex", "--project", str(quiet), "--json"))["manifest_digest"]
        live = workspace.publications.require_live().manifest_digest
    return {
        "times": times,
        "codes": dict(codes),
        "linear": linear,
        "publications": len(seen),
        "verified_files": verified["files"],
        "as_one_run": live == wanted,
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=25)
    parser.add_argument("--records", type=int, default=80)
    parser.add_argument("--engine", default="local")
    options = parser.parse_args()
    sys.stdout.write(json.dumps(measure(options.times, options.records, options.engine)) + "\n")
