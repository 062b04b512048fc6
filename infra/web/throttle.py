"""Turns: how many requests go out at once, to how many hosts, and which hosts are given up."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from trichord.infra.config import WebConfig


@dataclass(frozen=True, slots=True)
class Clock:
    """What time it is, and waiting; replaced in tests."""

    now: Callable[[], float] = time.time  # seconds since 1970, kept in receipts
    monotonic: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep


class _Host:
    def __init__(self, slots: int) -> None:
        self.slots = threading.BoundedSemaphore(slots)
        self.next_at = 0.0  # monotonic: no request starts earlier
        self.failures = 0  # tries in a row that did not reach it


class Hosts:
    """Thread-safe limits on requests, over all and by host."""

    def __init__(self, config: WebConfig, clock: Clock) -> None:
        self._config, self._clock = config, clock
        self._slots = threading.BoundedSemaphore(config.concurrency)
        self._hosts: dict[str, _Host] = {}
        self._lock = threading.Lock()

    @contextmanager
    def turn(self, name: str) -> Iterator[None]:
        """Wait for a slot of the host, its interval, and a slot of all; in this order, so none is held in vain."""
        host = self._host(name)
        with host.slots:
            with self._lock:
                now = self._clock.monotonic()
                start = max(now, host.next_at)
                host.next_at = start + self._config.min_interval_s
            if start > now:
                self._clock.sleep(start - now)
            with self._slots:
                yield

    def pause(self, name: str, seconds: float) -> None:
        """Start no request to the host in the next `seconds`: the host asked for it (Retry-After)."""
        host = self._host(name)
        with self._lock:
            host.next_at = max(host.next_at, self._clock.monotonic() + seconds)

    def note(self, name: str, *, reached: bool) -> None:
        """Remember whether a try reached the host."""
        host = self._host(name)
        with self._lock:
            host.failures = 0 if reached else host.failures + 1

    def given_up(self, name: str) -> bool:
        """Return True if too many tries in a row did not reach the host, so that it is left alone."""
        return self._host(name).failures >= self._config.host_failures

    def _host(self, name: str) -> _Host:
        with self._lock:
            if name not in self._hosts:
                self._hosts[name] = _Host(self._config.per_host)
            return self._hosts[name]
