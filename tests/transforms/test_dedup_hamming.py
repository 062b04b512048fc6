"""Near hashes are found without comparing all pairs, and a crowd costs no more than its rows."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trichord.infra.config import DedupConfig
from trichord.infra.digest import generator
from trichord.transforms.dedup import hamming
from trichord.transforms.dedup.components import Components, Nearest, label_components
from trichord.transforms.dedup.crowds import TEXT_CROWD, near_edges
from trichord.transforms.dedup.hamming import CROWD, Cell, cells, divide, near_in_cell, nearest_in_cell
from trichord.transforms.dedup.near import Hashes, Ints, Sketches, pack
from trichord.transforms.dedup.shingles import text_sketch

CONFIG = DedupConfig()


def hashes_of(rows: np.ndarray, coarse: int = CONFIG.image_coarse) -> Hashes:
    """Rows of 40 bytes as hashes of pictures of one colour."""
    packed = pack("image", [row.tobytes() + bytes(32) for row in rows], DedupConfig(image_coarse=coarse))
    assert isinstance(packed, Hashes)
    return packed


def around(centres: int, each: int, flips: int, seed: str) -> np.ndarray:
    """Distinct rows, sorted, that differ from one of the centres in up to `flips` of 320 bits."""
    rng = generator("test-hamming", seed)
    rows = np.repeat(rng.integers(0, 256, (centres, 40), dtype=np.uint8), each, axis=0)
    for row in rows:
        for place in rng.integers(0, 320, int(rng.integers(0, flips + 1))):
            row[place // 8] ^= 1 << (place % 8)
    return np.unique(rows, axis=0)


def cell_of(number: int, range_bits: int) -> Cell:
    return Cell(number >> range_bits, number & ((1 << range_bits) - 1), range_bits)


def joined(hashes: Hashes, range_bits: int) -> Ints:
    """The components that all cells give together."""
    rows, found = cells(hashes.coarse_N, hashes.coarse, range_bits)
    together = Components(len(hashes))
    for cell in np.unique(found).tolist():
        here = rows[found == cell]
        edges = here[near_in_cell(hashes.select(here), cell_of(cell, range_bits), close=None)[0]]
        together.add(edges[:, 0], edges[:, 1])
    return together.labels()


@settings(max_examples=10)
@given(st.integers(0, (1 << 64) - 1), st.sets(st.integers(0, 63), max_size=11), st.sampled_from([0, 2, 5]))
def test_hashes_within_the_limit_meet_in_a_cell_and_are_found_there(
    bits: int, flipped: set[int], range_bits: int
) -> None:
    pair = [bits, bits ^ sum(1 << place for place in flipped)]
    rows = np.array([list(value.to_bytes(8, "little") + bytes(32)) for value in pair], np.uint8)
    assert joined(hashes_of(rows, coarse=len(flipped)), range_bits).tolist() == [0, 0]


@pytest.mark.parametrize("range_bits", [0, 3])
def test_cells_join_and_rank_as_comparing_all_pairs_does(range_bits: int) -> None:
    hashes = hashes_of(around(40, 12, 40, "small"))
    i, j = np.triu_indices(len(hashes), 1)
    distance = hashes.distance(i, j)
    near = np.isfinite(distance)
    expected = label_components(len(hashes), iter([(i[near], j[near])]))
    assert joined(hashes, range_bits).tolist() == expected.tolist()
    best = Nearest(len(hashes), 4)
    best.add(i[near], j[near], distance[near])
    found = set()
    rows, where = cells(hashes.coarse_N, hashes.coarse, range_bits)
    for cell in np.unique(where).tolist():
        here = np.unique(rows[where == cell])
        pairs = nearest_in_cell(hashes.select(here), cell_of(cell, range_bits), np.zeros(len(here), np.int64), 4)
        found |= {tuple(pair) for pair in here[pairs].tolist()}
    assert {tuple(pair) for pair in best.pairs()[0].tolist()} <= found


@pytest.mark.parametrize("limit", [3, 10, 20])
@pytest.mark.parametrize("range_bits", [0, 3, 6])
def test_a_pair_is_compared_once_in_each_chunk_where_it_is_near(limit: int, range_bits: int) -> None:
    hashes = hashes_of(around(3, 50, 60, "once"), coarse=limit)
    rows, where = cells(hashes.coarse_N, limit, range_bits)
    for chunk in range(4):
        seen: list[tuple[int, int]] = []
        for number in np.unique(where[where >> range_bits == chunk]).tolist():
            here = np.unique(rows[where == number])
            for i, j in hamming._pairs(hashes.select(here), cell_of(number, range_bits), np.zeros(len(here), np.int64)):
                seen += [(min(pair), max(pair)) for pair in zip(here[i].tolist(), here[j].tolist(), strict=True)]
        i, j = np.triu_indices(len(hashes), 1)
        values = (hashes.coarse_N >> np.uint64(16 * chunk)) & np.uint64(0xFFFF)
        near = np.bitwise_count(values[i] ^ values[j]) <= limit // 4
        near &= np.bitwise_count(hashes.coarse_N[i] ^ hashes.coarse_N[j]) <= limit
        assert near.sum() > 10
        assert sorted(seen) == list(zip(i[near].tolist(), j[near].tolist(), strict=True))


@pytest.mark.parametrize("rows", [0, 1, 50_000, 200_000, 10**6, 10**9])
def test_cells_hold_a_bounded_number_of_rows(rows: int) -> None:
    bits = divide(rows, 10, 50_000)
    assert bits == 16 or rows * (1 + bits) <= 50_000 << bits, "a range and those that differ in one bit"
    assert bits == 0 or rows * bits > 50_000 << (bits - 1), "and no fewer than they could"


def test_rows_of_other_groups_are_not_paired() -> None:
    hashes = hashes_of(around(1, 30, 8, "groups"))
    group_N = np.arange(len(hashes)) % 2
    pairs = nearest_in_cell(hashes, Cell(0, 0, 0), group_N, 4)
    assert len(pairs)
    assert (group_N[pairs[:, 0]] == group_N[pairs[:, 1]]).all()


def test_a_crowd_of_pictures_is_joined_at_a_cost_that_grows_with_its_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    compared = [0]
    distance = Hashes.distance

    def counting(self: Hashes, i: Ints, j: Ints) -> np.ndarray:
        compared[0] += len(i)
        return distance(self, i, j)

    monkeypatch.setattr(Hashes, "distance", counting)
    cost = {}
    for size in (1_000, 4_000):
        hashes = hashes_of(around(1, size, 6, "crowd"))
        assert len(hashes) > 0.7 * size > CROWD
        compared[0] = 0
        assert len(near_in_cell(hashes, Cell(0, 0, 0), close=None)[0]) == len(hashes) - 1
        assert {*nearest_in_cell(hashes, Cell(0, 0, 0), np.zeros(len(hashes), np.int64), 4).ravel()} == {
            *range(len(hashes))
        }
        cost[size] = compared[0] / len(hashes)
    assert cost[4_000] < 2 * cost[1_000] < 600  # by all pairs it would be four times


def test_a_crowd_of_numbered_texts_is_joined_at_a_cost_that_grows_with_its_rows(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    compared = [0]
    distance, pairs = Sketches.distance, Sketches.pairs

    def counting(self: Sketches, i: Ints, j: Ints) -> np.ndarray:
        compared[0] += len(i)
        return distance(self, i, j)

    def counting_pairs(self: Sketches) -> Iterator[tuple[Ints, Ints]]:
        compared[0] += len(self) * len(self)
        return pairs(self)

    monkeypatch.setattr(Sketches, "distance", counting)
    monkeypatch.setattr(Sketches, "pairs", counting_pairs)
    cost = {}
    template = (
        "Invoice {} for one glass bottle of craft beer from the mountains, payable within thirty days from now on"
    )
    for size in (1_000, 4_000):
        sketches = [text_sketch(template.format(number)) or b"" for number in range(size)]
        compared[0] = 0
        edges = near_edges("text", np.arange(size), sketches, CONFIG)
        assert size > TEXT_CROWD
        assert len(edges) > 0.9 * size
        cost[size] = compared[0] / size
        shuffled = generator("test-hamming", "order").permutation(size)
        again = near_edges("text", shuffled, [sketches[at] for at in shuffled.tolist()], CONFIG)
        parts = [label_components(size, iter([(one[:, 0], one[:, 1])])).tolist() for one in (edges, again)]
        assert parts[0] == parts[1]
    assert max(cost.values()) < 200  # all pairs would be 2,000 of each text


def test_components_and_nearest_do_not_depend_on_blocks() -> None:
    rng = generator("test-hamming", "blocks")
    pairs = np.unique(np.sort(rng.integers(0, 60, (400, 2)), axis=1), axis=0)
    pairs = pairs[pairs[:, 0] < pairs[:, 1]]
    distance = rng.integers(0, 9, len(pairs)) / 8
    found = []
    for step in (1, 7, len(pairs)):
        order = rng.permutation(len(pairs))
        best, together = Nearest(60, 3), Components(60)
        for at in range(0, len(pairs), step):
            part = order[at : at + step]
            best.add(pairs[part, 1], pairs[part, 0], distance[part])
            together.add(pairs[part, 0], pairs[part, 1])
            if step == 7:
                together.labels()
                best.pairs()
        found.append((best.pairs()[0].tolist(), together.labels().tolist()))
    assert found[0] == found[1] == found[2]
    assert len(found[0][0]) < len(pairs)
