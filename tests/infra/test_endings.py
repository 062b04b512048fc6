"""Files that are not read are counted by their endings, and told in one line."""

from __future__ import annotations

from collections import Counter

import pytest

from trichord.infra.endings import MAX_ENDINGS, NONE, OTHERS, add_ending, count_ending, sort_endings, tell_unread


def test_endings_are_counted_without_case_and_told_the_most_frequent_first() -> None:
    found = Counter[str]()
    for name in ("a.M4A", "b.m4a", "c.doc", "Makefile", "d.tar.gz", f"e.{'x' * 40}", "f.\x1b[0m"):
        count_ending(found, name)
    assert found == {".m4a": 2, ".doc": 1, NONE: 1, ".gz": 1, OTHERS: 2}
    told = "7 files with endings that are not read (.m4a 2, others 2, .doc 1, .gz 1, none 1)"
    assert tell_unread(found) == told
    assert next(iter(sort_endings(found))) == ".m4a"


@pytest.mark.parametrize(
    ("endings", "told"),
    [
        ({}, ""),
        ({".m4a": 1}, "1 file with an ending that is not read (.m4a 1)"),
        ({".m4a": 12_000, ".doc": 1}, "12,001 files with endings that are not read (.m4a 12,000, .doc 1)"),
    ],
)
def test_the_line_counts_all_files(endings: dict[str, int], told: str) -> None:
    assert tell_unread(endings) == told


def test_names_without_end_take_no_memory_and_none_is_lost() -> None:
    found = Counter[str]()
    for number in range(MAX_ENDINGS + 50):
        count_ending(found, f"a.{number}")
    add_ending(found, OTHERS, 7)
    assert len(found) <= MAX_ENDINGS + 1
    assert found.total() == MAX_ENDINGS + 57
    line = tell_unread(found)
    assert line.startswith("1,057 files with endings that are not read (others 57, ")
    assert line.endswith(", others 991)")
