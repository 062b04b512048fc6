"""A real Prometheus (Debian: `prometheus`) scrapes a lake's page, evaluates the rules, and answers the dashboard."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import urllib3
import yaml

from tests.infra.deploy.test_prometheus import ALERTS, RULES, queries
from tests.pipelines.lakes import workspace_of
from trichord.pipelines.observe.exposition import LiveMetrics
from trichord.pipelines.observe.metrics import NAMES, EventState

pytestmark = pytest.mark.server
WITHIN_S = 60.0


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as held:
        return int(held.getsockname()[1])


@contextmanager
def prometheus(folder: Path, scraped: int) -> Iterator[Callable[[str], Any]]:
    """Start a server that scrapes a port every second; yield a function that asks its API."""
    config = {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "rule_files": [str(ALERTS)],
        "scrape_configs": [{"job_name": "trichord", "static_configs": [{"targets": [f"127.0.0.1:{scraped}"]}]}],
    }
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
    port = free_port()
    program = shutil.which("prometheus")
    assert program is not None, "the tests marked `server` need Prometheus: apt-get install prometheus"
    files = [f"--config.file={folder / 'prometheus.yml'}", f"--storage.tsdb.path={folder / 'data'}"]
    with (
        (folder / "log").open("wb") as log,
        subprocess.Popen(
            [program, *files, f"--web.listen-address=127.0.0.1:{port}"], stdout=log, stderr=subprocess.STDOUT
        ) as server,
    ):
        try:
            yield lambda path: json.loads(
                urllib3.request("GET", f"http://127.0.0.1:{port}/api/v1/{path}", retries=False, timeout=5).data
            )["data"]
        finally:
            server.kill()


def wait_for(found: Callable[[], Any]) -> Any:
    """Ask until the answer is not empty."""
    until_s = time.monotonic() + WITHIN_S
    while time.monotonic() < until_s:
        try:
            if answer := found():
                return answer
        except (urllib3.exceptions.HTTPError, KeyError, ValueError):
            pass  # it starts
        time.sleep(0.2)
    raise AssertionError("no answer in time")


def test_prometheus_scrapes_the_page_evaluates_the_rules_and_answers_the_dashboard(
    lake_copy: Path, tmp_path: Path
) -> None:
    workspace = workspace_of(lake_copy)
    handled = {("sqs", "done"): 1}
    waiting = EventState(handled=handled, pending=1, oldest_s=time.time() - 3_600, last_lag_s=5.0, removal_lag_s=6.0)
    port = free_port()
    stop = LiveMetrics(workspace, lambda: waiting).serve("127.0.0.1", port)
    try:
        with prometheus(tmp_path, port) as ask:

            def query(text: str) -> list[dict[str, Any]]:
                return list(ask(f"query?query={quote(text)}")["result"])

            [kept] = wait_for(lambda: query('trichord_publication_rows{fate="kept"}'))
            live = workspace.publications.require_live()
            assert float(kept["value"][1]) == live.counts.rows_kept
            assert kept["metric"]["lake"] == workspace.lake.root
            names = set(ask("label/__name__/values"))
            assert NAMES - names == {"trichord_run_cost"}, "the project has no rates"
            assert query("up")[0]["value"][1] == "1"

            def not_inactive() -> set[str]:
                rules = [rule for group in ask("rules")["groups"] for rule in group["rules"]]
                assert {rule["name"] for rule in rules} == {rule["alert"] for rule in RULES}
                return {rule["name"] for rule in rules if rule["state"] != "inactive" or rule["health"] != "ok"}

            # an event has waited for an hour, and the rule waits for five minutes; no other rule has a cause
            wait_for(lambda: not_inactive() == {"TrichordEventLag"})
            empty = [text for text in queries() if not query(text)]
            nothing_yet = ("== 0", "[", "trichord_run_cost")  # no check failed, no time has passed, there are no rates
            assert all(any(part in text for part in nothing_yet) for text in empty), empty
    finally:
        stop()
