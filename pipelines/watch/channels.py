"""The channels that a project's settings ask for."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence

from trichord.infra.config import DeltaSource, Project
from trichord.infra.errors import ConfigError
from trichord.infra.events.dead_letters import DeadLetterFolder, DeadLetters
from trichord.infra.events.delta_log import DeltaPoll
from trichord.infra.events.event import Channel
from trichord.infra.events.folder import FolderWatch
from trichord.infra.events.hooks import HookGate
from trichord.infra.events.http_inbox import HttpInbox, Page
from trichord.infra.events.inbox import Inbox
from trichord.infra.events.secret_file import SecretFile
from trichord.infra.events.sqs import DeadLetterQueue, SqsQueue, open_client
from trichord.infra.lake.storage import Storage, is_remote
from trichord.transforms.collect import media_root

_DEAD_LETTERS = "dead-letters"


def open_queues(project: Project, inbox: Inbox, *, drain: bool = False) -> list[SqsQueue]:
    """Return a channel for each SQS queue of a project, not started.

    Raises:
        ConfigError: boto3 is not installed, or a URL is none.
    """
    if not project.watch.queues:
        return []
    dead, region = open_dead_letters(project), project.storage.region
    return [SqsQueue(queue, open_client(queue, region), inbox, dead, drain=drain) for queue in project.watch.queues]


def open_others(
    project: Project,
    storage: Storage,
    inbox: Inbox,
    *,
    ready: Callable[[], Sequence[str]],
    pages: Mapping[str, Page] | None = None,
) -> list[Channel]:
    """Return the channels that forget what a killed watcher had not acted on, not started.

    Args:
        project: its settings say which.
        storage: reads the logs of tables.
        inbox: takes the events.
        ready: as of `HttpInbox`.
        pages: as of `HttpInbox`.
    """
    found: list[Channel] = []
    settings = project.watch
    if settings.listen is not None:
        token = SecretFile(settings.token_file, "watch.token_file") if settings.token_file is not None else None
        hooks = HookGate(SecretFile(settings.hook_keys, "watch.hook_keys")) if settings.hook_keys is not None else None
        found.append(HttpInbox(settings.listen, inbox, token=token, hooks=hooks, ready=ready, pages=pages))
    if project.watch.folders and (folders := watched_folders(project)):
        found.append(FolderWatch(folders, [project.lake], inbox))
    tables = {one.name: one.path for one in project.sources if isinstance(one, DeltaSource) and one.version is None}
    if tables:
        found.append(DeltaPoll(tables, storage, inbox, project.watch.delta_poll_s))
    return found


def open_dead_letters(project: Project) -> DeadLetters:
    """Return where a project keeps messages that mean nothing to it."""
    place = project.watch.dead_letters or _DEAD_LETTERS
    if "://" in place:
        return DeadLetterQueue(place, open_client(place, project.storage.region))
    return DeadLetterFolder(place)


def watched_folders(project: Project) -> list[str]:
    """Return the local folders of a project's sources, sorted, without those in another one."""
    found: set[str] = set()
    for source in project.sources:
        places = [source.path, media_root(source).uri]
        for place in (one for one in places if not is_remote(one)):
            folder = place.partition("{")[0]
            found.add(folder if os.path.isdir(folder) else os.path.dirname(folder.rstrip("/")))
    outer: list[str] = []
    for folder in sorted(found):
        if not any(f"{folder}/".startswith(f"{one.rstrip('/')}/") for one in outer):
            outer.append(folder)
    return outer


def require_some(channels: list[Channel]) -> None:
    """Raise ConfigError if nothing would ever be heard."""
    if not channels:
        raise ConfigError(
            "There is nothing to watch: no queue, no address, no local folder and no Delta table.\n"
            "Next: set watch.queues or watch.listen in the project file (docs/events.md), or run `trichord reindex` on "
            "a clock."
        )
