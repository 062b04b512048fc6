"""CPU seconds of this process and of all that it has started: workers count while they live."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")
_FIRST = 11  # of user, system, and those of reaped children, behind a process's name in its `stat`


def used_cpu_s() -> float:
    """Return CPU seconds, user and system, so far. Processes on other machines, or that left this one, do not count."""
    mine = os.times()
    total = mine.user + mine.system + mine.children_user + mine.children_system
    waiting = _children(os.getpid())
    while waiting:
        pid = waiting.pop()
        with suppress(OSError, ValueError):  # it has ended
            fields = Path("/proc", str(pid), "stat").read_text().rpartition(")")[2].split()
            total += sum(map(int, fields[_FIRST : _FIRST + 4])) / _TICKS
            waiting += _children(pid)
    return total


def _children(pid: int) -> list[int]:
    found: list[int] = []
    with suppress(OSError):
        for thread in os.listdir(f"/proc/{pid}/task"):
            with suppress(OSError):
                found += map(int, Path(f"/proc/{pid}/task/{thread}/children").read_text().split())
    return found
