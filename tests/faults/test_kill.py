"""Old or new, never between (law 4), and a rerun ends where an undisturbed run ends (law 1)."""

from __future__ import annotations

from tests.faults.kill import measure


def test_killed_drivers_and_workers_leave_old_or_new_and_a_rerun_converges():
    found = measure(driver=3, worker=2, records=60)
    assert found["driver"]["converged"] == found["driver"]["kills"]
    assert found["driver"]["wrong"] == {}
    assert found["driver"]["reads"] > 0
    assert found["worker"]["converged"] == found["worker"]["kills"], found["worker"]["details"]
