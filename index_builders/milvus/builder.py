"""Milvus: import files made of vector shards, and the collection that a manifest names.

A manifest of kind `milvus` lists its import files as a FAISS manifest lists its shards, each with its keys file, so
what counts, explains, verifies and collects index files works on both. The collection's name is derived from all that
shapes its content, fingerprint included: another space has another name, the same rows have the same.
It can be made again from the manifest's files at any time.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from trichord.index_builders.base import check_ascending
from trichord.index_builders.hashed_files import put_hashed, write_receipt
from trichord.index_builders.manifest import IndexManifest, IndexShard, find_finished_shards
from trichord.index_builders.row_labels import KEYS, count_keys, read_distinct_scalars, write_keys
from trichord.index_builders.vectors import vector_matrix
from trichord.infra import digest
from trichord.infra.errors import StorageError
from trichord.infra.lake.lake import Lake
from trichord.infra.lazy import arrow_compute as pc

KIND = "milvus"
VERSION = 2  # raise it whenever the same vectors would give another import file
ENDING = "import.parquet"
MAX_DIMENSION = 32_768
MAX_FILE_BYTES = 16 * 2**30  # common.importMaxFileSize of the server
SIZES = {
    "key": 1_024,
    "view": 16,
    "source": 256,
    "partition": 1_024,
    "row_digest": 64,
}  # bytes: Milvus counts no characters
META_BYTES = 65_535  # of a JSON value
IMPORTED = pa.schema(
    [
        *(pa.field(name, pa.string(), nullable=False) for name in ("id", *SIZES, "meta")),
        pa.field("vector", pa.list_(pa.field("element", pa.float32(), nullable=False)), nullable=False),
    ]
)
ROW_GROUP_BYTES = 64 * 2**20
COARSE = ("SQ", "PQ", "RABITQ", "SCANN")  # parts of the names of index types that score by a code


def exact_scores(index_type: str) -> bool:
    """Return True if an index type's scores are true inner products."""
    return not any(part in index_type for part in COARSE)


def lists(index_type: str) -> bool:
    """Return True if an index type has inverted lists, of which `nlist` are made and `nprobe` searched."""
    return "IVF" in index_type or index_type == "SCANN"


def row_id(view: str, key: str) -> str:
    """Return the primary key of a row: 32 hex characters of a hash of its view and key."""
    return _hashed(f"{view}\x1f{key}".encode("utf-8", "surrogatepass"))


