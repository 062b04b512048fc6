"""The inbox loses nothing, holds no more than it may, and lets a run begin when it is quiet or full."""

from __future__ import annotations

import time
from collections.abc import Sequence

import pytest

from trichord.infra.events.counts import Counts
from trichord.infra.events.event import Event, Poison
from trichord.infra.events.inbox import Inbox


class Recorder:
    """A channel that notes what was acknowledged."""

    name = "test"

    def __init__(self) -> None:
        self.done: list[str] = []

    def start(self) -> None:
        """Nothing."""

    def stop(self) -> None:
        """Nothing."""

    def acknowledge(self, receipts: Sequence[str]) -> None:
        self.done += receipts

    def problem(self) -> str | None:
        return None


def inbox_of(limit: int = 100) -> Inbox:
    return Inbox(lambda event: "other" not in event.uri, Counts(), limit)


A, B = Event(uri="s3://lake/a", id="1"), Event(uri="s3://lake/b", id="1")


def test_a_message_waits_until_it_is_finished_and_is_acknowledged_once() -> None:
    inbox, channel = inbox_of(), Recorder()
    assert inbox.offer(channel, "r1", [A]) == "accepted"
    held = inbox.held()
    assert inbox.offer(channel, "r2", [B]) == "accepted"
    assert channel.done == []
    inbox.finish(held)
    assert (channel.done, inbox.waiting) == (["r1"], 1)
    inbox.finish(inbox.held())
    assert (channel.done, inbox.waiting) == (["r1", "r2"], 0)


def test_what_was_looked_at_is_not_looked_at_again_but_another_change_of_the_place_is() -> None:
    inbox, channel = inbox_of(), Recorder()
    inbox.offer(channel, "r1", [A])
    held = inbox.held()
    assert inbox.offer(channel, "r2", [A]) == "accepted", "the run on the first has not ended: it may yet fail"
    inbox.finish(held)
    assert channel.done == ["r1", "r2"], "both tell of one change"
    assert inbox.offer(channel, "r3", [A]) == "repeated"
    assert inbox.offer(channel, "r4", [A, B]) == "accepted"
    assert inbox.offer(channel, "r5", [Event(uri=A.uri, id="2")]) == "accepted"
    assert inbox.offer(channel, "r6", [Event(uri=A.uri)]) == "accepted", "without an id it may be another change"
    assert inbox.counts.by_channel() == {"test": {"accepted": 5, "done": 1, "repeated": 2}}


def test_the_inbox_is_bounded() -> None:
    inbox, channel = inbox_of(2), Recorder()
    assert [inbox.offer(channel, f"r{i}", [Event(uri=f"s3://lake/{i}")]) for i in range(3)] == [
        "accepted", "accepted", "full",
    ]  # fmt: skip
    assert inbox.is_full
    assert not inbox.wait_for_room(0)
    assert inbox.wait_for_window(1e6, 1e6, time.monotonic() + 1e6), "a full inbox waits for no quiet"
    inbox.finish(inbox.held())
    assert inbox.wait_for_room(0)
    assert inbox.offer(channel, "r3", [Event(uri=f"s3://lake/{i}") for i in range(5)]) == "accepted"
    assert inbox.offer(channel, "r4", [A]) == "full", "a message counts by its events"


def test_what_is_of_no_source_is_poison_and_what_names_nothing_is_ignored() -> None:
    inbox, channel = inbox_of(), Recorder()
    with pytest.raises(Poison, match="no source"):
        inbox.offer(channel, "r", [Event(uri="s3://other/x")])
    assert inbox.offer(channel, "r", []) == "ignored"
    assert inbox.offer(channel, "r", [Event(uri="s3://other/x"), A]) == "accepted"
    assert [message.events for message in inbox.held()] == [(A,)]


def test_a_window_closes_when_it_is_quiet_or_old_or_a_sweep_is_wanted() -> None:
    inbox, channel = inbox_of(), Recorder()
    assert not inbox.wait_for_window(0, 0, time.monotonic()), "nothing has come"
    inbox.offer(channel, "r", [A])
    assert not inbox.wait_for_window(1e6, 1e6, time.monotonic()), "it is neither quiet nor old"
    assert inbox.wait_for_window(0, 1e6, time.monotonic() + 1e6)
    assert inbox.wait_for_window(1e6, 0, time.monotonic() + 1e6)
    inbox.held()
    assert not inbox.wait_for_window(0, 0, time.monotonic()), "a run has begun with it"
    inbox.ask_for_sweep()
    assert not inbox.wait_for_window(0, 0, time.monotonic() + 1e6)
    assert inbox.is_sweep_wanted
    inbox.begin_sweep()
    assert not inbox.is_sweep_wanted
