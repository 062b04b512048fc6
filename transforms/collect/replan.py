"""Plan the rows of a scope again; the others keep the last plan. The result is that of a whole plan.

What changes is found from the top of the trie: a node that has few rows, before or after, and a row of the scope, is
written again from the rows that its old parts hold. Above these nodes, and beside them, nothing can be different.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from trichord.infra import digest
from trichord.infra.config import Source
from trichord.infra.lake.checked_parquet import open_sealed
from trichord.infra.lake.lake import Lake
from trichord.infra.lazy import arrow_compute as pc
from trichord.infra.plain_arrow import strings
from trichord.infra.scratch import scratch_folder
from trichord.transforms.collect.file_marks import find_file_marks
from trichord.transforms.collect.last_plan import Plan
from trichord.transforms.collect.partitions import PLAN, Partition, PlannedRow, RowsPerPartition, least, limit_of_rows
from trichord.transforms.collect.plan_parts import part_rows, range_of, write_node
from trichord.transforms.collect.plan_rows import RunWriter, open_runs
from trichord.transforms.collect.scope import UNNAMED, Scope
from trichord.transforms.collect.tally import MODALITIES, Tally

_AFTER_READING = ("row_empty", "media_", "download_")  # how reasons begin that a row gets when its media are looked up


def keep_marks(last: Plan, scope: Scope, paths: Sequence[str]) -> bool:
    """Return True if it is sure that the data files outside of a scope have the marks that they had.

    Which marks the names of files give depends on all names; `paths` are those of now.
    """
    parts = [one.part for one in last.partitions if one.part is not None]
    before, now = find_file_marks(part.path for part in parts), find_file_marks(paths)
    for part in parts:
        mark = now.get(part.path, "")
        if scope.holds(part.path):
            continue
        if mark not in dict(part.constants).values() and (part.constants or (mark and not before)):
            return False
    return True


def replan_files(last: Plan, scope: Scope, fresh: Iterable[Partition], tally: Tally) -> Plan:
    """Return the last plan with the partitions of the scope's data files replaced."""
    found = [one for one in last.partitions if one.part is not None and not scope.holds(one.part.path)]
    found += [one for one in fresh if one.part is not None and scope.holds(one.part.path)]
    found.sort(key=lambda one: one.part is not None and (one.part.path, one.part.groups))
    return replace(
        last,
        partitions=tuple(found),
        rows=sum(one.rows for one in found),
        usable=sum(one.rows for one in found),
        unmarked=sum(one.rows for one in found),  # the marks below may be of rows that are gone
        lacks=frozenset(name for name in last.lacks if tally.lacks(name)),
        marks={**last.marks, **{mark: max(rows, last.marks.get(mark, 0)) for mark, rows in tally.marks.items()}},
    )


def replan_rows(
    source: Source,
    lake: Lake,
    last: Plan,
    scope: Scope,
    fresh: Iterable[PlannedRow],
    rows_per_partition: RowsPerPartition,
) -> Plan | None:
    """Return the last plan with the rows of the scope replaced, and write its new parts.

    Returns:
        The plan; None if the source has as many rows now that its partitions have another limit.

    Raises:
        StorageError: a part of the last plan is damaged.
    """
    trie = _OldTrie(source, lake, last.partitions)
    with scratch_folder("plan") as folder:
        writer, added = RunWriter(folder), _Seen(source)
        for row in fresh:
            writer.add(row)
            added.see(row)
        gone, removed = trie.find(scope), _Seen(source)
        limit = limit_of_rows(rows_per_partition, last.rows)
        if limit_of_rows(rows_per_partition, last.rows - len(gone) + len(added.hashes)) != limit:
            return None
        units = trie.units(np.sort(gone), added.hashes, part_rows(limit))
        for columns in trie.read(units):
            if scope.holds(columns[0]):
                removed.see(PlannedRow.of(*columns))
            else:
                writer.add_columns(columns)
        writer.flush()
        found = trie.outside(units)
        with open_runs(writer.runs) as runs:
            for unit in units:
                found += write_node(runs, unit, source.name, lake, limit)
    modalities = Counter(last.modalities)
    marks = Counter(last.marks)
    for counts, new, old in (
        (modalities, added.tally.modalities, removed.tally.modalities),
        (marks, added.tally.marks, removed.tally.marks),
    ):
        counts.update(new)
        counts.subtract(old)
    return replace(
        last,
        partitions=tuple(sorted(found, key=lambda one: one.id)),
        rows=sum(one.rows for one in found),
        lacks=frozenset(name for name in MODALITIES if not modalities[name]),
        marks=dict(sorted((+marks).items())),
        usable=last.usable + added.tally.usable - removed.tally.usable,
        unmarked=last.unmarked + added.tally.unmarked - removed.tally.unmarked,
        modalities=dict(sorted((+modalities).items())),
    )


