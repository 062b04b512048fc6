"""Turn edges between near rows into candidate pairs, and what was decided of these into duplicates and matches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from trichord.infra import digest
from trichord.infra.config import DedupConfig
from trichord.infra.lake import schema
from trichord.infra.lake.lake import Lake
from trichord.infra.lake.shard import ShardRef, ShardWriter, take_rows
from trichord.pipelines.prepare.near_duplicates_compare import SHARD_BITS, Compared
from trichord.transforms.dedup import same_picture, same_sound, same_text
from trichord.transforms.dedup.clusters import (
    Candidates,
    Match,
    Members,
    Same,
    explain_matches,
    find_candidates,
    find_matches,
    find_same_records,
    format_evidence,
)
from trichord.transforms.dedup.near import Ints, Modality

SIGNATURE: Mapping[Modality, str] = {"image": "image_hash", "audio": "audio_hash", "text": "text_sketch"}
NEAR_FORMAT = 4  # raise it when the same signatures would give another result
VERSIONS = [NEAR_FORMAT, same_picture.VERSION, same_sound.VERSION, same_text.VERSION]

Edges = dict[Modality, Ints]
_COLUMNS = ("key", "source", "partition", "row_digest", "modalities", *SIGNATURE.values(), "text_form")


@dataclass(frozen=True, slots=True, kw_only=True)
class NearFound:
    """Shards of the results; None where there are none."""

    duplicates: ShardRef | None = None
    matches: ShardRef | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Decided:
    """What was decided of pairs: those that are the same record, and those that nearly are."""

    same: tuple[Same, ...]
    unlike: Mapping[tuple[int, int], tuple[Modality, str]]  # (row, earlier row) -> where they differ, and why


@dataclass(frozen=True, slots=True)
class Rows:
    """The rows that edges name, in order of precedence; positions count from 0."""

    lake: Lake
    config: DedupConfig
    ranks: Mapping[str, int]
    signatures: tuple[ShardRef, ...]

    def read(self, edges: Edges, *, maps: bool = False) -> tuple[pa.Table, Members, Edges]:
        """Return the rows, their signatures, and the edges between positions."""
        rows = self._rows(np.unique(np.concatenate([pairs.ravel() for pairs in edges.values()])), maps=maps)
        numbers = rows["row"].to_numpy()
        order = np.argsort(numbers)
        local = {name: order[np.searchsorted(numbers, pairs, sorter=order)] for name, pairs in edges.items()}
        members = Members(
            modalities=rows["modalities"].to_pylist(),
            signatures={name: rows[column].to_pylist() for name, column in SIGNATURE.items()},
            forms=rows["text_form"].to_pylist(),
            inner=rows["image_inner"].to_pylist() if maps else (),
            maps=rows["image_map"].to_pylist() if maps else (),
        )
        return rows, members, local

    def _rows(self, numbers: Ints, *, maps: bool) -> pa.Table:
        shards = numbers >> SHARD_BITS
        columns = [*_COLUMNS, "image_inner", "image_map"] if maps else [*_COLUMNS]
        parts = []
        for shard in np.unique(shards).tolist():
            here = numbers[shards == shard]
            places = (here & ((1 << SHARD_BITS) - 1)).tolist()
            found = take_rows(self.lake, self.signatures[shard], places, columns)
            parts.append(found.append_column("row", pa.array(here)))
        rows = pa.concat_tables(parts)
        ranks = pa.array([self.ranks[source] for source in rows["source"].to_pylist()], pa.int64())
        order = [("rank", "ascending")]
        order += [(name, "ascending") for name in ("key", "source", "partition", "row_digest", "row")]
        return rows.append_column("rank", ranks).sort_by(order).combine_chunks()


@dataclass(frozen=True, slots=True)
class Propose:
    """Edges → the numbers of their rows in order of precedence, and the candidate pairs of positions."""

    rows: Rows

    def __call__(self, edges: Edges) -> tuple[Ints, Candidates]:
        table, members, local = self.rows.read(edges, maps=True)
        return table["row"].to_numpy(), find_candidates(members, local, self.rows.config)


@dataclass(frozen=True, slots=True)
class Resolve:
    """Edges → the shards of near duplicates and of matches; without a decision, the signatures alone decide."""

    rows: Rows
    decided: Decided | None

    def __call__(self, edges: Edges) -> NearFound:
        rows, members, local = self.rows.read(edges)
        config = self.rows.config
        decided = self.decided or Decided(same=tuple(find_same_records(members, local, config)), unlike={})
        same = decided.same
        keys, sources = rows["key"].to_pylist(), rows["source"].to_pylist()
        duplicates = rows.take(pa.array([one.dropped for one in same], pa.int64()))
        for name, values in (
            ("survivor_key", [keys[one.survivor] for one in same]),
            ("survivor_source", [sources[one.survivor] for one in same]),
            ("evidence", [self._evidence(one, members.modalities[one.dropped]) for one in same]),
        ):
            duplicates = duplicates.append_column(name, pa.array(values, pa.string()))
        dropped = [one.dropped for one in same]
        kept = {pair: why for pair, why in decided.unlike.items() if not {*pair} & set(dropped)}
        alike = explain_matches(members, find_matches(members, local, dropped, config), kept, config)
        return NearFound(
            duplicates=self._write("duplicates", duplicates, schema.DUPLICATES),
            matches=self._write("matches", _matches_table(rows, alike), schema.MATCHES),
        )

    def _evidence(self, same: Same, modalities: str) -> str:
        distances = dict(same.distances)
        if self.decided is not None and "text" in modalities.split(",") and "text" not in self.rows.config.ignore:
            distances["text"] = 0.0  # they say the same
        return format_evidence(distances, compared=self.decided is not None)

    def _write(self, name: str, table: pa.Table, table_schema: pa.Schema) -> ShardRef | None:
        if len(table) == 0:
            return None
        table = table.select(table_schema.names).cast(table_schema)
        # addressed by its content, so that a run that changes no duplicates changes no shard
        address = digest.address(name, "near", NEAR_FORMAT, table.to_pylist())
        with ShardWriter(self.rows.lake, name, address, table_schema) as writer:
            writer.write(table)
            return writer.finish({"rows": len(table)})


def _matches_table(rows: pa.Table, alike: Sequence[Match]) -> pa.Table:
    seen = rows.take(pa.array([one.row for one in alike], pa.int64())).select(["key", "source", "partition"])
    keys, sources = rows["key"].to_pylist(), rows["source"].to_pylist()
    return pa.table(
        dict(zip(seen.column_names, seen.columns, strict=True))
        | {
            "modality": pa.array([one.modality for one in alike], pa.string()),
            "other_key": pa.array([keys[one.other] for one in alike], pa.string()),
            "other_source": pa.array([sources[one.other] for one in alike], pa.string()),
            "distance": pa.array([one.distance for one in alike], pa.float64()),
            "evidence": pa.array([one.evidence() for one in alike], pa.string()),
            "why": pa.array([one.why for one in alike], pa.string()),
        }
    )


def decide(pairs: Ints, compared: Sequence[Compared]) -> tuple[Ints, dict[tuple[int, int], tuple[Modality, str]]]:
    """Return the pairs (P, 2) that are the same record, and of those that nearly are (later, earlier), why not."""
    same = np.array([one.same for one in compared], bool)
    unlike = {
        (int(j), int(i)): (one.modality, one.why)
        for (i, j), one in zip(pairs, compared, strict=True)
        if not one.same and one.uncertain
    }
    return pairs[same], unlike
