"""Text signatures: hashed character shingles, the least of them, and the MinHash bands made of these.

Shingles are runs of `SHINGLE` characters of the text without case, accents of width and punctuation, so that they work
for short captions and for scripts without spaces. Kept are the `SKETCH` least hashes (bottom-k sketch, Broder 1997, "On
the resemblance and containment of documents"): all of a text up to that many, of a longer one an even sample.
"""

from __future__ import annotations

import unicodedata
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from infra.digest import generator

VERSION = 1  # raised whenever the same text would give another signature

SHINGLE, SKETCH = 4, 256
BANDS, ROWS_PER_BAND = 10, 8  # texts of Jaccard 0.9 share a band with chance 0.996, of 0.4 with 0.007
LENGTH_BYTES = 4

Hashes = npt.NDArray[np.uint64]
_PRIME = np.uint64((1 << 61) - 1)


def normal_form(text: str) -> str:
    """The text in NFKC without case; what is no letter, digit or mark becomes one space."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    kept = folded if folded.isalnum() else "".join(char if _counts(char) else " " for char in folded)
    return " ".join(kept.split())


@lru_cache(maxsize=8_192)
def _counts(char: str) -> bool:
    return unicodedata.category(char)[0] in "LNM"


def text_sketch(text: str) -> bytes | None:
    """Length of the normal form, then the least shingle hashes in order, 4 bytes each; None without a word."""
    normal = normal_form(text)
    if not normal:
        return None
    chars = np.frombuffer(f" {normal} ".encode("utf-32-le", "surrogatepass"), "<u4").astype(np.uint64)
    size = min(SHINGLE, len(chars))
    runs = np.zeros(len(chars) - size + 1, np.uint64)
    for i in range(size):
        runs = _mixed(runs + chars[i : len(chars) - size + 1 + i] * np.uint64(0x9E3779B97F4A7C15))
    least = np.unique((runs >> np.uint64(32)).astype("<u4"))[:SKETCH]
    return np.array([len(normal)], "<u4").tobytes() + least.tobytes()


def band_keys(sketch: bytes) -> bytes:
    """MinHash bands of a sketch: `BANDS` hashes of 8 bytes, each of `ROWS_PER_BAND` minima."""
    shingles = np.frombuffer(sketch, "<u4", offset=LENGTH_BYTES).astype(np.uint64)
    factors, offsets = _permutations()
    least = ((shingles[:, None] * factors + offsets) % _PRIME).min(axis=0).reshape(BANDS, ROWS_PER_BAND)
    keys = np.zeros(BANDS, np.uint64)
    for i in range(ROWS_PER_BAND):
        keys = _mixed(keys + least[:, i])
    return keys.astype("<u8").tobytes()


@lru_cache(maxsize=1)
def _permutations() -> tuple[Hashes, Hashes]:
    """Factors below 2^29 (a 32-bit hash times one stays exact) and offsets of universal hashing, (BANDS x ROWS,)."""
    rng = generator("dedup", "minhash")
    count = BANDS * ROWS_PER_BAND
    return rng.integers(1, 1 << 29, count).astype(np.uint64), rng.integers(0, 1 << 60, count).astype(np.uint64)


def _mixed(values: Hashes) -> Hashes:
    """Every bit of a 64-bit number spread over all (splitmix64)."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))
