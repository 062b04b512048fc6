"""What an installation takes from infra/deploy/: alert rules that fire for what they are for, and a dashboard that asks
for what there is. promtool (Debian: `prometheus`) parses both; TRICHORD_PROMTOOL=1 demands it."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from trichord.pipelines.observe.metrics import METRICS, NAMES

REPOSITORY = Path(__file__).parents[3]
DEPLOY = REPOSITORY / "infra" / "deploy"
ALERTS, DASHBOARD = DEPLOY / "prometheus" / "alerts.yml", DEPLOY / "grafana" / "trichord.json"
PAGE = REPOSITORY / "docs" / "observability.md"
LABELS = {metric.name: {"lake", *metric.labels} for metric in METRICS}
RULES = [rule for group in yaml.safe_load(ALERTS.read_text())["groups"] for rule in group["rules"]]


def promtool(*arguments: str) -> str:
    """Run promtool; skip the test where it is not installed and nobody demands it."""
    path = shutil.which("promtool")
    if path is None:
        assert not os.environ.get("TRICHORD_PROMTOOL"), "TRICHORD_PROMTOOL demands promtool: apt-get install prometheus"
        pytest.skip("promtool is not installed: apt-get install prometheus")
    done = subprocess.run([path, *arguments], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def queries() -> list[str]:
    """Every query of the dashboard, its variables replaced."""
    dashboard = json.loads(DASHBOARD.read_text())
    panels: list[dict[str, Any]] = dashboard["panels"]
    asked = [target["expr"] for panel in panels for target in panel["targets"]]
    asked += [one["expr"] for one in dashboard["annotations"]["list"]]
    return [query.replace("$lake", ".*") for query in asked]


def selectors(query: str) -> list[tuple[str, set[str]]]:
    """The metrics of a query, each with the labels that it is selected by."""
    found = re.findall(r"\b(trichord_\w+)(?:\{([^}]*)\})?", query)
    return [(name, set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", inside))) for name, inside in found]


def test_there_are_eight_alerts_and_each_is_described() -> None:
    names = [rule["alert"] for rule in RULES]
    assert len(names) == len(set(names)) == 8
    page = PAGE.read_text(encoding="utf-8")
    for rule in RULES:
        assert f"`{rule['alert']}`" in page
        assert rule["labels"]["severity"] in ("critical", "warning")
        assert "Next: " in rule["annotations"]["description"] or "trichord " in rule["annotations"]["description"]


@pytest.mark.parametrize("query", [*(rule["expr"] for rule in RULES), *queries()])
def test_every_metric_and_label_that_is_asked_for_exists(query: str) -> None:
    asked = selectors(query)
    assert asked
    for name, labels in asked:
        assert name in NAMES, query
        assert labels <= LABELS[name], query
    grouped = {label.strip() for inside in re.findall(r"\b(?:by|on) \(([^)]*)\)", query) for label in inside.split(",")}
    assert grouped <= set().union(*(LABELS[name] for name, _ in asked)), query


def test_every_alert_fires_on_its_case_and_not_before(tmp_path: Path) -> None:
    cases = (Path(__file__).parent / "alerts_test.yml").read_text().replace("ALERTS", str(ALERTS))
    (tmp_path / "cases.yml").write_text(cases)
    assert "SUCCESS" in promtool("test", "rules", str(tmp_path / "cases.yml"))
    tested = {one["alertname"] for case in yaml.safe_load(cases)["tests"] for one in case["alert_rule_test"]
              if one["exp_alerts"]}  # fmt: skip
    assert tested == {rule["alert"] for rule in RULES}


def test_every_query_of_the_dashboard_parses(tmp_path: Path) -> None:
    rules = [{"record": f"query:{number}", "expr": query} for number, query in enumerate(queries())]
    path = tmp_path / "queries.yml"
    path.write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": rules}]}))
    assert f"{len(rules)} rules found" in promtool("check", "rules", "--lint=none", str(path))


def test_a_query_that_does_not_parse_is_found(tmp_path: Path) -> None:
    path = tmp_path / "queries.yml"
    rules = [{"record": "query:0", "expr": queries()[0] + ")"}]
    path.write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": rules}]}))
    with pytest.raises(AssertionError, match="could not parse"):
        promtool("check", "rules", str(path))


def test_the_panels_lie_beside_each_other() -> None:
    panels = json.loads(DASHBOARD.read_text())["panels"]
    cells = [
        (x, y)
        for place in (panel["gridPos"] for panel in panels)
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    ]
    assert len(cells) == len(set(cells))
    assert max(x for x, _ in cells) == 23
    assert len({panel["id"] for panel in panels}) == len(panels)
