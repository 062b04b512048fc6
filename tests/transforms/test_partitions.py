"""The hash trie: leaves depend only on the rows, and one row more or less changes one leaf."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trichord.infra import digest
from trichord.transforms.collect import partitions
from trichord.transforms.collect.partitions import LEAST_LIMIT, MAX_PARTITIONS, limit_of_rows, trie

HASHES = st.lists(st.integers(0, 2**64 - 1) | st.integers(0, 40) | st.just(2**64 - 1), max_size=60)


def leaves(hashes: list[int], limit: int) -> dict[str, list[int]]:
    """Sorted hashes by leaf."""
    array = np.array(sorted(hashes), np.uint64)
    return {bits: array[start:stop].tolist() for bits, start, stop in trie(array, limit)}


@given(hashes=HASHES, limit=st.integers(1, 9))
def test_leaves_partition_the_rows_by_their_leading_bits_within_the_limit(hashes: list[int], limit: int) -> None:
    found = leaves(hashes, limit)
    assert sorted(value for leaf in found.values() for value in leaf) == sorted(hashes)
    for bits, leaf in found.items():
        assert all(f"{value:064b}".startswith(bits) for value in leaf)
        assert len(leaf) <= limit or len(set(leaf)) == 1
        parent = [value for value in hashes if bits and f"{value:064b}".startswith(bits[:-1])]
        assert not bits or len(parent) > limit, "a leaf is divided only where it must be"


@given(hashes=HASHES, limit=st.integers(1, 9), new=st.integers(0, 2**64 - 1))
def test_an_added_row_changes_one_leaf_or_divides_it(hashes: list[int], limit: int, new: int) -> None:
    before, after = leaves(hashes, limit), leaves([*hashes, new], limit)
    gone = {bits for bits, leaf in before.items() if after.get(bits) != leaf}
    come = {bits for bits, leaf in after.items() if before.get(bits) != leaf}
    assert len(gone) <= 1
    if gone:
        (old,) = gone
        assert f"{new:064b}".startswith(old)
        assert all(bits.startswith(old) for bits in come)
    else:
        assert len(come) == 1, "the row stands in a part of the trie that was empty"


def test_equal_keys_share_a_leaf_however_many() -> None:
    found = leaves([7] * 1_000 + [9], 10)
    assert found == {f"{7:064b}": [7] * 1_000, f"{9:064b}"[:61]: [9]}
    assert leaves([], 1) == {}
    with pytest.raises(ValueError, match="at least one row"):
        trie(np.zeros(1, np.uint64), 0)


def test_known_keys_have_known_leaves() -> None:
    keys = [f"record-{i}" for i in range(100)]
    found = trie(np.array(sorted(digest.hash64(key) for key in keys), np.uint64), 16)
    bits = ["000", "0010", "0011", "010", "011", "100", "101", "110", "1110", "1111"]
    assert [leaf for leaf, _, _ in found] == bits
    assert [stop - start for _, start, stop in found] == [10, 7, 10, 6, 13, 12, 15, 9, 8, 10]


@given(rows=st.integers(0, 10**10))
def test_an_automatic_limit_keeps_a_source_within_its_partitions_and_is_no_larger_than_it_must(rows: int) -> None:
    limit = limit_of_rows("auto", rows)
    assert rows * 2 <= limit * MAX_PARTITIONS
    assert limit == LEAST_LIMIT or rows * 2 > limit // 2 * MAX_PARTITIONS
    assert limit_of_rows(7, rows) == 7


def test_a_trie_with_an_automatic_limit_has_few_enough_leaves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(partitions, "MAX_PARTITIONS", 200)
    monkeypatch.setattr(partitions, "LEAST_LIMIT", 4)
    for rows in (300, 401, 3_000, 10_000):
        hashes = np.sort(np.array([digest.hash64(f"record-{i}") for i in range(rows)], np.uint64))
        assert len(trie(hashes, limit_of_rows("auto", rows))) <= 200
