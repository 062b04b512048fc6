"""Words by script: what Unicode says of words, in scripts with blanks and without."""

from __future__ import annotations

import re
import unicodedata

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trichord.encoders.features import HashedNgrams
from trichord.encoders.words import _patterns, word_runs
from trichord.infra import digest

WITH_BLANKS = [
    "Two red circles, and don't stop!",
    "naïve Café — “résumé”",
    "Ein großer Bär",
    "Привет, ёлка",
    "한국어를 배운다",
]


def words(text: str) -> list[str]:
    return [word for run in word_runs(text) for word in run.words]


def cosine(left: str, right: str) -> float:
    a, b = (HashedNgrams().encode([text])[0].astype(float) for text in (left, right))
    return float(a @ b / (np.linalg.norm(a) * np.linalg.norm(b)))


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("红色的圆形", ["红", "色", "的", "圆", "形"]),
        ("𠮷野家", ["𠮷", "野", "家"]),  # beyond the first plane
        ("三〇一、人々", ["三", "〇", "一", "人", "々"]),
        ("ひらがなー", ["ひ", "ら", "が", "な", "ー"]),
        ("カタカナ", ["カ", "タ", "カ", "ナ"]),
        ("ㄅㄆㄇ", ["ㄅ", "ㄆ", "ㄇ"]),
        ("ที่นี่", ["ที่", "นี่"]),  # a letter keeps its marks
        ("ກິນເຂົ້າ", ["ກິ", "ນ", "ເ", "ຂົ້", "າ"]),
        ("ខ្មែរ", ["ខ្", "មែ", "រ"]),
        ("မြန်မာ", ["မြ", "န်", "မာ"]),
    ],
)
def test_scripts_without_blanks_have_characters_as_words(text: str, wanted: list[str]) -> None:
    assert words(text) == wanted


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("हिन्दी में", ["हिन्दी", "में"]),  # marks belong to their word
        ("שָׁלוֹם עולם", ["שָׁלוֹם", "עולם"]),
        ("می‌خواهم", ["میخواهم"]),  # a joiner is invisible
        ("co\u00adoperate", ["cooperate"]),
        ("iPhone手机 3个", ["iphone", "手", "机", "3", "个"]),
        ("❤️ 👨\u200d👩\u200d👧 ok", ["ok"]),
        ("葛\U000e0100城", ["葛", "城"]),  # another drawing of the same character
    ],
)
def test_other_scripts_have_runs_of_letters_with_their_marks_as_words(text: str, wanted: list[str]) -> None:
    assert words(text) == wanted


def test_case_width_and_punctuation_do_not_matter_in_any_script() -> None:
    for one, other in (
        ("「红色」圆形，ＡＢＣ１２３！", "红色 圆形 abc123"),
        ("ｶﾀｶﾅ・ﾃｽﾄ", "カタカナ テスト"),
        ("红色圆形——蓝色（大）。", "红色圆形 蓝色 大"),
    ):
        assert words(one) == words(other)
        np.testing.assert_array_equal(*HashedNgrams().encode([one, other]))


def test_latin_cyrillic_and_hangul_have_the_words_and_parts_that_they_always_had() -> None:
    for text in WITH_BLANKS:
        runs = word_runs(text)
        assert words(text) == re.findall(r"\w+", text.casefold())
        for run in runs:
            marked = f"<{run.words[0]}>"
            assert run.parts == tuple(marked[i : i + n] for n in (3, 4, 5) for i in range(len(marked) - n + 1))


def test_parts_of_a_run_without_blanks_are_short_and_never_cross_punctuation() -> None:
    [first, second] = word_runs("红色圆，蓝")
    assert first.parts == ("红", "色", "圆", "红色", "色圆", "红色圆")
    assert second.parts == ("蓝",)


def test_a_chinese_text_is_nearer_to_one_that_shares_its_words() -> None:
    text = "左上角的两个红色大圆形"
    assert cosine(text, "红色的大圆形，一共两个，在左上角") > 0.5
    assert cosine(text, "下方有一颗蓝色小五角星") < 0.2


def test_features_by_script_are_another_space_than_those_before() -> None:
    assert HashedNgrams().fingerprint != digest.address("hashed_ngrams", 1, 1_024)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.text(max_size=60))
def test_no_letter_of_a_text_is_lost_and_none_is_added(text: str) -> None:
    folded = unicodedata.normalize("NFKC", text).casefold()
    letters = [c for c in folded if unicodedata.category(c)[0] == "L" and c not in "\u115f\u1160\u3164\uffa0"]
    kept = [c for word in words(text) for c in word if unicodedata.category(c)[0] == "L"]
    assert kept == letters


@pytest.mark.parametrize("letter", ["é", "中"])
def test_millions_of_letters_without_a_blank_are_read(letter: str) -> None:
    text = letter * (4 << 20)  # `regex` gives up on a group that repeats as often
    assert [found.span() for found in _patterns().run.finditer(text)] == [(0, len(text))]
