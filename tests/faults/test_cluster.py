"""A backfill on a cluster that is disturbed ends where an undisturbed night ends, and queries go on."""

from __future__ import annotations

import pytest

from tests.faults.cluster import measure
from tests.ray_cluster import is_possible
from tests.sqs_server import CREDENTIALS


@pytest.mark.cluster
@pytest.mark.skipif(not is_possible(), reason="needs root and iproute2 for a network namespace")
def test_a_disturbed_backfill_converges_while_queries_are_answered(monkeypatch):
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    found = measure(records=480)
    assert found["digest_equal"]
    assert found["by_event_equal"]
    assert [
        (job["status"], job["code"], job["clean"]) for job in (found["jobs"][0], found["jobs"][1]["disturbed"])
    ] == [
        ("STOPPED", 143, True),
        ("STOPPED", 143, True),
    ]
    assert [found["jobs"][number]["disturbed"]["killed"] for number in (1, 2)] == [True, True]
    assert (found["failed"], found["mixed"]) == ({}, 0)
    assert found["old"] > 0
    assert found["new"] > 0
