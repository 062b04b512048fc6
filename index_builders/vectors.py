"""Vector shards as matrices: nothing unsound gets into an index, and a training sample that favours no source.

Shape letters: N rows, D dimension.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
import pyarrow as pa

from trichord.infra.digest import hash64
from trichord.infra.errors import FingerprintMismatch, StorageError
from trichord.infra.lazy import arrow_compute as pc

UNIT_TOLERANCE = 1e-3  # half precision keeps a length to 2**-11, about 0.0005


def find_unsound(vectors_ND: np.ndarray) -> np.ndarray:
    """Return which rows are not finite vectors of unit length (within 1e-3): bool (N,)."""
    squares_N = np.einsum("nd,nd->n", vectors_ND, vectors_ND, dtype=np.float64)
    return ~(np.abs(np.sqrt(squares_N) - 1) <= UNIT_TOLERANCE)  # NaN fails the comparison too


def vector_matrix(table: pa.Table, *, dimension: int, fingerprint: str) -> np.ndarray:
    """Return the vectors of a table of the `vectors` schema (float32 or float16) as contiguous float32 (N, D), checked.

    Raises:
        FingerprintMismatch: a row is of another space; the message names its key.
        StorageError: a vector has another dimension or holds NaN, infinity, only zeros or is not of unit length;
            the message names its key.
    """
    foreign = np.flatnonzero(
        pc.not_equal(table.column("fingerprint"), fingerprint).fill_null(True).to_numpy(zero_copy_only=False)
    )
    if len(foreign):
        other = table.column("fingerprint")[int(foreign[0])].as_py()
        raise FingerprintMismatch(
            f"{_named(table, int(foreign[0]))} is of space {other}, this index of {fingerprint}: "
            f"{len(foreign)} of {table.num_rows} rows. Encode them again: `trichord reindex`."
        )
    vectors = table.column("vector").combine_chunks()
    lengths = pc.fill_null(pc.list_value_length(vectors), -1).to_numpy(zero_copy_only=False)
    odd = np.flatnonzero(lengths != dimension)
    if len(odd):
        raise StorageError(
            f"{_named(table, int(odd[0]))} has {max(0, lengths[odd[0]])} values, expected {dimension}. {_REMEDY}"
        )
    values = pc.list_flatten(vectors).to_numpy(zero_copy_only=False)
    matrix = np.ascontiguousarray(values, dtype=np.float32).reshape(-1, dimension)
    bad = np.flatnonzero(find_unsound(matrix))
    if len(bad):
        row = matrix[bad[0]]
        kind = "a norm other than 1" if row.any() else "only zeros"
        kind = kind if np.isfinite(row).all() else "NaN or infinity"
        norm = float(np.linalg.norm(row.astype(np.float64)))
        raise StorageError(
            f"{_named(table, int(bad[0]))} has {kind} (norm {norm:.6g}); {len(bad)} of {table.num_rows} rows. {_REMEDY}"
        )
    return matrix


def stratified_sample(
    tables: Iterable[pa.Table],
    *,
    rows: int,
    wanted: int,
    dimension: int,
    fingerprint: str,
    floor: int = 64,
) -> np.ndarray:
    """Return a training sample over sources and views that depends on the set of rows alone.

    A row is taken if a hash of its digest and view is below a threshold, so every stratum (source, view) gives the
    same share, and an added or deleted record seldom changes the sample (and with it the quantiser and every
    shard). A stratum that would give fewer than `floor` rows gives its `floor` rows of smallest hash.

    Args:
        tables: vector tables, in any order and division.
        rows: how many rows they hold in all; the threshold follows from it.
        wanted: rows wanted; about half of it up to all of it are taken, and the floors.
        dimension: D.
        fingerprint: the space.
        floor: least rows of a stratum, as far as it has them.

    Returns:
        float32 (N, D), ordered by hash.

    Raises:
        ValueError: `wanted` is below 1.
        StorageError, FingerprintMismatch: as `vector_matrix`.
    """
    if wanted < 1:
        raise ValueError(f"a sample of {wanted} rows was wanted")
    share = max(0, math.ceil(math.log2(max(1, rows) / wanted)))
    threshold = np.uint64(2 ** (64 - share) - 1)
    chosen: dict[tuple[str, str], list[_Rows]] = {}
    spare: dict[tuple[str, str], _Rows] = {}
    for table in tables:
        matrix = vector_matrix(table, dimension=dimension, fingerprint=fingerprint)
        hashes_N, strata = _sample_hashes(table), table.select(("source", "view"))
        for stratum in strata.group_by(["source", "view"]).aggregate([]).to_pylist():
            source, view = stratum["source"], stratum["view"]
            here = pc.and_(pc.equal(table["source"], source), pc.equal(table["view"], view))
            places = np.flatnonzero(here.to_numpy(zero_copy_only=False))
            below = hashes_N[places] <= threshold
            named = (source, view)
            chosen.setdefault(named, []).append(_Rows.of(places[below], hashes_N, table, matrix))
            others = places[~below]
            others = others[np.argsort(hashes_N[others], kind="stable")[: 4 * floor]]  # ties are settled by `first`
            least = _Rows.of(others, hashes_N, table, matrix)
            spare[named] = (spare[named] + least if named in spare else least).first(floor)
    parts: list[_Rows] = []
    for stratum_name, taken in chosen.items():
        have = sum(len(part.hashes) for part in taken)
        parts += [*taken, spare[stratum_name].first(max(0, floor - have))]
    if not parts:
        return np.zeros((0, dimension), dtype=np.float32)
    whole = _Rows(*(np.concatenate(columns) for columns in zip(*(part.parts for part in parts), strict=True)))
    return whole.first(len(whole.hashes)).matrix


def _sample_hashes(table: pa.Table) -> np.ndarray:
    """Return the first 64 bits of each row's digest, uint64 (N,), permuted differently for every view."""
    digits = pc.utf8_slice_codeunits(table["row_digest"], 0, 16).combine_chunks()
    hexadecimal = np.asarray(digits.to_numpy(zero_copy_only=False), dtype="S16")
    raw = np.frombuffer(bytes.fromhex(hexadecimal.tobytes().decode()), dtype=">u8").astype(np.uint64)
    hashes_N = np.zeros(table.num_rows, dtype=np.uint64)
    for view in pc.unique(table["view"]).to_pylist():
        here = pc.equal(table["view"], view).to_numpy(zero_copy_only=False)
        hashes_N[here] = raw[here] ^ np.uint64(hash64(f"sample\x1f{view}"))
    return hashes_N


