"""Lease: one run at a time changes a lake's tables, and one that lost its turn cannot commit.

A lease is a numbered file beside the notes of `presence`; it holds the name of its holder's note, and the highest
number counts. Whoever writes the next number first has it, as a store refuses a second file of one name. It lasts for
as long as its holder's note is refreshed, and ends at once where that process ended on this machine. The number fences:
a holder that was suspended until others took it for dead finds a higher number, or none, when it comes back to commit.

After Martin Kleppmann, "How to do distributed locking" (2016).
"""

from __future__ import annotations

import datetime
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from trichord.infra import log
from trichord.infra.errors import CommitConflict, LeaseTaken, TrichordError
from trichord.infra.lake import layout
from trichord.infra.lake.lake import Lake
from trichord.infra.lake.presence import LOST_S, Note, Presence, at_work

LEASE_S = LOST_S  # it lasts for this long after its holder's note was refreshed
_POLL_S = 0.5
_MOST_BYTES = 1_000
_held: dict[tuple[str, int], Lease] = {}  # by the lake's root and the thread, in which all commits of a run are made


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to commit, under a number that grows from run to run."""

    lake: Lake
    presence: Presence
    number: int

    def require_held(self) -> None:
        """Raise unless this run may still commit.

        Raises:
            CommitConflict: it was suspended for longer than a lease lasts, or another run has taken over.
        """
        self.presence.require_fresh(LEASE_S)
        if max(_numbers(self.lake), default=0) != self.number or _holder(self.lake, self.number) != self.presence.name:
            raise CommitConflict(
                f"This run lost its lease on {self.lake.root} (number {self.number}) to another one. What it has made "
                "is kept, and nothing more of it is committed.\nRun the command again; it resumes."
            )


@contextmanager
def leased(lake: Lake, verb: str, *, wait: bool = False) -> Iterator[Lease]:
    """Hold the lease of a lake while the block runs, and be at work on it (`presence.at_work`).

    A block within another one of the same thread shares its lease.

    Args:
        lake: the lake.
        verb: what others are told that this run does.
        wait: wait for another run to end.

    Raises:
        LeaseTaken: another run holds it, and `wait` is False.
        StorageError: the lake cannot be read or written.
    """
    place = (lake.root, threading.get_ident())
    if place in _held:
        yield _held[place]
        return
    with at_work(lake, verb) as own:
        lease = _take(lake, own, wait)
        _held[place] = lease
        try:
            yield lease
        finally:
            del _held[place]
            with suppress(TrichordError):  # the store is gone: what follows from that is the block's own error
                if _holder(lake, lease.number) == own.name:
                    lake.delete(layout.lease_path(lease.number))


def require_held(lake: Lake) -> None:
    """Raise if this thread's run on the lake has lost its lease; one that never took a lease may commit."""
    lease = _held.get((lake.root, threading.get_ident()))
    if lease is not None:
        lease.require_held()


def _take(lake: Lake, own: Presence, wait: bool) -> Lease:
    said = False
    while True:
        newest = max(_numbers(lake), default=0)
        holder = _living_holder(lake, own, newest)
        if holder is None:
            lease = Lease(lake, own, newest + 1)
            wrote = lake.write_if_absent(layout.lease_path(lease.number), own.name.encode())
            if wrote or _holder(lake, lease.number) == own.name:  # the answer to a write may be lost
                numbers = _numbers(lake)
                newest_now = max(numbers, default=0)
                for number in numbers:
                    if number < newest_now:  # also its own, where others went on while this process stood still
                        lake.delete(layout.lease_path(number))
                if newest_now == lease.number:
                    return lease
            continue
        if not wait:
            raise LeaseTaken(
                f"`trichord {holder.verb}` is running on {lake.root} already, since {_since(lake, newest)} "
                f"({holder.whereabouts()}). Nothing was touched.\n"
                "Next: run the command again when it has ended."
            )
        if not said:
            log.event("waiting_for_run", verb=holder.verb, holder=holder.whereabouts())
        said = True
        time.sleep(_POLL_S)


def _living_holder(lake: Lake, own: Presence, number: int) -> Note | None:
    """Return the note of a lease's holder if it is at work; None if it has ended, or was not refreshed for too long."""
    name = _holder(lake, number) if number else None
    notes = [note for note in own.others("run") if note.path.rsplit("/", 1)[-1] == name]
    return next((note for note in notes if own.seen_ns - note.seen_ns < LEASE_S * 1e9), None)


def _since(lake: Lake, number: int) -> str:
    """Return when a lease was taken, by the store's clock, for people."""
    try:
        taken_ns = lake.storage.stat(lake.uri(layout.lease_path(number))).mtime_ns
    except FileNotFoundError:  # it has just ended
        return "now"
    return datetime.datetime.fromtimestamp(taken_ns / 1e9, datetime.UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def _numbers(lake: Lake) -> list[int]:
    found = (layout.lease_number(lake.relative(stat.uri)) for stat in lake.list(layout.PRESENCE))
    return [number for number in found if number is not None]


def _holder(lake: Lake, number: int) -> str | None:
    """Return the name of the note of a lease's holder; None where there is none with this number, or it is damaged."""
    try:
        return lake.read(layout.lease_path(number), max_bytes=_MOST_BYTES).decode("ascii")
    except (FileNotFoundError, UnicodeDecodeError):
        return None
