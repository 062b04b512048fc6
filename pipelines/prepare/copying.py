"""Copy what rows became before: a row whose input is known, under the same ops, has the same records and rejects.

Rows are told apart by their input digest. The shards that copying gives are equal, byte for byte, to those of preparing
every row.
"""

from __future__ import annotations

from collections import Counter, OrderedDict, defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import groupby
from typing import Any

import pyarrow as pa

from trichord.infra.errors import StorageError, TrichordError
from trichord.infra.lake import schema
from trichord.infra.lake.lake import Lake
from trichord.infra.lake.shard import ShardGroups, ShardRef, read_shard
from trichord.transforms.batch import Row
from trichord.transforms.part_keys import CUT_BY, PartKey

READ_BY = ("read", "worker")  # what rejects rows before the ops do
_GROUPS_HELD = 4  # row groups of records in memory


class LostBase(TrichordError):
    """An older shard cannot be read: what it holds must be made again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OldShards:
    """The shards of one partition as an earlier run made them; `rejects` is None if nothing was rejected."""

    records: ShardRef
    signatures: ShardRef
    rejects: ShardRef | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Base:
    """Older shards that a partition's rows may be in, and the thresholds that let more through since."""

    shards: tuple[OldShards, ...] = ()
    loosened: frozenset[str] = frozenset()


NO_BASE = Base()


@dataclass(slots=True)
class _Unit:
    """What one source row became: (shard, position) of its records, and its rejects."""

    kept: list[tuple[int, int]] = field(default_factory=list)
    rejects: list[Mapping[str, Any]] = field(default_factory=list)


class Copier:
    """Knows what source rows became in older shards of a partition, and copies it.

    Args:
        lake: holds the shards.
        old: the shards.
        ops: names of the ops that every row goes through now, in order.
        loosened: names of those that let more through now; what they rejected is not known.
        partition: id of the partition that rows are copied to.
    """

    def __init__(
        self, lake: Lake, old: Sequence[OldShards], ops: Sequence[str], loosened: Collection[str], partition: str
    ) -> None:
        self._ops, self._loosened, self._partition = tuple(ops), frozenset(loosened), partition
        self._rank = {name: i for i, name in enumerate(self._ops)}
        self._shards = [_Shard(lake, one, partition) for one in old]
        self.copied = 0

    @cached_property
    def _units(self) -> dict[str, _Unit]:
        units: dict[str, _Unit] = {}
        for number, shard in enumerate(self._shards):
            mine: dict[str, _Unit] = defaultdict(_Unit)
            for position, name in enumerate(shard.inputs):
                mine[name].kept.append((number, position))
            for reject in shard.rejects:
                if reject["op"] != "read":
                    mine[reject["input_digest"]].rejects.append(reject)
            units |= mine
        return {name: unit for name, unit in units.items() if self._is_settled(unit)}

    def _is_settled(self, unit: _Unit) -> bool:
        """Return True where the ops of today would do the same with a row."""
        return all(reject["op"] in self._rank and reject["op"] not in self._loosened for reject in unit.rejects)

    def knows(self, input_digest: str) -> bool:
        """Return True where it is known what becomes of such a row."""
        return bool(self._shards) and input_digest in self._units

    def copy(
        self, known: Sequence[Row], order: Sequence[str], records: pa.Table, signatures: pa.Table
    ) -> tuple[pa.Table, pa.Table, list[Mapping[str, Any]], Counter[str]]:
        """Put copies of known rows between new ones, in the order of the source.

        Args:
            known: the rows to copy; one with a payload passes it on to its rejects.
            order: the input digests of known and new rows.
            records: the new rows, with the parts cut from them.
            signatures: the same.

        Returns:
            All records and signatures; the rejects of the known rows; what the ops' counts of known rows would be.

        Raises:
            LostBase: an older shard cannot be read.
        """
        place = {name: at for at, name in enumerate(order)}
        entries = [(place[name], -1, i) for i, name in enumerate(signatures["input_digest"].to_pylist())]
        rejects: list[Mapping[str, Any]] = []
        for row in known:
            unit = self._units[row.input_digest]
            entries += [(place[row.input_digest], shard, position) for shard, position in unit.kept]
            told = {"partition": self._partition} | ({"payload": row.payload} if row.payload != "{}" else {})
            rejects += [{**reject, **told} for reject in unit.rejects]
        entries.sort(key=lambda entry: entry[0])
        made, signed = [records.slice(0, 0)], [signatures.slice(0, 0)]
        for shard, start, rows in _runs(entries):
            if shard < 0:
                made.append(records.slice(start, rows))
                signed.append(signatures.slice(start, rows))
            else:
                made += self._shards[shard].records(start, rows)
                signed.append(self._shards[shard].signatures.slice(start, rows))
        self.copied += len(known)
        return pa.concat_tables(made), pa.concat_tables(signed), rejects, self._counts(known)

    def _counts(self, rows: Sequence[Row]) -> Counter[str]:
        """Count rows and their parts as the ops would: as input of each op from the first to the last they met."""
        counts, meets = Counter[str](), [0] * (len(self._ops) + 1)
        for row in rows:
            unit = self._units[row.input_digest]
            counts["fan_out"] += len(unit.kept) + len(unit.rejects) - 1
            ends = [(self._shards[shard].keys[position], len(self._ops)) for shard, position in unit.kept]
            for reject in unit.rejects:
                counts[f"{reject['op']}/rejected"] += 1
                ends.append((reject["key"], self._rank[reject["op"]] + 1))
            for key, end in ends:
                meets[0 if key == row.key else self._rank[_maker(key)] + 1] += 1
                meets[end] -= 1
        rows_in = 0
        for op, change in zip(self._ops, meets, strict=False):
            rows_in += change
            counts.update({f"{op}/in": rows_in, f"{op}/rejected": 0})
        return counts