class _Rows:
    """Some rows of one stratum: hash, key and vector of each."""

    __slots__ = ("hashes", "keys", "matrix")

    def __init__(self, hashes: np.ndarray, keys: np.ndarray, matrix: np.ndarray) -> None:
        self.hashes, self.keys, self.matrix = hashes, keys, matrix

    @classmethod
    def of(cls, places: np.ndarray, hashes: np.ndarray, table: pa.Table, matrix: np.ndarray) -> _Rows:
        keys = table["key"].take(pa.array(places)).to_numpy(zero_copy_only=False)
        return cls(hashes[places], keys.astype(object), matrix[places])

    @property
    def parts(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        return self.hashes, self.keys, self.matrix

    def __add__(self, other: _Rows) -> _Rows:
        return _Rows(*(np.concatenate(pair) for pair in zip(self.parts, other.parts, strict=True)))

    def first(self, count: int) -> _Rows:
        """Return those of smallest hash, in its order; equal hashes by key."""
        order = np.lexsort((self.keys.astype(str), self.hashes))[:count]
        return _Rows(*(part[order] for part in self.parts))


def _named(table: pa.Table, row: int) -> str:
    key, view = (table.column(name)[row].as_py() for name in ("key", "view"))
    return f"The vector of key {key!r} (view {view!r}, row {row})"


_REMEDY = "It was not indexed. Run `trichord recover`, then `trichord reindex` to encode it again."
