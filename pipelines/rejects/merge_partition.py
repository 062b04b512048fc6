"""Replay one partition: copy rows whose result cannot have changed from an older shard, and run the others.

The shards are equal, byte for byte, to those of preparing the whole partition. Where that cannot be proven,
`Unmergeable` is raised and nothing is written; the partition is then prepared as a whole.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pyarrow as pa

from trichord.infra.errors import StorageError, TrichordError
from trichord.infra.lake import schema
from trichord.infra.lake.lake import Lake
from trichord.infra.lake.shard import iter_shard, read_shard
from trichord.pipelines.prepare.plan import WantedShard
from trichord.pipelines.prepare.records import Made, Prepared, PrepareTask, op_counts, write_partition
from trichord.transforms.batch import Batch
from trichord.transforms.collect import media_root, read_partition
from trichord.transforms.collect.partitions import Partition, PlannedRow, digest_of, version_of
from trichord.transforms.collect.plan_parts import read_plan
from trichord.transforms.collect.read import PartitionReader, chunks, mark_repeats
from trichord.transforms.op import OpCounts, run_chain
from trichord.transforms.part_keys import CUT_BY, PartKey, cut_from

_READ = ("read", "worker")  # what rejects rows before the ops do
_BATCH_ROWS = 16


class Unmergeable(TrichordError):
    """The older shards of a partition do not prove enough, so it must be prepared as a whole."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MergeItem:
    """A partition to make from one of its older shards.

    `before` is that shard's partition, if its rows were different. `thresholds` are those that let more through now.
    """

    shard: WantedShard
    base: Prepared
    before: Partition | None
    thresholds: frozenset[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Merged:
    """One merged partition: how many source rows ran through the ops, and how many were copied."""

    prepared: Prepared
    run: int
    copied: int


@dataclass(frozen=True, slots=True)
class MergeTask:
    """Merges partitions in a worker."""

    prepare: PrepareTask

    def __call__(self, item: MergeItem) -> Merged:
        """Make one partition.

        Raises:
            Unmergeable: it must be prepared as a whole.
        """
        merge = _Merge(self.prepare, item)
        lake = self.prepare.lake
        prepared = write_partition(lake, item.shard, merge.parts())
        return Merged(prepared=prepared, run=merge.run, copied=merge.copied)


@dataclass(frozen=True, slots=True)
class _Unit:
    """Where one source row, and the parts cut from it, are in the older shards: positions."""

    kept: list[int] = field(default_factory=list)
    rejects: list[int] = field(default_factory=list)


class _Merge:
    def __init__(self, task: PrepareTask, item: MergeItem) -> None:
        self._task, self._item = task, item
        self._chain = task.chain(item.shard.source)
        self._rank = {name: i for i, name in enumerate((*_READ, *(op.name for op in self._chain)))}
        self._base = _Base(task.lake, item.base)
        self._used: Counter[tuple[bool, int]] = Counter()
        self.run = self.copied = 0

    def parts(self) -> Iterator[Made]:
        """Yield the partition's rows batch by batch, in reading order."""
        rows = self._read_planned if self._item.shard.partition.part is None else self._read_part
        for keys, batch in rows():
            yield self._merge(keys, batch)
        self._require_all_used()

    def _read_planned(self) -> Iterator[tuple[list[str], Batch]]:
        """Yield the keys of each batch's good rows, and the rows that must run; only these rows' media are read."""
        task, item = self._task, self._item
        source, partition = item.shard.source, item.shard.partition
        rows = mark_repeats(read_plan(partition, task.lake))
        same: Callable[[PlannedRow], bool] = lambda row: True  # noqa: E731
        if item.before is not None:
            before = mark_repeats(read_plan(item.before, task.lake))
            old = {row.key: row for row in before if row.reason is None}
            same = lambda row: old.get(row.key) == row  # noqa: E731
            _require_unlike({*old, *(row.key for row in rows if row.reason is None)})
        reader = PartitionReader(source, task.lake, media_root(source), task.config, partition)
        for part in chunks(rows):
            good = [row.key for row in part if row.reason is None]
            wanted = [row for row in part if row.reason is not None or not (same(row) and self._is_settled(row.key))]
            batch = reader.batch(wanted)
            dropped = {row.key for row in wanted if row.reason is None} - {row.key for row in batch.rows}
            yield [key for key in good if key not in dropped], batch

    def _read_part(self) -> Iterator[tuple[list[str], Batch]]:
        """Do the same for a part of a data file, which is read as a whole."""
        task, shard = self._task, self._item.shard
        for batch in read_partition(shard.source, task.lake, shard.partition, config=task.config):
            yield [row.key for row in batch.rows], batch.select([not self._is_settled(r.key) for r in batch.rows])

    def _is_settled(self, key: str) -> bool:
        """Return True where everything that a source row became is known and cannot differ now."""
        unit = self._base.units.get(key)
        if unit is None:
            return False
        ops = {self._base.rejects[i]["op"] for i in unit.rejects}
        return not ops & {*self._item.thresholds, "worker"}

    def _merge(self, keys: Sequence[str], batch: Batch) -> Made:
        running = {row.key for row in batch.rows}
        copied = [(at, key) for at, key in enumerate(keys) if key not in running]
        if len(running) + len(copied) != len(keys):
            raise Unmergeable("a key is repeated")
        self.run += len(running)
        self.copied += len(copied)
        counts = Counter({f"{op.name}/{what}": 0 for op in self._chain for what in ("in", "rejected")})
        by_op: Mapping[str, OpCounts] = {}
        if running:
            batch, by_op = run_chain(batch, self._chain)
        new = self._task.made(batch, by_op)
        counts.update(op_counts(by_op))
        place = {key: at for at, key in enumerate(keys)}
        kept = [(_root(row.key, place), _slice(new.records, i), _slice(new.signatures, i))
                for i, row in enumerate(batch.rows)]  # fmt: skip
        refused = [(self._rank[reject["op"]], _place(reject, place), reject) for reject in new.rejects.to_pylist()]
        for at, key in copied:
            unit = self._base.units[key]
            self._use(unit)
            counts.update(self._counts(key, unit))
            kept += [(at, *self._base.row(i)) for i in unit.kept]
            rejects = [self._base.rejects[i] for i in unit.rejects]
            refused += [(self._rank_of(reject), at, reject) for reject in rejects]
        for key in running & self._base.units.keys():
            self._use(self._base.units[key])
        kept.sort(key=lambda entry: entry[0])
        refused.sort(key=lambda entry: entry[:2])
        return Made(
            records=pa.concat_tables([schema.RECORDS.empty_table(), *(entry[1] for entry in kept)]),
            signatures=pa.concat_tables([schema.SIGNATURES.empty_table(), *(entry[2] for entry in kept)]),
            rejects=pa.Table.from_pylist([entry[2] for entry in refused], schema=schema.REJECTS),
            counts=counts,
        )

    def _rank_of(self, reject: Mapping[str, Any]) -> int:
        if reject["op"] not in self._rank:
            raise Unmergeable(f"{reject['op']} rejected a row, but is no longer an op")
        return self._rank[reject["op"]]

    def _counts(self, key: str, unit: _Unit) -> Counter[str]:
        """Count a copied row and its parts as the ops would: as input of each op from the first to the last it met."""
        counts = Counter(fan_out=len(unit.kept) + len(unit.rejects) - 1)
        ends = [(self._base.keys[i], len(self._chain)) for i in unit.kept]
        for i in unit.rejects:
            reject = self._base.rejects[i]
            end = self._rank_of(reject) - len(_READ)
            ends.append((reject["key"], end))
            counts[f"{reject['op']}/rejected"] += 1
        for name, end in ends:
            start = 0 if name == key else self._rank_of({"op": _maker(name)}) - len(_READ) + 1
            counts.update(f"{op.name}/in" for op in self._chain[start : end + 1])
        return counts

    def _use(self, unit: _Unit) -> None:
        self._used.update([(True, i) for i in unit.kept])
        self._used.update([(False, i) for i in unit.rejects])

    def _require_all_used(self) -> None:
        known = {(True, i) for i in range(len(self._base.keys))}
        known |= {(False, i) for i, reject in enumerate(self._base.rejects) if reject["op"] != "read"}
        if any(n > 1 for n in self._used.values()) or (self._item.before is None and self._used.keys() != known):
            raise Unmergeable("rows of the older shard cannot be told apart")


class _Base:
    """An older shard: keys and rejects in memory; records are read once, front to back."""

    def __init__(self, lake: Lake, base: Prepared) -> None:
        self.keys: list[str] = read_shard(lake, base.records, ["key"])["key"].to_pylist()
        self.rejects: list[Mapping[str, Any]] = (
            read_shard(lake, base.rejects).to_pylist() if base.rejects is not None else []
        )
        self.units: dict[str, _Unit] = defaultdict(_Unit)
        for i, key in enumerate(self.keys):
            for root in _roots(key):
                self.units[root].kept.append(i)
        for i, reject in enumerate(self.rejects):
            if reject["op"] != "read":
                for root in _roots(reject["key"]):
                    self.units[root].rejects.append(i)
        self._signatures = read_shard(lake, base.signatures).cast(schema.SIGNATURES)
        if self._signatures["key"].to_pylist() != self.keys:
            raise Unmergeable("records and signatures do not match")
        self._records = iter_shard(lake, base.records, batch_rows=_BATCH_ROWS)
        self._held = schema.RECORDS.empty_table()
        self._start = 0

    def row(self, at: int) -> tuple[pa.Table, pa.Table]:
        """Return a record and its signature; positions must rise.

        Raises:
            Unmergeable: the position is before the last one.
        """
        if at < self._start:
            raise Unmergeable("the order of rows has changed")
        while at >= self._start + len(self._held):
            self._start += len(self._held)
            self._held = pa.Table.from_batches([next(self._records)]).cast(schema.RECORDS)
        return _slice(self._held, at - self._start), _slice(self._signatures, at)


def find_old_partition(partition: Partition, locator: str, row_group: int, lake: Lake) -> Partition | None:
    """Return the partition as another plan file has it, with its version there; None if that cannot be read."""
    before = replace(partition, locator=locator, row_group=row_group)
    try:
        rows = read_plan(before, lake)
    except (StorageError, IndexError, ValueError):
        return None
    version = version_of(digest_of(row.columns()) for row in rows)
    return replace(before, version=version, rows=len(rows))


def _slice(table: pa.Table, at: int) -> pa.Table:
    return table.slice(at, 1)


def _roots(key: str) -> list[str]:
    """Return the key, and the keys of rows that it may have been cut from."""
    return [key, *cut_from(key)]


def _root(key: str, place: Mapping[str, int]) -> int:
    """Return the position of the source row that a row is, or was cut from."""
    found = [place[root] for root in _roots(key) if root in place]
    if len(found) != 1:
        raise Unmergeable(f"{key!r} may have been cut from {len(found)} rows")
    return found[0]


def _place(reject: Mapping[str, Any], place: Mapping[str, int]) -> int:
    return 0 if reject["op"] == "read" else _root(reject["key"], place)  # read rejects them in order


def _maker(key: str) -> str:
    """Return the op that cut a part."""
    part = PartKey.decode(key)
    if part is None or part.mark not in CUT_BY:
        raise Unmergeable(f"no known op cuts parts named like {key!r}")
    return CUT_BY[part.mark]


def _require_unlike(keys: Collection[str]) -> None:
    """Refuse rows named like parts of others: they would depend on each other."""
    if any(root in keys for key in keys for root in _roots(key)[1:]):
        raise Unmergeable("a row is named like a part of another row")
