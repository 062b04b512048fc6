"""Foreign text becomes harmless to look at, and names are refused by one rule."""

from __future__ import annotations

import re
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trichord.infra.printable import find_unnameable, one_line, printable, printable_values, typed_forms, typed_keys

DANGEROUS = [
    *map(chr, (*range(0x20), *range(0x7F, 0xA0), 0x61C, *range(0x200B, 0x2010), *range(0x2028, 0x202F))),
    *map(chr, (*range(0x2060, 0x2070), 0xFEFF, 0xAD, 0xD800, 0xDCFF, 0xDFFF, 0xFFF9, 0xE0001, 0xE0041)),
]
NEEDED = "\u00ad\u200c\u200d"  # joiners and soft hyphens, which spelling needs


@pytest.mark.parametrize("char", DANGEROUS, ids=lambda char: f"U+{ord(char):04X}")
def test_what_commands_a_terminal_or_cannot_be_seen_is_an_escape(char: str) -> None:
    shown = printable(f"a{char}b")
    assert re.fullmatch(r"a\\(?:[nrt]|u[0-9a-f]{4}|U[0-9a-f]{8})b", shown)
    assert (find_unnameable([("key", f"a{char}b")]) is None) == (char in NEEDED)


def test_no_control_or_format_character_passes_that_this_python_knows() -> None:
    visible = {0x600, 0x601, 0x602, 0x603, 0x604, 0x605, 0x6DD, 0x70F, 0x890, 0x891, 0x8E2}  # signs around numbers
    visible |= {*range(0x110BD, 0x110CE), *range(0x13430, 0x13440)}  # the same of Kaithi; joints of hieroglyphs
    passed = [code for code in range(0x110000)
              if unicodedata.category(chr(code)) in ("Cc", "Cf", "Cs", "Zl", "Zp") and printable(chr(code)) == chr(code)
              ]  # fmt: skip
    assert set(passed) <= visible


@pytest.mark.parametrize("text", ["Straße 7", "ключ", "鍵\u3000あ", "مفتاح", "🐈", "a\u0301", "NBSP\u00a0here"])
def test_letters_of_all_scripts_stay(text: str) -> None:
    assert printable(text) == text
    assert find_unnameable([("key", text)]) is None


@given(st.text(alphabet=st.characters()))
def test_printable_text_is_printable_already(text: str) -> None:
    assert printable(printable(text)) == printable(text)
    assert printable_values({text: [text, 1, None]}) == {printable(text): [printable(text), 1, None]}
    assert printable_values({"\n": "\n\r"}, keep="\n") == {r"\n": "\n\\r"}


@given(st.text(alphabet=st.sampled_from(["a", "\\", "\u200c", "\u200d", "\u00ad", "u", "2"])))
def test_what_a_terminal_shows_of_a_name_can_be_typed(name: str) -> None:
    assert name in typed_forms(name)
    if "\\" not in name:
        assert name in typed_forms(printable(name))


def test_a_typed_key_means_itself_and_a_record_of_the_source_before_the_slash() -> None:
    assert list(typed_keys("a/b/c", ["a", "x"])) == [(None, "a/b/c"), ("a", "b/c")]
    assert list(typed_keys(r"a/b\u200dc", ["a"])) == [
        (None, r"a/b\u200dc"), ("a", r"b\u200dc"), (None, "a/b\u200dc"), ("a", "b\u200dc")
    ]  # fmt: skip
    assert list(typed_keys("x/", ["x"])) == [(None, "x/")]


def test_a_typed_escape_means_nothing_that_can_be_seen() -> None:
    assert typed_forms(r"\u0041\U00110000") == (r"\u0041\U00110000",)
    assert typed_forms("\udcff") == ()


def test_a_name_is_bounded_and_the_reason_names_the_character() -> None:
    assert find_unnameable([("key", "k" * 1_025)]) == "the key has 1025 characters; the limit is 1024"
    found = find_unnameable([("key", "k"), ("group", "a\x9bb")])
    assert found == r"the group a\u009bb holds U+009B, which no name may hold"


def test_several_lines_become_one() -> None:
    assert one_line("No lake here\n  looked in /x.\nNext: trichord\x1b plan") == (
        r"No lake here; looked in /x. Next: trichord\u001b plan"
    )
