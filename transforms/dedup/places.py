"""How far each place of two pictures differs, where that can matter.

What remains between two pictures is measured against the contrast of its place, and the second may be moved by a pixel.
That takes many passes over the pictures. No place can differ more than the largest difference of its pixels allows, so
tiles are looked at in that order, and only as far as one may still hold the largest difference or belongs on the map.
"""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np
import numpy.typing as npt

Grey = npt.NDArray[np.float32]  # (H, W)
Mask = npt.NDArray[np.bool_]

TILE = 128  # pixels of a side


class Places:
    """The differences of places of two pictures, (H, W): the mean square over both contrasts and the noise."""

    def __init__(self, a: Grey, b: Grey, inside: Mask, *, noise: float, window: int, unseen: float) -> None:
        """Take two planes and where both show something.

        `noise` and `unseen` are levels: what coding changes, and by how much a whole place may be lighter or darker.
        A place is `window` pixels wide.
        """
        self._a, self._inside = a, inside
        self._b = np.asarray(cv2.copyMakeBorder(b, 1, 1, 1, 1, cv2.BORDER_REPLICATE), np.float32)
        self._floor, self._window, self._unseen = noise * noise, window, unseen
        self._found: dict[tuple[int, int], tuple[Grey, bool]] = {}
        apart = cv2.absdiff(a, b)
        corners = [(top, left) for top in range(0, a.shape[0], TILE) for left in range(0, a.shape[1], TILE)]
        self._bounds = sorted(((float(apart[self._around(*corner)].max()) ** 2 / self._floor, corner)
                               for corner in corners if inside[self._part(*corner)].any()), reverse=True)  # fmt: skip

    def most(self) -> float:
        """Return the largest difference."""
        most = 0.0
        for bound, corner in self._bounds:
            if bound <= most:
                break
            most = max(most, float(self._tile(corner, most).max()))
        return most

    def reach(self, least: float) -> Mask:
        """Return where the difference is at least `least`, (H, W)."""
        found = np.zeros(self._a.shape, bool)
        for bound, corner in self._bounds:
            if bound < least:
                break
            found[self._part(*corner)] = self._tile(corner, least) >= least
        return found

    def _part(self, top: int, left: int) -> tuple[slice, slice]:
        return slice(top, top + TILE), slice(left, left + TILE)

    def _around(self, top: int, left: int) -> tuple[slice, slice]:
        more = self._window // 2
        return slice(max(0, top - more), top + TILE + more), slice(max(0, left - more), left + TILE + more)

    def _tile(self, corner: tuple[int, int], least: float) -> Grey:
        """Return the differences of a tile, exact where they pass `least`."""
        known = self._found.get(corner)
        if known is not None and (known[1] or known[0].max() < least):
            return known[0]
        rows, columns = self._around(*corner)
        a = self._a[rows, columns]
        height, width = a.shape
        padded = self._b[rows.start : rows.start + height + 2, columns.start : columns.start + width + 2]
        inner = slice(corner[0] - rows.start, corner[0] - rows.start + TILE)
        across = slice(corner[1] - columns.start, corner[1] - columns.start + TILE)
        outside = ~self._inside[self._part(*corner)]
        b = padded[1:-1, 1:-1]
        room = self._variance(a) + self._variance(b)
        np.maximum(room, 0, out=room)
        room += self._floor
        found: Grey | None = None
        for moved in _moved(padded, height, width):
            left = self._left(a, moved)
            found = left if found is None else np.minimum(found, left)
            apart = np.asarray((found / room)[inner, across], np.float32)
            apart[outside] = 0
            if apart.max() < least:
                break
        else:
            self._found[corner] = apart, True
            return apart
        self._found[corner] = apart, False
        return apart

    def _left(self, a: Grey, b: Grey) -> Grey:
        apart = a - b
        lighter = self._mean(apart)
        lighter *= lighter
        np.minimum(lighter, self._unseen * self._unseen, out=lighter)
        apart *= apart
        return self._mean(apart) - lighter

    def _variance(self, plane: Grey) -> Grey:
        mean = self._mean(plane)
        return self._mean(plane * plane) - mean * mean

    def _mean(self, plane: Grey) -> Grey:
        return np.asarray(cv2.blur(plane, (self._window, self._window), borderType=cv2.BORDER_REFLECT), np.float32)


def _moved(padded: Grey, height: int, width: int) -> Iterator[Grey]:
    """Yield a plane, and the plane moved by up to a pixel in eight directions."""
    for dy in (1, 0, 2):
        for dx in (1, 0, 2):
            yield padded[dy : dy + height, dx : dx + width]
