"""Runs and jobs on a real Ray cluster of three nodes that ask for a token and do not have our code."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.command import COMMAND
from tests.pipelines.lakes import SETTINGS, result_of, workspace_of, write_project
from tests.ray_cluster import RayCluster, is_possible

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.skipif(not is_possible(), reason="needs root and iproute2 for a network namespace"),
]
ON_RAY = {**SETTINGS, "engine": {"workers": 3}}
WRONG = "Metadata-Version: 2.1\nName: pyarrow\nVersion: 24.0.0\n"


@pytest.fixture(scope="module")
def cluster() -> Iterator[RayCluster]:
    """One cluster for all tests here: it takes a minute to start."""
    with RayCluster() as started:
        yield started


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """The project of `indexed`, on an empty lake."""
    return write_project(tmp_path, settings=ON_RAY)


def submitted(cluster: RayCluster, project: Path, *words: str, check: int = 0) -> dict[str, Any]:
    """Submit, and return the result with the client's stderr."""
    command = (*COMMAND, "submit", "--project", str(project), "--address", cluster.dashboard, "--json", *words)
    done = cluster.run(*command, check=check)
    return {**result_of(done), "stderr": done.stderr}


def digest(project: Path) -> str | None:
    live = workspace_of(project).publications.live()
    return None if live is None else live.manifest_digest


def test_workers_without_the_code_get_it_and_give_the_same_bytes(cluster, project, indexed):
    run = (*COMMAND, "reindex", "--project", str(project), "--engine", "ray", "--json")
    done = cluster.run(*run, env={"RAY_ADDRESS": cluster.address})
    assert result_of(done)["manifest_digest"] == indexed[1]["manifest_digest"]
    assert '"ray_code_shipped"' in done.stderr


def test_another_version_there_is_one_error_at_once(cluster, project):
    place = next(cluster.folder.glob("bare/lib/python*/site-packages")) / "pyarrow-24.0.0.dist-info"
    place.mkdir()
    try:
        (place / "METADATA").write_text(WRONG)
        run = (*COMMAND, "prepare", "--project", str(project), "--engine", "ray", "--json")
        done = cluster.run(*run, env={"RAY_ADDRESS": cluster.address}, check=2)
    finally:
        (place / "METADATA").unlink()
        place.rmdir()
    errors = [json.loads(line) for line in done.stderr.splitlines() if '"error"' in line]
    assert [error["kind"] for error in errors] == ["ConfigError"]
    assert "3 of 3 nodes" in errors[0]["message"]
    assert " here, 24.0.0 there" in errors[0]["message"]


def test_a_connection_of_ones_own_that_lacks_the_code_is_one_error(cluster, project):
    own = f"import ray; ray.init({cluster.address!r}, log_to_driver=False); import trichord; "
    prepare = f"trichord.open({str(project)!r}, 'engine.kind=ray').prepare()"
    done = cluster.run(sys.executable, "-c", own + prepare, check=1)
    assert "ConfigError: A worker of the Ray cluster cannot import what this run needs" in done.stderr
    assert "No module named 'trichord'" in done.stderr


def test_a_wrong_token_is_refused_at_once(cluster, project, tmp_path):
    (tmp_path / "token").write_text("not this one")
    run = (*COMMAND, "prepare", "--project", str(project), "--engine", "ray")
    env = {"RAY_ADDRESS": cluster.address, "RAY_AUTH_TOKEN_PATH": str(tmp_path / "token")}
    assert "refused this process's token" in cluster.run(*run, env=env, check=8).stderr
    jobs = (*COMMAND, "jobs", "ls", "--address", cluster.dashboard)
    assert "asks for a token" in cluster.run(*jobs, env=env, check=2).stderr


def test_a_job_gives_the_same_bytes_and_is_not_run_twice(cluster, project, indexed):
    first = submitted(cluster, project, "reindex")
    assert (first["did"], first["status"], first["exit_code"]) == ("started", "SUCCEEDED", 0)
    assert digest(project) == indexed[1]["manifest_digest"]
    assert "stage_done" in first["stderr"]  # its log
    assert "ray_code_shipped" not in first["stderr"]  # the job's own package holds it
    assert cluster.token.read_text() not in first["stderr"] + json.dumps(first)
    second = submitted(cluster, project, "reindex")  # on the new publication: nothing to do
    assert second["did"] == "started"
    third = submitted(cluster, project, "reindex")
    assert (third["did"], third["id"], third["exit_code"]) == ("done_before", second["id"], 0)


def test_exit_codes_stay_and_the_next_attempt_follows(cluster, project):
    refused = ("--set", "gate.least={'mixed.recall_at_10': 1.0}", "reindex")
    first, second = (submitted(cluster, project, *refused, check=3) for _ in range(2))
    assert (first["status"], first["exit_code"], first["attempt"]) == ("FAILED", 3, 1)
    assert (second["exit_code"], second["attempt"]) == (3, 2)
    listed = result_of(cluster.run(*COMMAND, "jobs", "ls", "--address", cluster.dashboard, "--json"))["jobs"]
    assert {job["exit_code"] for job in listed if job["id"] in (first["id"], second["id"])} == {3}
    log = result_of(cluster.run(*COMMAND, "jobs", "logs", first["id"], "--address", cluster.dashboard, "--json"))["log"]
    assert "GateFailed" in log
    absent = cluster.run(*COMMAND, "jobs", "logs", "no-such-job", "--address", cluster.dashboard, check=2)
    assert "There is no job no-such-job" in absent.stderr


def test_the_equal_command_of_ray_does_the_same(cluster, project, indexed, tmp_path):
    staged = submitted(cluster, project, "--stage", str(tmp_path / "out"), "reindex")
    cluster.run(*shlex.split(staged["command"]))
    assert digest(project) == indexed[1]["manifest_digest"]
