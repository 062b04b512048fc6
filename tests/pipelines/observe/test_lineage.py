"""Lineage: START and an end of each run, with the versions of what it read and wrote, to a file and over HTTP."""

from __future__ import annotations

import json
import os
from pathlib import Path
from uuid import UUID

import pytest

from tests.pipelines.lakes import trichord, workspace_of
from tests.pipelines.observe.receivers import recording
from trichord.pipelines.core.runs import last_runs
from trichord.pipelines.observe.lineage import _name_of

TRANSPORT = "OPENLINEAGE__TRANSPORT__"


def events_in(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def versions(datasets: list[dict]) -> dict[str, str | None]:
    """Version of each dataset, by the last part of its name."""
    return {
        one["name"].rsplit("/", 1)[-1]: one.get("facets", {}).get("version", {}).get("datasetVersion")
        for one in datasets
    }


def test_a_run_and_a_failed_one_are_told_of_in_a_file(lake_copy: Path, tmp_path: Path) -> None:
    path, workspace = tmp_path / "lineage.json", workspace_of(lake_copy)
    env = {f"{TRANSPORT}TYPE": "file", f"{TRANSPORT}LOG_FILE_PATH": str(path), f"{TRANSPORT}APPEND": "true"}
    trichord("reindex", "--project", str(lake_copy), env=env)
    gone = f"sources.0.path={tmp_path / 'gone.jsonl'}"
    trichord("reindex", "--project", str(lake_copy), "--set", gone, env=env, check=7)
    start, complete, again, fail = events_in(path)
    assert [one["eventType"] for one in (start, complete, again, fail)] == ["START", "COMPLETE", "START", "FAIL"]
    assert start["run"]["runId"] == complete["run"]["runId"] != fail["run"]["runId"]
    assert UUID(start["run"]["runId"]).version == 5
    [_, note, _] = last_runs(workspace.lake)
    live = workspace.publications.require_live()
    assert versions(complete["inputs"]) == {"manifest.jsonl": note.sources["demo"].version, "index": None}
    wrote = versions(complete["outputs"])
    assert wrote.pop("index") == live.id
    assert wrote.pop("publications") == "0"
    assert wrote == {name: str(version) for name, version in live.table_versions.items()}
    source, index = complete["inputs"]
    assert source["inputFacets"]["inputStatistics"]["rowCount"] == note.sources["demo"].rows
    assertions = index["inputFacets"]["dataQualityAssertions"]["assertions"]
    assert {one["assertion"]: one["success"] for one in assertions} == {
        check.name: check.passed for check in live.verdict.checks
    }
    [records] = [one for one in complete["outputs"] if one["name"].endswith("/records")]
    statistics = records["outputFacets"]["outputStatistics"]
    assert (statistics["rowCount"], statistics["size"] > 0) == (
        sum(ref.rows for ref in workspace.table("records").shards().values()), True,
    )  # fmt: skip
    assert fail["run"]["facets"]["errorMessage"]["message"].startswith("exit 7: SourceError: ")
    assert "sourceCodeLocation" not in complete["job"]["facets"], "git is not run"


def test_events_go_over_http_and_the_environment_stays_as_it_was(
    lake_copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with recording() as server:
        monkeypatch.setenv("OPENLINEAGE_URL", server.url)
        monkeypatch.setenv("OPENLINEAGE_API_KEY", "k3y")
        before = dict(os.environ)
        trichord("reindex", "--project", str(lake_copy))
        assert dict(os.environ) == before, "the library copies the key to other variables"
    assert [json.loads(one.body)["eventType"] for one in server.posted] == ["START", "COMPLETE"]
    assert {one.path for one in server.posted} == {"/api/v1/lineage"}
    assert {one.headers["authorization"] for one in server.posted} == {"Bearer k3y"}
    assert b"k3y" not in b"".join(one.body for one in server.posted)


@pytest.mark.parametrize(
    ("place", "name"),
    [
        ("/data/lake/records", ("file", "/data/lake/records")),
        ("s3://bucket/lake/records", ("s3://bucket", "lake/records")),
        ("https://user:s3cr3t@host/x?token=abc", ("https://REDACTED@host", "x")),
    ],
)
def test_datasets_are_named_as_openlineage_names_them(place: str, name: tuple[str, str]) -> None:
    assert _name_of(place) == name
