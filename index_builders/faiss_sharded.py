"""Sharded FAISS: Flat and IVF-Flat by inner product. The quantiser is trained once, every shard is added to a copy.

Bytes are a pure function of the vectors: k-means and adding run on one thread (measured with FAISS 1.15.1: two
threads give the same bytes, but BLAS promises nothing). Shape letters: N rows or queries, D dimension, K neighbours.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, BinaryIO

import faiss
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from index_builders.base import Hits, check_queries
from index_builders.choose import IndexPlan
from index_builders.files import FileRef, opened, put_hashed, read_receipts, stands, write_receipt
from index_builders.keys import KEYS, count_keys, parse_keys, write_keys
from index_builders.manifest import IndexManifest, IndexShard, Quantiser
from index_builders.vectors import unsound, vector_matrix
from infra import digest
from infra.errors import FingerprintMismatch, StorageError
from infra.lake.storage import Storage

VERSION = 1  # raise it whenever the same vectors would give other bytes
ITERATIONS = 20


def train_quantiser(sample_ND: np.ndarray, nlist: int, seed: int) -> bytes:
    """Train an empty IVF-Flat index by spherical k-means: equal sample, equal bytes.

    Args:
        sample_ND: float32 (N, D), L2-normalised.
        nlist: cells.
        seed: of the k-means.

    Raises:
        ValueError: fewer rows than cells, or a row that is not finite and of unit length.
    """
    sample = np.ascontiguousarray(sample_ND, dtype=np.float32)
    if sample.ndim != 2 or not 1 <= nlist <= len(sample):
        raise ValueError(f"{nlist} cells cannot be trained on a sample of shape {sample.shape}")
    if unsound(sample).any():
        raise ValueError(f"row {np.flatnonzero(unsound(sample))[0]} of the sample is not finite and of unit length")
    dimension = sample.shape[1]
    index = faiss.IndexIVFFlat(faiss.IndexFlatIP(dimension), dimension, nlist, faiss.METRIC_INNER_PRODUCT)
    index.cp.seed, index.cp.niter, index.cp.spherical = seed, ITERATIONS, True
    index.cp.min_points_per_centroid = 1  # choose() sees to enough points; no warning on stderr below that
    index.cp.max_points_per_centroid = max(256, -(-len(sample) // nlist))  # the sample is used whole
    with _one_thread():
        index.train(sample)
    return bytes(faiss.serialize_index(index).tobytes())


@dataclass(frozen=True, slots=True, kw_only=True)
class FaissBuilder:
    """An `IndexBuilder` of one plan and one space; picklable."""

    plan: IndexPlan
    dimension: int
    fingerprint: str
    views: tuple[str, ...]
    quantiser: Quantiser | None = None

    def __post_init__(self) -> None:
        if (self.plan.kind == "ivf_flat") != (self.quantiser is not None):
            raise ValueError(f"a {self.plan.kind} index {'lacks' if self.quantiser is None else 'takes no'} quantiser")

    def address(self, inputs: Sequence[str]) -> str:
        """Address of the shard made of these vector shards."""
        return digest.address(
            "index-shard",
            VERSION,
            self.plan.kind,
            self.dimension,
            self.fingerprint,
            sorted(self.views),
            self.quantiser.file.sha256 if self.quantiser else None,
            sorted(inputs),
        )

    def finished(self, storage: Storage, lake_uri: str, wanted: Mapping[str, Sequence[str]]) -> dict[str, IndexShard]:
        """Wanted shards (address -> inputs) whose receipt and files stand."""
        receipts = read_receipts(storage, lake_uri, wanted)
        shards = {address: IndexShard.from_json(made) for address, made in receipts.items()}
        return {
            address: shard
            for address, shard in shards.items()
            if stands(storage, lake_uri, shard.index) and stands(storage, lake_uri, shard.keys)
        }

    def build(self, storage: Storage, lake_uri: str, inputs: Sequence[str], tables: Iterable[pa.Table]) -> IndexShard:
        """Make one shard: read the vector shards in order of address, write index, keys and receipt."""
        if list(inputs) != sorted(inputs):
            raise ValueError("the vector shards of an index shard are read in ascending order of their addresses")
        address = self.address(inputs)
        index, keys = self.assemble(tables, self._blank(storage, lake_uri))
        shard = IndexShard(
            address=address,
            index=put_hashed(storage, lake_uri, address, "faiss", lambda write: _write_index(index, write)),
            keys=write_keys(storage, lake_uri, address, keys),
            rows=keys.num_rows,
            inputs=tuple(inputs),
            counts=count_keys(keys),
        )
        write_receipt(storage, lake_uri, shard.to_json())
        return shard

    def assemble(self, tables: Iterable[pa.Table], index: Any) -> tuple[Any, pa.Table]:
        """Add every row to an empty index. Returns it and the keys table, row by row.

        Raises:
            StorageError: a vector is not sound, is of a view that is not indexed, or stands there twice.
            FingerprintMismatch: a vector is of another space.
        """
        named: list[pa.Table] = []
        seen: set[tuple[str, str]] = set()
        for table in tables:
            matrix = vector_matrix(table, dimension=self.dimension, fingerprint=self.fingerprint)
            keys = table.select(KEYS.names).cast(KEYS)
            for label in zip(keys.column("key").to_pylist(), keys.column("view").to_pylist(), strict=True):
                if label in seen or label[1] not in self.views:
                    fault = "stands in the vectors twice" if label in seen else f"is of none of the views {self.views}"
                    raise StorageError(f"Key {label[0]!r}, view {label[1]!r} {fault}. Run `trichord reindex`.")
                seen.add(label)
            with _one_thread():
                index.add(matrix)
            named.append(keys)
        return index, pa.concat_tables(named) if named else KEYS.empty_table()

    def manifest(self, shards: Iterable[IndexShard], *, nprobe: int | None = None) -> IndexManifest:
        """Bind shards into one index; IVF starts from nprobe 1 until one is chosen."""
        return IndexManifest(
            kind=self.plan.kind,
            params={"nlist": self.plan.nlist} if self.plan.nlist else {},
            dimension=self.dimension,
            fingerprint=self.fingerprint,
            views=self.views,
            shards=tuple(shards),
            quantiser=self.quantiser,
            nprobe=(nprobe or 1) if self.quantiser else None,
        )

    def _blank(self, storage: Storage, lake_uri: str) -> Any:
        if self.quantiser is None:
            return faiss.IndexFlatIP(self.dimension)
        with opened(storage, lake_uri, self.quantiser.file) as file:
            return _read_index(file, self.quantiser.file, "ivf_flat", self.dimension, 0)


def put_quantiser(storage: Storage, lake_uri: str, sample_ND: np.ndarray, nlist: int, seed: int) -> Quantiser:
    """Train the quantiser on a sample, or find the one that was trained on it before.

    Raises:
        ValueError: as `train_quantiser`.
    """
    sample = np.ascontiguousarray(sample_ND, dtype=np.float32)
    content = digest.sha256_hex(sample.tobytes())
    address = digest.address("quantiser", VERSION, ITERATIONS, nlist, seed, list(sample.shape), content)
    for made in read_receipts(storage, lake_uri, [address]).values():
        found = Quantiser.from_json(made)
        if stands(storage, lake_uri, found.file):
            return found
    trained = train_quantiser(sample, nlist, seed)
    file = put_hashed(storage, lake_uri, address, "quantiser", lambda write: write(trained))
    quantiser = Quantiser(address=address, file=file)
    write_receipt(storage, lake_uri, quantiser.to_json())
    return quantiser


class FaissSearcher:
    """A `Searcher` over the shards of one manifest, all in memory. Made by `open_searcher`."""

    def __init__(self, manifest: IndexManifest, indexes: Sequence[Any], keys: Sequence[pa.Table]) -> None:
        self.fingerprint = manifest.fingerprint
        self.dimension = manifest.dimension
        self.rows = manifest.rows
        self.nprobe = manifest.nprobe
        self.views = manifest.views
        self._shards = [(index, labels) for index, labels in zip(indexes, keys, strict=True) if labels.num_rows]

    def search(
        self,
        queries_ND: np.ndarray,
        k: int,
        *,
        collapse: bool = True,
        nprobe: int | None = None,
        view: str | None = None,
    ) -> Hits:
        """The k nearest rows of every query over all shards.

        Args:
            queries_ND: float32 (N, D), L2-normalised.
            k: neighbours wanted.
            collapse: a record that is indexed in several views stands once, in its best view.
            nprobe: cells to search instead of the manifest's; Flat has none and searches everything.
            view: search the rows of this view alone.

        Raises:
            ValueError: k or nprobe is below 1, the view is not indexed, or the queries are not (N, D) of unit length.
        """
        queries = check_queries(queries_ND, self.dimension)
        if k < 1 or (nprobe is not None and nprobe < 1):
            raise ValueError(f"k is {k}, nprobe {nprobe}")
        if view is not None and view not in self.views:
            raise ValueError(f"the index holds the views {', '.join(self.views)}, not {view!r}")
        # a record has a row a view, so k records are among these
        width = k * len(self.views) if collapse and view is None else k
        parts = [Hits.none(len(queries))]
        for index, labels in self._shards:
            params: Any = faiss.SearchParameters() if self.nprobe is None else faiss.SearchParametersIVF()
            if self.nprobe is not None:
                params.nprobe = nprobe or self.nprobe
            if view is not None:
                wanted = pc.equal(labels.column("view"), view).to_numpy(zero_copy_only=False)
                bits = np.packbits(wanted, bitorder="little")
                params.sel = faiss.IDSelectorBitmap(bits)  # type: ignore[arg-type, call-arg] # its stubs are of C
            scores_NK, rows_NK = index.search(queries, min(width, labels.num_rows), params=params)
            parts.append(Hits.of(labels, rows_NK, scores_NK))
        merged = Hits.merge(parts, width)
        return merged.best_per_key(k) if collapse else merged

    def splits_of(self, keys: Iterable[str]) -> dict[str, str]:
        """The split of each of these keys that is in the index."""
        wanted = pa.array(sorted(set(keys)), pa.string())
        splits: dict[str, str] = {}
        for _, labels in self._shards:
            rows = labels.filter(pc.is_in(labels.column("key"), value_set=wanted))
            splits |= dict(zip(rows.column("key").to_pylist(), rows.column("split").to_pylist(), strict=True))
        return splits


def open_searcher(storage: Storage, lake_uri: str, manifest: IndexManifest, fingerprint: str) -> FaissSearcher:
    """Open an index for a client of the space `fingerprint`. FAISS sees no byte before every file was verified.

    Raises:
        FingerprintMismatch: the index is of another space.
        StorageError: a file is missing, damaged, or not the index that the manifest describes.
    """
    if manifest.fingerprint != fingerprint:
        raise FingerprintMismatch(
            f"The index holds vectors of space {manifest.fingerprint}; these queries are of {fingerprint}. "
            "Search with the model it was built with (`trichord status` names it), or `trichord reindex`."
        )
    with ExitStack() as stack:
        files = [
            tuple(stack.enter_context(opened(storage, lake_uri, ref)) for ref in (shard.index, shard.keys))
            for shard in manifest.shards
        ]
        indexes, keys = [], []
        for shard, (index_file, keys_file) in zip(manifest.shards, files, strict=True):
            keys.append(parse_keys(keys_file, shard))
            indexes.append(_read_index(index_file, shard.index, manifest.kind, manifest.dimension, shard.rows))
    return FaissSearcher(manifest, indexes, keys)


def _read_index(file: BinaryIO, ref: FileRef, kind: str, dimension: int, rows: int) -> Any:
    expected = {"flat": faiss.IndexFlatIP, "ivf_flat": faiss.IndexIVFFlat}.get(kind)
    try:
        index = faiss.read_index(faiss.PyCallbackIOReader(file.read))  # type: ignore[attr-defined] # its stubs lack it
    except RuntimeError as wrong:
        raise StorageError(f"FAISS cannot read {ref.path}, made by another version? {wrong}") from wrong
    described = (index.d, index.ntotal, index.metric_type)
    if type(index) is not expected or described != (dimension, rows, faiss.METRIC_INNER_PRODUCT):
        raise StorageError(
            f"{ref.path} is a {type(index).__name__} with (dimension, rows, metric) {described}; "
            f"the manifest says {kind} with {(dimension, rows, faiss.METRIC_INNER_PRODUCT)}. Run `trichord reindex`."
        )
    return index


def _write_index(index: Any, write: Callable[[bytes], int]) -> None:
    faiss.write_index(index, faiss.PyCallbackIOWriter(write))  # type: ignore[attr-defined] # its stubs lack it


@contextmanager
def _one_thread() -> Iterator[None]:
    threads = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)
    try:
        yield
    finally:
        faiss.omp_set_num_threads(threads)
