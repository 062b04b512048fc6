"""Local folders, by the kernel's notices (watchfiles), which miss files now and then: the sweep finds those."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Sequence

from trichord.infra import log
from trichord.infra.errors import ConfigError
from trichord.infra.events.event import MAX_EVENTS, Event, Poison
from trichord.infra.events.inbox import Inbox

_STEP_MS, _DEBOUNCE_MS, _TIMEOUT_MS = 50, 200, 1_000


class FolderWatch:
    """A channel from folders.

    Args:
        folders: absolute paths of those to watch, with all below them.
        skipped: absolute paths below them that are none of the watcher's business, such as the lake.
        inbox: takes the events.
    """

    name = "folder"

    def __init__(self, folders: Sequence[str], skipped: Sequence[str], inbox: Inbox) -> None:
        self._folders, self._inbox = folders, inbox
        self._skipped = tuple(f"{path.rstrip('/')}/" for path in skipped)
        self._stopping = threading.Event()
        self._problem: str | None = None

    def start(self) -> None:
        """Begin to watch. Raises ConfigError if watchfiles is not installed, or a folder does not exist."""
        try:
            import watchfiles  # noqa: F401
        except ImportError as missing:
            raise ConfigError(
                "Watching folders needs watchfiles.\n"
                "Next: pip install 'trichord[events]', or set watch.folders to false"
            ) from missing
        if gone := [folder for folder in self._folders if not os.path.isdir(folder)]:
            raise ConfigError(f"There is no folder {gone[0]} to watch. Fix the source's path, or make the folder.")
        self._watch = threading.Thread(target=self._run, name="folder-watch", daemon=True)
        self._watch.start()

    def stop(self) -> None:
        """Watch no more."""
        self._stopping.set()

    def acknowledge(self, receipts: Sequence[str]) -> None:
        """Do nothing: the kernel remembers no notice. What a killed watcher knew of, its first sweep finds."""

    def problem(self) -> str | None:
        """Return why nothing is watched."""
        return self._problem

    def _run(self) -> None:
        from watchfiles import Change, watch

        try:
            for changes in watch(
                *self._folders,
                watch_filter=lambda _, path: not f"{path}/".startswith(self._skipped),
                debounce=_DEBOUNCE_MS,
                step=_STEP_MS,
                rust_timeout=_TIMEOUT_MS,
                stop_event=self._stopping,
                raise_interrupt=False,
                ignore_permission_denied=True,
            ):
                self._offer(
                    sorted(
                        (place_of(path, change == Change.added, change == Change.deleted), change == Change.deleted)
                        for change, path in changes
                    )
                )
        except Exception as error:  # noqa: BLE001 - the process goes on with its sweeps and other channels
            self._problem = str(error).splitlines()[0][:300] if str(error) else type(error).__name__
            log.event("folder_not_watched", detail=self._problem)

    def _offer(self, places: Sequence[tuple[str, bool]]) -> None:
        for start in range(0, len(places), MAX_EVENTS):
            events = list(_events(places[start : start + MAX_EVENTS]))
            try:
                if events and self._inbox.offer(self, "", events) == "full":
                    self._inbox.ask_for_sweep()
            except Poison:  # files of no source
                continue


def place_of(path: str, added: bool, deleted: bool) -> str:
    """Return where to look: below a folder that is new or gone, as its files may have no notice of their own."""
    if (added and os.path.isdir(path)) or (deleted and not os.path.splitext(path)[1]):
        return f"{path}/"
    return path


def _events(places: Sequence[tuple[str, bool]]) -> Iterator[Event]:
    for path, deleted in places:
        try:
            yield Event(uri=path, deleted=deleted)
        except Poison:  # a name that no event can hold: the sweep makes a reject of it
            continue