def _hashed(name: bytes) -> str:
    return hashlib.blake2b(name, digest_size=16).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class MilvusBuilder:
    """An `IndexBuilder` that makes import files; picklable. `prefix` begins the names of collections."""

    dimension: int
    fingerprint: str
    views: tuple[str, ...]
    index_type: str
    index_params: Mapping[str, Any]
    prefix: str
    partitions: int = 0  # by source
    metadata: tuple[str, ...] = ()  # fields of `meta` that rows can be chosen by

    def __post_init__(self) -> None:
        if not 1 <= self.dimension <= MAX_DIMENSION:
            raise ValueError(f"Milvus holds vectors of 1 to {MAX_DIMENSION} values, not {self.dimension}")

    def address(self, inputs: Sequence[str]) -> str:
        """Return the address of the import file made of these vector shards."""
        return digest.address(
            "milvus-import", VERSION, self.dimension, self.fingerprint, list(self.metadata), sorted(inputs)
        )

    def finished(self, lake: Lake, wanted: Mapping[str, Sequence[str]]) -> dict[str, IndexShard]:
        """Return those of the wanted files (address -> inputs) whose receipt and file exist."""
        return find_finished_shards(lake, wanted)

    def build(self, lake: Lake, inputs: Sequence[str], tables: Iterable[pa.Table]) -> IndexShard:
        """Write one import file, its keys and its receipt.

        Raises:
            StorageError: a vector is not sound, is of a view that is not indexed, is there twice, or a label is
                longer than Milvus takes.
            FingerprintMismatch: a vector is of another space.
        """
        check_ascending(inputs)
        address = self.address(inputs)
        rows = self.rows(tables)
        group = max(1, ROW_GROUP_BYTES // (4 * self.dimension))
        sink = pa.BufferOutputStream()
        # Measured on server 2.3.5: its reader is bound by processor time, and plain pages cost it least.
        pq.write_table(
            rows, sink, compression="none", use_dictionary=False, write_page_checksum=True, row_group_size=group
        )
        keys = rows.select(KEYS.names)
        shard = IndexShard(
            address=address,
            index=put_hashed(lake, address, ENDING, lambda write: write(sink.getvalue())),
            keys=write_keys(lake, address, keys),
            rows=rows.num_rows,
            inputs=tuple(inputs),
            counts=count_keys(keys),
        )
        if shard.index.bytes > MAX_FILE_BYTES:
            raise StorageError(
                f"{shard.index.path} has {shard.index.bytes} bytes; Milvus imports at most {MAX_FILE_BYTES}.\n"
                "Lower milvus.rows_per_file and run `trichord reindex` again."
            )
        write_receipt(lake, shard.to_json())
        return shard

    def rows(self, tables: Iterable[pa.Table]) -> pa.Table:
        """Return all rows as they are imported (schema `IMPORTED`), each checked: the client library checks nothing."""
        parts = [IMPORTED.empty_table()]
        for table in tables:
            matrix = vector_matrix(table, dimension=self.dimension, fingerprint=self.fingerprint)
            given, which = read_distinct_scalars(table["meta"], self.metadata)
            meta = pa.array([digest.canonical_json(values).decode() for values in given], pa.string())
            labels = {**{name: table[name] for name in SIZES}, "meta": pa.chunked_array([meta.take(which)])}
            self._check(labels)
            named = pc.binary_join_element_wise(table["view"], table["key"], "\x1f").cast(pa.binary())
            ids = [_hashed(name) for name in named.to_pylist()]
            offsets = pa.array(np.arange(0, matrix.size + 1, self.dimension, dtype=np.int32))
            vectors = pa.ListArray.from_arrays(offsets, pa.array(matrix.ravel()))
            parts.append(pa.table({"id": ids, **labels, "vector": vectors}).cast(IMPORTED))
        rows = pa.concat_tables(parts).combine_chunks()
        counted = pc.value_counts(rows["id"])
        if len(counted) != rows.num_rows:
            twice = counted.field("values").filter(pc.greater(counted.field("counts"), 1))[0]
            self._refuse(rows.filter(pc.equal(rows["id"], twice)), "is in the vectors twice")
        return rows

    def _check(self, labels: Mapping[str, pa.ChunkedArray]) -> None:
        known = pc.is_in(labels["view"], value_set=pa.array(self.views))
        if not pc.all(known, min_count=0).as_py():
            self._refuse(pa.table(labels).filter(pc.invert(known)), f"is of none of the views {self.views}")
        for name, size in (*SIZES.items(), ("meta", META_BYTES)):
            sizes = pc.binary_length(labels[name])
            if (pc.max(sizes).as_py() or 0) > size:
                long = labels[name].filter(pc.greater(sizes, size))[0].as_py()
                raise StorageError(
                    f"The {name} {long[:60]!r}… has {len(long.encode())} bytes; Milvus takes {size} here.\n"
                    "Shorten it at the source, or index with faiss alone: index.backends."
                )

    @staticmethod
    def _refuse(rows: pa.Table, fault: str) -> None:
        raise StorageError(
            f"Key {rows['key'][0].as_py()!r}, view {rows['view'][0].as_py()!r} {fault}. Run `trichord reindex`."
        )

    def manifest(self, shards: Iterable[IndexShard], *, in_place_of: str | None = None) -> IndexManifest:
        """Bind import files into one collection, or into an existing one that is to be changed into them."""
        shards = tuple(shards)
        return IndexManifest(
            kind=KIND,
            params={
                "collection": in_place_of or self._collection(shards),
                "index_type": self.index_type,
                "index_params": dict(self.index_params),
                **({"partitions": self.partitions} if self.partitions else {}),
                **({"in_place": True} if in_place_of else {}),
            },
            dimension=self.dimension,
            fingerprint=self.fingerprint,
            views=self.views,
            metadata=self.metadata,
            shards=shards,
        )

    def _collection(self, shards: Sequence[IndexShard]) -> str:
        recipe = (self.fingerprint, self.index_type, dict(self.index_params), self.partitions)
        return f"{self.prefix}_{_content(*recipe, shards)}"


def collection_of(manifest: IndexManifest) -> str:
    """Return the collection that a manifest names.

    Raises:
        StorageError: the manifest is of another backend, or names a collection that is not of its content.
    """
    name, params = manifest.params.get("collection"), manifest.params
    if manifest.kind != KIND or not isinstance(name, str):
        raise StorageError(f"{manifest.path} is of a {manifest.kind} index, not of a Milvus collection.")
    if "in_place" not in params:
        recipe = (manifest.fingerprint, params["index_type"], params["index_params"], params.get("partitions", 0))
        content = _content(*recipe, manifest.shards)
        if name.rsplit("_", 1)[-1] != content:
            raise StorageError(f"{manifest.path} names {name}, but its content is {content}. Run `trichord reindex`.")
    return name


def _content(
    fingerprint: str, index_type: str, index_params: Mapping[str, Any], partitions: int, shards: Sequence[IndexShard]
) -> str:
    divided = [partitions] if partitions else []
    files = sorted(shard.index.sha256 for shard in shards)
    return digest.address("collection", fingerprint, index_type, dict(index_params), *divided, files)


def content_digest(manifest: IndexManifest) -> str:
    """Return the digest of the rows of a collection: equal for equal import files."""
    return digest.address("content", manifest.fingerprint, sorted(shard.index.sha256 for shard in manifest.shards))
