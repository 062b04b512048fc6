"""Presence: of a run and a `gc` that start at once, at least one sees the other, and the dead do not count."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from contextlib import ExitStack
from itertools import permutations

import pytest

from trichord.infra import log
from trichord.infra.errors import CommitConflict
from trichord.infra.lake import layout, presence
from trichord.infra.lake.lake import Lake
from trichord.infra.lake.presence import LOST_S, Note, Presence, Role, at_work, present

ELSEWHERE = "{role}-{role}-0123456789ab-7-7-00ff"
KILLED = (
    "import os, signal, sys\n"
    "from trichord.infra.config import StorageConfig\n"
    "from trichord.infra.lake.lake import Lake\n"
    "from trichord.infra.lake.presence import present\n"
    "from trichord.infra.lake.storage import Storage\n"
    "with present(Lake(Storage(StorageConfig()), sys.argv[1]), sys.argv[2], 'some_verb'):\n"
    "    os.kill(os.getpid(), signal.SIGKILL)\n"
)


def notes(lake) -> list[str]:
    return [lake.relative(stat.uri) for stat in lake.list(layout.PRESENCE)]


def test_each_sees_the_other_while_it_is_at_work_and_nothing_is_left(place):
    lake = place.lake
    with at_work(lake, "reindex"), present(lake, "gc", "gc") as own:
        assert [note.verb for note in own.others("run")] == ["reindex"]
        assert own.others("gc") == []
    with present(lake, "gc", "gc") as own:
        assert own.others("run") == []
    assert notes(lake) == []


def test_in_every_order_of_writing_and_looking_one_sees_the_other(place):
    run, collect = ("run writes", "run looks"), ("gc writes", "gc looks")
    orders = [
        order
        for order in permutations((*run, *collect))
        if order.index(run[0]) < order.index(run[1]) and order.index(collect[0]) < order.index(collect[1])
    ]
    assert len(orders) == 6
    for order in orders:
        own: dict[str, Presence] = {}
        seen: list[Note] = []
        with ExitStack() as opened:
            for step in order:
                role: Role = "run" if step in run else "gc"
                if step.endswith("writes"):
                    own[role] = opened.enter_context(present(place.lake, role, role))
                else:
                    seen += own[role].others("gc" if role == "run" else "run")
        assert seen, order


@pytest.mark.parametrize("role", ["run", "gc"])
def test_a_killed_process_counts_no_more_and_its_note_goes(storage, tmp_path, role):

    lake = Lake(storage, str(tmp_path))
    killed = subprocess.run([sys.executable, "-c", KILLED, lake.root, role], check=False, timeout=60)
    assert killed.returncode == -9
    assert len(notes(lake)) == 1
    with at_work(lake, "reindex"):  # of a killed gc it would wait for ever
        assert len(notes(lake)) == 1
    assert notes(lake) == []


def test_a_process_elsewhere_counts_until_it_was_silent_for_long(storage, tmp_path):

    lake = Lake(storage, str(tmp_path))
    path = layout.presence_path(ELSEWHERE.format(role="run"))
    lake.write(path, b"")
    with present(lake, "gc", "gc") as own:
        assert [note.verb for note in own.others("run")] == ["run"]
        silent_ns = os.stat(lake.uri(path)).st_mtime_ns - int((LOST_S + 1) * 1e9)
        os.utime(lake.uri(path), ns=(silent_ns, silent_ns))
        assert own.others("run") == []
    assert notes(lake) == []


def test_a_run_waits_until_gc_has_ended(place, monkeypatch):
    lake, waiting = place.lake, threading.Event()
    monkeypatch.setattr(log, "event", lambda name, **fields: waiting.set())
    path = layout.presence_path(ELSEWHERE.format(role="gc"))
    lake.write(path, b"")
    done = []

    def run() -> None:
        with at_work(lake, "reindex"):
            done.append(lake.exists(path))

    thread = threading.Thread(target=run)
    thread.start()
    assert waiting.wait(60)
    assert done == []
    lake.delete(path)
    thread.join(60)
    assert done == [False]


def test_a_gc_that_was_suspended_removes_nothing_more(place, monkeypatch):
    with present(place.lake, "gc", "gc") as own:
        own.require_fresh()
        now_s = presence._clock_s()
        monkeypatch.setattr(presence, "_clock_s", lambda: now_s + LOST_S)
        with pytest.raises(CommitConflict, match="Run the command again"):
            own.require_fresh()
