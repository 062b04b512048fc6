"""Rows in blocks, so that a pass through a network is bounded in memory and, where it must be, of one shape."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from trichord.encoders.base import Modality


def blocks(
    values: Mapping[Modality, np.ndarray], views: np.ndarray, size: int, *, pad: bool
) -> Iterator[tuple[int, dict[Modality, np.ndarray], np.ndarray]]:
    """First row, features (size, D_m) and views (size, ..., M) of every block.

    Padded to one shape, so that a row's bits do not depend on how many others came; without `pad` the last is shorter.
    """
    for start in range(0, len(views), size):
        rows = slice(start, start + size)
        missing = size - len(views[rows]) if pad else 0

        def block(matrix: np.ndarray, rows: slice = rows, missing: int = missing) -> np.ndarray:
            # a copy: torch takes no read-only memory
            return np.pad(matrix[rows], ((0, missing), *[(0, 0)] * (matrix.ndim - 1)))

        yield start, {name: block(matrix) for name, matrix in values.items()}, block(views)
