"""What a sample shows follows from the vectors alone: little of a surface must be looked at, nearly all of noise."""

from __future__ import annotations

import faiss
import numpy as np
import pytest

from trichord.index_builders.choose import choose, find_codes
from trichord.index_builders.measure_sample import LEAST, measure_sample, sample_rows
from trichord.index_builders.measured import LEVELS, K, Measured
from trichord.infra.config import IndexConfig
from trichord.infra.errors import ConfigError

N, D = 1_024, 32
CODES = ("ivf_pq_fast/2", "ivf_rabitq/4", "pq_fast/1", "pq_fast/2", "pq_fast/4", "rabitq/4", "sq4", "sq8")


def unit(rows: np.ndarray) -> np.ndarray:
    made: np.ndarray = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    return made


def noise() -> np.ndarray:
    return unit(np.random.default_rng(1).standard_normal((N, D)))


def surface() -> np.ndarray:
    """Points of a bent surface of two dimensions."""
    random = np.random.default_rng(2)
    return unit(np.sin(3 * random.random((N, 2)) @ random.standard_normal((2, D)) + random.random(D)))


@pytest.fixture(scope="module")
def of_surface():
    return measure_sample(surface(), N, CODES)


@pytest.fixture(scope="module")
def of_noise():
    return measure_sample(noise(), N, CODES)


def test_little_of_a_surface_and_nearly_all_of_noise_must_be_looked_at(of_surface, of_noise):
    assert of_surface.share_for(0.95) < 0.3
    assert of_noise.share_for(0.95) > 0.6
    assert of_surface.share_for(LEVELS[-1]) == 1.0


@pytest.mark.parametrize("name", ["of_surface", "of_noise"])
def test_a_finer_code_needs_fewer_candidates_and_a_higher_recall_more(name, request):
    found = request.getfixturevalue(name)
    at = [found.candidates_for(code, 0.9) for code in ("pq_fast/4", "pq_fast/2", "pq_fast/1", "sq8")]
    assert at == sorted(at, reverse=True)
    assert found.recall["sq8"] > found.recall["rabitq/4"] > found.recall["pq_fast/4"]
    for ranks in found.ranked.values():
        assert list(ranks) == sorted(ranks)
        assert ranks[-1] >= K
    assert list(found.visited) == sorted(found.visited)
    assert found.candidates_for("sq8", LEVELS[-1]) is None


def test_codes_of_what_is_left_within_a_cell_are_finer_on_a_surface(of_surface, of_noise):
    gains = [found.recall["ivf_pq_fast/2"] - found.recall["pq_fast/2"] for found in (of_surface, of_noise)]
    assert gains[0] > 0.1 > abs(gains[1])


def test_equal_vectors_give_equal_figures_on_any_number_of_threads(of_surface):
    threads = faiss.omp_get_max_threads()
    try:
        faiss.omp_set_num_threads(3)
        assert measure_sample(surface(), N, CODES) == of_surface
    finally:
        faiss.omp_set_num_threads(threads)
    assert Measured.from_json(of_surface.to_json()) == of_surface
    with pytest.raises(ValueError, match="levels"):
        Measured.from_json(of_surface.to_json() | {"visited": [0.5]})


def test_more_rows_need_a_smaller_share_of_cells_and_more_candidates(of_surface):
    many = measure_sample(surface(), 64 * N, CODES)
    assert many is not None
    assert many.share_for(0.9) < of_surface.share_for(0.9)
    assert many.ranked["pq_fast/4"] > of_surface.ranked["pq_fast/4"]
    assert many.recall["pq_fast/4"] < of_surface.recall["pq_fast/4"]


def test_a_sample_is_bounded_and_one_too_small_shows_nothing():
    assert [sample_rows(10**9, D) for D in (64, 768, 4_096)] == [16_384, 4_096, 1_024]
    assert sample_rows(1_000, 64) == 1_000
    assert measure_sample(noise()[: LEAST - 1], N, CODES) is None


ROWS, WIDE = 100_000, 64


def measured(visited: float, ranked: int) -> Measured:
    """A share of the cells, and candidates of codes of one value; coarser codes need eight and sixty times as many."""
    times = {"pq_fast/1": 1, "pq_fast/2": 8, "pq_fast/4": 60}
    times |= {f"ivf_{code}": each for code, each in times.items()} | {"sq8": 1}
    assert times.keys() == set(find_codes(ROWS, WIDE, IndexConfig()))
    return Measured(
        rows=ROWS,
        visited=(visited,) * len(LEVELS),
        recall=dict.fromkeys(times, 0.6),
        ranked={code: (ranked * each,) * len(LEVELS) for code, each in times.items()},
    )


def test_the_choice_follows_what_was_measured():
    config = IndexConfig(recall=0.99)
    kinds = {
        name: choose(ROWS, WIDE, config, cores=2, measured=found).kind
        for name, found in (("surface", measured(0.1, 2_000)), ("clusters", measured(0.9, 40)))
    }
    assert kinds == {"surface": "ivf_fp16", "clusters": "pq_fast"}
    assert choose(ROWS, WIDE, config, cores=2, measured=measured(1.0, ROWS)).code in ("flat", "fp16", "flat_fp16")


def test_a_live_index_is_kept_while_another_would_save_little():
    config = IndexConfig(recall=0.99)
    live = choose(ROWS, WIDE, config, cores=2, measured=measured(0.1, 2_000))
    assert live.kind == "ivf_fp16"
    for found, kept in ((measured(0.08, 200), True), (measured(0.9, 40), False)):
        assert choose(ROWS, WIDE, config, cores=2, measured=found).code == "pq_fast"
        assert (choose(ROWS, WIDE, config, cores=2, measured=found, live=live).params == live.params) == kept


def test_cells_stay_where_the_number_of_rows_swings_about_a_bound():
    config = IndexConfig(recall=0.99)
    found = measured(0.1, 20_000)
    live = choose(ROWS, WIDE, config, cores=2, measured=found)
    assert live.nlist == 1_024
    for rows, cells, kept in ((140_000, 2_048, 1_024), (700_000, 4_096, 4_096)):
        fresh = choose(rows, WIDE, config, cores=2, measured=found)
        assert (fresh.kind, fresh.nlist) == (live.kind, cells)
        assert choose(rows, WIDE, config, cores=2, measured=found, live=live).nlist == kept


def test_where_a_sample_shows_no_way_to_the_recall_the_closest_is_taken_unless_one_missed_already():
    config = IndexConfig(recall=0.88, memory_bytes=60 * ROWS)
    codes = find_codes(ROWS, WIDE, config)
    shares = {code: 0.66 if code == "rabitq/4" else 0.5 for code in codes}
    ranked = {code: (10,) * len(LEVELS) for code in codes}
    found = Measured(rows=ROWS, visited=(1.0,) * len(LEVELS), recall=shares, ranked=ranked)
    plan = choose(ROWS, WIDE, config, cores=2, measured=found)
    assert (plan.code, plan.bits) == ("rabitq", 4)
    assert "comes closest" in plan.reason
    with pytest.raises(ConfigError, match=r"index\.recall from 0.88 to"):
        choose(ROWS, WIDE, config, cores=2, measured=found, missed=[plan])
    with pytest.raises(ConfigError):  # constants exclude it as well
        choose(ROWS, WIDE, IndexConfig(recall=0.95, memory_bytes=20 * ROWS), cores=2, measured=found)
