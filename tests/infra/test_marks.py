"""Marks of sources: usual spellings mean a part whatever their case, and nothing else does."""

from __future__ import annotations

import pytest

from trichord.infra.marks import PARTS, SPELLINGS, find_part, find_spelling, suggest_part

SPELLED = [(word, part) for part, words in SPELLINGS.items() for word in words]


@pytest.mark.parametrize(("word", "part"), SPELLED)
def test_every_spelling_means_its_part_in_any_case(word: str, part: str) -> None:
    for written in (word, word.upper(), word.title(), f" {word}\t", f"{word}2017", f"{word}_2014"):
        assert find_part(written) == find_spelling(written) == part


@pytest.mark.parametrize(
    ("mark", "part"),
    [
        ("Held-Out", "test"),
        ("hold out", "test"),
        ("train-clean-100", "train"),
        ("validation_matched", "validation"),
        ("test.other", "test"),
        ("train-val", "train"),
    ],
)
def test_punctuation_and_further_words_do_not_matter(mark: str, part: str) -> None:
    assert find_part(mark) == part


@pytest.mark.parametrize("mark", ["fold3", "tset", "all", "1", "non_test", "train_test", "test-dev2017", "__", "2017"])
def test_other_words_mean_nothing(mark: str) -> None:
    assert find_part(mark) is None


def test_the_project_file_comes_first_and_its_case_does_not_count() -> None:
    assert find_part("Dev", {"DEV": "test"}) == "test"
    assert find_part("fold 3", {"Fold 3 ": "validation"}) == "validation"
    assert find_part("fold 4", {"Fold 3": "validation"}) is None


def test_a_near_spelling_is_suggested() -> None:
    assert [suggest_part(mark) for mark in ("tset", "trian", "vaild", "fold3")] == ["test", "train", "validation", None]
    assert tuple(SPELLINGS) == PARTS
