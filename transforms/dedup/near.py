"""Signatures of many rows in arrays: how far two of them are, and which pairs are near.

What proposes pairs without comparing all is beside it: `hamming` for hashes, MinHash bands (`shingles`) for texts, and
`crowds` where more rows meet than can be compared pair by pair.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt
from scipy.sparse import coo_array, csr_array

from trichord.infra.config import DedupConfig
from trichord.transforms.dedup import shingles, spectrum

Modality: TypeAlias = Literal["image", "audio", "text"]
LEADS: tuple[Modality, ...] = ("image", "audio", "text")  # the first that a record has is its leading one
Ints = npt.NDArray[np.int64]
Words = npt.NDArray[np.uint64]

BLOCK_PAIRS = 1 << 21  # pairs checked in one step
HASH_WIDTHS: Mapping[Modality, int] = {
    "image": spectrum.HASH_BYTES + spectrum.COLOUR_BYTES,
    "audio": spectrum.HASH_BYTES + spectrum.LENGTH_BYTES,
}
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

    def select(self, rows: Ints) -> Signatures:
        """Return the signatures of some rows, in this order."""
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
            a, b = i[start : start + BLOCK_PAIRS // 8], j[start : start + BLOCK_PAIRS // 8]
            # most pairs differ in the coarse bits, which cost least
            left = np.flatnonzero(np.bitwise_count(self.coarse_N[a] ^ self.coarse_N[b]) <= self.coarse)
            a, b = a[left], b[left]
            bits = np.bitwise_count(self.fine_N4[a] ^ self.fine_N4[b]).sum(axis=1, dtype=np.int64)
            left, a, b, bits = (values[bits <= self.bits] for values in (left, a, b, bits))
            fits = np.ones(len(left), bool)
            if self.colour is not None:
                fits &= np.abs(self.beside_NC[a] - self.beside_NC[b]).mean(axis=1) <= self.colour
            if self.length is not None:
                one, other = self.beside_NC[a, 0], self.beside_NC[b, 0]
                fits &= np.abs(one - other) <= np.maximum(self.length * np.maximum(one, other), NEAR_S * 1_000)
            out[start + left[fits]] = bits[fits] / (8 * spectrum.FINE_BYTES)
        return out

    def without_limits(self) -> Hashes:
        """See `Signatures`."""
        return replace(self, coarse=64, bits=8 * spectrum.FINE_BYTES, colour=None, length=None)

    def select(self, rows: Ints) -> Hashes:
        """See `Signatures`."""
        beside = self.beside_NC[rows]
        return replace(self, coarse_N=self.coarse_N[rows], fine_N4=self.fine_N4[rows], beside_NC=beside)


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
        matrix = csr_array((ones, columns.astype(np.int64), self.starts_N), shape=(size, len(values)))
        turned = matrix.T.tocsr()
        for start, stop in _blocks(size):
            shared = coo_array(matrix[start:stop] @ turned)
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
            lengths = self.starts_N[b + 1] - self.starts_N[b]
            pair = np.repeat(np.arange(len(b)), lengths)
            inside = np.arange(len(pair)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
            wanted = self.runs[self.starts_N[b][pair] + inside] & np.uint64(0xFFFFFFFF)
            if (a == a[0]).all():  # one text with many: what is searched stays in the cache
                known = self.runs[self.starts_N[a[0]] : self.starts_N[a[0] + 1]] & np.uint64(0xFFFFFFFF)
            else:
                known, wanted = self.runs, wanted | _high(a[pair])
            at = np.minimum(np.searchsorted(known, wanted), len(known) - 1)
            count = np.bincount(pair[known[at] == wanted], minlength=len(a)).astype(np.float64)
            similar = self._jaccard(a, b, count)
            out[start : start + step][similar >= self.jaccard] = 1 - similar[similar >= self.jaccard]
        return out

    def without_limits(self) -> Sketches:
        """See `Signatures`."""
        return replace(self, jaccard=0.0)

    def select(self, rows: Ints) -> Sketches:
        """See `Signatures`."""
        sizes = self.starts_N[rows + 1] - self.starts_N[rows]
        starts = np.concatenate([[0], np.cumsum(sizes)])
        inside = np.arange(starts[-1]) - np.repeat(starts[:-1], sizes)
        words = self.runs[np.repeat(self.starts_N[rows], sizes) + inside] & np.uint64(0xFFFFFFFF)
        return replace(self, runs=words | np.repeat(_high(np.arange(len(rows))), sizes), starts_N=starts)

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


def pack(modality: Modality, signatures: Sequence[bytes], config: DedupConfig, *, beside: bool = False) -> Signatures:
    """Pack signatures of one modality into arrays, with the limits of a leading modality or of one `beside` it."""
    if modality == "text":
        sizes = np.array([len(one) // 4 - 1 for one in signatures], np.int64)
        starts = np.concatenate([[0], np.cumsum(sizes)])
        words = np.frombuffer(b"".join(one[shingles.LENGTH_BYTES :] for one in signatures), "<u4").astype(np.uint64)
        runs = words | np.repeat(_high(np.arange(len(sizes))), sizes)
        return Sketches(runs=runs, starts_N=starts, jaccard=TEXT_JACCARD_BESIDE if beside else config.text_jaccard)
    table = np.frombuffer(b"".join(signatures), np.uint8).reshape(-1, HASH_WIDTHS[modality])
    return pack_hashes(modality, table, config, beside=beside)


def pack_hashes(
    modality: Literal["image", "audio"], table: npt.NDArray[np.uint8], config: DedupConfig, *, beside: bool = False
) -> Hashes:
    """Pack hashes (N, bytes) of pictures or sounds, with limits as `pack`."""
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


def text_chars(sketch: bytes) -> int:
    """Return the number of characters in a text's normal form."""
    return int.from_bytes(sketch[: shingles.LENGTH_BYTES], "little")


def _blocks(size: int) -> Iterator[tuple[int, int]]:
    step = max(1, BLOCK_PAIRS // max(size, 1))
    for start in range(0, size, step):
        yield start, min(start + step, size)


def _high(rows: Ints) -> Words:
    return rows.astype(np.uint64) << np.uint64(32)
