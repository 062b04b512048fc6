"""What a demo record is about: a scene of a few groups of coloured shapes on a plain background.

The scene is the record's meaning. `captions`, `render` and `sonify` each say it, in words, in a picture and in sound,
so that a model which agrees across the three has understood it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

RGB = tuple[int, int, int]

SHAPES = ("circle", "square", "triangle", "star", "cross", "ring", "heart", "arrow")
COLOURS: Mapping[str, RGB] = {
    "red": (214, 32, 38),
    "orange": (245, 134, 24),
    "yellow": (246, 214, 30),
    "green": (38, 158, 62),
    "cyan": (30, 196, 208),
    "blue": (36, 82, 220),
    "purple": (128, 48, 168),
    "pink": (244, 112, 176),
    "white": (250, 250, 250),
    "black": (18, 18, 18),
}
BACKGROUNDS: Mapping[str, RGB] = {
    "white": (238, 238, 236),
    "grey": (134, 136, 138),
    "black": (30, 30, 32),
    "navy": (28, 38, 92),
    "beige": (226, 204, 164),
    "mint": (170, 226, 190),
    "brown": (110, 70, 42),
    "lavender": (192, 174, 232),
}
# Pairs that look alike in the picture.
_HIDDEN = {
    ("white", "white"),
    ("yellow", "white"),
    ("black", "black"),
    ("purple", "black"),
    ("black", "navy"),
    ("blue", "navy"),
    ("purple", "navy"),
    ("white", "beige"),
    ("cyan", "mint"),
    ("black", "brown"),
    ("pink", "lavender"),
}
SIZES = ("small", "medium", "large")
GRID = 3  # positions are the cells of a GRID x GRID raster, in reading order
MAX_GROUPS = 4
MAX_COUNT = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """`count` equal objects close together in one cell of the grid."""

    shape: str
    colour: str
    size: str
    count: int
    position: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """One to four groups, the main (largest) first, in different cells."""

    background: str
    groups: tuple[Group, ...]


def draw_scene(rng: np.random.Generator, difficulty: float) -> Scene:
    """Draw a scene; a higher `difficulty` in [0, 1] holds more groups, and more objects in a group.

    The main group is never small and the others are never large, so that it is the main one in every modality.
    """
    easy, hard = np.array([0.55, 0.45, 0.0, 0.0]), np.array([0.05, 0.25, 0.40, 0.30])
    groups = 1 + int(rng.choice(MAX_GROUPS, p=(1 - difficulty) * easy + difficulty * hard))
    background = str(rng.choice(tuple(BACKGROUNDS)))
    visible = [colour for colour in COLOURS if (colour, background) not in _HIDDEN]
    colours = rng.choice(visible, size=groups, replace=False)
    shapes = rng.choice(SHAPES, size=groups, replace=False)
    positions = rng.choice(GRID * GRID, size=groups, replace=False)
    most = 2 + round(difficulty * (MAX_COUNT - 2) + 0.49)
    return Scene(
        background=background,
        groups=tuple(
            Group(
                shape=str(shapes[i]),
                colour=str(colours[i]),
                size=SIZES[int(rng.integers(1, 3) if i == 0 else rng.integers(0, 2))],
                count=int(rng.integers(1, most + 1)),
                position=int(positions[i]),
            )
            for i in range(groups)
        ),
    )