class _Shard:
    """An older partition. Once a row is copied, its signatures are in memory, and its records a row group at a time."""

    def __init__(self, lake: Lake, old: OldShards, partition: str) -> None:
        self._lake, self._old, self._partition = lake, old, partition
        self._held: OrderedDict[int, pa.Table] = OrderedDict()

    @cached_property
    def inputs(self) -> list[str]:
        wanted = pa.schema([schema.SIGNATURES.field("input_digest")])
        inputs: list[str] = self._read(self._old.signatures, wanted)["input_digest"].to_pylist()
        return inputs

    @cached_property
    def signatures(self) -> pa.Table:
        return self._renamed(self._read(self._old.signatures, schema.SIGNATURES))

    @cached_property
    def keys(self) -> list[str]:
        keys: list[str] = self.signatures["key"].to_pylist()
        return keys

    @cached_property
    def rejects(self) -> list[Mapping[str, Any]]:
        return [] if self._old.rejects is None else self._read(self._old.rejects, schema.REJECTS).to_pylist()

    @cached_property
    def _groups(self) -> ShardGroups:
        groups = ShardGroups(self._lake, self._old.records)
        if groups.starts[-1] != len(self.inputs):
            raise LostBase(f"{self._old.records.path} and its signatures do not have the same rows")
        return groups

    def records(self, start: int, rows: int) -> Iterator[pa.Table]:
        """Yield some consecutive records."""
        try:
            while rows:
                group, at = self._groups.find(start)
                if group not in self._held:
                    self._held[group] = self._renamed(self._groups.read(group).cast(schema.RECORDS))
                    if len(self._held) > _GROUPS_HELD:
                        self._held.popitem(last=False)
                part = self._held[group].slice(at, rows)
                yield part
                start, rows = start + len(part), rows - len(part)
        except (StorageError, FileNotFoundError) as error:
            raise LostBase(str(error)) from error

    def _read(self, ref: ShardRef, wanted: pa.Schema) -> pa.Table:
        try:
            return read_shard(self._lake, ref, wanted.names).cast(wanted)
        except (StorageError, FileNotFoundError, ValueError) as error:
            raise LostBase(str(error)) from error

    def _renamed(self, rows: pa.Table) -> pa.Table:
        """Return rows as those of the new partition."""
        at = rows.schema.get_field_index("partition")
        names = pa.array([self._partition] * len(rows), pa.string())
        return rows.set_column(at, rows.schema.field(at), names)


def _runs(entries: Sequence[tuple[int, int, int]]) -> Iterator[tuple[int, int, int]]:
    """Yield (shard, first position, rows) of entries whose positions follow each other."""
    numbered = enumerate(entries)
    for (shard, _), run in groupby(numbered, key=lambda item: (item[1][1], item[1][2] - item[0])):
        first, *rest = run
        yield shard, first[1][2], 1 + len(rest)


def _maker(key: str) -> str:
    """Return the op that cut a part."""
    part = PartKey.decode(key)
    if part is None or part.mark not in CUT_BY:
        raise LostBase(f"no op cuts parts named like {key!r}")
    return CUT_BY[part.mark]
