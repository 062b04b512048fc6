"""Protection of a job: from `gc`, which removes no file while it runs, and from other jobs that commit."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import wraps
from typing import Concatenate, ParamSpec, TypeVar

from trichord.infra.lake.lake import Lake
from trichord.infra.lake.lease import leased
from trichord.infra.lake.presence import at_work
from trichord.pipelines.core.runs import recorded
from trichord.pipelines.core.workspace import Workspace

P = ParamSpec("P")
R = TypeVar("R")
Job = Callable[Concatenate[Workspace, P], R]


def protected_from_gc(verb: str) -> Callable[[Job[P, R]], Job[P, R]]:
    """Keep `gc` from removing files while the decorated job runs on a workspace; see `infra.lake.presence`."""
    return _within(lambda lake: at_work(lake, verb))


def under_lease(verb: str) -> Callable[[Job[P, R]], Job[P, R]]:
    """Let the decorated job alone commit while it runs on a workspace, and note how it ended.

    See `infra.lake.lease` and `core.runs`. `gc` waits, too.
    """
    return _within(lambda lake: _leased_and_recorded(lake, verb))


@contextmanager
def _leased_and_recorded(lake: Lake, verb: str) -> Iterator[None]:
    with leased(lake, verb), recorded(lake, verb):
        yield


def _within(block: Callable[[Lake], AbstractContextManager[object]]) -> Callable[[Job[P, R]], Job[P, R]]:
    def decorate(job: Job[P, R]) -> Job[P, R]:
        @wraps(job)
        def protected(workspace: Workspace, /, *args: P.args, **kwargs: P.kwargs) -> R:
            with block(workspace.lake):
                return job(workspace, *args, **kwargs)

        return protected

    return decorate
