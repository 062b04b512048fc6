"""Checks of the lake's store: it writes, of racing writers lets one win, agrees on the time, and has room."""

from __future__ import annotations

import os
import secrets
import shutil
import tempfile
import threading
import time

from trichord.infra.errors import StorageError
from trichord.infra.lake import layout
from trichord.infra.lake.lake import Lake
from trichord.infra.lake.presence import LOST_S
from trichord.pipelines.core.runs import last_runs

ROUNDS = 3
SKEW_S = 60.0  # stores refuse signatures of another time: S3 from 15 minutes on
LEAST_FREE = 1 << 30  # bytes, where no run says what is needed
_ROOM = 2  # times what the last run wrote: shards of the night before stay until `gc`


def write_probe(lake: Lake) -> str:
    """Write and remove a file."""
    path = _probe()
    lake.write(path, b"probe")
    lake.delete(path)
    return f"{lake.root} can be written"


def race_writers(lake: Lake) -> str:
    """Let two writers create the same file at once, a few times: one must win, and what it wrote must stay.

    Commits and the lease rest on it: where both win, two runs can publish over each other.

    Raises:
        StorageError: both won or none, or what the loser wrote is there.
    """
    for _ in range(ROUNDS):
        path = _probe()
        try:
            won = _race(lake, path)
            again = lake.write_if_absent(path, b"2")
            kept = lake.read(path)
        finally:
            lake.delete(path)
        if won.count(True) != 1 or again or kept != b"%d" % won.index(True):
            raise StorageError(
                f"of two writers that create a file in {lake.root} at once, {won.count(True)} won"
                f"{', and a third one replaced it' if again else ''}\n"
                "Two runs could publish over each other. Use a store that keeps conditional writes (If-None-Match), "
                "or a file system with hard links."
            )
    return f"one of two writers wins, {ROUNDS} times"


def _race(lake: Lake, path: str) -> list[bool]:
    """Return who of two won; by threads that do not keep the process alive where the store does not answer."""
    barrier, won, errors = threading.Barrier(2), [False, False], list[Exception]()

    def write(number: int) -> None:
        barrier.wait()
        try:
            won[number] = lake.write_if_absent(path, b"%d" % number)
        except Exception as error:  # noqa: BLE001 - raised again below
            errors.append(error)

    threads = [threading.Thread(target=write, args=(number,), daemon=True) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
    return won


def compare_clocks(lake: Lake) -> str:
    """Compare this machine's clock with the time that the store gives to a file.

    Raises:
        StorageError: they differ by more than a minute.
    """
    path, before_s = _probe(), time.time()
    lake.write(path, b"probe")
    try:
        after_s, store_s = time.time(), lake.storage.stat(lake.uri(path)).mtime_ns / 1e9
    finally:
        lake.delete(path)
    # a store may give whole seconds, cut off
    ahead_s = before_s - store_s - 1 if store_s < before_s - 1 else min(0.0, after_s - store_s)
    if abs(ahead_s) > SKEW_S:
        raise StorageError(
            f"this machine's clock is {abs(ahead_s):,.0f} s {'ahead of' if ahead_s > 0 else 'behind'} that of "
            f"{lake.root}\nStores refuse requests signed at another time, and nights would be counted wrongly. "
            f"(Leases are safe: they expire after {LOST_S:.0f} s of the store's own time.) Set the clock: "
            "timedatectl set-ntp true."
        )
    return f"within {max(1.0, abs(ahead_s)):.0f} s of the store's"


def measure_room(lake: Lake) -> str:
    """Compare the free space of the lake's disk and of temporary files with what the last runs wrote.

    Raises:
        StorageError: there is less than twice that, or less than 1 GiB where no run has said.
    """
    written = max((run.bytes_written for run in last_runs(lake)), default=0)
    needed = _ROOM * written if written else LEAST_FREE
    places = {"TMPDIR": tempfile.gettempdir()} | ({} if lake.remote else {"lake": _existing(lake.root)})
    free = {name: shutil.disk_usage(place).free for name, place in places.items()}
    found = ", ".join(f"{name} {_size(size)} free" for name, size in sorted(free.items()))
    found += f"; a run wrote {_size(written)}" if written else "; no run yet"
    if short := sorted(name for name, size in free.items() if size < needed):
        raise StorageError(
            f"{found}\nLess than {_size(needed)} in {' and '.join(short)}: free some space (`trichord gc --delete`), "
            "or use another disk (`lake`; for temporary files the variable TMPDIR)."
        )
    return found


def _probe() -> str:
    return layout.probe_path(secrets.token_hex(8))


def _existing(folder: str) -> str:
    while not os.path.isdir(folder):
        folder = os.path.dirname(folder)
    return folder


def _size(count: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1_000:
            return f"{count:.0f} {unit}"
        count /= 1_000
    return f"{count:,.1f} TB"
