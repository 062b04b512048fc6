"""A matrix in a file, fetched row by row.

Rows are read by `pread`, not through a memory map, whose touched pages would count as the process's own.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class DiskMatrix:
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
        """Return the rows at the given positions, (R, width).

        Raises:
            IndexError: a position is outside the file.
        """
        return self.runs(rows, np.ones(len(rows), np.int64))

    def runs(self, starts: np.ndarray, counts: np.ndarray) -> np.ndarray:
        """Return `counts` rows from each of `starts` on, in turn, (R, width): one read a run.

        Raises:
            IndexError: a run leaves the file.
        """
        found = np.empty((int(counts.sum()), self.width), self.dtype)
        size = self.dtype.itemsize * self.width
        into, done = found.reshape(-1).view(np.uint8).data, 0
        descriptor = os.open(self.path, os.O_RDONLY)
        try:
            for start, length in zip(starts.tolist(), (counts * size).tolist(), strict=True):
                if start < 0 or os.preadv(descriptor, [into[done : done + length]], start * size) != length:
                    raise IndexError(f"{self.path} has no row {start}, or fewer than {length // size} from it on")
                done += length
        finally:
            os.close(descriptor)
        return found
