"""JSON from a file: what is accepted, what is refused with its reason, and how its strings are mapped."""

from __future__ import annotations

import pytest

from trichord.infra.json_values import map_strings, parse_json, parse_object


def test_constants_that_json_does_not_have_are_refused_on_request() -> None:
    assert parse_json("[Infinity]") == [float("inf")]
    with pytest.raises(ValueError, match="Infinity is not JSON"):
        parse_json("[Infinity]", allow_nan=False)


def test_only_an_object_is_an_object() -> None:
    assert parse_object(b'{"a": [1, null]}') == {"a": [1, None]}
    with pytest.raises(ValueError, match="not a JSON object but a list"):
        parse_object("[]")
    with pytest.raises(ValueError, match="not valid JSON: Expecting value"):
        parse_object("")


def test_every_string_is_mapped_and_nothing_else() -> None:
    value = {"a": ["b", 1, None, ("c", {"d": True})], "e": "f"}
    assert map_strings(value, str.upper) == {"A": ["B", 1, None, ["C", {"D": True}]], "E": "F"}
    assert map_strings({"ab": ["ab"]}, str.upper, str.title) == {"Ab": ["AB"]}
