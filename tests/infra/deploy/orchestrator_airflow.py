"""Run by Airflow's Python: loads the DAG, and runs its command as named by argv, without a database.

`orchestrator_airflow.py DAG.py COMMAND [kill]` prints how the task ended: the class of its error and whether the DAG is
what it must be.
"""

from __future__ import annotations

import json
import runpy
import sys
import threading
import time
from typing import Any


def main() -> None:
    """Print one JSON line."""
    found = runpy.run_path(sys.argv[1])
    [task] = found["dag"].tasks
    task.command = json.loads(sys.argv[2])
    if len(sys.argv) > 3:
        threading.Thread(target=kill_when_running, args=(task,), daemon=True).start()
    ended = "success"
    try:
        task.execute({})
    except Exception as error:  # noqa: BLE001 - its class is what is asked for
        ended = f"{type(error).__name__}: {error}"
    facts = {"dag": found["dag"].dag_id, "retries": task.retries, "outlets": [one.uri for one in task.outlets]}
    sys.stdout.write(json.dumps({"ended": ended, **facts}) + "\n")


def kill_when_running(task: Any) -> None:
    """Send what Airflow sends, once the command has begun its work."""
    while task._process is None:
        time.sleep(0.05)
    time.sleep(float(sys.argv[3]))
    task.on_kill()


main()
