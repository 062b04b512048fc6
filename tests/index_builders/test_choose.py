"""The choice of index, its division into shards and its nprobe are pure and steady."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from index_builders.choose import choose, choose_nprobe, group_shards
from index_builders.exact import exact_hits, recall_at_k
from index_builders.faiss_sharded import open_searcher
from infra.config import IndexConfig
from infra.errors import ConfigError
from tests.index_builders.corpus import SPACE, STORAGE, build, tables, unit


@pytest.mark.parametrize(
    ("rows", "settings", "kind", "nlist"),
    [
        (0, {}, "flat", None),
        (49_999, {}, "flat", None),
        (50_000, {}, "ivf_flat", 1024),
        (50_500, {}, "ivf_flat", 1024),
        (1_000_000, {}, "ivf_flat", 4096),
        (10_000_000, {}, "ivf_flat", 16384),
        (1_000_000, {"kind": "flat"}, "flat", None),
        (1_000, {"kind": "ivf_flat"}, "ivf_flat", 16),
        (30, {"kind": "ivf_flat"}, "ivf_flat", 1),
        (0, {"kind": "ivf_flat"}, "flat", None),
        (1_000, {"kind": "ivf_flat", "nlist": 100}, "ivf_flat", 100),
        (1_000, {"ivf_min_rows": 1_000}, "ivf_flat", 16),
    ],
)
def test_the_index_follows_from_rows_and_settings(rows, settings, kind, nlist):
    plan = choose(rows, 128, IndexConfig(**settings))
    assert (plan.kind, plan.nlist) == (kind, nlist)
    assert f"{rows} vectors" in plan.reason


@pytest.mark.parametrize("settings", [{"nlist": 101}, {"nlist": 4, "nprobe": 5}])
def test_more_cells_than_there_are_is_a_mistake_in_the_project(settings):
    with pytest.raises(ConfigError, match=r"index\.n"):
        choose(100, 128, IndexConfig(kind="ivf_flat", **settings))


SPLITS = st.lists(
    st.tuples(st.uuids().map(str), st.integers(0, 256)), min_size=1, max_size=60, unique_by=lambda s: s[0]
)


@given(SPLITS, st.integers(1, 2_000), st.randoms(use_true_random=False))
def test_groups_hold_every_shard_once_whatever_its_order_and_keep_to_their_size(splits, limit, random):
    refs = [(split, rows, f"a-{split}") for split, rows in splits]
    groups = group_shards(refs, limit)
    assert sorted(a for group in groups.values() for a in group) == sorted(a for _, _, a in refs)
    rows_of = {a: rows for _, rows, a in refs}
    assert all(len(group) == 1 or sum(rows_of[a] for a in group) <= limit for group in groups.values())
    random.shuffle(refs)
    assert group_shards(refs, limit) == groups


def test_a_new_split_changes_or_divides_one_group_only():
    refs = [(f"photos/{number}", 200, f"a{number}") for number in range(200)]
    before = group_shards(refs, 10_000)
    assert len(before) > 3
    for number in range(200, 220):
        after = group_shards([*refs, (f"photos/{number}", 200, f"a{number}")], 10_000)
        lost = set(map(tuple, before.values())) - set(map(tuple, after.values()))
        assert len(lost) == 1
    assert set(group_shards([(s, r, f"{a}x") for s, r, a in refs], 10_000)) == set(before)  # ids follow the splits


def test_nprobe_is_the_smallest_that_reaches_the_target(tmp_path):
    shards, queries = tables(4, 500, 16), unit(100, 16, "q")
    searcher = open_searcher(STORAGE, str(tmp_path), build(str(tmp_path), shards, [list(shards)], nlist=32), SPACE)
    truth = exact_hits(queries, shards.values(), 10, dimension=16, fingerprint=SPACE)

    def search(nprobe):
        return searcher.search(queries, 10, nprobe=nprobe)

    curve = [recall_at_k(search(nprobe), truth) for nprobe in range(1, 33)]
    assert curve == sorted(curve)
    assert curve[0] < 0.85
    assert curve[-1] == 1.0
    for target in (0.5, 0.88, 0.95, 1.0):
        choice = choose_nprobe(search, truth, nlist=32, target=target)
        smallest = next(nprobe for nprobe, recall in enumerate(curve, 1) if recall >= target)
        assert (choice.nprobe, choice.recall) == (smallest, curve[smallest - 1])
