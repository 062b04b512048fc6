"""Create missing shards and reuse the rest, for encode, augment and agreement."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import wraps
from typing import Generic, Protocol, TypeVar, cast

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


A = TypeVar("A")
R = TypeVar("R")
W = TypeVar("W", bound=Wanted)


def at_its_place(make: Callable[[A, W], R]) -> Callable[[A, W], R]:
    """Wrap the method of a task that makes one shard: its log events carry the shard's partition and address."""

    @wraps(make)
    def located(task: A, item: W) -> R:
        with log.bound(partition=item.partition, address=item.address):
            return make(task, item)

    return located


@dataclass(frozen=True, slots=True)
class Singly(Generic[W]):
    """A factory of actors for `make_missing`, of one whose actors take single items."""

    factory: Callable[[], Callable[[W], ShardRef | Timed]]

    def __call__(self) -> Callable[[Sequence[W]], Sequence[ShardRef | Timed]]:
        make = self.factory()
        return lambda items: [make(item) for item in items]


def one_by_one(items: Sequence[W]) -> list[list[W]]:
    """Make every item alone."""
    return [[item] for item in items]


def make_missing(
    workspace: Workspace,
    engine: Engine,
    table: str,
    items: Sequence[W],
    factory: Callable[[], Callable[[Sequence[W]], Sequence[ShardRef | Timed]]],
    otherwise: str,
    *,
    group: Callable[[list[W]], list[list[W]]] = one_by_one,
    timings: Timings | None = None,
    accelerator: bool = False,
) -> dict[str, ShardRef]:
    """Run actors over the items whose shards are missing; return all items' shards, by address.

    Args:
        workspace: the project on its lake.
        engine: where the actors run.
        table: holds the shards.
        items: the shards that should exist.
        factory: makes an actor in its worker. It takes items that are made together, and returns their shards.
        otherwise: says what was not done, in the error if an actor fails.
        group: says which missing items are made together. If that fails, each is tried alone.
        timings: receives the seconds that actors report.
        accelerator: True gives each actor a GPU.

    Raises:
        PartialRun: some items failed; what was finished is kept, and a rerun resumes.
    """
    made = find_finished(workspace.lake, table, {item.address for item in items})
    todo = sorted((item for item in items if item.address not in made), key=lambda item: -item.rows)
    reused, failures = len(items) - len(todo), list[tuple[str, Failure]]()
    pace = Pace(sum(item.rows for item in todo))
    groups = group(todo) if todo else []  # the largest first: no worker is left with it at the end
    while groups:
        again: list[W] = []
        for outcome in engine.map_actors(factory, groups, accelerator=accelerator):
            if isinstance(outcome, Done):
                for item, result in zip(outcome.item, outcome.result, strict=True):
                    timed = result if isinstance(result, Timed) else None
                    ref = timed.ref if timed else cast(ShardRef, result)
                    made[ref.address] = ref
                    pace.add(item.rows)
                    seconds = {"copied": timed.copied, **timed.spent.rounded()} if timed else {}
                    of = {"table": table, "partition": item.partition, "address": ref.address, "rows": ref.rows}
                    log.event("encoded", **of, **pace.report(), **seconds)
                    if timed and timings is not None:
                        timings.add(table, timed)
                    elif timings is not None:
                        timings.made[table] += 1
            elif len(outcome.item) > 1:
                again += outcome.item
            else:
                pace.add(outcome.item[0].rows)
                failures.append((outcome.item[0].partition, outcome.failure))
        groups = one_by_one(again)
    if failures:
        raise partly_failed(failures, len(items), len(todo), otherwise)
    if todo and table.startswith("_"):  # of no Delta table: no commit follows
        Footers.remember(workspace.lake, table, made.values())
    log.event("encode_done", table=table, made=len(todo), reused=reused)
    return made
