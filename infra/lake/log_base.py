"""The base of a shortened log: what the commits that were removed from it came to.

A log that was shortened begins with a checkpoint, the only file of Delta's that still says which shards that version
held. So its bytes are kept twice: the base, `<table>/_commits/<version>.base`, holds the SHA-256 of the rest, a line of
JSON with the rows that the removed commits had added to the table of publications, and the checkpoint.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import pyarrow as pa
import pyarrow.parquet as pq

from trichord.infra.digest import canonical_json, sha256_hex
from trichord.infra.errors import StorageError
from trichord.infra.json_values import parse_object
from trichord.infra.lake import layout
from trichord.infra.lake.checked_parquet import REMEDY, arrow_failures
from trichord.infra.lake.shard import parse_shard_path

ROWS = "rows"  # in a base, and in a commit's information: rows of the table of publications


@dataclass(frozen=True, slots=True, kw_only=True)
class Base:
    """Where a log begins.

    Attributes:
        version: the first one that can be read.
        checkpoint: bytes of that version's checkpoint, as they were written.
        rows: of the table of publications: those of this version; none of another table.
        stored: False if the base's own file is missing or damaged, and the state was read from the checkpoint.
    """

    version: int
    checkpoint: bytes
    rows: Sequence[Mapping[str, Any]] = ()
    stored: bool = True

    @classmethod
    def parse(cls, version: int, data: bytes) -> Base | None:
        """Return what the file of a base holds; None where it is damaged."""
        stated, _, rest = data.partition(b"\n")
        if stated != sha256_hex(rest).encode():
            return None
        head, _, checkpoint = rest.partition(b"\n")
        rows = cast(Sequence[Mapping[str, Any]], parse_object(head).get(ROWS, ()))
        return cls(version=version, checkpoint=checkpoint, rows=rows)

    @property
    def name(self) -> str:
        """Name of the checkpoint's file."""
        return checkpoint_name(self.version)

    def to_bytes(self) -> bytes:
        """Return what its file holds."""
        rest = canonical_json({ROWS: [dict(row) for row in self.rows]}) + b"\n" + self.checkpoint
        return sha256_hex(rest).encode() + b"\n" + rest

    def actions(self) -> list[dict[str, Any]]:
        """Return its state as the actions of a commit that adds all its shards, and that holds its rows.

        Raises:
            StorageError: it was not Delta that wrote the checkpoint, or it names something else than shards.
        """
        with (  # its bytes were checked, so Parquet can be read
            arrow_failures(self.name, "cannot be read"),
            pq.ParquetFile(pa.BufferReader(self.checkpoint)) as file,
        ):
            column = file.read(["add.path", "add.size", "add.stats"], use_threads=False)["add"]
            added = [add for add in column.to_pylist() if add is not None]
        if not all(map(is_shard, added)):
            raise StorageError(f"{self.name} names files that are not shards. {REMEDY}")
        return [{"commitInfo": {ROWS: json.dumps(list(self.rows))}}, *({"add": add} for add in added)]


def checkpoint_name(version: int) -> str:
    """Return the name of the only file of a version's checkpoint."""
    return f"{version:020d}.checkpoint.parquet"


def is_shard(added: dict[str, Any]) -> bool:
    """Return True if an action names a shard where shards are, and its rows."""
    name = parse_shard_path(added["path"])
    try:
        rows = parse_object(str(added.get("stats"))).get("numRecords")
    except ValueError:
        return False
    return name is not None and layout.shard_path("", *name) == f"/{added['path']}" and isinstance(rows, int)
