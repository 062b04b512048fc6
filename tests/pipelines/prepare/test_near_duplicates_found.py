"""Findings of many buckets join the rows that they join one by one, however they come."""

from __future__ import annotations

import numpy as np
import pytest

from trichord.pipelines.prepare import near_duplicates_found
from trichord.pipelines.prepare.near_duplicates_found import Found, join
from trichord.transforms.dedup.components import label_components


def components(rows: np.ndarray, edges: np.ndarray) -> set[frozenset[int]]:
    i, j = np.searchsorted(rows, edges).T
    labels = label_components(len(rows), iter([(i, j)]))
    return {frozenset(rows[labels == label].tolist()) for label in np.unique(labels)}


@pytest.mark.parametrize("pending", [1, 7, 1 << 19])
def test_many_findings_join_what_each_joins(pending: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(near_duplicates_found, "PENDING", pending)
    rng = np.random.default_rng(0)
    blocks = [np.sort(rng.integers(0, 200, (size, 2)) << 33, axis=1) for size in (0, 30, 1, 0, 40, 25)]
    both = np.concatenate(blocks)
    found = join(Found(edges={"image": block}, nearest={"audio": block}) for block in blocks)
    assert len(found.edges["image"]) < len(np.unique(both))
    assert components(np.unique(both), found.edges["image"]) == components(np.unique(both), both)
    assert np.array_equal(found.nearest["audio"], np.unique(both, axis=0))
    assert np.array_equal(found.rows(), np.unique(both))


def test_nothing_found_names_nothing() -> None:
    none = np.zeros((0, 2), np.int64)
    found = join([Found(edges={"text": none}, nearest={"image": none})])
    assert (found.edges, found.nearest, len(found.rows())) == ({}, {}, 0)
