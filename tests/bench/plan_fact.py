"""Plan against fact: what `plan` says of a second backfill, and what that took. `python -m tests.bench.plan_fact`."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from trichord.pipelines.api import open_workspace
from trichord.pipelines.demo.run import run_demo


def measure(records: int) -> dict[str, Any]:
    """Make the demo's lake, backfill it twice into other recipes, and compare the second one with its plan."""
    with tempfile.TemporaryDirectory(prefix="trichord-plan-fact-") as folder:
        run_demo(Path(folder), records=records, seed=0, open_page=False, also=())
        project = Path(folder) / "trichord.yaml"
        first = open_workspace(project, "prepare.text.min_chars=2").backfill()
        workspace = open_workspace(project, "prepare.text.min_chars=3")
        plan = workspace.plan()
        second = workspace.backfill()
        assert first.switch is not None
        assert second.switch is not None
        took = second.seconds + second.switch.seconds
        return {
            "records": records,
            "rows_planned": plan.by_name["records"].rows,
            "rows": second.switch.counts.rows_in,
            "seconds_planned": plan.seconds,
            "seconds": round(took, 1),
            "ratio": round((plan.seconds or 0.0) / took, 2),
            "seconds_of_the_first": round(first.seconds + first.switch.seconds, 1),
            "stages_planned": {stage.stage: stage.seconds for stage in plan.stages},
        }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=1_000)
    sys.stdout.write(json.dumps(measure(parser.parse_args().records)) + "\n")
