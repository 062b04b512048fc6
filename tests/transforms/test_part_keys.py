"""The codec of part keys: what is encoded is decoded again, and nothing else is."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from trichord.transforms.part_keys import Mark, PartKey, cut_from

PIECES = st.one_of(st.text(max_size=8), st.sampled_from(["#", "#t0001", "#r0000", "#aug1", "#aug", "\n", "t0001"]))
SOURCE_KEYS = st.lists(PIECES, max_size=5).map("".join)
PARTS = st.builds(
    lambda parent, mark, number: PartKey(parent=parent, mark=mark, number=number + (mark is Mark.VARIANT)),
    SOURCE_KEYS,
    st.sampled_from(Mark),
    st.one_of(st.integers(0, 20_000), st.sampled_from([0, 9_999, 10_000, 100_000])),
)


@given(PARTS)
@example(PartKey(parent="a#t0001", mark=Mark.REGION, number=10_000))
@example(PartKey(parent="a#", mark=Mark.VARIANT, number=1))
@example(PartKey(parent="", mark=Mark.SEGMENT, number=0))
def test_a_decoded_key_is_the_one_that_was_encoded(part: PartKey) -> None:
    assert PartKey.decode(part.encode()) == part


@given(st.one_of(SOURCE_KEYS, PARTS.map(PartKey.encode)))
def test_a_key_is_decoded_only_if_encoding_gives_it_back(key: str) -> None:
    part = PartKey.decode(key)
    assert part is None or part.encode() == key


@given(PARTS, PARTS)
def test_different_parts_have_different_keys(one: PartKey, other: PartKey) -> None:
    assert (one.encode() == other.encode()) == (one == other)


@pytest.mark.parametrize(
    "key",
    [
        "a",
        "",
        "a#",
        "a#t1",
        "t0001",
        "a#t00001",
        "a#x0001",
        "a#aug0",
        "a#aug01",
        "a#t0001 ",
        "a#t0001\n",
        "a#t\u0661\u0661\u0661\u0661",
    ],
)
def test_other_keys_are_not_part_keys(key: str) -> None:
    assert PartKey.decode(key) is None


def test_a_part_of_a_part_comes_from_both_and_a_variant_is_not_a_cut() -> None:
    assert list(cut_from("a#b#t0001#r0002")) == ["a#b#t0001", "a#b"]
    assert list(cut_from("a#t0001#aug1")) == []
    assert list(cut_from("a#t0001#other")) == []
