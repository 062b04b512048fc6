"""Create missing shards and reuse the rest, for encode, augment and agreement."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar, cast

from trichord.infra import log
from trichord.infra.engines.base import Done, Engine
from trichord.infra.engines.failure import Failure, partly_failed
from trichord.infra.lake.footers import Footers
from trichord.infra.lake.shard import ShardRef, find_finished
from trichord.pipelines.core.pace import Pace
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

    @property
    def rows(self) -> int:
        """Rows that it is made of."""


W = TypeVar("W", bound=Wanted)


def make_missing(
    workspace: Workspace,
    engine: Engine,
    table: str,
    items: Sequence[W],
    factory: Callable[[], Callable[[W], ShardRef | Timed]],
    otherwise: str,
    *,
    add_bases: Callable[[list[W]], list[W]] = list,
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
        add_bases: adds to missing items what they can copy rows from, and may give other items in their place.
        timings: receives the seconds that actors report.
        accelerator: True gives each actor a GPU.

    Raises:
        PartialRun: some items failed; what was finished is kept, and a rerun resumes.
    """
    made = find_finished(workspace.lake, table, {item.address for item in items})
    reused, failures = len(made), list[tuple[str, Failure]]()
    todo = add_bases([item for item in items if item.address not in made])
    todo.sort(key=lambda item: -item.rows)  # the largest first: no worker is left with it at the end
    pace = Pace(sum(item.rows for item in todo))
    for outcome in engine.map_actors(factory, todo, accelerator=accelerator) if todo else ():
        pace.add(outcome.item.rows)
        if isinstance(outcome, Done):
            timed = outcome.result if isinstance(outcome.result, Timed) else None
            ref = timed.ref if timed else cast(ShardRef, outcome.result)
            made[ref.address] = ref
            seconds = {"copied": timed.copied, **timed.spent.rounded()} if timed else {}
            of = {"table": table, "partition": outcome.item.partition, "rows": ref.rows}
            log.event("encoded", **of, **pace.report(), **seconds)
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
