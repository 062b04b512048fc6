"""A scene as a picture: filled, outlined shapes on a grained ground, in cells of a 3 x 3 grid."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Literal

import cv2
import numpy as np

from trichord.infra.digest import generator
from trichord.pipelines.demo.scenes import BACKGROUNDS, COLOURS, GRID, RGB, Group, Scene

PictureFormat = Literal["jpg", "png", "webp"]

SIDES = (224, 320)  # pixels; both sides are drawn from here
_RADIUS = {"small": 0.15, "medium": 0.23, "large": 0.33}  # of a cell
_MARGIN = 0.05  # of the side, left free around the grid
# Where the objects of a group stand inside their cell, in cells from its centre.
_OFFSETS: tuple[tuple[tuple[float, float], ...], ...] = (
    ((0.0, 0.0),),
    ((-0.27, 0.0), (0.27, 0.0)),
    ((-0.27, -0.23), (0.27, -0.23), (0.0, 0.27)),
    ((-0.27, -0.27), (0.27, -0.27), (-0.27, 0.27), (0.27, 0.27)),
)
_SUBPIXEL_BITS = 4
_GRAIN_SIDE = 640


def render(scene: Scene, rng: np.random.Generator, difficulty: float) -> np.ndarray:
    """Draw the scene as uint8 (H, W, 3) RGB, sides in `SIDES`.

    A higher `difficulty` in [0, 1] shifts and turns the objects more, tints and shades the light, strews lines over the
    ground and coarsens the grain. There is always enough grain for the picture to measure as sharp.
    """
    height, width = (int(side) for side in rng.integers(SIDES[0], SIDES[1] + 1, size=2))
    image = np.empty((height, width, 3), np.uint8)
    image[:] = BACKGROUNDS[scene.background]
    _clutter(image, rng, difficulty)
    for group in reversed(scene.groups):
        _draw_group(image, group, rng, difficulty)
    _light(image, rng, difficulty)
    y, x = (int(rng.integers(0, _GRAIN_SIDE - side + 1)) for side in (height, width))
    # Grain below 0 or above 255 is cut off by a saturating add: on white and black half of it stays.
    return cv2.add(image, _grain(round(8 + 3 * difficulty))[y : y + height, x : x + width], dtype=cv2.CV_8U)


def encode_picture(rgb: np.ndarray, kind: PictureFormat, quality: int = 88) -> bytes:
    """Encode uint8 (H, W, 3) RGB; `quality` is for JPEG, WebP is stored at 80."""
    settings = {
        "jpg": [cv2.IMWRITE_JPEG_QUALITY, quality],
        "png": [cv2.IMWRITE_PNG_COMPRESSION, 1],
        "webp": [cv2.IMWRITE_WEBP_QUALITY, 80],
    }
    _, data = cv2.imencode(f".{kind}", cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), settings[kind])
    return data.tobytes()


def _draw_group(image: np.ndarray, group: Group, rng: np.random.Generator, difficulty: float) -> None:
    height, width = image.shape[:2]
    cell = np.array([width, height]) * (1 - 2 * _MARGIN) / GRID
    corner = np.array([width, height]) * _MARGIN
    column_row = np.array([group.position % GRID, group.position // GRID])
    jitter = 0.02 + 0.08 * difficulty
    centre = corner + cell * (column_row + 0.5 + rng.uniform(-jitter, jitter, 2))
    radius = cell.min() * _RADIUS[group.size]
    offsets = np.array(_OFFSETS[group.count - 1])
    turns = np.radians(rng.uniform(-1, 1, group.count) * (3 + 9 * difficulty))
    scales = rng.uniform(1 - 0.12 * difficulty, 1 + 0.12 * difficulty, group.count)
    colour = _tint(COLOURS[group.colour], rng, difficulty)
    edge = tuple(int(value * 0.55) if sum(colour) > 150 else value + 70 for value in colour)
    for offset, turn, scale in zip(offsets, turns, scales, strict=True):
        turned = np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]]) * radius * scale
        points = [
            np.rint((contour @ turned + centre + offset * cell) * (1 << _SUBPIXEL_BITS)).astype(np.int32)
            for contour in _outline(group.shape)
        ]
        cv2.fillPoly(image, points, colour, cv2.LINE_AA, _SUBPIXEL_BITS)
        cv2.polylines(image, points, True, edge, 1, cv2.LINE_AA, _SUBPIXEL_BITS)


def _tint(colour: RGB, rng: np.random.Generator, difficulty: float) -> RGB:
    red, green, blue = np.clip(colour + rng.normal(0, 14 * difficulty, 3), 0, 255).astype(int).tolist()
    return red, green, blue


def _clutter(image: np.ndarray, rng: np.random.Generator, difficulty: float) -> None:
    height, width = image.shape[:2]
    ground = image[0, 0].astype(int)
    lines = int(rng.integers(0, round(14 * difficulty) + 1))
    ends = rng.integers(0, (width, height, width, height), size=(lines, 4)).tolist()
    for (x0, y0, x1, y1), step in zip(ends, rng.integers(-40, 41, size=lines).tolist(), strict=True):
        shade = tuple(int(value) for value in np.clip(ground + step, 0, 255))
        cv2.line(image, (x0, y0), ((x0 + x1) // 2, (y0 + y1) // 2), shade, 2, cv2.LINE_AA)


def _light(image: np.ndarray, rng: np.random.Generator, difficulty: float) -> None:
    gain, slope = rng.uniform(-1, 1, 2) * difficulty * (0.12, 0.2)
    ramp = np.linspace(1 + gain - slope, 1 + gain + slope, image.shape[1], dtype=np.float32)
    shade = np.repeat(np.broadcast_to(ramp[None, :, None], (1, image.shape[1], 1)), 3, axis=2)
    cv2.multiply(image, np.broadcast_to(shade, image.shape).copy(), image, dtype=cv2.CV_8U)


@cache
def _grain(sigma: int) -> np.ndarray:
    rng = generator("demo", "grain", sigma)
    grey = rng.normal(0, sigma, (_GRAIN_SIDE, _GRAIN_SIDE, 1))
    return np.clip(np.rint(np.repeat(grey, 3, axis=2)), -127, 127).astype(np.int16)


@cache
def _outline(shape: str) -> Sequence[np.ndarray]:
    """Contours of a shape of radius about 1, each (points, 2) as x, y with y down; a second contour is a hole."""

    def polygon(corners: int, radius: float = 1.0, start: float = -90.0) -> np.ndarray:
        angles = np.radians(start + np.arange(corners) * 360 / corners)
        return radius * np.stack([np.cos(angles), np.sin(angles)], axis=1)

    match shape:
        case "circle":
            return (polygon(36),)
        case "ring":
            return (polygon(36), polygon(30, 0.55))
        case "square":
            return (polygon(4, 1.2, 45.0),)
        case "triangle":
            return (polygon(3, 1.2),)
        case "star":
            return (np.stack([polygon(5, 1.2), polygon(5, 0.48, -54.0)], axis=1).reshape(10, 2),)
        case "cross":
            arm = ((-0.35, -1), (0.35, -1), (0.35, -0.35), (1, -0.35), (1, 0.35), (0.35, 0.35), (0.35, 1), (-0.35, 1))
            return (np.array([*arm, (-0.35, 0.35), (-1, 0.35), (-1, -0.35), (-0.35, -0.35)]),)
        case "heart":
            t = np.radians(np.arange(0, 360, 12))
            x = 16 * np.sin(t) ** 3
            y = 13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t)
            return (np.stack([x, -y - 2.5], axis=1) / 15,)
        case "arrow":
            return (np.array([(-1, -0.3), (0.1, -0.3), (0.1, -0.85), (1.1, 0), (0.1, 0.85), (0.1, 0.3), (-1, 0.3)]),)
        case _:
            raise ValueError(f"no such shape: {shape!r}")
