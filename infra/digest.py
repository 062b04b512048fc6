"""Content addresses: one canonical encoding, one hash, and the random generator derived from it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from typing import Any

import numpy as np

ADDRESS_CHARS = 32

_CANONICAL = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
quote = json.encoder.encode_basestring  # a string as it is in canonical JSON


def canonical_json(value: Any) -> bytes:
    """Encode a JSON value in one way only: sorted keys, no spaces, UTF-8, no NaN.

    Raises:
        ValueError: the value holds NaN or infinity.
        TypeError: the value is not JSON.
    """
    return _CANONICAL.encode(value).encode("utf-8", "surrogatepass")


def address(*parts: Any) -> str:
    """Return the digest of JSON-encodable parts as 32 hex characters: a shard's address."""
    return hashlib.sha256(canonical_json(list(parts))).hexdigest()[:ADDRESS_CHARS]


def sha256_hex(chunks: bytes | Iterable[bytes]) -> str:
    """Return the SHA-256 of bytes, or of the chunks in turn, as 64 hex characters."""
    state = hashlib.sha256()
    for chunk in [chunks] if isinstance(chunks, bytes) else chunks:
        state.update(chunk)
    return state.hexdigest()


def hash64(text: str) -> int:
    """Return a stable 64-bit hash of a string (BLAKE2b), independent of process and platform."""
    return int.from_bytes(hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "big")


def generator(*parts: Any) -> np.random.Generator:
    """Return the Philox generator keyed by the parts, for example (seed, key, op, copy)."""
    key = int.from_bytes(hashlib.sha256(canonical_json(list(parts))).digest()[:16], "big")
    return np.random.Generator(np.random.Philox(key=key))
