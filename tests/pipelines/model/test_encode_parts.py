"""Shards that are made in parts by several workers are those that one worker makes."""

from __future__ import annotations

import shutil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.pipelines.lakes import workspace_of
from trichord.infra.config import EngineConfig
from trichord.infra.engines import open_engine
from trichord.infra.lake import layout
from trichord.pipelines.core.timings import Timings
from trichord.pipelines.model import encode_items
from trichord.pipelines.model.encode import featurise
from trichord.pipelines.prepare.plan import make_plan
from trichord.pipelines.prepare.prepared import finished


def test_features_made_in_parts_have_the_bytes_of_those_made_at_once(lake_copy, monkeypatch):
    workspace = workspace_of(lake_copy)
    prepared = list(finished(workspace, make_plan(workspace).shards).values())
    folder = lake_copy.parent / "lake" / layout.FEATURES
    with open_engine(EngineConfig(workers=1)) as engine:
        at_once = featurise(workspace, engine, prepared)  # which are there
        shutil.rmtree(folder)
        asked = []

        def in_three(rows, workers):
            asked.append(rows)
            return [3] * (len(rows) - 1) + [1]

        monkeypatch.setattr(encode_items, "count_parts", in_three)
        timings = Timings()
        assert featurise(workspace, engine, prepared, timings=timings) == at_once
        assert [len(rows) for rows in asked] == [len(prepared)]
        assert len(list(folder.rglob("*.parquet"))) == len(prepared)  # the parts are gone
        made = timings.summary()[layout.FEATURES]
        assert (made["shards"], made["rows"]) == (len(prepared), sum(ref.rows for ref in at_once.values()))
        assert made["forward_s"] > 0

        monkeypatch.setattr(encode_items, "count_parts", lambda rows, workers: pytest.fail("fast numerics"))
        shutil.rmtree(folder)
        fast = workspace_of(lake_copy, "model.numerics=fast")  # where passes depend on a record's neighbours
        assert len(featurise(fast, engine, prepared[:1])) == 1


@pytest.mark.parametrize(
    ("rows", "workers", "parts"),
    [
        ([256], 2, [2]),
        ([256], 1, [1]),
        ([256, 256], 2, [1, 1]),
        ([256, 256, 256], 2, [1, 1, 2]),
        ([256] * 33, 2, [1] * 33),  # one of 33 more is no matter
        ([10_000, *[1_000] * 8], 2, [2, *[1] * 8]),
        ([0, 200], 2, [1, 2]),
        ([100], 2, [1]),
        ([100_000], 64, [8]),
    ],
)
def test_a_shard_is_divided_that_workers_would_wait_for(rows, workers, parts):
    assert encode_items.count_parts(rows, workers) == parts


@given(rows=st.lists(st.integers(0, 5_000), max_size=30), workers=st.integers(1, 12))
def test_dividing_ends_and_never_makes_small_parts(rows, workers):
    parts = encode_items.count_parts(rows, workers)
    assert all(count == 1 or size / count >= encode_items.LEAST_ROWS for size, count in zip(rows, parts, strict=True))
