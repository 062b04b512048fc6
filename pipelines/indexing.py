"""What building an index of any backend shares: shards made by workers, and the effort of searches tuned."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from index_builders.base import IndexBuilder
from index_builders.choose import group_shards
from index_builders.exact import recall_at_k
from index_builders.kinds import IndexPlan
from index_builders.manifest import IndexManifest, IndexShard, read_manifest
from index_builders.tune import ALL, Settings
from infra import log
from infra.engines.base import Done, Engine
from infra.errors import PartialRun, StorageError, told
from infra.lake.shard import ShardRef, read_shard
from infra.lake.storage import Storage
from pipelines.opening import open_backend
from pipelines.truth import K, exact_probes
from pipelines.workspace import Workspace

if TYPE_CHECKING:
    from index_builders.milvus_client import MilvusPlace

TUNING_QUERIES = 200
FAILED = "An index shard could not be built"
SPARE = 0.01  # what tuning aims at above the target: the gate asks other queries


@dataclass(frozen=True, slots=True, kw_only=True)
class Built:
    """A candidate index. `made` and `reused` hold addresses of index shards; a Milvus collection has no plan."""

    manifest: IndexManifest
    plan: IndexPlan | None
    made: tuple[str, ...]
    reused: tuple[str, ...]

    def no_longer(self, workspace: Workspace, live: dict[str, Any] | None) -> tuple[str, ...]:
        """Addresses of the live index's shards that this one does without."""
        before = live_manifest(workspace, live)
        gone = {shard.address for shard in before.shards} if before else set()
        return tuple(sorted(gone - {shard.address for shard in self.manifest.shards}))


@dataclass(frozen=True, slots=True, kw_only=True)
class VectorTables:
    """Reads vectors shards by address, one table at a time; travels to workers as paths."""

    storage: Storage
    lake: str
    paths: Mapping[str, str]

    @classmethod
    def of(cls, workspace: Workspace, vectors: Mapping[str, ShardRef]) -> VectorTables:
        """Of these shards."""
        paths = {ref.address: ref.path for ref in vectors.values()}
        return cls(storage=workspace.storage, lake=workspace.lake, paths=paths)

    def __call__(self, addresses: Sequence[str], columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
        for address in addresses:
            yield read_shard(self.storage, self.lake, self.paths[address], columns)


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildShard:
    """Makes one shard out of whole vector shards."""

    tables: VectorTables
    builder: IndexBuilder

    def __call__(self, inputs: tuple[str, ...]) -> IndexShard:
        return self.builder.build(self.tables.storage, self.tables.lake, inputs, self.tables(inputs))


def make_shards(
    workspace: Workspace, engine: Engine, builder: IndexBuilder, vectors: Mapping[str, ShardRef], rows_per_shard: int
) -> tuple[list[IndexShard], tuple[str, ...], tuple[str, ...]]:
    """All shards of an index, those that do not stand yet made by workers.

    Returns:
        (shards, addresses of those made, addresses of those found).

    Raises:
        PartialRun: some shard could not be built; a rerun resumes.
    """
    groups = group_shards(((split, ref.rows, ref.address) for split, ref in vectors.items()), rows_per_shard)
    wanted = {builder.address(inputs): tuple(sorted(inputs)) for inputs in groups.values()}
    shards = builder.finished(workspace.storage, workspace.lake, wanted)
    reused = tuple(sorted(shards))
    todo = [inputs for address, inputs in wanted.items() if address not in shards]
    for shard in made_by(engine, BuildShard(tables=VectorTables.of(workspace, vectors), builder=builder), todo, FAILED):
        shards[shard.address] = shard
        log.event("index_shard_built", address=shard.address, rows=shard.rows)
    return list(shards.values()), tuple(sorted(set(shards) - set(reused))), reused


@dataclass(frozen=True, slots=True, kw_only=True)
class TuneSearch:
    """Finds for each view the least effort that reaches the recall wanted, with a little to spare."""

    tables: VectorTables
    target: float
    nprobe: int | None = None
    place: MilvusPlace | None = None

    def __call__(self, manifest: IndexManifest) -> dict[str, Settings]:
        storage, lake = self.tables.storage, self.tables.lake
        searcher = open_backend(storage, lake, self.place, manifest, manifest.fingerprint)
        fixed = {"nprobe": self.nprobe} if self.nprobe else {}
        found: dict[str, Settings] = {}
        for view in (None, *(manifest.views if len(manifest.views) > 1 else ())):
            if view is not None and not manifest.counts.get(f"view:{view}"):
                continue
            probes = exact_probes(storage, lake, self.tables, manifest, TUNING_QUERIES, view)

            def measure(settings: Settings, view: str | None = view, probes: Any = probes) -> float:
                hits = searcher.search(probes.queries_ND, K, collapse=False, view=view, settings=settings | fixed)
                return recall_at_k(hits, probes.truth, exact_scores=searcher.exact_scores)

            tuned = searcher.tune(measure, min(1.0, self.target + SPARE))
            found[view or ALL] = tuned.settings | fixed
            log.event("search_tuned", view=view or ALL, recall=round(tuned.recall, 4), **found[view or ALL])
        return found


@dataclass(frozen=True, slots=True)
class Ready:
    """The factory of an actor that needs no making."""

    task: Any

    def __call__(self) -> Any:
        return self.task


def made_by(
    engine: Engine, task: Any, items: Sequence[Any], failed: str, *, accelerator: bool = False
) -> Iterator[Any]:
    """What workers, on a GPU if `accelerator`, make of the items.

    Raises:
        TrichordError: the error of ours that a worker met; PartialRun, which begins with `failed`, for any other.
    """
    if not items:
        return
    for outcome in engine.map_actors(Ready(task), items, accelerator=True) if accelerator else engine.map(task, items):
        if not isinstance(outcome, Done):
            partial = PartialRun(
                f"{failed} ({outcome.kind}): {outcome.detail}\n"
                "Mend the cause and run `trichord reindex` again: it resumes."
            )
            raise told(outcome.detail, partial)
        yield outcome.result


def live_manifest(workspace: Workspace, live: dict[str, Any] | None) -> IndexManifest | None:
    """The live index's manifest; None where it was lost, which a rebuild mends."""
    if live is None:
        return None
    try:
        return read_manifest(workspace.storage, workspace.lake, live["manifest"], live["manifest_digest"])
    except StorageError as lost:
        log.event("live_manifest_lost", detail=str(lost))
        return None
