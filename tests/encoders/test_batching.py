"""Passes: planned from sizes alone, every input once, and an answer to memory that runs out."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from trichord.encoders.batching import Pass, Planner, run_passes
from trichord.infra.errors import ConfigError

lengths = st.lists(st.integers(1, 300).map(lambda length: (length,)), max_size=60)


def planner(strict: bool, shortest: int | None = 16) -> Planner:
    return Planner(cells=1_024, most_rows=16, shortest=shortest, longest=300, strict=strict)


@pytest.mark.parametrize("strict", [True, False])
@settings(max_examples=60, deadline=None)
@given(sizes=lengths)
def test_every_input_stands_in_one_pass_that_is_long_enough_and_not_too_large(strict, sizes):
    passes = planner(strict).plan(sizes)
    assert sorted(i for now in passes for i in now.chosen) == list(range(len(sizes)))
    for now in passes:
        longest = max(sizes[i][0] for i in now.chosen)
        assert longest <= now.size[0] <= max(16, longest * 5 / 4)
        assert len(now.chosen) <= now.rows <= 16
        assert now.rows * now.size[0] <= 1_024 or now.rows == 1
    assert [now.size for now in passes] == sorted((now.size for now in passes), reverse=True)


@settings(max_examples=60, deadline=None)
@given(sizes=lengths, others=lengths)
def test_a_strict_shape_follows_from_the_input_s_own_length(sizes, others):
    def shapes(given: list[tuple[int, ...]]) -> dict[int, tuple[int, tuple[int, ...]]]:
        return {given[i][0]: (now.rows, now.size) for now in planner(True).plan(given) for i in now.chosen}

    alone = shapes(sizes)
    together = shapes(sizes + others)
    assert {length: together[length] for length in alone} == alone


def test_inputs_that_cannot_be_padded_share_a_pass_with_their_equals_only():
    sizes = [(3, 8, 8), (3, 8, 6), (3, 8, 8), (3, 6, 8), (3, 8, 8)]
    passes = planner(False, shortest=None).plan(sizes)
    assert [(now.chosen, now.rows, now.size) for now in passes] == [
        ((0, 2, 4), 3, (3, 8, 8)),
        ((1,), 1, (3, 8, 6)),
        ((3,), 1, (3, 6, 8)),
    ]


def out_of_memory(kind: str) -> Exception:
    if kind == "gpu":
        return torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")
    with pytest.raises(RuntimeError) as caught:  # what the CPU allocator says by itself
        torch.empty(1 << 50)
    return caught.value


@pytest.mark.parametrize("kind", ["gpu", "cpu"])
def test_a_fast_pass_that_does_not_fit_is_halved_until_it_does(kind):
    tried: list[int] = []

    def forward(now: Pass) -> tuple[int, ...]:
        tried.append(now.rows)
        if now.rows > 3:
            raise out_of_memory(kind)
        return now.chosen

    passes = planner(False).plan([(40,)] * 40)
    done = list(run_passes(passes, forward, strict=False, advice="Lower model.text.max_tokens"))
    assert sorted(i for _, found in done for i in found) == list(range(40))
    assert all(found == now.chosen and now.rows == len(found) for now, found in done)
    assert [rows for rows in tried if rows > 3] == [16, 8, 4]  # what did not fit is not tried again


def test_memory_that_runs_out_in_strict_numerics_or_on_one_input_is_an_error_that_names_the_setting():
    def forward(now: Pass) -> None:
        raise out_of_memory("gpu")

    advice = "Lower model.text.max_tokens"
    with pytest.raises(ConfigError, match=r"6 × 40 values.*\nLower model.text.max_tokens, or set model.numerics: fast"):
        list(run_passes(planner(True).plan([(37,)] * 20), forward, strict=True, advice=advice))
    with pytest.raises(ConfigError, match=r"1 × 37 values does not fit into memory.\nLower model.text.max_tokens.$"):
        list(run_passes(planner(False).plan([(37,)] * 20), forward, strict=False, advice=advice))


def test_another_error_of_a_pass_is_not_taken_for_memory():
    def forward(now: Pass) -> None:
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    with pytest.raises(RuntimeError, match="mat1"):
        list(run_passes(planner(False).plan([(37,)] * 20), forward, strict=False, advice=""))
