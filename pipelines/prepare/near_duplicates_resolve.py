"""Turn near rows into candidate pairs, and what was decided of these into duplicates and matches."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pyarrow as pa

from trichord.infra import digest
from trichord.infra.config import DedupConfig
from trichord.infra.lake import schema
from trichord.infra.lake.lake import Lake
from trichord.infra.lake.shard import ShardRef, ShardWriter, take_rows
from trichord.pipelines.prepare.near_duplicates_buckets import SIGNATURE
from trichord.pipelines.prepare.near_duplicates_compare import SHARD_BITS, Compared
from trichord.pipelines.prepare.near_duplicates_found import Found
from trichord.transforms.dedup import same_picture, same_sound, same_text
from trichord.transforms.dedup.candidates import MAPPED, Candidates, Members, find_candidates, rank_maps
from trichord.transforms.dedup.clusters import (
    Match,
    Same,
    explain_matches,
    find_matches,
    find_same_records,
    format_evidence,
)
from trichord.transforms.dedup.near import Ints, Modality

NEAR_FORMAT = 5  # raise it when the same signatures would give another result
VERSIONS = [NEAR_FORMAT, same_picture.VERSION, same_sound.VERSION, same_text.VERSION]

_COLUMNS = (
    *("key", "source", "partition", "row_digest", "input_digest", "modalities"),
    *(*SIGNATURE.values(), "text_form", "image_inner"),
)


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
    """The rows that buckets found, in order of precedence; positions count from 0."""

    lake: Lake
    config: DedupConfig
    ranks: Mapping[str, int]
    signatures: tuple[ShardRef, ...]

    def read(self, found: Found) -> tuple[pa.Table, Members, Found]:
        """Return the rows, their signatures, and what was found between positions."""
        rows = self._rows(found.rows())
        numbers = rows["row"].to_numpy()
        order = np.argsort(numbers)

        def local(pairs: Ints) -> Ints:
            return np.asarray(order[np.searchsorted(numbers, pairs, sorter=order)])

        members = Members(
            modalities=rows["modalities"].to_pylist(),
            signatures={name: rows[column].to_pylist() for name, column in SIGNATURE.items()},
            forms=rows["text_form"].to_pylist(),
            inner=rows["image_inner"].to_pylist(),
        )
        return rows, members, Found(
            edges={name: local(pairs) for name, pairs in found.edges.items()},
            nearest={name: local(pairs) for name, pairs in found.nearest.items()},
        )  # fmt: skip

    def _rows(self, numbers: Ints) -> pa.Table:
        parts = []
        for shard, here, places in by_shard(numbers):
            found = take_rows(self.lake, self.signatures[shard], places, _COLUMNS)
            parts.append(found.append_column("row", pa.array(here)))
        rows = pa.concat_tables(parts)
        ranks = pa.array([self.ranks[source] for source in rows["source"].to_pylist()], pa.int64())
        order = [("rank", "ascending")]
        order += [(name, "ascending") for name in ("key", "source", "partition", "row_digest", "row")]
        return rows.append_column("rank", ranks).sort_by(order).combine_chunks()


def by_shard(numbers: Ints) -> Iterator[tuple[int, Ints, list[int]]]:
    """Yield each shard with the numbers of its rows, which ascend, and their places in it."""
    shards = numbers >> SHARD_BITS
    for shard in np.unique(shards).tolist():
        here = numbers[shards == shard]
        yield shard, here, (here & ((1 << SHARD_BITS) - 1)).tolist()


@dataclass(frozen=True, slots=True, kw_only=True)
class Numbered:
    """Rows by position: their numbers (N,), and what names a row with all its media, whatever shard it is in."""

    numbers: Ints
    ids: Sequence[str]


@dataclass(frozen=True, slots=True)
class Propose:
    """What buckets found → the rows in order of precedence, and the candidate pairs of positions."""

    rows: Rows

    def __call__(self, found: Found) -> tuple[Numbered, Candidates]:
        table, members, local = self.rows.read(found)
        ids = [one + other for one, other in zip(
            table["row_digest"].to_pylist(), table["input_digest"].to_pylist(), strict=True)]  # fmt: skip
        numbered = Numbered(numbers=table["row"].to_numpy(), ids=ids)
        return numbered, find_candidates(members, local.edges, local.nearest, self.rows.config)


@dataclass(frozen=True, slots=True)
class RankMaps:
    """Groups of rows, by number → of each group the pairs of places whose maps are nearest."""

    MOST: ClassVar[int] = 2 * MAPPED  # rows of one task

    lake: Lake
    signatures: tuple[ShardRef, ...]

    def __call__(self, item: tuple[int, Sequence[Ints]]) -> tuple[int, list[Ints]]:
        number, groups = item
        maps: dict[int, bytes | None] = {}
        for shard, here, places in by_shard(np.unique(np.concatenate(groups))):
            read = take_rows(self.lake, self.signatures[shard], places, ["image_map"])
            maps |= zip(here.tolist(), read["image_map"].to_pylist(), strict=True)
        return number, [rank_maps([maps[row] for row in group.tolist()]) for group in groups]


@dataclass(frozen=True, slots=True)
class Resolve:
    """What buckets found → shards of near duplicates and of matches; undecided, the signatures alone decide."""

    rows: Rows
    decided: Decided | None

    def __call__(self, found: Found) -> NearFound:
        rows, members, local = self.rows.read(found)
        config = self.rows.config
        decided = self.decided or Decided(same=tuple(find_same_records(members, local.edges, config)), unlike={})
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
        matches = find_matches(members, local.edges, dropped, config)
        alike = explain_matches(members, matches, kept, config)
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
