"""The sets of vectors that indexes are compared on: drawn clusters, and patches of real pictures.

In the clusters, distances say little: neighbours lie in other clusters as often as in a row's own, so graphs and cells
reach a high recall only with much work. Patches lie as features of real data do: close to surfaces of few dimensions.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from tests.bench.vectors_lake import partitions, queries
from trichord.infra.digest import generator

SIDE, SPAN = 8, 32  # a patch of 32 x 32 pixels is shrunk to 8 x 8 values
FLAT = 20.0  # a patch whose values spread less shows nothing
ROWS = {"clusters": 300_000, "patches": 100_000}
Array = np.ndarray  # float32 (N, D), L2-normalised


def draw(name: str, rows: int, asked: int, pictures: Path | None) -> tuple[Array, Array]:
    """Return the rows to index and the queries, none of which is indexed.

    Raises:
        ValueError: there are too few pictures for so many patches.
    """
    if name == "clusters":
        return np.concatenate([part for _, part in partitions(rows, 256)]), queries(rows, 256, asked)
    files = sorted(pictures.rglob("*.jpg")) if pictures else []
    of_queries = files[::10]  # other pictures
    return _patches([file for file in files if file not in of_queries], rows), _patches(of_queries, asked)


def _patches(files: Sequence[Path], count: int) -> Array:
    random, found = generator("bench-patches", len(files), count), []
    for file in files:
        picture = cv2.imread(str(file), cv2.IMREAD_GRAYSCALE)
        if picture is not None and min(picture.shape) > SPAN:
            found.append(_of_picture(picture.astype(np.float32), random, 2 * count // len(files)))
    made = np.concatenate(found) if found else np.empty((0, SIDE * SIDE), np.float32)
    if len(made) < count:
        raise ValueError(f"{len(files)} pictures have {len(made)} patches that show something; {count} are needed")
    return made[random.permutation(len(made))[:count]]


def _of_picture(picture: Array, random: np.random.Generator, count: int) -> Array:
    tops, lefts = (random.integers(0, size - SPAN, count) for size in picture.shape)
    cut = [picture[top : top + SPAN, left : left + SPAN] for top, left in zip(tops, lefts, strict=True)]
    small = np.stack([cv2.resize(one, (SIDE, SIDE), interpolation=cv2.INTER_AREA).ravel() for one in cut])
    small -= small.mean(axis=1, keepdims=True)
    spread = np.linalg.norm(small, axis=1)
    shown = spread > FLAT
    return np.asarray(small[shown] / spread[shown, None], np.float32)
