"""Protection from `gc`: a job that relies on files of the lake keeps them while it runs."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Concatenate, ParamSpec, TypeVar

from trichord.infra.lake.presence import at_work
from trichord.pipelines.core.workspace import Workspace

P = ParamSpec("P")
R = TypeVar("R")
Job = Callable[Concatenate[Workspace, P], R]


def protected_from_gc(verb: str) -> Callable[[Job[P, R]], Job[P, R]]:
    """Keep `gc` from removing files while the decorated job runs on a workspace; see `infra.lake.presence`."""

    def decorate(job: Job[P, R]) -> Job[P, R]:
        @wraps(job)
        def protected(workspace: Workspace, /, *args: P.args, **kwargs: P.kwargs) -> R:
            with at_work(workspace.lake, verb):
                return job(workspace, *args, **kwargs)

        return protected

    return decorate
