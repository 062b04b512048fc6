"""Batches: which inputs go through a model together.

`Planner` and `run_passes` put inputs of different sizes into passes, planned from their sizes alone, and halve a pass
that does not fit into memory. `blocks` cuts rows of one width into passes of one size.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TypeVar

import numpy as np
import torch

from trichord.encoders.base import Modality
from trichord.infra.errors import ConfigError

Size = tuple[int, ...]
Found = TypeVar("Found")


@dataclass(frozen=True, kw_only=True, slots=True)
class Pass:
    """One forward pass: the inputs `chosen`, by number, in a tensor of `rows` rows of `size`."""

    chosen: tuple[int, ...]
    rows: int
    size: Size


@dataclass(frozen=True, kw_only=True, slots=True)
class Planner:
    """How inputs share passes.

    Args:
        cells: values of a pass at most (a longer input goes alone).
        most_rows: rows of a pass at most.
        shortest: smallest padded length, where inputs may be padded at all: None puts equal sizes together only.
        longest: no input is padded beyond it.
        strict: every pass of a size has the same shape, whatever the neighbours: lengths are padded to one of a few
            that their own length decides, and rows are filled up.
    """

    cells: int
    most_rows: int
    shortest: int | None
    longest: int
    strict: bool

    def plan(self, sizes: Sequence[Size]) -> list[Pass]:
        """Return passes that hold every input once, the longest first: memory runs out at once or not at all."""
        padded = [self._padded(size) for size in sizes]
        order = sorted(range(len(sizes)), key=lambda i: (padded[i], sizes[i]), reverse=True)
        together = self.shortest is not None and not self.strict
        passes = []
        for _, group in groupby(order, key=lambda i: None if together else padded[i]):
            members = list(group)
            while members:
                size = padded[members[0]]
                rows = self._rows(size)
                chosen, members = tuple(members[:rows]), members[rows:]
                passes.append(Pass(chosen=chosen, rows=rows if self.strict else len(chosen), size=size))
        return passes

    def _rows(self, size: Size) -> int:
        cells = self.cells // 4 if self.strict else self.cells  # smaller, as a lone input fills up a pass
        return max(1, min(self.most_rows, cells // max(1, math.prod(size))))

    def _padded(self, size: Size) -> Size:
        """Round up to quarter steps between powers of two: at most a quarter of a padded input is padding."""
        if self.shortest is None or not self.strict:
            return size
        length = max(self.shortest, size[0])
        step = max(1, 1 << max(0, (length - 1).bit_length() - 3))
        return (max(size[0], min(self.longest, -(-length // step) * step)),)


def run_passes(
    passes: Sequence[Pass], forward: Callable[[Pass], Found], *, strict: bool, advice: str
) -> Iterator[tuple[Pass, Found]]:
    """Yield what `forward` makes of each pass; one that does not fit into memory is halved, unless shapes are fixed.

    Args:
        advice: the setting that makes a pass smaller.

    Raises:
        ConfigError: memory ran out in strict numerics, or on a single input.
    """
    waiting = list(reversed(passes))
    fits = math.inf  # values of a pass, learned from the passes that did not
    while waiting:
        now = waiting.pop()
        if not strict and now.rows > 1 and now.rows * math.prod(now.size) >= fits:
            waiting.extend(reversed(_halves(now)))
            continue
        try:
            found = forward(now)
        except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
            if not _out_of_memory(error):
                raise
            if strict or now.rows == 1:
                shape = " × ".join(map(str, (now.rows, *now.size)))
                other = ", or set model.numerics: fast, which halves a pass that does not fit" if strict else ""
                raise ConfigError(f"A pass of {shape} values does not fit into memory.\n{advice}{other}.") from error
            fits = now.rows * math.prod(now.size)
            waiting.append(now)
        else:
            yield now, found
            continue
        if torch.cuda.is_available():  # outside the handler: the error holds the tensors of its frames
            torch.cuda.empty_cache()


def blocks(
    values: Mapping[Modality, np.ndarray], views: np.ndarray, size: int, *, pad: bool
) -> Iterator[tuple[int, dict[Modality, np.ndarray], np.ndarray]]:
    """Yield first row, features (size, D_m) and views (size, ..., M) of every block of rows.

    Padded to one shape, so that a row's bits do not depend on how many others came; without `pad` the last is shorter.
    """
    for start in range(0, len(views), size):
        rows = slice(start, start + size)
        missing = size - len(views[rows]) if pad else 0

        def block(matrix: np.ndarray, rows: slice = rows, missing: int = missing) -> np.ndarray:
            # a copy: torch takes no read-only memory
            return np.pad(matrix[rows], ((0, missing), *[(0, 0)] * (matrix.ndim - 1)))

        yield start, {name: block(matrix) for name, matrix in values.items()}, block(views)


def _halves(whole: Pass) -> list[Pass]:
    middle = len(whole.chosen) // 2
    parts = whole.chosen[:middle], whole.chosen[middle:]
    return [Pass(chosen=part, rows=len(part), size=whole.size) for part in parts]


def _out_of_memory(error: Exception) -> bool:
    """Return True if memory ran out. Torch's CPU allocator raises a plain RuntimeError, worded by the platform."""
    said = str(error)
    return (
        isinstance(error, torch.OutOfMemoryError | MemoryError)
        or "not enough memory" in said
        or "can't allocate memory" in said
    )
