"""What is known of a run in advance: which partitions and rows change, and whether the model is kept."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

from trichord.encoders.frozen import load_encoders
from trichord.infra import digest
from trichord.infra.errors import StorageError
from trichord.infra.lake import layout
from trichord.infra.lake.publication import Publication
from trichord.infra.lake.shard import ShardRef, find_finished, parse_shard_path
from trichord.pipelines.core.exclusions import Exclusions
from trichord.pipelines.core.model_store import TrainedModel, finished
from trichord.pipelines.core.result import Result
from trichord.pipelines.core.workspace import Workspace
from trichord.pipelines.index.partition_map import Planned, read_partitions, read_planned
from trichord.pipelines.model.encode import vectors_address
from trichord.pipelines.model.feature_cache import features_address
from trichord.pipelines.prepare.plan import Plan, WantedShard
from trichord.pipelines.stages.live_model import describe_lost, is_wanted, reuse_live_model
from trichord.transforms.collect.partitions import Partition, PlannedRow
from trichord.transforms.collect.plan_parts import read_plan

EXAMPLES = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Keys(Result):
    """The number of rows, and their first keys as `source/key`."""

    count: int
    first: tuple[str, ...]

    @classmethod
    def of(cls, keys: Iterable[str]) -> Keys:
        """Return these keys, counted."""
        found = sorted(keys)
        return cls(count=len(found), first=tuple(found[:EXAMPLES]))


@dataclass(frozen=True, slots=True, kw_only=True)
class RowChanges(Result):
    """Changes by key between the sources and the live publication.

    Attributes:
        added, changed, deleted: rows of sources that are planned row by row.
        unknown_partitions: partitions whose changes are known only when they are read: changed parts of data files,
            and partitions whose earlier plan was deleted.
    """

    added: Keys
    changed: Keys
    deleted: Keys
    unknown_partitions: int


@dataclass(frozen=True)
class Forecast:
    """What the lake and the plan say of a run in advance. Makes nothing, and reads everything once."""

    workspace: Workspace
    plan: Plan
    live: Publication | None

    @cached_property
    def present(self) -> dict[str, ShardRef]:
        """The newest records shards of the lake, by address."""
        return self.workspace.pinned_shards("records", None)

    @cached_property
    def to_prepare(self) -> list[WantedShard]:
        """Partitions whose records are not in the lake."""
        return [shard for shard in self.plan.shards if shard.address not in self.present]

    @cached_property
    def unchanged(self) -> list[WantedShard]:
        """Partitions whose records are in the lake."""
        return [shard for shard in self.plan.shards if shard.address in self.present]

    def records_of(self, shards: Iterable[WantedShard]) -> int:
        """How many records partitions hold: what their shards hold, or for those still to be prepared, their rows."""
        return sum(
            self.present[shard.address].rows if shard.address in self.present else shard.partition.rows
            for shard in shards
        )

    @cached_property
    def live_partitions(self) -> dict[str, str]:
        """Partition -> address of its records shard in the live publication."""
        if self.live is None:
            return {}
        paths = read_partitions(self.workspace, self.live.manifest)
        return {partition: (parse_shard_path(path) or ("", ""))[0] for partition, path in paths.items()}

    @cached_property
    def live_model(self) -> TrainedModel | None:
        """The live model, if this run keeps it."""
        return reuse_live_model(self.workspace, self.live)

    @cached_property
    def kept_model(self) -> TrainedModel | None:
        """The model that this run uses untrained: the live one, or that of an earlier run that did not publish."""
        return self.live_model or self._model_of_earlier_run()

    def _model_of_earlier_run(self) -> TrainedModel | None:
        project, lake = self.workspace.project, self.workspace.lake
        if self.to_prepare or not self.plan.shards or project.augment.copies or project.agreement.check != "off":
            return None  # what it is made of is known only afterwards
        from trichord.pipelines.evaluation.parts import parts_of
        from trichord.pipelines.model.train import describe_model

        encoders = load_encoders(project.model).fingerprint
        wanted = {features_address(encoders, shard.address): shard.partition.id for shard in self.plan.shards}
        features = find_finished(lake, layout.FEATURES, wanted)
        if len(features) < len(wanted):
            return None
        by_partition = {wanted[address]: ref for address, ref in features.items()}
        records = find_finished(lake, "records", self.plan.wanted)  # with their counts
        parts = parts_of(self.workspace, records.values(), self.workspace.pinned_shards("matches", None).values())
        address = describe_model(self.workspace, by_partition, self.exclusions, parts).address
        return finished(self.workspace, layout.model_path(address))

    @cached_property
    def exclusions(self) -> Exclusions:
        """The rows that the run leaves out: by the newest duplicates if no row is prepared, else by the live ones."""
        newest = self.workspace.table("duplicates")
        if not self.to_prepare and self.workspace.project.agreement.check == "off" and newest.version() is not None:
            return Exclusions.gather(self.workspace.lake, newest.shards().values())
        if self.live is None:
            return Exclusions(lake=self.workspace.lake)
        dropped = self.workspace.pinned_shards("duplicates", self.live).values()
        exclusions = Exclusions.gather(self.workspace.lake, dropped)
        if not self.live.counts.rows_disagreeing:
            return exclusions
        from trichord.pipelines.model.pair_agreement import pinned_disagreements

        found = pinned_disagreements(self.workspace, self.live)
        return exclusions.with_rows((row.partition, row.row_digest) for row in found)

    @cached_property
    def vectors(self) -> dict[str, ShardRef]:
        """Partition -> its vectors shard, for the unchanged partitions whose vectors this run keeps."""
        model, index = self.kept_model, self.workspace.project.index
        if model is None:
            return {}
        present = self.workspace.pinned_shards("vectors", None)
        found = {}
        for shard in self.unchanged:
            excluded = self.exclusions.of(shard.partition.id)
            address = vectors_address(
                shard.address, excluded, model.fingerprint, tuple(index.views), index.vector_dtype
            )
            if address in present:
                found[shard.partition.id] = present[address]
        return found

    def why_trained(self) -> str:
        """Return why the model is trained again, or that it is kept."""
        workspace, live = self.workspace, self.live
        if self.live_model is not None:
            return "kept: settings and encoders have not changed"
        if self.kept_model is not None:
            return "already trained by an earlier run that did not publish"
        if live is None:
            return "no model is published yet"
        if workspace.project.train.policy == "always":
            return "train.policy is always"
        if live.recipe["model"] != workspace.model_settings():
            return "settings of model, train or augment have changed"
        if is_wanted(workspace, live) and (lost := describe_lost(workspace, live)):
            return f"{lost} in {live.model}: `trichord reindex` refuses, unless --retrain is given"
        changed = load_encoders(workspace.project.model).fingerprint
        return f"an encoder has changed (now {changed[:12]})"

    def row_changes(self) -> RowChanges:
        """Compare the rows of changed partitions with those of the live publication."""
        now = [shard for shard in self.plan.shards if self.live_partitions.get(shard.partition.id) != shard.address]
        wanted = {shard.partition.id: shard.address for shard in self.plan.shards}
        gone = [name for name, address in self.live_partitions.items() if wanted.get(name) != address]
        earlier = read_planned(self.workspace, self.live.manifest) if self.live is not None and gone else {}
        unknown, new, old = set[str](), dict[str, str](), dict[str, str]()
        for shard in now:
            if shard.partition.locator and shard.partition.part is None:
                new |= self._rows(shard.source.name, shard.partition)
            else:
                unknown.add(shard.partition.id)
        for name in gone:
            rows = self._earlier(earlier.get(name))
            if rows is None:
                unknown.add(name)
            else:
                old |= rows
        return RowChanges(
            added=Keys.of(new.keys() - old.keys()),
            changed=Keys.of(key for key in new.keys() & old.keys() if new[key] != old[key]),
            deleted=Keys.of(old.keys() - new.keys()),
            unknown_partitions=len(unknown),
        )

    def _earlier(self, planned: Planned | None) -> dict[str, str] | None:
        if planned is None:
            return None
        partition = Partition(
            source=planned.source, id="", version="", rows=0, locator=planned.path, row_group=planned.row_group
        )
        try:
            return self._rows(planned.source, partition)
        except StorageError:
            return None

    def _rows(self, source: str, partition: Partition) -> dict[str, str]:
        return {f"{source}/{row.key}": _content(row) for row in read_plan(partition, self.workspace.lake)}


def _content(row: PlannedRow) -> str:
    """Return the digest of a row's values and of the media that it names."""
    return digest.address("planned row", [value or "" for value in row.columns()])
