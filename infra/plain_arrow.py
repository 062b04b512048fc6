"""Arrow arrays from and to Python and NumPy, without `pa.array` and `to_numpy`: those import pandas, half a second."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa


def numbers(values_N: npt.NDArray[np.generic], missing_N: npt.NDArray[np.bool_] | None = None) -> pa.Array:
    """Return an Arrow array of numbers, (N,); null where `missing_N` is true."""
    valid = None if missing_N is None else pa.py_buffer(np.packbits(~missing_N, bitorder="little"))
    data = pa.py_buffer(np.ascontiguousarray(values_N))
    return pa.Array.from_buffers(pa.from_numpy_dtype(values_N.dtype), len(values_N), [valid, data])


def strings(values: Sequence[str | None], *, large: bool = False) -> pa.Array:
    """Return an Arrow array of strings, or of large strings, which may be more than 2 GiB together.

    Raises:
        UnicodeEncodeError: a string holds half of a surrogate pair.
        OverflowError: strings that are not large are too long.
    """
    missing = [value is None for value in values]
    words = [value or "" for value in values]
    data = "".join(words).encode()
    lengths = list(map(len, words))
    if len(data) != sum(lengths):  # not all is ASCII
        lengths = [len(word.encode()) for word in words]
    kind, width = (pa.large_string(), np.int64) if large else (pa.string(), np.int32)
    ends = np.fromiter(accumulate(lengths, initial=0), width, len(words) + 1)
    valid = pa.py_buffer(np.packbits(~np.array(missing), bitorder="little")) if any(missing) else None
    return pa.Array.from_buffers(kind, len(words), [valid, pa.py_buffer(ends), pa.py_buffer(data)])


def values_of(array: pa.Array | pa.ChunkedArray, dtype: npt.DTypeLike) -> npt.NDArray[Any]:
    """Return the values of an array of numbers or of bytes of one length, without nulls; a view where it is one chunk.

    Args:
        array: (N,).
        dtype: what NumPy calls its type.
    """
    if isinstance(array, pa.ChunkedArray):
        array = array.combine_chunks()
    assert not array.null_count
    assert array.type.bit_width == 8 * np.dtype(dtype).itemsize
    values: npt.NDArray[Any] = np.frombuffer(array.buffers()[1] or b"", dtype)
    return values[array.offset : array.offset + len(array)]
