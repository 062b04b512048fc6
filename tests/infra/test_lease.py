"""Lease: of many runs one commits at a time, and one that lost its turn cannot."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.conftest import Place
from tests.infra.test_table import make_shard, reconcile
from trichord.infra.errors import CommitConflict, LeaseTaken
from trichord.infra.lake import layout, lease, presence
from trichord.infra.lake.lake import Lake
from trichord.infra.lake.lease import leased
from trichord.infra.lake.storage import Storage
from trichord.infra.lake.table import LakeTable

HOLDER = """
import os, signal, sys
from tests.infra.test_lease import hold_and_commit
hold_and_commit(sys.argv[1], sys.argv[2], float(sys.argv[3]))
"""


def hold_and_commit(root: str, end: str, lost_s: float) -> None:
    """Take the lease, say so, then end by SIGKILL or, once it is told to on stdin, commit."""
    from trichord.infra.config import StorageConfig

    lease.LEASE_S, presence.BEAT_S = lost_s, lost_s / 10
    place = Place(Storage(StorageConfig()), root)
    with leased(place.lake, "reindex"):
        sys.stdout.write("held\n")
        sys.stdout.flush()
        if end == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        sys.stdin.readline()
        try:
            reconcile(LakeTable(place.lake, "signatures"), [make_shard(place, 1)], "first")
        except CommitConflict as error:
            sys.stdout.write(f"refused: {str(error).splitlines()[0]}\n")
        else:
            sys.stdout.write("committed\n")


def holder(root: str, end: str, lost_s: float = presence.LOST_S) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", HOLDER, root, end, str(lost_s)]
    started = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2]
    )
    assert started.stdout is not None
    assert started.stdout.readline() == "held\n"
    return started


def notes(lake: Lake) -> list[str]:
    return [lake.relative(stat.uri) for stat in lake.list(layout.PRESENCE)]


def test_another_run_is_refused_with_the_first_one_s_verb_and_time(place: Place) -> None:
    def second() -> None:
        with leased(place.lake, "prepare"):
            pytest.fail("two runs at once")

    with leased(place.lake, "reindex") as first, leased(place.lake, "replay") as inner, ThreadPoolExecutor(1) as pool:
        assert inner is first, "a job within a job"
        with pytest.raises(LeaseTaken, match=r"`trichord reindex` is running on .* already, since 20\d\d-.* UTC"):
            pool.submit(second).result()
        first.require_held()
    assert notes(place.lake) == []


def test_of_runs_that_start_at_once_one_is_at_work_at_a_time(place: Place) -> None:
    at_once, most, ended, lock = 0, 0, [], threading.Lock()

    def run(number: int) -> None:
        nonlocal at_once, most
        with leased(place.lake, "reindex", wait=True) as own:
            with lock:
                at_once += 1
                most = max(most, at_once)
            own.require_held()
            with lock:
                at_once -= 1
                ended.append(number)

    with ThreadPoolExecutor(5) as pool:
        list(pool.map(run, range(5)))
    assert (most, sorted(ended)) == (1, [0, 1, 2, 3, 4])
    assert notes(place.lake) == []


def test_a_killed_holder_is_followed_at_once(tmp_path: Path, storage: Storage) -> None:
    assert holder(str(tmp_path), "killed").wait(60) == -signal.SIGKILL
    lake = Lake(storage, str(tmp_path))
    assert len(notes(lake)) == 2
    with leased(lake, "reindex") as own:
        assert own.number == 2
    assert notes(lake) == []


def test_a_holder_that_was_suspended_beyond_its_lease_cannot_commit(
    tmp_path: Path, storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease, "LEASE_S", 1.0)
    monkeypatch.setattr(presence, "BEAT_S", 0.1)
    place = Place(storage, str(tmp_path))
    with holder(str(tmp_path), "commits", 1.0) as first:
        first.send_signal(signal.SIGSTOP)
        with pytest.raises(LeaseTaken), leased(place.lake, "reindex"):
            pass
        time.sleep(1.2)
        with leased(place.lake, "reindex"):
            first.send_signal(signal.SIGCONT)
            said, _ = first.communicate("go\n", timeout=60)
            assert "refused: " in said
            assert reconcile(LakeTable(place.lake, "signatures"), [make_shard(place, 2)]) == 0
    assert notes(place.lake) == []


def test_a_run_that_was_slow_to_take_the_next_number_does_not_get_an_old_one(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It looked when number 1 was next; by the time it writes that, others had 1 and 2, and 3 is held."""
    write, seen = Lake.write_if_absent, list[str]()

    def slowly(lake: Lake, path: str, data: bytes) -> bool:
        seen.append(path)
        if len(seen) == 1:
            write(lake, layout.lease_path(3), b"another run")
        return write(lake, path, data)

    monkeypatch.setattr(Lake, "write_if_absent", slowly)
    with leased(place.lake, "reindex") as own:
        assert own.number == 4, "3 is of a run that has ended, or never was"
    assert [layout.lease_number(path) for path in seen] == [1, 4]
    assert notes(place.lake) == []


def test_a_lost_answer_of_the_store_is_no_lost_lease(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    write = Lake.write_if_absent
    monkeypatch.setattr(Lake, "write_if_absent", lambda *given: write(*given) and False)
    with leased(place.lake, "reindex") as own:
        own.require_held()
