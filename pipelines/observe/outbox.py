"""Outboxes: what is sent to other machines, in a thread of each receiver, so that none fails or stalls a run."""

from __future__ import annotations

import contextvars
import queue
import threading
import time
from collections.abc import Callable, Sequence

from trichord.infra import log
from trichord.infra.redaction import redact

WAIT_S = 20.0  # for all receivers together, after a run has ended and its lease is given back
SIGNALLED_WAIT_S = 3.0  # where a signal ended the run: who sent it will kill the process


class Outbox:
    """Sends to one receiver, in order. What fails is an event in the log, and no more."""

    def __init__(self, receiver: str) -> None:
        self.receiver = receiver
        self._waiting: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    def send(self, letter: Callable[[], None]) -> None:
        """Call `letter` in the thread, soon. It may import what is slow to import."""
        self._waiting.put(letter)
        if self._thread is None:
            run = contextvars.copy_context().run  # its events say of which run they are
            self._thread = threading.Thread(target=run, args=(self._work,), daemon=True, name=self.receiver)
            self._thread.start()

    def _work(self) -> None:
        while (letter := self._waiting.get()) is not None:
            try:
                letter()
            except Exception as error:  # noqa: BLE001 - whatever a receiver or its library does, the run goes on
                why = redact(next(iter(str(error).splitlines()), "") or type(error).__name__)
                log.event("not_sent", receiver=self.receiver, why=why[:300])


def close(outboxes: Sequence[Outbox], wait_s: float = WAIT_S) -> None:
    """Wait until everything is sent, or for `wait_s`; what is left then is given up."""
    until_s = time.monotonic() + wait_s
    for one in outboxes:
        one._waiting.put(None)
    for one in outboxes:
        if one._thread is not None:
            one._thread.join(max(0.0, until_s - time.monotonic()))
            if one._thread.is_alive():
                log.event("not_sent", receiver=one.receiver, why=f"it did not answer within {wait_s:g} s")
