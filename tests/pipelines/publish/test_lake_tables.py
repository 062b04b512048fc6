"""The lake's tables: what they hold is what the live publication counts."""

from __future__ import annotations

import pytest

import trichord
from trichord.infra.errors import ConfigError


def test_tables_hold_the_rows_that_the_publication_counts(indexed):
    workspace = trichord.open(indexed[0])
    live = workspace.publications.live()
    assert live is not None
    counts = live.counts
    assert workspace.records().count_rows() == counts.rows_kept + counts.rows_duplicate
    assert workspace.vectors().count_rows() == counts.rows_kept - counts.rows_without_view
    assert workspace.rejects().count_rows() == counts.rows_rejected > 0
    vectors = workspace.vectors().to_table(columns=["fingerprint", "view"])
    assert set(vectors["fingerprint"].to_pylist()) == {live.fingerprint}
    assert set(vectors["view"].to_pylist()) == {"fused"}


def test_before_the_first_publication_tables_are_those_of_the_last_run(indexed, tmp_path):
    workspace = trichord.open(indexed[0], f"lake={tmp_path / 'lake'}")
    with pytest.raises(ConfigError, match="The lake holds no records yet"):
        workspace.records()
    counts = workspace.prepare().counts
    assert workspace.records().count_rows() == counts.rows_kept + counts.rows_duplicate
    assert workspace.rejects().count_rows() == counts.rows_rejected
    with pytest.raises(ConfigError, match="The lake holds no vectors yet"):
        workspace.vectors()
