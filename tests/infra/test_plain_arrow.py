"""Arrow arrays made without `pa.array` are those that it makes."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trichord.infra.plain_arrow import numbers, strings, values_of

NUMBERS = st.lists(st.tuples(st.integers(-(2**63), 2**63 - 1), st.booleans()), max_size=20)


@given(values=st.lists(st.none() | st.text(st.characters(exclude_categories=["Cs"])), max_size=20))
def test_strings_are_those_of_arrow(values: list[str | None]) -> None:
    for large, kind in ((False, pa.string()), (True, pa.large_string())):
        found = strings(values, large=large)
        found.validate(full=True)
        assert found.equals(pa.array(values, kind))


def test_half_of_a_surrogate_pair_is_no_string() -> None:
    with pytest.raises(UnicodeEncodeError):
        strings(["a", "\ud800"])


@given(NUMBERS)
def test_numbers_are_those_of_arrow(values: list[tuple[int, bool]]) -> None:
    given_N = np.array([value for value, _ in values], np.int64)
    missing_N = np.array([missing for _, missing in values], np.bool_)
    assert numbers(given_N).equals(pa.array(given_N))
    found = numbers(given_N, missing_N)
    found.validate(full=True)
    assert found.equals(pa.array(given_N, mask=missing_N))


@given(NUMBERS, st.integers(0, 20), st.integers(0, 20))
def test_values_are_those_that_an_array_was_made_of(values: list[tuple[int, bool]], start: int, stop: int) -> None:
    given_N = np.array([value for value, _ in values], np.int64)
    whole = pa.array(given_N)
    assert values_of(whole[start:stop], np.int64).tolist() == given_N[start:stop].tolist()
    chunked = pa.chunked_array([whole[start:stop], whole[:start]], pa.int64())
    assert values_of(chunked, np.int64).tolist() == [*given_N[start:stop].tolist(), *given_N[:start].tolist()]
    digests = [int(value).to_bytes(8, "big", signed=True) for value in given_N]
    assert values_of(pa.array(digests, pa.binary(8)), "V8").tolist() == digests
