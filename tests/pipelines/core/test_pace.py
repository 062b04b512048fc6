"""A long step says how fast it goes and how long it will take."""

from __future__ import annotations

from trichord.pipelines.core.pace import EVERY_S, Pace


def test_rate_and_time_left_follow_from_the_rows_done():
    now = [100.0]
    pace = Pace(800, clock=lambda: now[0])
    assert pace.report() == {"done": 0, "of": 800, "rows_per_s": 0.0, "left_s": 0}
    now[0] += 20
    pace.add(200)
    assert pace.report() == {"done": 200, "of": 800, "rows_per_s": 10.0, "left_s": 60}
    now[0] += 20
    pace.add(600)
    assert pace.report() == {"done": 800, "of": 800, "rows_per_s": 20.0, "left_s": 0}


def test_a_report_is_due_now_and_then_while_rows_are_left():
    now = [0.0]
    pace = Pace(10, clock=lambda: now[0])
    pace.add(5)
    assert not pace.due()
    now[0] += EVERY_S
    assert pace.due()
    pace.report()
    assert not pace.due()
    now[0] += EVERY_S
    pace.add(5)
    assert not pace.due()  # nothing is left: the finished shard is reported
