"""Local folders and the logs of Delta tables as channels."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from trichord.infra.errors import ConfigError
from trichord.infra.events.counts import Counts
from trichord.infra.events.delta_log import DeltaPoll
from trichord.infra.events.folder import FolderWatch, place_of
from trichord.infra.events.inbox import Inbox
from trichord.infra.lake.storage import Storage


def inbox_of(limit: int = 1_000) -> Inbox:
    return Inbox(lambda _: True, Counts(), limit)


def until(condition: Callable[[], bool]) -> None:
    """Return when the condition holds: the kernel decides when it tells."""
    for _ in range(1_000):
        if condition():
            return
        threading.Event().wait(0.02)
    raise AssertionError("it never came to be")


def uris(inbox: Inbox) -> set[str]:
    return {event.uri for message in inbox.peek() for event in message.events}


def test_files_that_are_made_changed_moved_and_removed_are_named_and_the_lake_is_not(tmp_path: Path) -> None:
    (tmp_path / "lake").mkdir()
    (tmp_path / "old.txt").write_text("x")
    inbox = inbox_of()
    watch = FolderWatch([str(tmp_path)], [str(tmp_path / "lake")], inbox)
    watch.start()
    ready = tmp_path / "ready.txt"

    def is_heard() -> bool:
        ready.write_text("x")
        return str(ready) in uris(inbox)

    until(is_heard)
    (tmp_path / "lake" / "shard.parquet").write_text("x")
    (tmp_path / "new.txt").write_text("x")
    (tmp_path / "old.txt").unlink()
    ready.rename(tmp_path / "moved.txt")
    (tmp_path / "folder").mkdir()
    expected = {str(tmp_path / name) for name in ("new.txt", "old.txt", "moved.txt")} | {f"{tmp_path}/folder/"}
    until(lambda: expected <= uris(inbox))
    assert not any("/lake" in uri for uri in uris(inbox))
    watch.stop()


def test_a_folder_that_is_new_or_gone_is_looked_at_as_a_whole(tmp_path: Path) -> None:
    (tmp_path / "a.b").mkdir()
    (tmp_path / "c.txt").write_text("x")
    assert place_of(str(tmp_path / "a.b"), True, False) == f"{tmp_path}/a.b/"
    assert place_of(str(tmp_path / "a.b"), False, False) == f"{tmp_path}/a.b"
    assert place_of(str(tmp_path / "c.txt"), True, False) == f"{tmp_path}/c.txt"
    assert place_of(str(tmp_path / "gone"), False, True) == f"{tmp_path}/gone/"
    assert place_of(str(tmp_path / "gone.txt"), False, True) == f"{tmp_path}/gone.txt"


def test_where_notices_find_no_room_a_sweep_is_asked_for(tmp_path: Path) -> None:
    inbox = inbox_of(1)
    watch = FolderWatch([str(tmp_path)], [], inbox)
    watch._offer([("/a.txt", False)])
    assert not inbox.is_sweep_wanted
    watch._offer([("/b.txt", False), ("/c\n.txt", True)])
    assert inbox.is_sweep_wanted


def test_a_folder_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="There is no folder"):
        FolderWatch([str(tmp_path / "none")], [], inbox_of()).start()


def test_a_new_version_of_a_delta_table_is_an_event_and_an_old_one_is_none(storage: Storage, tmp_path: Path) -> None:
    def commit(table: str, version: int) -> None:
        path = tmp_path / table / "_delta_log" / f"{version:020d}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("{}")

    commit("one", 0)
    commit("one", 1)
    inbox = inbox_of(2)
    tables = {name: str(tmp_path / name) for name in ("one", "two")}
    poll = DeltaPoll(tables, storage, inbox, 1e6)
    poll.start()
    poll.look()
    assert inbox.waiting == 0
    commit("one", 2)
    commit("one", 3)
    commit("two", 0)
    poll.look()
    poll.look()
    assert [event.source for message in inbox.peek() for event in message.events] == ["one", "two"]
    commit("one", 4)
    poll.look()
    assert inbox.waiting == 2, "there was no room"
    inbox.finish(inbox.held())
    poll.look()
    assert [event.source for message in inbox.peek() for event in message.events] == ["one"]
    poll.stop()
