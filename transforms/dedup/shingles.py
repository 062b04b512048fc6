"""Text signatures: the smallest hashes of character shingles, and MinHash bands of these.

Shingles are runs of `SHINGLE` characters of the text without case, width variants and punctuation, or `DENSE_SHINGLE`
of them where the first is Han, kana or Hangul: a word has some two of these, or five letters, so another word moves a
text as far in any script. Blanks beside scripts that write none do not count. The `SKETCH` smallest hashes are kept
(bottom-k sketch, Broder 1997, "On the resemblance and containment of documents"): all hashes of a short text, an even
sample of a longer one.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from trichord.infra.digest import generator
from trichord.transforms import bounded_text
from trichord.transforms.word_breaks import is_dense, join_unspaced

VERSION = 2  # raised when the same text would give another signature

SHINGLE, DENSE_SHINGLE, SKETCH = 4, 2, 256
BANDS, ROWS_PER_BAND = 10, 8  # texts of Jaccard 0.9 share a band with chance 0.996, of 0.4 with 0.007
LENGTH_BYTES = 4
_FIRST_DENSE = 0x1100  # below are only letters

Hashes = npt.NDArray[np.uint64]
_PRIME_BITS = np.uint64(61)
_PRIME = np.uint64((1 << 61) - 1)


def normal_form(text: str) -> str:
    """Return the text in NFKC without case; anything but letters, digits and marks becomes one space.

    There are no spaces beside characters of scripts without blanks between words.
    """
    folded = bounded_text.normal_form("NFKC", text).casefold()
    kept = folded if folded.isalnum() else "".join(char if _counts(char) else " " for char in folded)
    return join_unspaced(" ".join(kept.split()))


@lru_cache(maxsize=8_192)
def _counts(char: str) -> bool:
    return unicodedata.category(char)[0] in "LNM"


def text_sketch(text: str) -> bytes | None:
    """Return the length of the normal form, then the smallest hashes in order, 4 bytes each; None without a word."""
    return text_sketches([text])[0]


def text_sketches(texts: Sequence[str | None]) -> list[bytes | None]:
    """Return the sketch of each text, hashed all at once; None without a text or a word."""
    padded = [f" {normal} " if text and (normal := normal_form(text)) else "" for text in texts]
    chars = np.frombuffer("".join(padded).encode("utf-32-le", "surrogatepass"), "<u4").astype(np.uint64)
    parts = chars * np.uint64(0x9E3779B97F4A7C15)
    runs = [np.zeros(0, np.uint64)]  # runs[n]: of n characters, by start
    for i in range(min(SHINGLE, len(parts))):
        before = runs[-1][: len(parts) - i] if i else np.zeros(len(parts), np.uint64)
        runs.append(_mix(before + parts[i:]))
    dense = _dense_starts(chars)
    sketches: list[bytes | None] = []
    start = 0
    for text in padded:
        size = min(SHINGLE, len(text))
        found = runs[size][start : start + len(text) - size + 1]
        if dense is not None and text:
            here = dense[start : start + len(text) - 1]
            found = np.concatenate([found[~here[: len(found)]], runs[DENSE_SHINGLE][start : start + len(here)][here]])
        least = np.unique((found >> np.uint64(32)).astype("<u4"))[:SKETCH]
        sketches.append(np.array([len(text) - 2], "<u4").tobytes() + least.tobytes() if text else None)
        start += len(text)
    return sketches


def _dense_starts(chars: Hashes) -> npt.NDArray[np.bool_] | None:
    """Return which characters are of a dense script, or a blank before one, (N,); None if none is."""
    if not len(chars) or chars.max() < _FIRST_DENSE:
        return None
    known, places = np.unique(chars, return_inverse=True)
    dense = np.array([is_dense(chr(code)) for code in known.tolist()])[places]
    dense[:-1] |= (chars[:-1] == ord(" ")) & dense[1:]
    return dense


def band_keys(sketch: bytes) -> bytes:
    """Return the MinHash bands of a sketch: `BANDS` hashes of 8 bytes, each of `ROWS_PER_BAND` minima."""
    return bands_of([sketch])[0] or b""


def bands_of(sketches: Sequence[bytes | None]) -> list[bytes | None]:
    """Return the bands of each sketch; None without a sketch."""
    least = np.zeros((len(sketches), BANDS, ROWS_PER_BAND), np.uint64)
    for i, sketch in enumerate(sketches):
        if sketch is not None:
            least[i] = _minima(sketch)
    keys = np.zeros((len(sketches), BANDS), np.uint64)
    for i in range(ROWS_PER_BAND):
        keys = _mix(keys + least[:, :, i])
    found = keys.astype("<u8")
    return [None if sketch is None else found[i].tobytes() for i, sketch in enumerate(sketches)]


def _minima(sketch: bytes) -> Hashes:
    """Return the smallest value of each permutation over a sketch's hashes, (BANDS, ROWS_PER_BAND)."""
    shingles = np.frombuffer(sketch, "<u4", offset=LENGTH_BYTES).astype(np.uint64)
    factors, offsets = _permutations()
    values = shingles[:, None] * factors
    values += offsets
    # the remainder by 2^61 - 1 without a division: the upper bits count once more as lower ones
    carried = values >> _PRIME_BITS
    values &= _PRIME
    values += carried
    np.subtract(values, _PRIME, out=values, where=values >= _PRIME)
    least: Hashes = values.min(axis=0).reshape(BANDS, ROWS_PER_BAND)
    return least


@lru_cache(maxsize=1)
def _permutations() -> tuple[Hashes, Hashes]:
    """Return universal hashing's factors below 2^29 (times a 32-bit hash stays exact) and offsets, (BANDS x ROWS,)."""
    rng = generator("dedup", "minhash")
    count = BANDS * ROWS_PER_BAND
    return rng.integers(1, 1 << 29, count).astype(np.uint64), rng.integers(0, 1 << 60, count).astype(np.uint64)


def _mix(values: Hashes) -> Hashes:
    """Spread every bit of 64-bit numbers over all bits (splitmix64)."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))
