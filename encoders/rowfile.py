"""A matrix in a file, fetched row by row.

Rows are read by `pread`, not through a memory map, whose touched pages would count as the process's own.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class RowFile:
    """Rows of `width` values of one dtype, fetched by position."""

    path: str
    dtype: np.dtype
    width: int

    def __len__(self) -> int:
        return os.path.getsize(self.path) // (self.dtype.itemsize * self.width)

    def append(self, rows: np.ndarray) -> None:
        """Add rows, (R, width) or (R,) where width is 1, cast to the file's dtype."""
        with open(self.path, "ab") as file:
            file.write(np.ascontiguousarray(rows, dtype=self.dtype).data)

    def gather(self, rows: np.ndarray) -> np.ndarray:
        """The rows at the given positions, (R, width).

        Raises:
            IndexError: a position lies outside the file.
        """
        found = np.empty((len(rows), self.width), self.dtype)
        size = self.dtype.itemsize * self.width
        descriptor = os.open(self.path, os.O_RDONLY)
        try:
            for row, into in zip(rows.tolist(), found.view(np.uint8).reshape(len(rows), size), strict=True):
                if row < 0 or os.preadv(descriptor, [into.data], row * size) != size:
                    raise IndexError(f"{self.path} has no row {row}")
        finally:
            os.close(descriptor)
        return found