class _Seen:
    """What rows hold: hashes of their keys, modalities, marks."""

    def __init__(self, source: Source) -> None:
        self._hashes: list[int] = []
        self.tally = Tally(source)

    def see(self, row: PlannedRow) -> None:
        """Count a row."""
        self._hashes.append(digest.hash64(row.key))
        self.tally.see_planned(row)
        if row.reason is None or row.reason.startswith(_AFTER_READING):
            self.tally.see_mark(row.line.get("subset"), 1)

    @property
    def hashes(self) -> npt.NDArray[np.uint64]:
        """The hashes, sorted."""
        return np.sort(np.array(self._hashes, np.uint64))


class _OldTrie:
    """The partitions of the last plan, by the hashes that they hold."""

    def __init__(self, source: Source, lake: Lake, partitions: Sequence[Partition]) -> None:
        self._lake, self._partitions = lake, partitions
        self._bits = [one.id.removeprefix(f"{source.name}/").replace("all", "") for one in partitions]
        self._lows_N = np.array([least(bits) for bits in self._bits], np.uint64)
        self._rows_N = np.concatenate([[0], np.cumsum([one.rows for one in partitions], dtype=np.int64)])

    def find(self, scope: Scope) -> npt.NDArray[np.uint64]:
        """Return the hashes of the keys of all old rows in the scope."""
        wanted: Iterable[int] = range(len(self._partitions))
        if scope.keys is not None and not scope.unnamed:
            hashes = [digest.hash64(key) for key in scope.keys]
            places = np.searchsorted(self._lows_N, np.array(hashes, np.uint64), side="right") - 1
            wanted = sorted({int(place) for place in places if place >= 0})
        found = list[int]()
        for rows in self._tables(wanted, ["key"]):
            keys = rows["key"]
            found += [digest.hash64(key) for key in _choose(keys, scope)]
        return np.array(found, np.uint64)

    def units(self, gone_N: npt.NDArray[np.uint64], come_N: npt.NDArray[np.uint64], limit: int) -> list[str]:
        """Return the nodes to write again: the largest that have rows to replace, and few rows before or after."""
        found: list[str] = []
        open_nodes = [""]
        while open_nodes:
            node = open_nodes.pop()
            gone, come = _count(gone_N, node), _count(come_N, node)
            first, last = _span(self._lows_N, node)
            old = int(self._rows_N[last] - self._rows_N[first])
            if not gone and not come:
                continue
            if min(old, old - gone + come) <= limit or len(node) == 64:
                found.append(node)
            else:
                open_nodes += [node + "1", node + "0"]
        return found

    def read(self, units: Sequence[str]) -> Iterator[tuple[str, str, str, str | None, str]]:
        """Yield the columns of all old rows in these nodes."""
        places = [place for unit in units for place in range(*_span(self._lows_N, unit))]
        for rows in self._tables(places, PLAN.names):
            yield from zip(*(rows[name].to_pylist() for name in PLAN.names), strict=True)

    def outside(self, units: Sequence[str]) -> list[Partition]:
        """Return the partitions that are in none of these nodes."""
        inside = {place for unit in units for place in range(*_span(self._lows_N, unit))}
        return [one for place, one in enumerate(self._partitions) if place not in inside]

    def _tables(self, places: Iterable[int], columns: list[str]) -> Iterator[pa.Table]:
        groups: dict[str, list[int]] = defaultdict(list)
        for place in places:
            groups[self._partitions[place].locator].append(self._partitions[place].row_group)
        for locator, numbers in groups.items():
            with open_sealed(self._lake.storage, self._lake.uri(locator)) as part:
                yield part.read_row_groups(numbers, columns=columns, use_threads=False)


def _choose(keys: pa.ChunkedArray, scope: Scope) -> list[str]:
    """Return the keys that a scope holds."""
    if not scope.whole:
        mask = pc.is_in(keys, value_set=strings(sorted(scope.keys or ())))
        beginnings = [scope.prefix] if scope.prefix is not None else []
        for beginning in (*beginnings, *(UNNAMED if scope.unnamed else ())):
            mask = pc.or_(mask, pc.starts_with(keys, beginning))
        keys = keys.filter(mask)
    return [key for key in keys.to_pylist() if scope.holds(key)]


def _span(ordered_N: npt.NDArray[np.uint64], node: str) -> tuple[int, int]:
    """Return where the hashes of a node begin in a sorted array, and where they end."""
    low, high = range_of(node)
    first = int(np.searchsorted(ordered_N, np.uint64(low)))
    return first, int(np.searchsorted(ordered_N, np.uint64(high - 1), side="right"))


def _count(ordered_N: npt.NDArray[np.uint64], node: str) -> int:
    first, last = _span(ordered_N, node)
    return last - first
