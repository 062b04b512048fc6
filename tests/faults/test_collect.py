"""`gc --delete` in a process of its own, over and over, beside runs that find shards of old."""

from __future__ import annotations

import pytest

from tests.faults.collect import measure


@pytest.mark.sweep
def test_runs_beside_a_collector_end_well():
    found = measure(times=4, records=40)
    assert found["codes"] == {"0": 4}
    assert (found["converged"], found["clean"], found["left"]) == (4, 4, [])
    assert found["gc"]["waited"] > 0
