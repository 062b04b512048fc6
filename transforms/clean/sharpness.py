"""How sharp a picture is, as a whole and by tile: widths of edges, independent of contrast and file size.

An edge blurred by a Gaussian of σ pixels has a slope whose energy (the sum of its squares) goes with 1/σ. Blurred once
more by σ₀ it goes with 1/√(σ² + σ₀²). So the ratio Q of both energies gives σ = σ₀/√(Q² - 1), whatever the contrast
(after Zhuo and Sim, "Defocus map estimation from a single image", Pattern Recognition 2011; here by tile instead of by
edge). Sharpness is the longer side over σ, the number of edge widths along the picture: the same for a file of half or
double the size. Texture, where edges meet, counts as somewhat sharper than a lone edge.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from trichord.transforms.clean.exposure import GreyImage
from trichord.transforms.libraries import cv2

MEASURED_SIDE = 128  # the longer side of the measured picture, in pixels
_REBLUR = 1.0  # σ₀, in its pixels
_SLOPE = 0.5  # grey levels a pixel: tiles below are flat, their sharpness is unknown
_SHARE_OF_STEEPEST = 0.02  # and so are tiles if another tile is 50 times as steep
# The whole is judged by its plainest edges; JPEG's own steps are far weaker.
_PLAIN_SLOPE, _PLAIN_SHARE = 0.7, 0.15
_QUANTILE = 0.75  # of those tiles: a picture with a sharp quarter is not a blurred picture
_MOST = 1_000.0
_ACROSS = np.array([[-0.5, 0, 0.5]], np.float32)

Tiles = npt.NDArray[np.bool_]
Grey = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class EdgeMap:
    """Tiles (n, n) of a picture: how much their slopes vary (grey levels per pixel), and how sharp they are."""

    slope: Grey
    sharpness: Grey

    @property
    def whole(self) -> float:
        """Sharpness of the picture: that of its sharpest quarter among tiles with plain edges; 0 without any."""
        plain = self.slope >= max(_PLAIN_SLOPE, _PLAIN_SHARE * float(self.slope.max()))
        values = np.sort(self.sharpness[plain])
        return float(values[int(_QUANTILE * (len(values) - 1) + 0.5)]) if len(values) else 0.0

    @property
    def flat(self) -> Tiles:
        """Tiles without edges (sky, paper): neither sharp nor blurred."""
        return self.slope < max(_SLOPE, _SHARE_OF_STEEPEST * float(self.slope.max()))

    def blurred(self, least: float) -> Tiles:
        """Return tiles with edges but without a sharp one."""
        return ~self.flat & (self.sharpness < least)

    def blurred_share(self, least: float) -> float:
        """Return blurred tiles over tiles with edges; 0 without any."""
        return float(self.blurred(least).sum()) / max(1, int((~self.flat).sum()))

    def text(self, least: float) -> str:
        """Format the map, for example `2x2:01.0`: row by row, 1 is blurred, 0 sharp, a dot flat."""
        marks = np.where(self.flat, ".", np.where(self.blurred(least), "1", "0"))
        return f"{len(marks)}x{len(marks)}:{''.join(marks.ravel())}"

    def sharp_region(self, least: float) -> tuple[int, int, int, int]:
        """Return the largest rectangle without a blurred tile: top, left, bottom, right (exclusive), in tiles.

        A flat tile counts as the nearest tile with edges; ties count as sharp.
        """
        blurred, flat = self.blurred(least), self.flat
        return largest_rectangle(~_fill_flat(blurred, flat))


def edge_map(grey: GreyImage, tiles: int) -> EdgeMap:
    """Return the edge map (tiles, tiles) of a grey picture (H, W), measured with the longer side at 128 px."""
    height, width = grey.shape
    scale = MEASURED_SIDE / max(height, width)
    size = (max(tiles, round(width * scale)), max(tiles, round(height * scale)))
    # down to one half, linear averages all there is, in a sixth of the time
    way = cv2.INTER_AREA if scale < 0.5 else cv2.INTER_LINEAR if scale < 1 else cv2.INTER_CUBIC
    small = cv2.resize(grey, size, interpolation=way).astype(np.float32)
    slopes = _slopes(small)
    again = _slopes(np.asarray(cv2.GaussianBlur(small, (0, 0), _REBLUR), np.float32))
    # all four planes by tile in one go: mean square slopes, the same blurred once more, mean slopes across and down
    means = cv2.resize(
        cv2.merge((_sum_squares(*slopes), _sum_squares(*again), *slopes)), (tiles, tiles), interpolation=cv2.INTER_AREA
    )
    energy, again_energy, across, down = cv2.split(np.asarray(means, np.float32))
    ratio = energy / np.maximum(again_energy, np.float32(1e-6))
    sharpness = np.sqrt(np.maximum(ratio * ratio - 1, np.float32(0))) * np.float32(MEASURED_SIDE / _REBLUR)
    steady = across * across + down * down  # the share of a ramp, such as a sky
    slope = np.sqrt(np.maximum(energy - steady, np.float32(0)))
    # rounded, so that the last bits of float sums, which differ between machines, do not show
    return EdgeMap(slope.round(3), np.minimum(sharpness, np.float32(_MOST)).round(1))


def _slopes(grey: Grey) -> tuple[Grey, Grey]:
    """Return slopes in grey levels per pixel, across and down."""
    across, down = (cv2.filter2D(grey, cv2.CV_32F, kernel) for kernel in (_ACROSS, _ACROSS.T))
    return np.asarray(across, np.float32), np.asarray(down, np.float32)


def _sum_squares(across: Grey, down: Grey) -> Grey:
    return np.asarray(cv2.accumulateSquare(down, cv2.multiply(across, across)), np.float32)


def _fill_flat(blurred: Tiles, flat: Tiles) -> Tiles:
    """Return blurred tiles, each flat tile counted as the nearest one."""
    known = ~flat
    if not known.any():
        return np.zeros_like(blurred)
    tiles = np.argwhere(known)
    filled = blurred.copy()
    for at in np.argwhere(flat):
        distance = ((tiles - at) ** 2).sum(axis=1)
        nearest = tiles[distance == distance.min()]
        filled[tuple(at)] = bool(blurred[tuple(nearest.T)].all())
    return filled


def largest_rectangle(wanted: Tiles) -> tuple[int, int, int, int]:
    """Return the largest rectangle of true values: top, left, bottom, right (exclusive); the first of equals.

    (0, 0, 0, 0) if no value is true.
    """
    best, found = 0, (0, 0, 0, 0)
    rows, columns = wanted.shape
    for top in range(rows):
        open_columns = np.ones(columns, bool)
        for bottom in range(top + 1, rows + 1):
            open_columns &= wanted[bottom - 1]
            left = 0
            for right in range(columns + 1):
                if right < columns and open_columns[right]:
                    continue
                if (bottom - top) * (right - left) > best:
                    best, found = (bottom - top) * (right - left), (top, left, bottom, right)
                left = right + 1
    return found
