"""The geometry of a space: how far apart its modalities are, and how well it uses the sphere.

Sources: modality gap as distance of centroids, Liang et al. 2022 (arXiv 2203.02053); alignment and uniformity, Wang
and Isola 2020 (arXiv 2005.10242). Shape letters: N rows, D dimension.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from trichord.pipelines.core.result import Result
from trichord.pipelines.evaluation.figures import PLACES
from trichord.pipelines.evaluation.galleries import MODALITIES, HeldOut
from trichord.pipelines.evaluation.hubness import Hubness, measure_hubness
from trichord.pipelines.evaluation.similarity import Similarity, similarity

ROWS_A_TIME = 512


def modality_gap(left_ND: np.ndarray, right_ND: np.ndarray) -> float:
    """Return the distance between the centroids of two sets of L2-normalised vectors, 0 to 2.

    Raises:
        ValueError: a set is empty.
    """
    _demand(len(left_ND) > 0 and len(right_ND) > 0, "a set of vectors is empty")
    return float(np.linalg.norm(left_ND.mean(axis=0, dtype=np.float64) - right_ND.mean(axis=0, dtype=np.float64)))


def alignment(left_ND: np.ndarray, right_ND: np.ndarray) -> float:
    """Return the mean squared distance of positive pairs, row by row: 0 where they coincide.

    Raises:
        ValueError: the sets are empty or of different shape.
    """
    _demand(left_ND.shape == right_ND.shape and len(left_ND) > 0, "the pairs do not match, or there are none")
    difference = left_ND.astype(np.float64) - right_ND
    return float(np.einsum("nd,nd->n", difference, difference).mean())


def uniformity(vectors_ND: np.ndarray, t: float = 2.0) -> float:
    """Return the log of the mean of exp(-t * squared distance) over all pairs of different rows; lower is more uniform.

    Raises:
        ValueError: there are fewer than two rows.
    """
    rows = len(vectors_ND)
    _demand(rows > 1, "uniformity needs at least two vectors")
    total = sum(float(np.exp(-t * squares).sum()) for squares in _pair_squares(vectors_ND.astype(np.float64)))
    return float(np.log(total / (rows * (rows - 1) / 2)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Consistency(Result):
    """How far the modalities agree; figures are rounded to 6 places, None where there are too few records.

    Attributes:
        gap: by pair (`text-image`).
        alignment: by pair.
        uniformity: by modality.
        hubness: by direction (`text_to_image`), and over `all_views`.
        similarity: by pair.
    """

    gap: Mapping[str, float | None]
    alignment: Mapping[str, float | None]
    uniformity: Mapping[str, float | None]
    hubness: Mapping[str, Hubness]
    similarity: Mapping[str, Similarity]


def consistency(held_out: HeldOut, k: int, seed: int) -> Consistency:
    """Measure how far the modalities agree, on records that have both of a pair; hubness is at depth k."""
    gaps: dict[str, float | None] = {}
    aligned: dict[str, float | None] = {}
    for left, right in combinations(MODALITIES, 2):
        both = held_out.has(f"{left}+{right}")
        name = f"{left}-{right}"
        gaps[name] = aligned[name] = None
        if both.any():
            pair = held_out.gallery[left][both], held_out.gallery[right][both]
            gaps[name], aligned[name] = round(modality_gap(*pair), PLACES), round(alignment(*pair), PLACES)
    spread: dict[str, float | None] = {}
    for modality in MODALITIES:
        has = held_out.has(modality)
        spread[modality] = round(uniformity(held_out.gallery[modality][has]), PLACES) if has.sum() > 1 else None
    return Consistency(
        gap=gaps,
        alignment=aligned,
        uniformity=spread,
        hubness=measure_hubness(held_out, k),
        similarity={
            f"{left}-{right}": similarity(held_out, left, right, seed) for left, right in combinations(MODALITIES, 2)
        },
    )


def _pair_squares(vectors_ND: np.ndarray) -> Iterator[np.ndarray]:
    """Yield squared distances of all pairs of different rows, each pair once, in blocks."""
    norms = np.einsum("nd,nd->n", vectors_ND, vectors_ND)
    for first in range(0, len(vectors_ND), ROWS_A_TIME):
        block = vectors_ND[first : first + ROWS_A_TIME]
        squares = norms[first : first + ROWS_A_TIME, None] + norms[first:] - 2 * block @ vectors_ND[first:].T
        upper = np.arange(len(squares))[:, None] < np.arange(squares.shape[1])
        yield np.maximum(squares[upper], 0)


def _demand(holds: bool, otherwise: str) -> None:
    if not holds:
        raise ValueError(otherwise)
