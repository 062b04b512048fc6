"""Bases: which shards the last run made of which partitions, so that the next one copies rows that did not change.

They are a cache, one small file for each source and table. What is missing is made again.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa

from trichord.infra.lake import layout
from trichord.infra.lake.lake import Lake
from trichord.infra.lake.sealed_tables import read_sealed, write_sealed
from trichord.infra.lake.shard import ShardRef, find_finished
from trichord.transforms.collect.partitions import Partition

MOST = 512  # shards that are searched for one partition's rows
_MADE_BY = b"trichord.made_by"
_SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("file", pa.string()),  # of a part of a data file: the file's path
        ("start", pa.int64()),  # and its first row
        ("rows", pa.int64()),
        ("address", pa.string()),
    ]
)


@dataclass(frozen=True, slots=True)
class _Base:
    id: str
    file: str
    start: int
    rows: int
    address: str


class Bases:
    """The shards of one table that a run made of a source's partitions. `made_by` names recipe or model."""

    def __init__(self, made_by: str, bases: Sequence[_Base]) -> None:
        self.made_by = made_by
        self._leaves = sorted((one.id, one.address) for one in bases if not one.file)
        self._leaf = dict(self._leaves)
        self._files: dict[str, list[_Base]] = defaultdict(list)
        for one in bases:
            if one.file:
                self._files[one.file].append(one)

    def of(self, partitions: Sequence[Partition], wanted: Iterable[str]) -> dict[str, tuple[str, ...]]:
        """Return, by id, the addresses of shards that may hold rows of the wanted partitions; at most `MOST` of each.

        Args:
            partitions: all present partitions of the source.
            wanted: ids of those to look up.
        """
        now = {one.id: one for one in _placed(partitions, {})}
        files = {one.file for one in now.values()}
        gone = [base.address for name, bases in self._files.items() if name not in files for base in bases]
        totals = {name: sum(one.rows for one in bases) for name, bases in self._files.items()}
        for one in now.values():
            if one.file in totals:
                totals[one.file] -= one.rows
        found = {}
        for name in wanted:
            one = now[name]
            if not one.file:
                found[name] = self._below(name)
            elif one.file in self._files:
                found[name] = self._near(one, abs(totals[one.file]))
            else:  # a new file: renamed, or written in the place of others
                found[name] = gone
        return {name: tuple(addresses[:MOST]) for name, addresses in found.items() if addresses}

    def _below(self, name: str) -> list[str]:
        """Return the leaves that contain a leaf of the trie, and those that it contains."""
        source, _, bits = name.rpartition("/")
        bits = "" if bits == "all" else bits
        above = [f"{source}/{bits[:n] or 'all'}" for n in range(len(bits))]
        first = bisect_left(self._leaves, (f"{source}/{bits}",)) if bits else 0
        found = []
        for leaf, address in self._leaves[first:]:
            if not leaf.startswith(f"{source}/{bits}"):
                break
            found.append(address)
            if len(found) == MOST:
                break
        return [self._leaf[one] for one in above if one in self._leaf] + found

    def _near(self, one: _Base, moved: int) -> list[str]:
        """Return the parts of a file that had the rows of a part, as far as rows were inserted or deleted before it."""
        low, high = one.start - moved, one.start + one.rows + moved
        return [base.address for base in self._files[one.file] if base.start < high and low < base.start + base.rows]


def _placed(partitions: Iterable[Partition], addresses: Mapping[str, str]) -> list[_Base]:
    starts: dict[str, int] = defaultdict(int)
    found = []
    ordered = sorted(partitions, key=lambda one: (one.part.path, one.part.groups) if one.part else ("", (0, 0)))
    for one in ordered:
        file = one.part.path if one.part is not None else ""
        found.append(_Base(one.id, file, starts[file] if file else 0, one.rows, addresses.get(one.id, "")))
        starts[file] += one.rows
    return found


def find_bases(
    lake: Lake, table: str, made_by: str, partitions: Mapping[str, Sequence[Partition]], missing: Iterable[str]
) -> dict[str, tuple[ShardRef, ...]]:
    """Return, by id, the shards that missing partitions can copy rows from.

    Args:
        lake: holds them.
        table: of the shards.
        made_by: what makes them now; those that something else made are of no use.
        partitions: all present ones, by source.
        missing: ids of those that are to be made.
    """
    wanted, addresses = set(missing), dict[str, tuple[str, ...]]()
    for source, all_of_it in partitions.items():
        mine = [one.id for one in all_of_it if one.id in wanted]
        bases = load_bases(lake, table, source) if mine else None
        if bases is not None and bases.made_by == made_by:
            addresses |= bases.of(all_of_it, mine)
    ready = find_finished(lake, table, {one for several in addresses.values() for one in several})
    return {name: tuple(ready[one] for one in several if one in ready) for name, several in addresses.items()}


def load_bases(lake: Lake, table: str, source: str) -> Bases | None:
    """Return what a run kept last; None if there is nothing, or it is damaged."""
    found = read_sealed(lake, layout.bases_path(table, source))
    if found is None or found.schema.names != _SCHEMA.names:
        return None
    made_by = (found.schema.metadata or {}).get(_MADE_BY, b"").decode(errors="replace")
    return Bases(made_by, [_Base(*row) for row in zip(*(column.to_pylist() for column in found.columns), strict=True)])


def keep_bases(
    lake: Lake, table: str, source: str, made_by: str, partitions: Iterable[Partition], addresses: Mapping[str, str]
) -> None:
    """Keep which shard (`addresses`, by id) was made of each partition; an equal file is not written again."""
    placed = [one for one in _placed(partitions, addresses) if one.address]
    columns = [pa.array([getattr(one, name) for one in placed], kind) for name, kind in zip(
        _SCHEMA.names, _SCHEMA.types, strict=True)]  # fmt: skip
    schema = _SCHEMA.with_metadata({_MADE_BY: made_by.encode()})
    write_sealed(lake, layout.bases_path(table, source), pa.table(columns, schema=schema))
