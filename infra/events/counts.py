"""Counts of events, in one place: plain numbers that logs, results and metrics are made from."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Sequence
from typing import Literal

# accepted: waits for a run; done: its run is committed; repeated: looked at before; ignored: changes no content;
# refused: poison, or not signed; full: the inbox had no room
Fate = Literal["accepted", "done", "repeated", "ignored", "refused", "full"]


class Counts:
    """Numbers since the start; safe to change from several threads.

    Attributes:
        messages: (channel, fate) -> messages.
        runs: how runs ended ("committed", "unchanged", or the name of an error) -> runs.
        lag_s: sum over events of the seconds from the change (or the receipt, if its time is unknown) to the commit.
        lagged: events in that sum.
        last_lag_s: the longest lag of the last run.
        removal_lag_s: the longest lag of a deletion in the last run that handled one; None before.
        missed: rows that a sweep found changed and no event had named.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.messages: Counter[tuple[str, Fate]] = Counter()
        self.runs: Counter[str] = Counter()
        self.lag_s, self.lagged, self.last_lag_s, self.missed = 0.0, 0, 0.0, 0
        self.removal_lag_s: float | None = None

    def see(self, channel: str, fate: Fate, number: int = 1) -> None:
        """Count messages."""
        with self._lock:
            self.messages[channel, fate] += number

    def see_run(self, ended: str) -> None:
        """Count a run."""
        with self._lock:
            self.runs[ended] += 1

    def see_lags(self, lags_s: Sequence[float], of_deletions: Sequence[float] = ()) -> None:
        """Count the lags of the events of a run, and those of the deletions among them."""
        with self._lock:
            self.lag_s += sum(lags_s)
            self.lagged += len(lags_s)
            self.last_lag_s = max(lags_s, default=self.last_lag_s)
            self.removal_lag_s = max(of_deletions, default=self.removal_lag_s)

    def see_missed(self, rows: int) -> None:
        """Count rows that only a sweep found."""
        with self._lock:
            self.missed += rows

    def total(self, fate: Fate) -> int:
        """Return the messages of all channels with a fate."""
        with self._lock:
            return sum(number for (_, one), number in self.messages.items() if one == fate)

    def by_channel(self) -> dict[str, dict[str, int]]:
        """Return channel -> fate -> messages."""
        found: dict[str, dict[str, int]] = {}
        with self._lock:
            for (channel, fate), number in sorted(self.messages.items()):
                found.setdefault(channel, {})[fate] = number
        return found
