"""What the footers of a table's shards say, in one file of the lake, so that a run need not open each of them.

It is a cache. A shard's name holds the digest of its bytes, and an entry counts only for a file that is listed with the
size and the time that it had; any other file is opened.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import cast

import pyarrow as pa

from trichord.infra.digest import canonical_json
from trichord.infra.json_values import parse_object
from trichord.infra.lake import layout
from trichord.infra.lake.lake import Lake
from trichord.infra.lake.sealed_tables import read_sealed, sealed
from trichord.infra.lake.stores import Stat

FEW = 4  # shards that are opened rather than looked up
_SCHEMA = pa.schema(
    [
        *((name, pa.string()) for name in ("address", "path", "sha256")),
        *((name, pa.int64()) for name in ("rows", "bytes", "mtime_ns")),
        ("counts", pa.string()),
    ]
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardRef:
    """One finished shard. `path` is relative to the lake; `counts` are known only where the footer was read."""

    address: str
    table: str
    path: str
    rows: int
    bytes: int
    sha256: str
    counts: Mapping[str, int] = field(default_factory=dict, compare=False)


class Footers:
    """Known shards of one table."""

    def __init__(self, known: Mapping[str, tuple[int, ShardRef]]) -> None:
        self._known = known

    @classmethod
    def load(cls, lake: Lake, table: str, name: str | None = None) -> Footers:
        """Return what is known of a table's shards; nothing if that is missing or damaged.

        Args:
            lake: holds the shards.
            table: of the shards.
            name: of the file, if its counts are not those of the footers.
        """
        found = read_sealed(lake, layout.footers_path(name or table))
        if found is None or not found.schema.equals(_SCHEMA):
            return cls({})
        known = {}
        for row in found.to_pylist():
            counts = cast(Mapping[str, int], parse_object(row.pop("counts")))
            known[row["path"]] = (row.pop("mtime_ns"), ShardRef(table=table, counts=counts, **row))
        return cls(known)

    def find(self, path: str, stat: Stat) -> ShardRef | None:
        """Return the shard that a listed file is; None if it must be opened."""
        mtime_ns, ref = self._known.get(path, (0, None))
        return ref if ref is not None and (mtime_ns, ref.bytes) == (stat.mtime_ns, stat.size) else None

    @classmethod
    def remember(cls, lake: Lake, table: str, refs: Iterable[ShardRef], name: str | None = None) -> None:
        """Keep the counts of these shards, and of no others; few shards are not worth a file."""
        wanted = {ref.path: ref for ref in refs if ref.counts}
        if len(wanted) <= FEW:
            return
        known = cls.load(lake, table, name)
        listed = ((lake.relative(stat.uri), stat) for stat in lake.list(table))
        stats = {path: stat for path, stat in listed if path in wanted and stat.size == wanted[path].bytes}
        if known._known.keys() == stats.keys() and all(known.find(path, stat) for path, stat in stats.items()):
            return
        rows = [
            (ref.address, path, ref.sha256, ref.rows, ref.bytes, stats[path].mtime_ns, _encode(ref.counts))
            for path, ref in sorted(wanted.items())
            if path in stats
        ]
        columns = list(zip(*rows, strict=True)) or [()] * len(_SCHEMA)
        arrays = [pa.array(column, one.type) for column, one in zip(columns, _SCHEMA, strict=True)]
        lake.write(layout.footers_path(name or table), sealed(pa.table(arrays, schema=_SCHEMA)))


def _encode(counts: Mapping[str, int]) -> str:
    return canonical_json(dict(counts)).decode()
