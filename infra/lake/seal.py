"""The seal of a Parquet file: its footer's SHA-256 in the 32 bytes before it, checked before Parquet sees the file."""

from __future__ import annotations

import hashlib
import io
import os
from typing import BinaryIO

import pyarrow as pa


def seal(file: BinaryIO) -> None:
    """Move the footer of a closed Parquet file (open for update) back by 32 bytes and put its SHA-256 before it."""
    start = _footer_start(file)
    file.seek(start)
    footer = file.read()
    file.seek(start)
    file.write(hashlib.sha256(footer).digest() + footer)
    file.flush()


def seal_bytes(data: bytes) -> bytes:
    """Return a whole Parquet file with its seal; see `seal`."""
    file = io.BytesIO(data)
    seal(file)
    return file.getvalue()


def require_seal(data: bytes) -> None:
    """Raise ArrowInvalid unless the bytes are a sealed file's, whose footer is the one that was written."""
    check_seal(io.BytesIO(data))


def _footer_start(file: BinaryIO) -> int:
    """Return the offset of the Parquet footer; ArrowInvalid where the file's end is not that of a Parquet file."""
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - 8))
    tail = file.read(8)
    start = size - 8 - int.from_bytes(tail[:4], "little")
    if tail[4:] != b"PAR1" or start < 4:
        raise pa.ArrowInvalid("its end is missing")
    return start


def check_seal(file: BinaryIO) -> None:
    """Raise ArrowInvalid unless the footer is the one that was written."""
    start = _footer_start(file) - 32
    file.seek(max(0, start))
    seal, footer = file.read(32), file.read()
    if start < 4 or hashlib.sha256(footer).digest() != seal:
        raise pa.ArrowInvalid("its footer does not match its seal")
