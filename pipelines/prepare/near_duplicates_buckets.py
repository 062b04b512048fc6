"""Buckets of rows that may be near: what each signature shard sends to which, and what is found in one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeAlias, get_args

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from trichord.infra.config import DedupConfig
from trichord.infra.digest import hash64
from trichord.infra.lake.lake import Lake
from trichord.infra.lake.shard import ShardRef, read_shard
from trichord.infra.lazy import arrow_compute as pc
from trichord.pipelines.prepare.near_duplicates_compare import SHARD_BITS
from trichord.pipelines.prepare.near_duplicates_found import Found, join
from trichord.transforms.dedup.candidates import NEIGHBOURS, pick_modalities
from trichord.transforms.dedup.clusters import most_match
from trichord.transforms.dedup.crowds import bucket_edges
from trichord.transforms.dedup.hamming import CHUNKS, Cell, cells, near_in_cell, nearest_in_cell
from trichord.transforms.dedup.near import Ints, Modality, pack_hashes, text_chars
from trichord.transforms.dedup.shingles import BANDS

SIGNATURE: Mapping[Modality, str] = {"image": "image_hash", "audio": "audio_hash", "text": "text_sketch"}
Hashed: TypeAlias = Literal["image", "inner", "audio"]  # inner: of drawn pictures without their ground
HASHED: tuple[Hashed, ...] = get_args(Hashed)
WORDS = "words"  # buckets of texts that say the same
ROWS_PER_CELL = 50_000  # about, those of neighbouring ranges among them
ROWS_AT_ONCE = 8_192  # about, of small shards that one task emits: a task's rows are looked for in every bucket
CROWDED = 100_000  # rows of a key that one task takes; more are split
SAMPLED = 16  # one row in this many is counted, by the digest of its content
_EMITTED = ("partition", "row_digest", "modalities", "text_form", "text_bands", "image_inner", *SIGNATURE.values())

Split: TypeAlias = Mapping[str, Mapping[int, int]]  # crowded key -> place -> the parts of what is there


@dataclass(frozen=True, slots=True)
class EmitNear:
    """Signature shards and their numbers → their rows under every key that a near row may share.

    With `sample`, some rows, and of each only where it would be if its key were split.
    """

    lake: Lake
    config: DedupConfig
    dropped: tuple[ShardRef, ...]
    range_bits: int
    split: Split = field(default_factory=dict)
    sample: bool = False

    def __call__(self, numbered: Sequence[tuple[int, ShardRef]]) -> pa.Table:
        return pa.concat_tables([self._emitted(number, ref) for number, ref in numbered])

    def _emitted(self, number: int, ref: ShardRef) -> pa.Table:
        table = read_shard(self.lake, ref, _EMITTED)
        table = table.append_column("row", pa.array(np.arange(len(table)) + (number << SHARD_BITS)))
        table = survivors(table, self.lake, self.dropped).combine_chunks()
        if self.sample:
            table = table.filter(pa.array([int(one[:8], 16) % SAMPLED == 0 for one in table["row_digest"].to_pylist()]))
        names = [pick_modalities(given, self.config) for given in table["modalities"].to_pylist()]
        parts = [self._hashed(table, kind, names) for kind in HASHED if kind != "inner" or self.config.verify]
        return pa.concat_tables([*parts, *self._texts(table, names)])

    def _hashed(self, table: pa.Table, kind: Hashed, names: Sequence[tuple[Modality, ...]]) -> pa.Table:
        modality: Literal["image", "audio"] = "audio" if kind == "audio" else "image"
        column = "image_inner" if kind == "inner" else SIGNATURE[modality]
        given = np.flatnonzero(table[column].is_valid().to_numpy(zero_copy_only=False))
        groups = self._groups(table, modality, names)[given]
        table = table.take(pa.array(given))
        if not len(table):
            return self._table([], table, given, groups, column)
        hashes = pack_hashes(modality, binary_rows(table[column]), self.config)
        rows, found = cells(hashes.coarse_N, hashes.coarse, self.range_bits)
        places = (hashes.coarse_N[rows] >> (16 * ((found >> self.range_bits) + 1) % 64).astype(np.uint64)) & 0xFFFF
        ranges = range(1 << self.range_bits)
        named = pa.array([f"{kind}/{chunk}/{part:x}" for chunk in range(CHUNKS) for part in ranges])
        return self._table(named.take(pa.array(found)), table, rows, groups, column, places.astype(np.int64))

    def _texts(self, table: pa.Table, names: Sequence[tuple[Modality, ...]]) -> Iterator[pa.Table]:
        least = self.config.min_text_chars
        sketches = enumerate(table["text_sketch"].to_pylist())
        given = np.array([row for row, one in sketches if one is not None and text_chars(one) >= least], np.int64)
        bands = b"".join(table["text_bands"].take(pa.array(given)).to_pylist())
        bands_NB = np.frombuffer(bands, "<u8").astype(np.uint64).reshape(-1, BANDS)
        groups = np.zeros(len(table), np.int64)
        for band in range(BANDS):
            keys = pc.binary_join_element_wise(f"text/{band}", pa.array(bands_NB[:, band]).cast(pa.string()), "/")
            places = (bands_NB[:, (band + 1) % BANDS] >> np.uint64(1)).astype(np.int64)
            yield self._table(keys, table, given, groups, "text_sketch", places)
        if self.config.verify:
            alone = np.array([names[row] == ("text",) for row in given.tolist()], bool)
            forms = table["text_form"].take(pa.array(given[alone])).to_pylist()
            keys = pa.array([f"{WORDS}/0/{(form or b'').hex()}" for form in forms], pa.string())
            places = (bands_NB[alone, 0] >> np.uint64(1)).astype(np.int64)
            yield self._table(keys, table, given[alone], groups, "text_sketch", places)

    def _groups(self, table: pa.Table, lead: Modality, names: Sequence[tuple[Modality, ...]]) -> Ints:
        """Return a number for rows that may be the same record, by what they have and say; 0: no other may be."""
        if not self.config.verify:
            return np.zeros(len(table), np.int64)
        missing = {name: table[column].is_null().to_pylist() for name, column in SIGNATURE.items()}
        found = [
            hash64(f"{names[row]}\n{(form or b'').hex() if 'text' in names[row] else ''}") >> 1
            if names[row][:1] == (lead,) and not any(missing[name][row] for name in names[row])
            else 0
            for row, form in enumerate(table["text_form"].to_pylist())
        ]
        return np.array(found, np.int64)

    def _table(
        self, keys: pa.Array | list[str], table: pa.Table, rows: Ints, groups: Ints, column: str,
        places: Ints | None = None,
    ) -> pa.Table:  # fmt: skip
        keys = pa.array(keys, pa.string()) if isinstance(keys, list) else keys
        places = np.zeros(len(keys), np.int64) if places is None else places
        if self.sample:
            return pa.table({"group_key": keys, "place": pa.array(places)})
        rows = rows[: len(keys)]
        signatures = table[column].take(pa.array(rows)).combine_chunks().cast(pa.binary())
        keys = self._divide(keys, places, signatures)
        return pa.table({"group_key": keys, "row": table["row"].take(pa.array(rows)).combine_chunks(),
                         "group": pa.array(groups[rows]), "signature": signatures})  # fmt: skip

    def _divide(self, keys: pa.Array, places: Ints, signatures: pa.Array) -> pa.Array:
        """Return the keys, those of crowds with the part."""
        if not self.split:
            return keys
        crowded = pc.is_in(keys, value_set=pa.array(list(self.split), pa.string()))
        named = keys.filter(crowded)
        places = places[crowded.to_numpy(zero_copy_only=False)]
        of_row = zip(named.to_pylist(), places.tolist(), strict=True)
        parts = np.array([self.split[key].get(place, 1) for key, place in of_row], np.uint64)
        found = signatures.filter(crowded).dictionary_encode()
        hashed = np.array([hash64(one.hex()) for one in found.dictionary.to_pylist()], np.uint64)
        part = hashed[found.indices.to_numpy()] % parts if len(parts) else parts
        divided = pc.binary_join_element_wise(
            named, pa.array(places).cast(pa.string()), pa.array(part).cast(pa.string()), "/"
        )
        return pc.replace_with_mask(keys, crowded, divided)


@dataclass(frozen=True, slots=True)
class CountCrowds:
    """Sampled rows, sorted by key → the keys that have more rows than a task takes, and how they are split."""

    most: int = CROWDED

    def __call__(self, table: pa.Table) -> Split:
        keys = table["group_key"].combine_chunks()
        starts, sizes = runs(keys)
        found = {}
        for start, size in zip(starts.tolist(), sizes.tolist(), strict=True):
            if size * SAMPLED > self.most:
                places, counts = np.unique(table["place"].to_numpy()[start : start + size], return_counts=True)
                parts = -(-counts * SAMPLED // self.most)
                many = parts > 1
                found[keys[start].as_py()] = dict(zip(places[many].tolist(), parts[many].tolist(), strict=True))
        return found


@dataclass(frozen=True, slots=True)
class ReduceNear:
    """A bucket's rows, sorted by key → what is near."""

    config: DedupConfig
    range_bits: int

    def __call__(self, table: pa.Table) -> Found:
        keys = table["group_key"].combine_chunks()
        starts, sizes = runs(keys)
        starts, sizes = starts[sizes > 1], sizes[sizes > 1]
        return join(self._found(table, keys.take(pa.array(starts)), starts, sizes))

    def _found(self, table: pa.Table, named: pa.Array, starts: Ints, sizes: Ints) -> Iterator[Found]:
        rows_N, signatures = table["row"].to_numpy(), table["signature"].to_pylist()
        for name in ("text", WORDS):
            mine = pc.starts_with(named, f"{name}/").to_numpy(zero_copy_only=False)
            edges = bucket_edges("text", rows_N, signatures, starts[mine], sizes[mine], self.config)
            yield Found(edges={name: edges})
        del signatures
        for kind in HASHED:
            mine = pc.starts_with(named, f"{kind}/").to_numpy(zero_copy_only=False)
            for at in np.flatnonzero(mine).tolist():
                chunk, part = named[at].as_py().split("/")[1:3]
                cell = Cell(int(chunk), int(part, 16), self.range_bits)
                yield self._cell(kind, cell, table.slice(int(starts[at]), int(sizes[at])))

    def _cell(self, kind: Hashed, cell: Cell, table: pa.Table) -> Found:
        modality: Literal["image", "audio"] = "audio" if kind == "audio" else "image"
        rows, groups, signatures = table["row"].to_numpy(), table["group"].to_numpy(), binary_rows(table["signature"])
        distinct, first, of_row = _distinct(signatures)
        hashes = pack_hashes(modality, distinct, self.config)
        near, close = near_in_cell(hashes, cell, close=None if kind == "inner" else most_match(modality, self.config))
        equal = np.stack([first[of_row], np.arange(len(rows))], axis=1)
        equal = equal[equal[:, 0] != equal[:, 1]]
        edges: dict[str, Ints] = {modality: rows[np.concatenate([first[near], equal])]}
        if kind != "inner":
            edges[f"close/{modality}"] = rows[np.concatenate([first[close], equal])]
        _, of_group, counts = np.unique(groups, return_inverse=True, return_counts=True)
        meant = np.flatnonzero((groups != 0) & (counts[of_group] > 1))
        if not len(meant):
            return Found(edges=edges)
        tagged = np.hstack([of_group[meant].astype(">u8").view(np.uint8).reshape(-1, 8), signatures[meant]])
        distinct, first, _ = _distinct(tagged)
        numbers = of_group[meant[first]]
        hashes = pack_hashes(modality, distinct[:, 8:], self.config)
        pairs = nearest_in_cell(hashes, cell, numbers, NEIGHBOURS[modality])
        return Found(edges=edges, nearest={kind: rows[meant[first]][pairs]})


