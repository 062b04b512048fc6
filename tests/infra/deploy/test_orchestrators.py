"""The DAG and the job run in Airflow and Dagster, in environments of their own.

TRICHORD_AIRFLOW and TRICHORD_DAGSTER name the Python programs of these environments (pip install apache-airflow==3.3.2;
pip install dagster==1.13.29). Without them the tests are skipped; `test_files.py` examines the files in any case.
"""

from __future__ import annotations

import json
import os
import shlex
import sqlite3
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.docs.conftest import copy_examples
from tests.pipelines.lakes import trichord

pytestmark = [pytest.mark.full, pytest.mark.xdist_group("orchestrators")]
EXAMPLES = Path(__file__).parents[3] / "examples"
HERE = Path(__file__).parent
NIGHTS = ("2026-11-29", "2026-11-30")


def interpreter(variable: str) -> Path:
    if variable not in os.environ:
        pytest.skip(f"{variable} names no Python")
    return Path(os.environ[variable])


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder with the example's project, its deployment files and a program that runs this package."""
    folder = copy_examples(EXAMPLES, tmp_path / "project")
    program = folder / "trichord"
    words = shlex.join(
        ["env", f"PYTHONPATH={os.environ.get('PYTHONPATH', '')}", sys.executable, "-m", "trichord.pipelines"]
    )
    program.write_text(f'#!/bin/sh\nexec {words} "$@"\n', encoding="utf-8")
    program.chmod(0o755)
    trichord("deploy", "render", "airflow", "dagster", "--program", str(program), cwd=folder)
    return folder


def run(command: Sequence[str | Path], folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    return subprocess.run(
        [str(word) for word in command],
        cwd=folder,
        env=kept | environment,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )


def test_the_dag_runs_for_two_dates_and_each_is_on_the_asset(project, tmp_path):
    airflow = interpreter("TRICHORD_AIRFLOW").with_name("airflow")
    home = {
        "AIRFLOW_HOME": str(tmp_path / "home"),
        "AIRFLOW__CORE__DAGS_FOLDER": str(project / "deploy" / "airflow"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
    }
    done = run([airflow, "db", "migrate"], tmp_path, **home)
    assert done.returncode == 0, done.stderr[-2000:]
    for night in NIGHTS:
        done = run([airflow, "dags", "test", "trichord_nightly", night], tmp_path, **home)
        assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
        assert "state=success" in done.stdout + done.stderr
    with sqlite3.connect(tmp_path / "home" / "airflow.db") as database:
        events = [json.loads(extra) for (extra,) in database.execute("select extra from asset_event order by id")]
    assert [event["logical_date"][:10] for event in events] == list(NIGHTS)
    assert len({event["manifest_digest"] for event in events}) == 1  # nothing changed between the nights


def one_task(project: Path, command: list[str], *kill_after_s: str) -> dict[str, Any]:
    python = interpreter("TRICHORD_AIRFLOW")
    dag = project / "deploy" / "airflow" / "trichord_nightly.py"
    words: list[str | Path] = [python, HERE / "orchestrator_airflow.py", dag, json.dumps(command), *kill_after_s]
    done = run(words, project, AIRFLOW_HOME=str(project / "home"))
    assert done.returncode == 0, done.stderr[-4000:]
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def night(project: Path, *options: str) -> list[str]:
    return [str(project / "trichord"), "nightly", "--project", str(project / "trichord.yaml"), "--json", *options]


def test_a_refused_gate_and_a_wrong_project_fail_at_once_and_a_lost_source_is_tried_again(project):
    refused = one_task(project, night(project, "--set=gate.min_over_chance=1000"))
    assert refused["ended"].startswith("AirflowFailException: exit 3: ")
    assert refused["retries"] == 3
    assert refused["outlets"] == [f"file://{project}/lake"]
    wrong = one_task(project, night(project, "--set=gait.min_over_chance=1"))
    assert wrong["ended"].startswith("AirflowFailException: exit 2: ")
    lost = one_task(project, night(project, "--set=sources.0.path=/nowhere.jsonl"))
    assert lost["ended"].startswith("AirflowException: exit 7: ")


def test_a_killed_task_ends_the_command_in_order(project):
    killed = one_task(project, night(project), "4")
    assert killed["ended"].startswith("AirflowException: exit 143: ")
    assert not list(project.rglob(".tmp-*"))


DAGSTER = """
import datetime, json, sys
sys.path.insert(0, sys.argv[1])
import dagster, trichord_nightly as night
night.COMMAND.extend(sys.argv[2:])
done = night.definitions.resolve_job_def("nightly").execute_in_process(raise_on_error=False)
kinds = [event.event_type_value for event in done.all_events]
made = [event.materialization.metadata for event in done.get_asset_materialization_events()] if done.success else []
when = datetime.datetime(2026, 11, 30, 2, tzinfo=datetime.timezone.utc)
asked = night.every_night.evaluate_tick(dagster.build_schedule_context(scheduled_execution_time=when)).run_requests
print(json.dumps({
    "success": done.success, "retries": kinds.count("STEP_UP_FOR_RETRY"), "failures": kinds.count("STEP_FAILURE"),
    "made": [one["publication"].value for one in made], "keys": [one.run_key for one in asked],
}))
"""


def one_job(project: Path, *options: str) -> dict[str, Any]:
    python = interpreter("TRICHORD_DAGSTER")
    words: list[str | Path] = [python, "-c", DAGSTER, project / "deploy" / "dagster", *options]
    done = run(words, project, DAGSTER_HOME=str(project))
    assert done.returncode == 0, done.stderr[-4000:]
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def test_the_job_runs_twice_and_a_refused_gate_is_not_tried_again(project):
    refused = one_job(project, "--set=gate.min_over_chance=1000")
    assert (refused["success"], refused["retries"], refused["failures"]) == (False, 0, 1)
    found = [one_job(project) for _ in NIGHTS]
    assert [one["success"] for one in found] == [True, True]
    assert found[0]["made"] == found[1]["made"] != []
    assert found[0]["keys"] == ["2026-11-30T02:00:00+00:00"]
