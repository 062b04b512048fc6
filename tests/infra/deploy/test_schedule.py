"""Schedules of cron, checked and as systemd writes them."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from trichord.infra.deploy.schedule import calendar, check_cron
from trichord.infra.errors import ConfigError

KNOWN = {
    "0 2 * * *": "*-*-* 02:00:00 Etc/UTC",
    "30 2 * * 1-5": "Mon,Tue,Wed,Thu,Fri *-*-* 02:30:00 Etc/UTC",
    "*/15 1-3 * * 0": "Sun *-*-* 01..03:00/15:00 Etc/UTC",
    "0 4 1,15 */2 *": "*-01/2-01,15 04:00:00 Etc/UTC",
    "5 0 * 12 7": "Sun *-12-* 00:05:00 Etc/UTC",
    "0 */6 * * *": "*-*-* 00/6:00:00 Etc/UTC",
    "0 8-18/2 * * *": "*-*-* 08..18/2:00:00 Etc/UTC",
    "0 3 * * */2": "Sun,Tue,Thu,Sat *-*-* 03:00:00 Etc/UTC",
}


@pytest.mark.parametrize(("cron", "wanted"), KNOWN.items())
def test_a_schedule_of_cron_is_one_of_systemd(cron, wanted):
    check_cron(cron)
    assert calendar(cron, "Etc/UTC") == wanted
    if program := shutil.which("systemd-analyze"):
        done = subprocess.run([program, "calendar", wanted], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr


def test_days_of_the_month_and_of_the_week_cannot_both_be_limited():
    check_cron("0 2 1 * 1")
    with pytest.raises(ConfigError, match="Limit one of them"):
        calendar("0 2 1 * 1", "Etc/UTC")


@pytest.mark.parametrize(
    "cron", ["0 2 30 2 *", "0 2 31 4 *", "0 2 31 4,6,9,11 *", "0 2 30,31 2 *", "0 2 31 2-2 *", "0 2 31 4-6/2 *",
             "0 2 30-31 2 *", "0 2 30/1 2 *", "*/5 * 30 2 */2"],
)  # fmt: skip
def test_a_schedule_that_is_never_met_is_refused(cron):
    with pytest.raises(ConfigError, match="never met"):
        check_cron(cron)


@pytest.mark.parametrize(
    "cron", ["0 2 29 2 *", "0 2 31 2-3 *", "0 2 31 */3 *", "0 2 28-31 2 *", "0 2 */31 2 *", "0 2 31 * *", "0 2 31 2 1"],
)  # fmt: skip
def test_a_schedule_that_is_met_in_some_year_is_not_refused(cron):
    check_cron(cron)


@pytest.mark.parametrize(
    "cron", ["", " ", "0 2 * *", "0 2 * * * *", "60 2 * * *", "0 24 * * *", "0 2 0 * *", "0 2 * 13 *", "0 2 * * 8",
             "0 5-2 * * *", "a 2 * * *", "0 2 * * mon", "*/0 2 * * *", "0  2 * * *", "0 2 * * *\n"],
)  # fmt: skip
def test_what_is_no_schedule_is_refused(cron):
    with pytest.raises(ConfigError, match="--schedule"):
        check_cron(cron)