def batched(shards: Sequence[ShardRef]) -> list[list[tuple[int, ShardRef]]]:
    """Return signature shards with their numbers, small ones together."""
    found: list[list[tuple[int, ShardRef]]] = []
    rows = 0
    for number, ref in enumerate(shards):
        if not found or rows + ref.rows > ROWS_AT_ONCE:
            found.append([])
            rows = 0
        found[-1].append((number, ref))
        rows += ref.rows
    return found


def binary_rows(column: pa.ChunkedArray) -> npt.NDArray[np.uint8]:
    """Return binary values of one length as bytes (N, length)."""
    values = column.combine_chunks()
    _, offsets, data = values.buffers()
    ends = np.frombuffer(offsets, np.int32)[values.offset : values.offset + len(values) + 1]
    return np.frombuffer(data, np.uint8)[ends[0] : ends[-1]].reshape(len(values), -1)


def runs(keys: pa.Array) -> tuple[Ints, Ints]:
    """Return where each run of equal keys starts, and how long it is."""
    changes = pc.indices_nonzero(pc.not_equal(keys[1:], keys[:-1])).to_numpy().astype(np.int64) + 1
    starts = np.concatenate([np.zeros(min(1, len(keys)), np.int64), changes])
    return starts, np.diff(starts, append=len(keys))


def survivors(table: pa.Table, lake: Lake, dropped: Sequence[ShardRef]) -> pa.Table:
    """Return the signature rows that no duplicates shard drops; a key may repeat in another partition."""
    for ref in dropped:
        gone = _names(read_shard(lake, ref, ["partition", "row_digest"]))
        table = table.filter(pc.invert(pc.is_in(_names(table), value_set=gone.combine_chunks())))
    return table


def _names(table: pa.Table) -> pa.ChunkedArray:
    return pc.binary_join_element_wise(table["partition"], table["row_digest"], "\n")


def _distinct(table: npt.NDArray[np.uint8]) -> tuple[npt.NDArray[np.uint8], Ints, Ints]:
    """Return the distinct rows in order, the place of the first of each, and which of them each row is."""
    whole = np.ascontiguousarray(table).view(np.dtype((np.void, table.shape[1]))).ravel()
    _, first, of_row = np.unique(whole, return_index=True, return_inverse=True)
    return table[first], first, of_row
