"""Find signatures that are near each other: candidates by keys, then each pair of a bucket, in bounded memory.

Keys of a hash are `limit` + 1 chunks of its coarse bits: two hashes that differ in at most `limit` bits agree in at
least one chunk (pigeonhole; Norouzi et al. 2012, "Fast Search in Hamming Space with Multi-Index Hashing"), so none is
missed. Keys of a text are MinHash bands (`shingles.BANDS`); the sketches decide.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from trichord.infra.config import DedupConfig
from trichord.transforms.dedup import shingles, spectrum
from trichord.transforms.libraries import scipy

Modality: TypeAlias = Literal["image", "audio", "text"]
LEADS: tuple[Modality, ...] = ("image", "audio", "text")  # the first that a record has is its leading one
Ints = npt.NDArray[np.int64]
Words = npt.NDArray[np.uint64]

BLOCK_PAIRS = 1 << 21  # pairs checked in one step
SMALL = 32  # rows of a group whose pairs are checked together with those of others
NEAR_S = 0.1  # seconds by which lengths may always differ
# Limits that belong to the signatures; another value is another LINE_FORMAT (pipelines/prepare/plan.py).
MOST_COLOUR = 6.0  # mean difference of chroma on a 4 x 4 grid, of 255
MOST_LENGTH = 0.2  # share in which lengths may differ: a copy may be trimmed
AUDIO_BITS_BESIDE = 72  # of 256, beside a picture that matches
TEXT_JACCARD_BESIDE = 0.5  # beside a picture or a sound that matches


class Signatures(Protocol):
    """N signatures of one modality, in arrays."""

    def __len__(self) -> int: ...

    def pairs(self) -> Iterator[tuple[Ints, Ints]]:
        """Yield all near pairs i < j in blocks of bounded size."""
        ...

    def distance(self, i: Ints, j: Ints) -> npt.NDArray[np.float64]:
        """Return the distance in [0, 1] of each pair (i, j); infinite beyond a limit."""
        ...

    def without_limits(self) -> Signatures:
        """Return the same signatures with every pair within the limits."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Hashes:
    """Hashes of pictures or sounds (`spectrum`); `beside` (N, C) is colour or length."""

    coarse_N: Words
    fine_N4: Words
    beside_NC: npt.NDArray[np.float64]
    coarse: int
    bits: int
    colour: float | None  # of pictures: mean difference of `beside`
    length: float | None  # of sounds: share by which `beside` (milliseconds) may differ

    def __len__(self) -> int:
        return len(self.coarse_N)

    def pairs(self) -> Iterator[tuple[Ints, Ints]]:
        """See `Signatures`."""
        size = len(self)
        for start, stop in _blocks(size):
            differ = np.bitwise_count(self.coarse_N[start:stop, None] ^ self.coarse_N[None, start:])
            i, j = np.nonzero(differ <= self.coarse)
            i, j = i[i < j] + start, j[i < j] + start
            near = np.isfinite(self.distance(i, j))
            yield i[near], j[near]

    def distance(self, i: Ints, j: Ints) -> npt.NDArray[np.float64]:
        """Return the share of the 256 bits that differ."""
        out = np.full(len(i), np.inf)
        for start in range(0, len(i), BLOCK_PAIRS // 8):
            part = slice(start, start + BLOCK_PAIRS // 8)
            a, b = i[part], j[part]
            bits = np.bitwise_count(self.fine_N4[a] ^ self.fine_N4[b]).sum(axis=1, dtype=np.int64)
            gap = np.abs(self.beside_NC[a] - self.beside_NC[b])
            fits = (bits <= self.bits) & (np.bitwise_count(self.coarse_N[a] ^ self.coarse_N[b]) <= self.coarse)
            if self.colour is not None:
                fits &= gap.mean(axis=1) <= self.colour
            if self.length is not None:
                longer = np.maximum(self.beside_NC[a, 0], self.beside_NC[b, 0])
                fits &= gap[:, 0] <= np.maximum(self.length * longer, NEAR_S * 1_000)
            out[part][fits] = bits[fits] / (8 * spectrum.FINE_BYTES)
        return out

    def without_limits(self) -> Hashes:
        """See `Signatures`."""
        return replace(self, coarse=64, bits=8 * spectrum.FINE_BYTES, colour=None, length=None)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Sketches:
    """Sketches of texts (`shingles`) as one sorted run of `row << 32 | shingle`."""

    runs: Words
    starts_N: Ints  # (N + 1,)
    jaccard: float

    def __len__(self) -> int:
        return len(self.starts_N) - 1

    def pairs(self) -> Iterator[tuple[Ints, Ints]]:
        """See `Signatures`. Shared shingles are counted by a sparse product, block by block."""
        size = len(self)
        values, columns = np.unique(self.runs & np.uint64(0xFFFFFFFF), return_inverse=True)
        ones = np.ones(len(columns), np.int32)
        matrix = scipy.sparse.csr_array((ones, columns.astype(np.int64), self.starts_N), shape=(size, len(values)))
        turned = matrix.T.tocsr()
        for start, stop in _blocks(size):
            shared = scipy.sparse.coo_array(matrix[start:stop] @ turned)
            i, j = shared.coords[0].astype(np.int64) + start, shared.coords[1].astype(np.int64)
            later = i < j
            i, j, count = i[later], j[later], shared.data[later]
            near = self._jaccard(i, j, count.astype(np.float64)) >= self.jaccard
            yield i[near], j[near]

    def distance(self, i: Ints, j: Ints) -> npt.NDArray[np.float64]:
        """Return 1 - Jaccard similarity."""
        out = np.full(len(i), np.inf)
        step = BLOCK_PAIRS // shingles.SKETCH
        for start in range(0, len(i), step):
            a, b = i[start : start + step], j[start : start + step]
            lengths = self.starts_N[a + 1] - self.starts_N[a]
            pair = np.repeat(np.arange(len(a)), lengths)
            inside = np.arange(len(pair)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
            wanted = (self.runs[self.starts_N[a][pair] + inside] & np.uint64(0xFFFFFFFF)) | _high(b[pair])
            at = np.minimum(np.searchsorted(self.runs, wanted), len(self.runs) - 1)
            count = np.bincount(pair[self.runs[at] == wanted], minlength=len(a)).astype(np.float64)
            similar = self._jaccard(a, b, count)
            out[start : start + step][similar >= self.jaccard] = 1 - similar[similar >= self.jaccard]
        return out

    def without_limits(self) -> Sketches:
        """See `Signatures`."""
        return replace(self, jaccard=0.0)

    def _jaccard(self, i: Ints, j: Ints, shared: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Return the similarity of pairs that share this many shingles; cut sketches up to where both are known."""
        sizes = np.diff(self.starts_N)
        known = np.where(sizes < shingles.SKETCH, np.uint64(0xFFFFFFFF), self._last() & np.uint64(0xFFFFFFFF))
        union = sizes[i] + sizes[j] - shared
        cut = np.flatnonzero(known[i] != known[j])
        if len(cut):
            a, b = i[cut], j[cut]
            upto = np.minimum(known[a], known[b])
            both = [np.searchsorted(self.runs, _high(x) | upto, side="right") - self.starts_N[x] for x in (a, b)]
            union[cut] = both[0] + both[1] - shared[cut]
        similar: npt.NDArray[np.float64] = shared / np.maximum(union, 1)
        return similar

    def _last(self) -> Words:
        return self.runs[self.starts_N[1:] - 1]


def nearest(packed: Signatures, most: int) -> tuple[Ints, Ints]:
    """Return the near pairs i < j of which one is among the `most` nearest of the other, the earlier first."""
    size = len(packed)
    best = np.full((size, most), np.inf)
    which = np.full((size, most), -1, np.int64)
    for i, j in packed.pairs():
        distance = packed.distance(i, j)
        own, other, far = np.concatenate([i, j]), np.concatenate([j, i]), np.concatenate([distance, distance])
        order = np.lexsort((other, far, own))
        own, other, far = own[order], other[order], far[order]
        place = np.arange(len(own)) - np.searchsorted(own, own)
        own, other, far, place = (values[place < most] for values in (own, other, far, place))
        fresh, named = np.full((size, most), np.inf), np.full((size, most), -1, np.int64)
        fresh[own, place], named[own, place] = far, other
        both, names = np.hstack([best, fresh]), np.hstack([which, named])
        order = np.lexsort((names, both), axis=1)[:, :most]
        best, which = np.take_along_axis(both, order, 1), np.take_along_axis(names, order, 1)
    own, at = np.nonzero(which >= 0)
    pairs = np.unique(np.sort(np.stack([own, which[own, at]], axis=1), axis=1), axis=0)
    return pairs[:, 0], pairs[:, 1]


def pack(modality: Modality, signatures: Sequence[bytes], config: DedupConfig, *, beside: bool = False) -> Signatures:
    """Pack signatures of one modality into arrays, with the limits of a leading modality or of one `beside` it."""
    if modality == "text":
        sizes = np.array([len(one) // 4 - 1 for one in signatures], np.int64)
        starts = np.concatenate([[0], np.cumsum(sizes)])
        words = np.frombuffer(b"".join(one[shingles.LENGTH_BYTES :] for one in signatures), "<u4").astype(np.uint64)
        runs = words | np.repeat(_high(np.arange(len(sizes))), sizes)
        return Sketches(runs=runs, starts_N=starts, jaccard=TEXT_JACCARD_BESIDE if beside else config.text_jaccard)
    width = spectrum.HASH_BYTES + (spectrum.COLOUR_BYTES if modality == "image" else spectrum.LENGTH_BYTES)
    table = np.frombuffer(b"".join(signatures), np.uint8).reshape(-1, width)
    signs = np.ascontiguousarray(table[:, : spectrum.HASH_BYTES]).view("<u8")
    rest = np.ascontiguousarray(table[:, spectrum.HASH_BYTES :])
    if modality == "image":
        return Hashes(
            coarse_N=signs[:, 0], fine_N4=signs[:, 1:], beside_NC=rest.astype(np.float64),
            coarse=config.image_coarse, bits=config.image_bits, colour=MOST_COLOUR, length=None,
        )  # fmt: skip
    return Hashes(
        coarse_N=signs[:, 0], fine_N4=signs[:, 1:], beside_NC=rest.view("<u4").astype(np.float64),
        coarse=64 if beside else config.audio_coarse,
        bits=max(AUDIO_BITS_BESIDE, config.audio_bits) if beside else config.audio_bits,
        colour=None, length=MOST_LENGTH,
    )  # fmt: skip


def chunk_keys(modality: Modality, signature: bytes, config: DedupConfig) -> list[str]:
    """Return keys of a hash; two hashes within the coarse limit share at least one."""
    bits = int.from_bytes(signature[: spectrum.COARSE_BYTES], "big")
    chunks = (config.image_coarse if modality == "image" else config.audio_coarse) + 1
    edges = [64 * i // chunks for i in range(chunks + 1)]
    keys = []
    for i in range(chunks):
        width = edges[i + 1] - edges[i]
        keys.append(f"{modality}/{i}/{(bits >> edges[i]) & ((1 << width) - 1):x}")
    return keys


def text_chars(sketch: bytes) -> int:
    """Return the number of characters in a text's normal form."""
    return int.from_bytes(sketch[: shingles.LENGTH_BYTES], "little")


def band_keys(bands: bytes) -> list[str]:
    """Return keys of a text; two near texts almost surely share one."""
    return [f"text/{i}/{bands[8 * i : 8 * i + 8].hex()}" for i in range(len(bands) // 8)]


def near_edges(modality: Modality, rows: Ints, signatures: Sequence[bytes], config: DedupConfig) -> Ints:
    """Return edges (E, 2) that connect a bucket's rows as its near pairs do: fewer than there are rows.

    Equal signatures are compared once.
    """
    first: dict[bytes, int] = {}
    of_row = np.array([first.setdefault(one, len(first)) for one in signatures], np.int64)
    packed = pack(modality, list(first), config)
    labels = label_components(len(first), packed.pairs())[of_row]
    order = np.argsort(labels, kind="stable")
    roots = order[np.concatenate([[True], np.diff(labels[order]) > 0])]
    root = roots[labels]
    other = np.flatnonzero(root != np.arange(len(rows)))
    return np.stack([rows[root[other]], rows[other]], axis=1)


def bucket_edges(
    modality: Modality, rows: Ints, signatures: Sequence[bytes], starts: Ints, sizes: Ints, config: DedupConfig
) -> Ints:
    """Return edges (E, 2) of many groups of rows at once, each `sizes` rows from `starts`.

    Pairs of small groups, which are most, are checked together; each large group is checked alone.
    """
    found = [np.zeros((0, 2), np.int64)]
    for start, size in zip(starts[sizes > SMALL].tolist(), sizes[sizes > SMALL].tolist(), strict=True):
        part = slice(start, start + size)
        found.append(near_edges(modality, rows[part], signatures[part], config))
    small, size_of = starts[sizes <= SMALL], sizes[sizes <= SMALL]
    step = BLOCK_PAIRS // SMALL**2
    for first in range(0, len(small), step):
        found.append(_small_edges(modality, rows, signatures, small[first : first + step],
                                  size_of[first : first + step], config))  # fmt: skip
    return np.concatenate(found)


def _small_edges(
    modality: Modality, rows: Ints, signatures: Sequence[bytes], starts: Ints, sizes: Ints, config: DedupConfig
) -> Ints:
    pairs = []
    for size in np.unique(sizes).tolist():
        i, j = np.triu_indices(size, 1)
        at = starts[sizes == size][:, None]
        pairs.append(np.stack([(at + i).ravel(), (at + j).ravel()]))
    if not pairs:
        return np.zeros((0, 2), np.int64)
    i, j = np.concatenate(pairs, axis=1)
    used, places = np.unique(np.concatenate([i, j]), return_inverse=True)
    content: dict[bytes, int] = {}
    content_N = np.array([content.setdefault(signatures[at], len(content)) for at in used.tolist()], np.int64)
    a, b = np.split(content_N[places], 2)
    both, of_pair = np.unique(np.stack([np.minimum(a, b), np.maximum(a, b)]), axis=1, return_inverse=True)
    near = np.isfinite(pack(modality, list(content), config).distance(both[0], both[1]))[of_pair]
    return np.stack([rows[i[near]], rows[j[near]]], axis=1)


def label_components(size: int, blocks: Iterator[tuple[Ints, Ints]]) -> Ints:
    """Return the component of each of `size` nodes, numbered from 0 by first node; edges come in blocks."""
    labels = np.arange(size)
    for i, j in blocks:
        if len(i):
            nodes = np.arange(size)
            roots = np.full(size, size)
            np.minimum.at(roots, labels, nodes)
            ends = np.concatenate([i, nodes]), np.concatenate([j, roots[labels]])
            graph = scipy.sparse.coo_array((np.ones(len(ends[0]), np.int8), ends), shape=(size, size))
            labels = scipy.sparse.csgraph.connected_components(graph, directed=False)[1].astype(np.int64)
    first = np.full(labels.max(initial=-1) + 1, size)
    np.minimum.at(first, labels, np.arange(size))
    rank: Ints = np.argsort(np.argsort(first))
    return rank[labels]


def _blocks(size: int) -> Iterator[tuple[int, int]]:
    step = max(1, BLOCK_PAIRS // max(size, 1))
    for start in range(0, size, step):
        yield start, min(start + step, size)


def _high(rows: Ints) -> Words:
    return rows.astype(np.uint64) << np.uint64(32)
