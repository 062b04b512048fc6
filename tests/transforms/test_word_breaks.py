"""Words by script: runs of letters where there are blanks, characters with their marks where there are none."""

from __future__ import annotations

import re
from hashlib import sha256

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.bench.languages.sentences import ANSWERS
from trichord.transforms.clean.text import repetition
from trichord.transforms.dedup import shingles
from trichord.transforms.dedup.same_text import form_digest
from trichord.transforms.word_breaks import (
    _FIRST_UNSPACED,
    _UNSPACED,
    is_dense,
    is_mostly_unspaced,
    is_unspaced,
    join_unspaced,
    language_of_script,
    pieces,
    words,
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("can't stop 3.14 foo_bar", ["can", "t", "stop", "3", "14", "foo", "bar"]),
        ("红色的bus，2024年", ["红", "色", "的", "bus", "2024", "年"]),
        ("コーヒー・時々", ["コ", "ー", "ヒ", "ー", "時", "々"]),
        ("สีแดง", ["สี", "แ", "ด", "ง"]),
        ("빨간 버스가", ["빨간", "버스가"]),
        ("हिन्दी में", ["हिन्दी", "में"]),
        ("عربيّة جميلة", ["عربيّة", "جميلة"]),
        ("Ａ社 １２個", ["Ａ", "社", "１２", "個"]),
        ("…！？ --", []),
    ],
)
def test_words_of_each_script(text: str, expected: list[str]) -> None:
    assert words(text) == expected


@given(st.text())
def test_nothing_of_a_text_is_lost_but_blanks_and_punctuation(text: str) -> None:
    assert "".join(pieces(text)) == "".join(text.split())
    assert "".join(char for char in "".join(words(text)) if char.isalnum()) == "".join(filter(str.isalnum, text))


@given(st.text(st.characters(max_codepoint=0x24F)))
def test_latin_words_are_those_of_rouge(text: str) -> None:
    assert words(text) == re.findall(r"[^\W_]+", text)
    assert pieces(text) == text.split()


def test_no_script_without_blanks_is_below_the_first() -> None:
    assert not any(_UNSPACED.match(chr(code)) for code in range(ord(_FIRST_UNSPACED)))
    assert all(map(is_unspaced, "中あアกກខမ々ー"))
    assert not any(map(is_unspaced, "a1é가ह、。１Ａ"))


def test_the_scripts_are_those_that_the_ops_versions_stand_for() -> None:
    """Another release of regex may know more characters. Then raise the versions of signatures and text_measure."""
    every = [chr(code) for code in range(0x110000) if not 0xD800 <= code < 0xE000]
    found = sha256("".join(filter(is_unspaced.__wrapped__, every)).encode())
    found.update("".join(filter(is_dense.__wrapped__, every)).encode())
    assert found.hexdigest()[:16] == "373a1d37a9a7cde9"


@pytest.mark.parametrize(("language", "text"), [(name, a) for name, pairs in ANSWERS.items() for a, _ in pairs[:3]])
def test_the_script_tells_the_language(language: str, text: str) -> None:
    assert language_of_script([text]) == ("" if language in ("de", "en") else language)
    assert is_mostly_unspaced(text) == (language in ("zh", "ja", "th"))


def similarity(one: str, other: str) -> float:
    a, b = (set(np.frombuffer(shingles.text_sketch(text) or b"", "<u4", offset=4).tolist()) for text in (one, other))
    return len(a & b) / len(a | b)


def test_punctuation_and_blanks_do_not_count_where_scripts_have_none() -> None:
    for one, other in (
        ("一辆红色的公交车，停在路边 15 元。", "一辆红色的公交车停在路边15元"),
        ("赤いバス、ABC 社の前。", "赤いバスABC社の前"),
        ("รถบัสสีแดง จอดอยู่", "รถบัสสีแดงจอดอยู่"),
    ):
        assert similarity(one, other) == 1
        assert form_digest(one) == form_digest(other)
    assert form_digest("红色的车") != form_digest("蓝色的车")
    assert form_digest("1.5元") != form_digest("15元")
    assert form_digest("빨간 버스") != form_digest("빨간버스"), "Korean has blanks"


def test_another_word_moves_a_text_as_far_in_chinese_as_in_english() -> None:
    english = similarity(
        "A red bus is parked at the roadside, next to a man with an umbrella.",
        "A blue bus is parked at the roadside, next to a man with an umbrella.",
    )
    others = {
        "zh": similarity("一辆红色的公交车停在路边，旁边站着一个打伞的人。", "一辆蓝色的公交车停在路边，旁边站着一个打伞的人。"),
        "ja": similarity("道端に赤いバスが止まっていて、隣に傘をさした人が立っている。", "道端に青いバスが止まっていて、隣に傘をさした人が立っている。"),
        "ko": similarity("빨간 버스가 길가에 서 있고, 옆에는 우산을 쓴 사람이 서 있다.", "파란 버스가 길가에 서 있고, 옆에는 우산을 쓴 사람이 서 있다."),
    }  # fmt: skip
    assert all(abs(value - english) < 0.06 for value in others.values()), others


@pytest.mark.parametrize("language", ANSWERS)
def test_another_wording_is_nearer_than_any_other_answer(language: str) -> None:
    for i, (reference, near) in enumerate(ANSWERS[language]):
        others = [similarity(reference, text) for j, (_, text) in enumerate(ANSWERS[language]) if j != i]
        assert similarity(reference, near) > 0.3 > max(others)


def test_repetition_is_found_without_blanks() -> None:
    assert repetition("我喜欢你。我喜欢你。我喜欢你。我喜欢你。") > 0.6
    assert repetition("買って買って買って買って買って買って") > 0.6
    assert repetition("ไปเที่ยวทะเล ไปเที่ยวทะเล ไปเที่ยวทะเล") > 0.5
    for pairs in ANSWERS.values():
        assert all(repetition(text) == 0 for text, _ in pairs)


def test_blanks_go_beside_characters_that_have_none_between_words() -> None:
    assert join_unspaced("红 色 iPhone 15 手机 a b") == "红色iPhone 15手机a b"
    assert join_unspaced("a b c") == "a b c"
