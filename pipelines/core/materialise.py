"""Create missing shards and reuse the rest, for encode, augment and agreement."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar, cast

from trichord.infra import log
from trichord.infra.engines.base import Done, Engine
from trichord.infra.engines.failure import Failure, partly_failed
from trichord.infra.lake.footers import Footers
from trichord.infra.lake.shard import ShardRef, find_finished
from trichord.pipelines.core.timings import Timed, Timings
from trichord.pipelines.core.workspace import Workspace


class Wanted(Protocol):
    """A shard that should exist."""

    @property
    def address(self) -> str:
        """Its address."""

    @property
    def partition(self) -> str:
        """Its partition."""


W = TypeVar("W", bound=Wanted)


def make_missing(
    workspace: Workspace,
    engine: Engine,
    table: str,
    items: Sequence[W],
    factory: Callable[[], Callable[[W], ShardRef | Timed]],
    otherwise: str,
    *,
    timings: Timings | None = None,
    accelerator: bool = False,
) -> dict[str, ShardRef]:
    """Run actors over the items whose shards are missing; return all items' shards, by address.

    Args:
        workspace: the project on its lake.
        engine: where the actors run.
        table: holds the shards.
        items: the shards that should exist.
        factory: makes an actor in its worker.
        otherwise: says what was not done, in the error if an actor fails.
        timings: receives the seconds that actors report.
        accelerator: True gives each actor a GPU.

    Raises:
        PartialRun: some items failed; what was finished is kept, and a rerun resumes.
    """
    made = find_finished(workspace.lake, table, {item.address for item in items})
    todo = [item for item in items if item.address not in made]
    reused, failures = len(items) - len(todo), list[tuple[str, Failure]]()
    for outcome in engine.map_actors(factory, todo, accelerator=accelerator) if todo else ():
        if isinstance(outcome, Done):
            timed = outcome.result if isinstance(outcome.result, Timed) else None
            ref = timed.ref if timed else cast(ShardRef, outcome.result)
            made[ref.address] = ref
            seconds = timed.spent.rounded() if timed else {}
            log.event("encoded", table=table, partition=outcome.item.partition, rows=ref.rows, **seconds)
            if timed and timings is not None:
                timings.add(table, timed)
        else:
            failures.append((outcome.item.partition, outcome.failure))
    if failures:
        raise partly_failed(failures, len(items), len(todo), otherwise)
    if todo and table.startswith("_"):  # of no Delta table: no commit follows
        Footers.remember(workspace.lake, table, made.values())
    log.event("encode_done", table=table, made=len(todo), reused=reused)
    return made
