"""Sharded FAISS: trained once, encoded by the vector shard into blocks, merged into index shards.

Bytes are a pure function of the vectors: training, encoding and adding run on one thread. A block (the codes of one
vector shard) is kept in the lake, so a night encodes what changed and merges only the shards it touches. A merged shard
holds the codes of its own inputs alone: what was deleted is in no live file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import faiss
import numpy as np
import pyarrow as pa

from trichord.index_builders import faiss_kinds
from trichord.index_builders.base import check_ascending
from trichord.index_builders.faiss_read import read_template
from trichord.index_builders.hashed_files import (
    FileRef,
    is_stored,
    open_verified,
    put_hashed,
    read_receipts,
    write_receipt,
)
from trichord.index_builders.index_kinds import IndexPlan
from trichord.index_builders.manifest import IndexManifest, IndexShard, Quantiser, find_finished_shards
from trichord.index_builders.row_labels import KEYS, check_keys, count_keys, keys_schema, label_rows, write_keys
from trichord.index_builders.vectors import vector_matrix
from trichord.infra import digest
from trichord.infra.errors import StorageError
from trichord.infra.lake.lake import Lake

VERSION = 4  # raise it whenever the same vectors would give other bytes
ERROR_ROWS = 1_000
Encoder = tuple[Any, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class FaissBuilder:
    """An `IndexBuilder` of one plan and one space; picklable."""

    plan: IndexPlan
    dimension: int
    fingerprint: str
    views: tuple[str, ...]
    quantiser: Quantiser | None = None
    metadata: tuple[str, ...] = ()  # fields of `meta` that rows can be chosen by

    def __post_init__(self) -> None:
        if self.plan.trained != (self.quantiser is not None):
            raise ValueError(f"a {self.plan.kind} index {'lacks' if self.quantiser is None else 'takes no'} quantiser")

    @property
    def columns(self) -> list[str]:
        """Columns of the vector shards that a merge reads; with cached codes, mostly not the vectors."""
        vectors = not self.plan.cached or self.plan.refine == "flat"
        return [*KEYS.names, "meta", "fingerprint", *(["vector"] if vectors else [])]

    def address(self, inputs: Sequence[str]) -> str:
        """Return the address of the shard made of these vector shards."""
        return digest.address("index-shard", *self._recipe, sorted(self.views), list(self.metadata), sorted(inputs))

    def block_address(self, vectors: str) -> str:
        """Return the address of the codes of one vector shard."""
        return digest.address("index-block", *self._recipe, vectors)

    @property
    def _recipe(self) -> tuple[Any, ...]:
        trained = self.quantiser.file.sha256 if self.quantiser else None
        return VERSION, self.plan.kind, self.plan.params, self.dimension, self.fingerprint, trained

    def finished(self, lake: Lake, wanted: Mapping[str, Sequence[str]]) -> dict[str, IndexShard]:
        """Return those of the wanted shards (address -> inputs) whose receipt and files exist."""
        return find_finished_shards(lake, wanted)

    def blocks(self, lake: Lake, vectors: Iterable[str]) -> dict[str, FileRef]:
        """Return the codes that exist already, by the address of their vector shard."""
        if not self.plan.cached:
            return {}
        wanted = {self.block_address(address): address for address in vectors}
        found = {wanted[address]: FileRef.from_json(made) for address, made in read_receipts(lake, wanted).items()}
        return {address: file for address, file in found.items() if is_stored(lake, file)}

    def encoder(self, lake: Lake) -> Encoder:
        """Return what `encode` works with: the trained index, and its cells on a GPU where the plan wants one.

        Raises:
            ConfigError: the plan wants a GPU and there is none.
        """
        index = self.blank(lake)
        return index, _cells(self.plan, index)

    def encode(self, lake: Lake, vectors: str, table: pa.Table, encoder: Encoder) -> FileRef:
        """Make and keep the codes of one vector shard.

        Raises:
            StorageError: a vector is not sound.
            FingerprintMismatch: a vector is of another space.
        """
        index, cells = encoder
        codes_NB = faiss_kinds.encode(index, self._matrix(table), cells)
        address = self.block_address(vectors)
        file = put_hashed(lake, address, "codes", lambda write: write(codes_NB.tobytes()))
        write_receipt(lake, {"address": address, **file.to_json()})
        return file

    def build(
        self,
        lake: Lake,
        inputs: Sequence[str],
        tables: Iterable[pa.Table],
        blocks: Mapping[str, FileRef] | None = None,
    ) -> IndexShard:
        """Make one shard: read the vector shards in order of address, write index, keys and receipt.

        `blocks` are the codes of the vector shards, as far as they exist; the others are made here and not kept.
        """
        check_ascending(inputs)
        address, index, named = self.address(inputs), self.blank(lake), list[pa.Table]()
        for number, table in enumerate(tables):
            named.append(label_rows(table, self.metadata))
            block = (blocks or {}).get(inputs[number]) if number < len(inputs) else None
            matrix = self._matrix(table) if "vector" in table.column_names else None
            codes = None
            if block is not None:
                with open_verified(lake, block) as file:
                    raw = np.frombuffer(file.read(), dtype=np.uint8)
                if not table.num_rows or raw.size % table.num_rows:
                    raise StorageError(f"{block.path} does not hold codes of {table.num_rows} rows. Run `trichord gc`.")
                codes = raw.reshape(table.num_rows, -1)
            elif self.plan.cached and matrix is not None:
                codes = faiss_kinds.encode(index, matrix, _cells(self.plan, index))
            if table.num_rows:
                faiss_kinds.append(index, codes, matrix)
        keys = pa.concat_tables(named) if named else keys_schema(self.metadata).empty_table()
        check_keys(keys, self.views)
        done, _alive = faiss_kinds.finished(self.plan, index)
        shard = IndexShard(
            address=address,
            index=put_hashed(lake, address, "faiss", lambda write: _write_index(done, write)),
            keys=write_keys(lake, address, keys),
            rows=keys.num_rows,
            inputs=tuple(inputs),
            counts=count_keys(keys),
            blocks=tuple(sorted((blocks or {}).values(), key=lambda block: block.path)),
        )
        write_receipt(lake, shard.to_json())
        return shard

    def manifest(
        self, shards: Iterable[IndexShard], *, search: Mapping[str, Mapping[str, int]] | None = None
    ) -> IndexManifest:
        """Bind shards into one index; `search` holds the search parameters of each view, and of `all`."""
        return IndexManifest(
            kind=self.plan.kind,
            params=self.plan.params,
            dimension=self.dimension,
            fingerprint=self.fingerprint,
            views=self.views,
            metadata=self.metadata,
            shards=tuple(shards),
            quantiser=self.quantiser,
            search=search or {},
        )

    def _matrix(self, table: pa.Table) -> np.ndarray:
        return vector_matrix(table, dimension=self.dimension, fingerprint=self.fingerprint)

    def blank(self, lake: Lake) -> Any:
        """Return the index that every shard starts from: trained, without rows."""
        if self.quantiser is None:
            return faiss_kinds.blank(self.plan, self.dimension)
        return read_template(lake, self.quantiser, self.plan, self.dimension)


def _cells(plan: IndexPlan, index: Any) -> Any | None:
    return faiss_kinds.cells_on_gpu(index) if plan.device == "cuda" else None


def put_quantiser(lake: Lake, sample_ND: np.ndarray, plan: IndexPlan, seed: int) -> Quantiser:
    """Train an index on a sample, or find the one that was trained on it before.

    Raises:
        ValueError: as `faiss_kinds.train`.
    """
    sample = np.ascontiguousarray(sample_ND, dtype=np.float32)
    recipe = (VERSION, faiss_kinds.ITERATIONS, plan.kind, plan.params, seed, list(sample.shape))
    address = digest.address("quantiser", *recipe, digest.sha256_hex(sample.tobytes()))
    for made in read_receipts(lake, [address]).values():
        found = Quantiser.from_json(made)
        if is_stored(lake, found.file):
            return found
    trained = faiss_kinds.train(plan, sample, seed)
    file = put_hashed(lake, address, "quantiser", lambda write: write(trained))
    index = faiss.deserialize_index(np.frombuffer(trained, dtype=np.uint8))
    error = faiss_kinds.quantisation_error(index, sample[:ERROR_ROWS])
    quantiser = Quantiser(address=address, file=file, error=error)
    write_receipt(lake, quantiser.to_json())
    return quantiser


def measure_error(lake: Lake, quantiser: Quantiser, plan: IndexPlan, rows_ND: np.ndarray) -> float:
    """Return the quantisation error of a trained index on present rows: what its `error` is compared with."""
    index = read_template(lake, quantiser, plan, rows_ND.shape[1])
    return faiss_kinds.quantisation_error(index, rows_ND[:ERROR_ROWS])


def _write_index(index: Any, write: Callable[[bytes], int]) -> None:
    faiss.write_index(index, faiss.PyCallbackIOWriter(write))  # type: ignore[attr-defined] # its stubs lack it
