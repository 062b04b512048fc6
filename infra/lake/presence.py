"""Presence: by small notes in the lake, a run and a `gc` that removes files see each other.

A run relies on files that nothing names yet: finished shards of an earlier run, and its own until they are committed.
So `gc` removes nothing while a run is at work. A lock would have to hold on every store and survive `kill -9`; instead
each side writes its note *before* it looks for the other's, so at least one of two that start at once sees the other:

| | writes its note, then | if it finds one |
|---|---|---|
| a run | looks for notes of `gc` | waits until they are gone |
| `gc --delete` | looks for notes of runs | removes its own note, and no file |

A note is an empty file; its name says whose it is, so that looking takes one listing and a full disk has room for it.
The note of a process that has ended does not count and is removed. On the same machine its pid shows that; elsewhere,
that it was not refreshed for `LOST_S`. Times are compared as the store itself set them, so clocks may differ.
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from typing import Literal

from trichord.infra import ending, log
from trichord.infra.errors import CommitConflict, TrichordError
from trichord.infra.lake import layout
from trichord.infra.lake.lake import Lake
from trichord.infra.lake.storage import Stat

BEAT_S = 10.0  # a note is refreshed this often
LOST_S = 120.0  # a note of another machine counts for this long after it was refreshed
_POLL_S = 0.5

Role = Literal["run", "gc"]
_NAME = re.compile(r"(?P<role>run|gc)-(?P<verb>[a-z_]+)-(?P<machine>[0-9a-f]{12})-(?P<pid>\d+)-(?P<born>\d+)-[0-9a-f]+")


@dataclass(frozen=True, slots=True)
class Note:
    """The note of a process at work: what it does, where it runs, and when the store last saw it refreshed."""

    path: str
    role: str
    verb: str
    machine: str
    pid: int
    born: int
    seen_ns: int

    @classmethod
    def of(cls, lake: Lake, stat: Stat) -> Note | None:
        """Parse a listed note; None for another file."""
        path = lake.relative(stat.uri)
        found = _NAME.fullmatch(path.rsplit("/", 1)[-1])
        if found is None:
            return None
        pid, born = int(found["pid"]), int(found["born"])
        return cls(path, found["role"], found["verb"], found["machine"], pid, born, stat.mtime_ns)

    def whereabouts(self) -> str:
        """Say where the process is, for people."""
        here = f"process {self.pid} of this machine"
        return here if self.machine == _machine() else f"process {self.pid} of another machine"

    def is_alive(self, now_ns: int) -> bool:
        """Return True unless its process has ended; `now_ns` is the store's time."""
        if self.machine == _machine() and self.born:
            return _born(self.pid) == self.born
        return now_ns - self.seen_ns < LOST_S * 1e9


class Presence:
    """This process's note, refreshed by a thread for as long as the block of `present` runs.

    Attributes:
        name: the note's.
        seen_ns: the store's time when `others` last looked.
    """

    def __init__(self, lake: Lake, role: Role, verb: str) -> None:
        pid = os.getpid()
        name = f"{role}-{verb}-{_machine()}-{pid}-{_born(pid) or 0}-{secrets.token_hex(8)}"
        self.name, self.seen_ns = name, 0
        self._lake, self._path = lake, layout.presence_path(name)
        self._ended = threading.Event()
        self._refreshed_s = 0.0
        self._refresh()
        self._thread = threading.Thread(target=self._keep_fresh, daemon=True)
        self._thread.start()

    def others(self, role: Role) -> list[Note]:
        """Return the notes of living processes of a role; the notes of dead ones of any role are removed."""
        self._refresh()
        found = list[Note]()
        for stat in self._lake.list(layout.PRESENCE):
            note = Note.of(self._lake, stat)
            if note is not None and note.path == self._path:
                self.seen_ns = note.seen_ns
            elif note is not None:
                found.append(note)
        alive = [note for note in found if note.is_alive(self.seen_ns)]
        for note in found:
            if note not in alive:
                self._lake.delete(note.path)
        return [note for note in alive if note.role == role]

    def require_fresh(self, most_s: float = LOST_S / 2) -> None:
        """Raise unless others still see this process: one that was suspended may have been taken for dead.

        Raises:
            CommitConflict: the note was not refreshed for longer than `most_s`.
        """
        behind_s = _clock_s() - self._refreshed_s
        if behind_s > most_s:
            raise CommitConflict(
                f"This process was suspended for {behind_s:.0f} s, or could not write to {self._lake.root}. A run may "
                "have started meanwhile, so nothing more was changed.\nRun the command again; it resumes."
            )

    def close(self) -> None:
        """Remove the note."""
        self._ended.set()
        self._thread.join()
        self._lake.delete(self._path)

    def _refresh(self) -> None:
        started_s = _clock_s()
        self._lake.write(self._path, b"")
        self._refreshed_s = started_s

    def _keep_fresh(self) -> None:
        while not self._ended.wait(BEAT_S):
            try:
                self._refresh()
            except TrichordError as error:
                log.event("presence_not_refreshed", detail=str(error))


@contextmanager
def present(lake: Lake, role: Role, verb: str) -> Iterator[Presence]:
    """Let others on this lake see that this process is at work while the block runs.

    Raises:
        StorageError: the note cannot be written.
    """
    own = Presence(lake, role, verb)
    ending.begin(verb)
    try:
        yield own
    finally:
        with suppress(TrichordError):  # the store is gone: what follows from that is the block's own error
            own.close()


@contextmanager
def at_work(lake: Lake, verb: str) -> Iterator[Presence]:
    """Keep `gc` from removing files while the block runs. Wait first for one that is removing files to end.

    Raises:
        StorageError: the lake cannot be read or written.
    """
    with present(lake, "run", verb) as own:
        waited = False
        while own.others("gc"):
            if not waited:
                log.event("waiting_for_gc")
            waited = True
            time.sleep(_POLL_S)
        yield own


@cache
def _machine() -> str:
    """Return a name for this boot of this machine and this space of process ids: within it, a pid names one process."""
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            boot = file.read().strip()
        space = os.readlink("/proc/self/ns/pid")
    except OSError:  # not Linux: a name that nobody else has, so that age alone decides
        boot, space = secrets.token_hex(16), ""
    return hashlib.sha256(f"{boot} {space}".encode()).hexdigest()[:12]


def _born(pid: int) -> int | None:
    """Return when a process of this machine started, in clock ticks; None where there is none, or it has ended."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
    except OSError:
        return None
    return None if fields[0] in (b"Z", b"X") else int(fields[19])


def _clock_s() -> float:
    """Return seconds on a clock that goes on while the machine is suspended, where there is one."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))
