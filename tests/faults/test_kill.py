"""Readers see the old index or the new, never between, and a rerun ends where an undisturbed run ends."""

from __future__ import annotations

import pytest

from tests.faults.kill import measure


@pytest.mark.parametrize(("drivers", "workers"), [(2, 1), pytest.param(8, 4, marks=pytest.mark.full)])
def test_killed_drivers_and_workers_leave_old_or_new_and_a_rerun_converges(drivers, workers):
    found = measure(driver=drivers, worker=workers, records=40)
    assert found["driver"]["converged"] == found["driver"]["kills"] == drivers
    assert found["driver"]["wrong"] == {}
    assert found["driver"]["reads"] > 0
    assert found["worker"]["converged"] == found["worker"]["kills"] == workers, found["worker"]["details"]
