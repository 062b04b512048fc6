"""The inbox: messages that wait for a run. It is bounded, and forgets nothing that was not acknowledged."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Collection, Sequence

from trichord.infra.events.counts import Counts, Fate
from trichord.infra.events.event import Channel, Event, Message, Poison

_REMEMBERED = 100_000  # changes that were looked at: a store delivers a message twice, hours apart


class Inbox:
    """Messages of all channels, in the order of their arrival.

    Args:
        is_known: returns whether an event names a place of the project's sources.
        counts: counts what becomes of messages.
        limit: events held at most; a message is taken while there are fewer.
    """

    def __init__(self, is_known: Callable[[Event], bool], counts: Counts, limit: int) -> None:
        self._is_known, self._limit = is_known, limit
        self.counts = counts
        self._changed = threading.Condition()
        self._held: list[Message] = []
        self._load = 0  # events of these messages
        self._seen: OrderedDict[tuple[str, str, str, str], None] = OrderedDict()
        self._fresh = 0  # of the messages that are held, how many came after the last run began
        self._first_s = self._last_s = 0.0  # when the first and the last of these came
        self._sweep = False

    def offer(self, channel: Channel, receipt: str, events: Sequence[Event]) -> Fate:
        """Take a message, unless there is no room or nothing to look at.

        Returns:
            'accepted'; 'ignored' or 'repeated', if it is done with; 'full', if it must be offered again.

        Raises:
            Poison: it names no source of the project.
        """
        known = tuple(event for event in events if self._is_known(event))
        if events and not known:
            raise Poison("it names no source of the project")
        with self._changed:
            fate: Fate = "accepted"
            if not known:
                fate = "ignored"
            elif all(event.key in self._seen for event in known):
                fate = "repeated"
            elif self._load >= self._limit:
                fate = "full"
            else:
                self._last_s = time.monotonic()
                if not self._fresh:
                    self._first_s = self._last_s
                self._fresh += 1
                self._load += len(known)
                self._held.append(Message(channel=channel, receipt=receipt, events=known, received_s=time.time()))
                self._changed.notify_all()
        self.counts.see(channel.name, fate)
        return fate

    def wait_for_room(self, timeout_s: float) -> bool:
        """Wait until a message would be taken; return False if it is not so in time."""
        with self._changed:
            return self._changed.wait_for(lambda: self._load < self._limit, timeout_s)

    def wait_for_window(self, quiet_s: float, most_s: float, until_s: float) -> bool:
        """Wait for messages, and then until none has come for `quiet_s`, or the first is `most_s` old.

        Args:
            until_s: wait until then at most, by `time.monotonic`.

        Returns:
            True if there are messages to act on.
        """
        with self._changed:
            while True:
                now_s = time.monotonic()
                closes_s = min(self._last_s + quiet_s, self._first_s + most_s) if self._fresh else until_s
                if self._fresh and (now_s >= closes_s or self._load >= self._limit):
                    return True
                if now_s >= until_s or self._sweep:
                    return False
                self._changed.wait(min(closes_s, until_s) - now_s)

    def held(self) -> list[Message]:
        """Return all messages that wait, for a run that begins now."""
        with self._changed:
            self._fresh = 0
            return list(self._held)

    def finish(self, messages: Collection[Message]) -> None:
        """Acknowledge messages whose places were looked at, and others that repeat the same changes."""
        done = {id(message) for message in messages}
        with self._changed:
            for key in (event.key for message in messages for event in message.events):
                if key is not None:
                    self._seen[key] = None
                    self._seen.move_to_end(key)
            while len(self._seen) > _REMEMBERED:
                self._seen.popitem(last=False)
            kept: list[Message] = []
            repeated: list[Message] = []
            for message in self._held:
                if id(message) not in done:
                    (repeated if all(event.key in self._seen for event in message.events) else kept).append(message)
            self._held, self._load = kept, sum(len(message.events) for message in kept)
            self._fresh = min(self._fresh, len(kept))
            self._changed.notify_all()
        fates: tuple[tuple[Collection[Message], Fate], ...] = ((messages, "done"), (repeated, "repeated"))
        for finished, fate in fates:
            by_channel: dict[str, list[Message]] = {}
            for message in finished:
                by_channel.setdefault(message.channel.name, []).append(message)
            for name, found in by_channel.items():
                found[0].channel.acknowledge([message.receipt for message in found])
                self.counts.see(name, fate, len(found))

    def ask_for_sweep(self) -> None:
        """Let the next run look at everything: a channel has lost events."""
        with self._changed:
            self._sweep = True
            self._changed.notify_all()

    def begin_sweep(self) -> None:
        """Forget that a sweep was asked for: it begins now."""
        with self._changed:
            self._sweep = False

    @property
    def is_sweep_wanted(self) -> bool:
        """Return True if a channel asked for a sweep that has not begun."""
        with self._changed:
            return self._sweep

    def peek(self) -> list[Message]:
        """Return all messages that wait, for looking at alone."""
        with self._changed:
            return list(self._held)

    @property
    def waiting(self) -> int:
        """How many messages are held."""
        with self._changed:
            return len(self._held)

    @property
    def oldest_s(self) -> float | None:
        """When the first of the messages that are held came, by `time.time`; None if none is."""
        with self._changed:
            return min((message.received_s for message in self._held), default=None)

    @property
    def is_full(self) -> bool:
        """Return True if no message is taken at present."""
        with self._changed:
            return self._load >= self._limit
