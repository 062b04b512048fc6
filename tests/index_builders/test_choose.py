"""The choice of index and its division into shards are pure and steady; what cannot be is said with its remedy."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trichord.index_builders.choose import choose, group_shards
from trichord.index_builders.costs import code_bytes
from trichord.index_builders.index_kinds import KINDS, IndexPlan
from trichord.index_builders.tune import AS_CLOSE, tune
from trichord.infra.config import IndexConfig
from trichord.infra.errors import ConfigError


@pytest.mark.parametrize(
    ("rows", "settings", "kind", "nlist"),
    [
        (0, {}, "flat", None),
        (49_999, {}, "flat", None),
        (1_000_000, {"kind": "flat"}, "flat", None),
        (1_000, {"kind": "ivf_flat"}, "ivf_flat", 16),
        (30, {"kind": "ivf_flat"}, "ivf_flat", 1),
        (50_500, {"kind": "ivf_flat"}, "ivf_flat", 1024),
        (1_000_000, {"kind": "ivf_sq8"}, "ivf_sq8", 4096),
        (0, {"kind": "ivf_flat"}, "flat", None),
        (1_000, {"kind": "ivf_flat", "nlist": 100}, "ivf_flat", 100),
    ],
)
def test_the_index_follows_from_rows_and_settings(rows, settings, kind, nlist):
    plan = choose(rows, 128, IndexConfig(**settings))
    assert (plan.kind, plan.nlist) == (kind, nlist)
    assert f"{rows} vectors" in plan.reason


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_that_is_named_is_taken_whatever_recall_is_predicted_of_it(kind):
    plan = choose(10_000, 64, IndexConfig(kind=kind))
    assert plan.kind == kind
    assert plan.predicted is not None
    assert plan.predicted.index_bytes == 10_000 * code_bytes(plan, 64)
    assert plan.factory(64)


@pytest.mark.parametrize(
    ("rows", "memory", "recall"), [(300_000, 400e6, 0.99), (300_000, 40e6, 0.88), (1_200_000, 400e6, 0.99)]
)
def test_a_budget_of_memory_is_kept_at_the_recall_that_is_asked(rows, memory, recall):
    plan = choose(rows, 256, IndexConfig(memory_bytes=int(memory), recall=recall), cores=2)
    assert plan.kind != "flat"
    assert plan.predicted is not None
    assert plan.predicted.index_bytes <= memory
    assert plan.predicted.recall >= recall


def test_more_memory_or_a_lower_recall_never_costs_time():
    def price(**targets):
        made = choose(500_000, 128, IndexConfig(**targets), cores=2).predicted
        assert made is not None
        return made.build_s + made.query_ms * 100

    budgets = [price(memory_bytes=size, recall=0.9) for size in (10**8, 2 * 10**8, 4 * 10**8, 10**9)]
    assert budgets == sorted(budgets, reverse=True)
    recalls = [price(recall=recall) for recall in (0.5, 0.8, 0.95, 0.999)]
    assert recalls == sorted(recalls)


def test_targets_that_nothing_keeps_are_refused_with_one_to_relax_and_that_is_enough():
    asked = {"memory_bytes": 20_000_000, "recall": 0.95}
    with pytest.raises(ConfigError, match="Relax one of these") as refused:
        choose(300_000, 256, IndexConfig(**asked))
    offers = dict(re.findall(r"index\.(\w+) from \S+ to ([\d.]+?)(?:,|$)", str(refused.value), re.MULTILINE))
    assert set(offers) == {"memory_bytes", "recall"}
    for name, value in offers.items():
        relaxed = asked | {name: int(value) if name == "memory_bytes" else float(value)}
        choose(300_000, 256, IndexConfig(**relaxed))
    with pytest.raises(ConfigError, match=r"index\.latency_ms from 0.001 to"):
        choose(300_000, 256, IndexConfig(latency_ms=0.001))


@pytest.mark.parametrize("settings", [{"nlist": 101}, {"nlist": 4, "nprobe": 5}])
def test_more_cells_than_there_are_is_a_mistake_in_the_project(settings):
    with pytest.raises(ConfigError, match=r"index\.n"):
        choose(100, 128, IndexConfig(kind="ivf_flat", **settings))


def test_parts_that_do_not_divide_a_vector_are_a_mistake_in_the_project():
    with pytest.raises(ConfigError, match=r"index\.parts = 7"):
        choose(100_000, 128, IndexConfig(kind="pq_fast", parts=7))


PARTITIONS = st.lists(
    st.tuples(st.uuids().map(str), st.integers(0, 256)), min_size=1, max_size=60, unique_by=lambda s: s[0]
)


@given(PARTITIONS, st.integers(1, 2_000), st.randoms(use_true_random=False))
def test_groups_hold_every_shard_once_whatever_its_order_and_keep_to_their_size(partitions, limit, random):
    refs = [(partition, rows, f"a-{partition}") for partition, rows in partitions]
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
    assert set(group_shards([(s, r, f"{a}x") for s, r, a in refs], 10_000)) == set(before)  # ids follow the partitions


@given(st.lists(st.floats(0, 1), min_size=1, max_size=40), st.floats(0, 1))
def test_tuning_finds_the_least_effort_that_reaches_the_target_of_any_curve_that_rises(steps, target):
    curve = sorted(steps)
    plan = choose(2_000, 16, IndexConfig(kind="ivf_flat", nlist=len(curve)))
    tuned = tune(plan, lambda settings: curve[settings["nprobe"] - 1], target)
    least = target if curve[-1] >= target else curve[-1] - AS_CLOSE
    assert tuned.settings == {"nprobe": next(nprobe for nprobe, recall in enumerate(curve, 1) if recall >= least)}
    assert tuned.recall == curve[tuned.settings["nprobe"] - 1]


def test_a_gpu_is_asked_for_cells_alone_and_is_part_of_what_an_index_is():
    on_cpu = choose(1_000_000, 64, IndexConfig(kind="ivf_sq8"))
    on_gpu = choose(1_000_000, 64, IndexConfig(kind="ivf_sq8", device="cuda"))
    assert on_gpu.params == on_cpu.params | {"device": "cuda"}
    assert on_gpu.predicted is not None
    assert on_cpu.predicted is not None
    assert on_gpu.predicted.build_s < on_cpu.predicted.build_s
    assert choose(1_000, 64, IndexConfig(device="cuda")).device == "cpu"
    with pytest.raises(ValueError, match="no cells"):
        IndexPlan(kind="sq8", device="cuda")
