"""JSON from a file: what is accepted, and what is refused with its reason."""

from __future__ import annotations

import pytest

from trichord.infra.json_values import parse_json, parse_object


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
