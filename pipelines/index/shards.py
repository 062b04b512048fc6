"""What all backends share: make shards on workers, and tune search parameters."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from trichord.index_builders.base import IndexBuilder
from trichord.index_builders.choose import group_shards
from trichord.index_builders.exact import recall_at_k
from trichord.index_builders.index_kinds import IndexPlan
from trichord.index_builders.manifest import IndexManifest, IndexShard, read_manifests
from trichord.index_builders.tune import ALL, Settings, Tuned
from trichord.infra import log
from trichord.infra.engines.base import Engine
from trichord.infra.errors import StorageError
from trichord.infra.lake.lake import Lake
from trichord.infra.lake.publication import Publication
from trichord.infra.lake.shard import ShardRef
from trichord.pipelines.core.workspace import Workspace, run_all, run_alone
from trichord.pipelines.index.ground_truth import QUERIES, K, Probes, exact_probes
from trichord.pipelines.index.open import backend_of, open_backend
from trichord.pipelines.index.vector_tables import VectorTables

if TYPE_CHECKING:
    from trichord.index_builders.milvus.client import MilvusPlace

FAILED = "An index shard could not be built"
SPARE = 0.01  # margin above the target, so that the settings still hold after rows change


@dataclass(frozen=True, slots=True, kw_only=True)
class Built:
    """A candidate index. `made` and `reused` hold addresses of index shards; a Milvus collection has no plan."""

    manifest: IndexManifest
    plan: IndexPlan | None
    made: tuple[str, ...]
    reused: tuple[str, ...]

    def find_unused(self, workspace: Workspace, live: Publication | None) -> tuple[str, ...]:
        """Return the addresses of the live index's shards that this one no longer uses."""
        before = live_manifest(workspace, live, backend_of(self.manifest))
        gone = {shard.address for shard in before.shards} if before else set()
        return tuple(sorted(gone - {shard.address for shard in self.manifest.shards}))


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildShard:
    """Makes one index shard of whole vector shards."""

    tables: VectorTables
    builder: IndexBuilder

    def __call__(self, inputs: tuple[str, ...]) -> IndexShard:
        return self.builder.build(self.tables.lake, inputs, self.tables(inputs))


def find_existing(
    workspace: Workspace, builder: IndexBuilder, vectors: Mapping[str, ShardRef], rows_per_shard: int
) -> tuple[dict[str, IndexShard], list[tuple[str, ...]]]:
    """Return the existing shards of an index, by address, and for each missing one its vectors shards, ascending."""
    groups = group_shards(((partition, ref.rows, ref.address) for partition, ref in vectors.items()), rows_per_shard)
    wanted = {builder.address(inputs): tuple(sorted(inputs)) for inputs in groups.values()}
    shards = builder.finished(workspace.lake, wanted)
    return shards, [inputs for address, inputs in wanted.items() if address not in shards]


def make_shards(
    workspace: Workspace, engine: Engine, builder: IndexBuilder, vectors: Mapping[str, ShardRef], rows_per_shard: int
) -> tuple[list[IndexShard], tuple[str, ...], tuple[str, ...]]:
    """Make the missing shards of an index on workers.

    Returns:
        (all shards, addresses of those made, addresses of those reused).

    Raises:
        PartialRun: a shard could not be built; a rerun resumes.
    """
    shards, todo = find_existing(workspace, builder, vectors, rows_per_shard)
    reused = tuple(sorted(shards))
    for shard in run_all(engine, BuildShard(tables=VectorTables.of(workspace, vectors), builder=builder), todo, FAILED):
        shards[shard.address] = shard
        log.event("index_shard_built", address=shard.address, rows=shard.rows)
    return list(shards.values()), tuple(sorted(set(shards) - set(reused))), reused


def tune_views(
    workspace: Workspace,
    engine: Engine,
    tables: VectorTables,
    manifest: IndexManifest,
    target: float,
    *,
    nprobe: int | None = None,
    place: MilvusPlace | None = None,
) -> tuple[dict[str, Settings], float]:
    """Return search parameters of each view and of `all` that reach the target recall, and the recall of `all`."""
    views = (None, *(manifest.views if len(manifest.views) > 1 else ()))
    probes = {
        view: exact_probes(workspace, engine, tables, manifest, QUERIES, view)
        for view in views
        if view is None or manifest.counts.get(f"view:{view}")
    }
    tuning = TuneSearch(lake=workspace.lake, probes=probes, target=target, nprobe=nprobe, place=place)
    found = run_alone(engine, tuning, manifest)
    return {view: each.settings for view, each in found.items()}, found[ALL].recall


@dataclass(frozen=True, slots=True, kw_only=True)
class TuneSearch:
    """Finds for each view the cheapest search that reaches the target recall, with a margin."""

    lake: Lake
    probes: Mapping[str | None, Probes]
    target: float
    nprobe: int | None = None
    place: MilvusPlace | None = None

    def __call__(self, manifest: IndexManifest) -> dict[str, Tuned]:
        searcher = open_backend(self.lake, self.place, manifest, manifest.fingerprint)
        fixed = {"nprobe": self.nprobe} if self.nprobe else {}
        found: dict[str, Tuned] = {}
        for view, probes in self.probes.items():

            def measure(settings: Settings, view: str | None = view, probes: Probes = probes) -> float:
                hits = searcher.search(probes.queries_ND, K, collapse=False, view=view, settings=settings | fixed)
                return recall_at_k(hits, probes.truth, exact_scores=searcher.exact_scores)

            aim = min(self.target + SPARE, (1 + self.target) / 2)  # only an exhaustive search reaches 1.0
            best = searcher.tune(measure, aim)
            found[view or ALL] = replace(best, settings=best.settings | fixed)
            log.event("search_tuned", view=view or ALL, recall=round(best.recall, 4), **found[view or ALL].settings)
        return found


def live_recall(live: Publication | None, backend: str) -> float:
    """Return the live index's recall as the gate measured it; 1 if unknown, so that it is not trained again."""
    found = {check.name: check.value for check in (live.verdict.checks if live is not None else ())}
    return float(found.get(f"{backend}_recall_at_10", found.get("ann_recall_at_10", 1.0)) or 0.0)


def live_manifest(workspace: Workspace, live: Publication | None, backend: str) -> IndexManifest | None:
    """Return the live index's manifest of a backend; None if there is none or it was lost (a rebuild replaces it)."""
    if live is None:
        return None
    try:
        held = read_manifests(workspace.lake, live.manifest, live.manifest_digest)
    except StorageError as lost:
        log.event("live_manifest_lost", detail=str(lost))
        return None
    return next((manifest for manifest in held if backend_of(manifest) == backend), None)
