"""The shards that were made of partitions: those that are wanted now, and those to copy unchanged rows from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from trichord.infra.lake.shard import ShardRef, find_finished
from trichord.pipelines.core.bases import keep_bases, load_bases
from trichord.pipelines.core.recipes import current_recipe, find_loosened, known_recipes
from trichord.pipelines.core.workspace import Workspace
from trichord.pipelines.prepare.aligner import open_aligner
from trichord.pipelines.prepare.copying import Base, OldShards
from trichord.pipelines.prepare.plan import WantedShard
from trichord.transforms.align.words import Aligner


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """The shards of one partition. `rejects` is None if nothing was rejected.

    If this run made them, `ran` rows went through the ops, and `copied` rows did not.
    """

    address: str
    partition: str
    records: ShardRef
    signatures: ShardRef
    rejects: ShardRef | None
    ran: int = field(default=0, compare=False)
    copied: int = field(default=0, compare=False)

    @property
    def old(self) -> OldShards:
        """Return the shards to copy from."""
        return OldShards(records=self.records, signatures=self.signatures, rejects=self.rejects)


def finished(workspace: Workspace, shards: Iterable[WantedShard]) -> dict[str, Prepared]:
    """Return the shards that an earlier run finished, committed or not, by address."""
    return _find_prepared(workspace, {shard.address: shard.partition.id for shard in shards})


def _find_prepared(workspace: Workspace, wanted: Mapping[str, str]) -> dict[str, Prepared]:
    """Return the finished shards by address; `wanted` has their partitions' ids."""
    found = {name: find_finished(workspace.lake, name, wanted) for name in ("records", "signatures", "rejects")}
    return {
        address: Prepared(
            address=address,
            partition=wanted[address],
            records=records,
            signatures=found["signatures"][address],
            rejects=found["rejects"].get(address) if records.counts.get("rows_rejected") else None,
        )
        for address, records in found["records"].items()
        if address in found["signatures"] and (not records.counts.get("rows_rejected") or address in found["rejects"])
    }


def find_bases(
    workspace: Workspace, shards: Sequence[WantedShard], missing: Sequence[WantedShard], aligner: Aligner | None
) -> dict[str, Base]:
    """Return, by address, what missing shards can copy from: shards of the last run, unless its ops were others."""
    recipes = known_recipes(workspace) if missing else {}
    loosened: dict[str, frozenset[str]] = {}
    old: dict[str, tuple[str, ...]] = {}
    for source in {shard.source.name: shard.source for shard in missing}.values():
        bases = load_bases(workspace.lake, "records", source.name)
        wider = None
        if bases is not None and bases.made_by in recipes:
            wider = find_loosened(recipes[bases.made_by], current_recipe(workspace, source, aligner)[1])
        if bases is None or wider is None:
            continue
        loosened[source.name] = wider
        mine = [shard.partition for shard in shards if shard.source.name == source.name]
        old |= bases.of(mine, [shard.partition.id for shard in missing if shard.source.name == source.name])
    ready = _find_prepared(workspace, {address: "" for addresses in old.values() for address in addresses})
    olds = {address: one.old for address, one in ready.items()}
    found = {}
    for shard in missing:
        whole = tuple(olds[one] for one in old.get(shard.partition.id, ()) if one in olds)
        if whole:
            found[shard.address] = Base(shards=whole, loosened=loosened[shard.source.name])
    return found


def keep_prepared(workspace: Workspace, shards: Sequence[WantedShard]) -> None:
    """Keep which shards were made of which partitions, so that the next run copies from them."""
    aligner = open_aligner(workspace.project.prepare.align)
    for source in workspace.project.sources:
        mine = [shard for shard in shards if shard.source.name == source.name]
        addresses = {shard.partition.id: shard.address for shard in mine}
        recipe, _ = current_recipe(workspace, source, aligner)
        keep_bases(workspace.lake, "records", source.name, recipe, [s.partition for s in mine], addresses)
