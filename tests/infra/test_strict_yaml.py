"""Strict YAML: core-schema scalars, lines, refusals, bounds."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trichord.infra.strict_yaml import MAX_BYTES, parse

JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**30), 10**30)
    | st.floats(allow_nan=False, allow_infinity=False)
    # JSON text is YAML but for characters that YAML forbids unescaped, so the test writes ASCII
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("abcdefgh", min_size=1), inner, max_size=4),
    max_leaves=12,
)


@given(st.dictionaries(st.text("abcdefgh", min_size=1), JSON_VALUES, max_size=4))
def test_json_is_read_as_it_is(value: dict[str, object]) -> None:
    document = parse(json.dumps(value).encode())

    assert document.problems == ()
    assert document.value == value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("no", "no"),
        ("on", "on"),
        ("12:30", "12:30"),
        ("2020-01-01", "2020-01-01"),
        ("1_000", "1_000"),
        (".nan", ".nan"),
        ("1e-3", 1e-3),
        ("010", 10),
        ("0x1f", 31),
        ("-.5", -0.5),
        ("~", None),
        ("'1'", "1"),
        ("!!str 1", "1"),
    ],
)
def test_plain_scalars_have_the_types_of_the_core_schema(text: str, value: object) -> None:
    document = parse(f"a: {text}".encode())

    assert document.problems == ()
    assert document.value == {"a": value}
    assert type(document.value["a"]) is type(value)


def test_every_key_and_item_knows_its_line() -> None:
    document = parse(b"a: 1\n\nb:\n  - x\n  - c: 2\n    d: 3\n")

    assert document.lines == {("a",): 1, ("b",): 3, ("b", 0): 4, ("b", 1): 5, ("b", 1, "c"): 5, ("b", 1, "d"): 6}


@pytest.mark.parametrize(
    ("text", "line", "what"),
    [
        (b"a: 1\nb: 2\na: 3\n", 3, "given twice, first on line 1"),
        (b"x: {a: 1,\n  a: 2}", 2, "given twice"),
        (b"a: &anchor 1\n", 1, "aliases are not supported"),
        (b"a: 1\nb: *a\n", 2, "aliases are not supported"),
        (b"a: !!python/object/apply:os.system [id]\n", 1, "python/object/apply:os.system is not supported"),
        (b"a: !!binary aGk=\n", 1, "binary is not supported"),
        (b"a: 1e999\n", 1, "not a finite number"),
        (b"a: " + b"9" * 5000, 1, "not a finite number"),
        (b'a: "\\ud800"\n', 1, "half of a surrogate pair"),
        (b"a: !!int many\n", 1, "not a finite number"),
        (b"ok: 1\n7: 2\n", 2, "keys are text, found 7"),
        (b"? [a, b]\n: 1\n", 1, "keys are text, found a collection"),
        (b"a: 1\nb: [1, 2\n", 3, "not YAML"),
        (b"a: 1\nb: c: d\n", 2, "not YAML: mapping values are not allowed here"),
        (b"a: 1\n---\nb: 2\n", 2, "another document"),
        (b"a: 1\nb: \xff\n", 2, "not UTF-8"),
        (b"a: 1\nb: \x07\n", 2, "character U+0007 is not allowed"),
        (b"[" * 100, 1, "nested deeper than 20 levels"),
        (b"- " * 100_000, 1, "nested deeper than 20 levels"),
        (b"# " + b"x" * MAX_BYTES, None, "longer than 262144 bytes"),
    ],
)
def test_what_is_refused_names_its_line(text: bytes, line: int | None, what: str) -> None:
    problem = parse(text).problems[0]

    assert problem.line == line
    assert what in problem.text


def test_all_problems_of_well_formed_yaml_are_found_at_once() -> None:
    document = parse(b"a: 1\na: 2\n3: 4\nb: !!binary x\nc: 5\n")

    assert [problem.line for problem in document.problems] == [2, 3, 4]
    assert document.value["c"] == 5


@given(st.binary(max_size=200))
def test_any_bytes_give_a_value_or_a_problem(data: bytes) -> None:
    document = parse(data)

    assert document.problems or json.dumps(document.value) is not None
