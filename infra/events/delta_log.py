"""New versions of Delta tables: the file of the next version is looked for on a clock."""

from __future__ import annotations

import re
import threading
from collections.abc import Mapping, Sequence

from trichord.infra import log
from trichord.infra.errors import TrichordError
from trichord.infra.events.event import Event
from trichord.infra.events.inbox import Inbox
from trichord.infra.lake.storage import Storage

_COMMIT = re.compile(r"(\d{20})\.json")


class DeltaPoll:
    """A channel from the logs of Delta tables.

    Args:
        tables: name of a source -> URI of its table.
        storage: reads the logs.
        inbox: takes the events.
        every_s: seconds between looks.
    """

    name = "delta"

    def __init__(self, tables: Mapping[str, str], storage: Storage, inbox: Inbox, every_s: float) -> None:
        self._tables, self._storage, self._inbox, self._every_s = tables, storage, inbox, every_s
        self._known: dict[str, int] = {}
        self._stopping = threading.Event()
        self._problem: str | None = None

    def start(self) -> None:
        """Note the present versions, and begin to look for later ones."""
        for name in self._tables:
            self._known[name] = self._newest(name)
        threading.Thread(target=self._run, name="delta-poll", daemon=True).start()

    def stop(self) -> None:
        """Look no more."""
        self._stopping.set()

    def acknowledge(self, receipts: Sequence[str]) -> None:
        """Do nothing: the log stays. What a killed watcher knew of, its first sweep finds."""

    def problem(self) -> str | None:
        """Return why a log could not be read at the last look."""
        return self._problem

    def look(self) -> None:
        """Look once, and offer an event for each table that has a new version."""
        self._problem = None
        for name in self._tables:
            try:
                version = self._later(name)
            except TrichordError as error:
                self._problem = str(error).splitlines()[0]
                log.event("delta_log_unreadable", source=name, detail=self._problem)
                continue
            if version > self._known[name] and self._inbox.offer(self, "", [Event(source=name)]) == "accepted":
                self._known[name] = version

    def _run(self) -> None:
        while not self._stopping.wait(self._every_s):
            self.look()

    def _later(self, name: str) -> int:
        version = self._known[name]
        if version < 0:
            return self._newest(name)
        while self._storage.exists(f"{self._log(name)}/{version + 1:020d}.json"):
            version += 1
        return version

    def _newest(self, name: str) -> int:
        """Return the newest version of a table; -1 if there is none yet."""
        found = (_COMMIT.fullmatch(stat.uri.rsplit("/", 1)[-1]) for stat in self._storage.list(self._log(name)))
        return max((int(match[1]) for match in found if match), default=-1)

    def _log(self, name: str) -> str:
        return f"{self._tables[name].rstrip('/')}/_delta_log"
