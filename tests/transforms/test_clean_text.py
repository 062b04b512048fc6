"""Text: repairs against known answers and laws, detectors against planted defects, everything against hostile input."""

from __future__ import annotations

import time
import unicodedata
from functools import cache
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from symspellpy import SymSpell, Verbosity

from trichord.infra import digest
from trichord.infra.config import TextConfig
from trichord.pipelines.demo.captions import write_captions
from trichord.pipelines.demo.scenes import draw_scene
from trichord.transforms.batch import Batch, Change, Row
from trichord.transforms.clean import annotate, spelling
from trichord.transforms.clean.language import KNOWN_LANGUAGES, _identifier, language_of
from trichord.transforms.clean.markup import strip_markup
from trichord.transforms.clean.pii import TextPii
from trichord.transforms.clean.spelling import mistake
from trichord.transforms.clean.text import TextNormalize, normalize, repair_encoding, repetition, symbol_ratio, text_ops
from trichord.transforms.op import Threshold, run_chain


def cleaned(text: str | None, *captions: str, **settings: Any) -> tuple[Row | None, dict[str, float], str | None]:
    """A row's text prepared by itself: the row, its scores, or the reason why it was rejected."""
    row = Row(key="k", text=text, captions=captions)
    after, _ = run_chain(Batch(rows=(row,), raw_images=(b"x",)), text_ops(TextConfig(**settings)))
    return (after.rows[0], dict(after.scores[0]), None) if after.rows else (None, {}, after.rejects[0].reason)


def text_of(text: str, *captions: str, **settings: Any) -> str | None:
    row, _, reason = cleaned(text, *captions, **settings)
    assert row is not None, reason
    return row.text


@given(text=st.text())
def test_normalized_text_is_a_fixed_point_without_controls_or_runs_of_blanks(text: str) -> None:
    found = normalize(text)
    assert normalize(found) == found
    assert found == unicodedata.normalize("NFC", found)
    assert not any(unicodedata.category(character) in ("Cc", "Cs") for character in found)
    assert found == " ".join(found.split())


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a\u0000b\u0007c", "abc"),
        (" two\t\u00a0\u2003words\r\n", "two words"),
        ("cafe\u0301", "café"),
        ("e\u200b\u0301", "é"),
        ("\ufeffsoft\u00adhyphen\u200b", "softhyphen"),
        ("left\u202eright\u200f", "leftright"),
        ("👩\u200d🚀 می\u200cخواهم", "👩\u200d🚀 می\u200cخواهم"),
        ("ﬁne ½", "ﬁne ½"),
    ],
)
def test_known_texts_are_normalized(text: str, expected: str) -> None:
    assert normalize(text) == expected


def test_captions_are_other_wordings_and_replace_an_absent_text() -> None:
    rows = (
        Row(key="a", text="one", captions=("one ", "two", "", "two", "three")),
        Row(key="b", text=" \t", captions=("first", "second")),
        Row(key="c", text="\u200b", captions=(" ",)),
    )
    after = TextNormalize()(Batch(rows=rows, raw_images=(None, None, b"x")))
    assert [(row.text, row.captions) for row in after.rows] == [
        ("one", ("two", "three")),
        ("first", ("second",)),
        (None, ()),
    ]
    noted = [(change.field, change.before, change.after) for change in after.rows[0].changes]
    assert noted == [("captions[0]", "one ", ""), ("captions[3]", "two", "")]
    assert [r.reason for r in TextNormalize()(Batch(rows=rows[2:])).rejects] == ["row_empty"]


@pytest.mark.parametrize(
    "text", ["“Café” – naïve ﬁne ｗｉｄｅ", "A wee café, 5 µm × 3²", "¿Qué?", "汉字「かな」", "Ærø ÅÄÖ"]
)
def test_text_without_mojibake_stays(text: str) -> None:
    assert repair_encoding(text) == text


@given(text=st.text(alphabet="“”‘’–éüñçßå abcdefg.", min_size=12).filter(lambda text: "é" in text and "’" in text))
def test_text_read_in_the_wrong_encoding_is_read_again(text: str) -> None:
    try:
        spoilt = text.encode().decode("cp1252")
    except UnicodeDecodeError:
        return
    assert repair_encoding(spoilt) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("<p>A <b>red</b> hat<br/>on a&nbsp;head</p>", "A red hat on a head"),
        ('<a href="https://example.org/?a=1&amp;b=2" title=x>link</a>', "link"),
        ("<script>if (a < b) x()</script>seen<style>p {}</style><!-- not -->", "seen"),
        ("Tom &amp; Jerry &#39;s &lt;3 &unknown; &copy=1", "Tom & Jerry 's <3 &unknown; &copy=1"),
        ("H<sub>2</sub>O<td>cell</td><td>cell</td>", "H2O cell cell"),
    ],
)
def test_markup_is_shown_as_a_browser_would(text: str, shown: str) -> None:
    assert " ".join(strip_markup(text).split()) == shown


@pytest.mark.parametrize(
    "text",
    [
        "a < b and c > d",
        "i <3 u",
        "if a <b and c> d",
        "<unk> <EMAIL> <name>",
        "AT&T",
        "x<y, y>z",
        "<s> begins",
        "<- ->",
        "<p",
    ],
)
def test_text_without_markup_stays(text: str) -> None:
    assert strip_markup(text) == text


def test_each_repair_is_recorded_with_what_it_was() -> None:
    row, _, _ = cleaned("<b>CafÃ©</b>  noir", "x\u200by")
    assert row is not None
    assert (row.text, row.captions) == ("Café noir", ("xy",))
    assert row.changes == (
        Change(op="text_encoding", field="text", before="<b>CafÃ©</b>  noir", after="<b>Café</b>  noir"),
        Change(op="text_markup", field="text", before="<b>Café</b>  noir", after="Café  noir"),
        Change(op="text_normalize", field="text", before="Café  noir", after="Café noir"),
        Change(op="text_normalize", field="captions[0]", before="x\u200by", after="xy"),
    )
    assert cleaned("Plain.")[0] == Row(key="k", text="Plain.", labels=(("text_language", language_of("Plain.")[0]),))


def test_a_change_shows_the_place_where_long_values_differ() -> None:
    made = annotate.change("op", "text", "a" * 2_000 + "b", "a" * 2_000 + "c")
    assert (made.before, made.after) == ("a" * 40 + "b", "a" * 40 + "c")
    assert len(annotate.change("op", "text", "a" * 900, "b" * 900).before) == 500


def test_text_length_is_judged_after_normalising() -> None:
    assert cleaned("  ab  ")[1]["text_chars"] == 2.0
    assert cleaned("x" * 20_001)[2] == "text_too_long"
    assert cleaned("ab", min_chars=3)[2] == "text_too_short"
    assert cleaned(None) == (Row(key="k"), {}, None)


@pytest.mark.parametrize(
    ("text", "ratio"),
    [
        ("a plain text, with (some) “marks”.", 0),
        ("abcd ####", 0.5),
        ("★ ★", 1),
        ("नमस्ते दुनिया", 0),
        ("日本語。「本」", 0),
        ("", 0),
    ],
)
def test_symbol_ratio_counts_neither_letters_nor_sentence_marks(text: str, ratio: float) -> None:
    assert symbol_ratio(text) == ratio


def test_repetition_is_the_share_said_before() -> None:
    line = "one two three four five six"
    assert repetition(line) == 0
    assert repetition(" ".join([line] * 4)) == pytest.approx(0.75)
    assert repetition("so very, very, very good") == 0
    assert repetition("a" * 40) == 1
    assert repetition("没有空格的文字也会重复自己说过的话。" * 8) == pytest.approx(7 / 8)
    assert cleaned(" ".join([line] * 12))[2] == "text_repetitive"
    assert cleaned(" ".join([line] * 2))[2] is None


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("Write to jo.doe+x@mail.example.co.uk.", "Write to <EMAIL>."),
        ("Call +1 202-555-0123 or +49 30 23125 123!", "Call <PHONE> or <PHONE>!"),
        ("from 203.0.113.7, and 2001:db8:0:1::7.", "from <IP>, and <IP>."),
        ("card 4111 1111 1111 1111 or 378282246310005", "card <CARD> or <CARD>"),
        ("card 5500-0000-0000-0004.", "card <CARD>."),
    ],
)
def test_personal_data_are_masked_and_the_record_says_the_kind_alone(text: str, masked: str) -> None:
    row, scores, _ = cleaned(text, "see " + text)
    assert row is not None
    assert (row.text, row.captions) == (masked, ("see " + masked,))
    assert scores["text_pii"] == len(row.changes) == 2 * masked.count("<")
    assert all(change.op == "text_pii" and change.after == f"<{change.before}>" for change in row.changes)
    assert cleaned(text, pii="reject")[2] == "text_pii"
    assert text_of(text, pii="keep") == text


@pytest.mark.parametrize(
    "text",
    [
        "version 1.2.3 of 2024-05-06 at 12:30:45", "v10.20.30.40", "section 1.2.3.4", "127.0.0.1 and ::1", "std::a::b",
        "pen, EAN 4001648705964",
        "4111 1111 1111 1112", "1234567890123456", "@home, a@b, me @ work", "+100 points, 3+4 = 7", "999.1.1.1",
        "flight 12 34 56 78 90", "ISBN 978-3-16-148410-0", "http://10.2.0.1.example.org", "$1,000,000.00",
    ],
)  # fmt: skip
def test_text_without_personal_data_stays(text: str) -> None:
    assert text_of(text, strip_markup=False) == text


def test_no_change_of_an_earlier_op_tells_what_was_masked() -> None:
    row, _, _ = cleaned("<b>jo&#64;example.org</b>  CafÃ©", "plain  words")
    assert row is not None
    assert row.text == "<EMAIL> Café"
    assert [change.op for change in row.changes] == [
        "text_encoding",
        "text_markup",
        *["text_normalize"] * 2,
        "text_pii",
    ]
    assert {(change.before, change.after) for change in row.changes[:-1]} == {("<PII>", "<PII>")}


def test_national_phone_numbers_are_found_where_a_region_is_set() -> None:
    assert text_of("Call (202) 555-0123 now") == "Call (202) 555-0123 now"
    assert TextPii(mask=True, phone_region="US").mask_text("Call (202) 555-0123 now") == ("Call <PHONE> now", ["PHONE"])


ENGLISH = "A man is riding a bicycle through the streets of the town."
GERMAN = "Ein Mann fährt mit dem Fahrrad durch die Straßen der Stadt."


def test_the_known_languages_are_those_of_the_model() -> None:
    assert {str(label) for label in _identifier().labels} == KNOWN_LANGUAGES


def test_another_language_is_refused_and_an_uncertain_text_is_not() -> None:
    row, scores, _ = cleaned(GERMAN)
    assert row is not None
    assert row.labels == (("text_language", "de"),)
    assert scores["text_language_score"] > 0.9
    assert cleaned(GERMAN, languages=("en", "fr"))[2] == "text_language"
    assert cleaned(ENGLISH, languages=("en",))[1]["text_language_foreign"] == 0
    assert cleaned("chainsaw", languages=("en",))[2] is None
    assert [row and row.labels for row in (cleaned(None)[0],)] == [()]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("A man is ridding a bicylce through the streeets of the town.", ENGLISH.replace("riding", "ridding")),
        ("Two dogs are paltying near a small huose.", "Two dogs are paltying near a small house."),
        ("Soembody has drawn a large blue circel here.", "Somebody has drawn a large blue circle here."),
        ("The left-hand picture shows a beuatiful garden.", "The left-hand picture shows a beautiful garden."),
    ],
)
def test_sure_misspellings_are_corrected_and_recorded(text: str, expected: str) -> None:
    row, scores, _ = cleaned(text, spelling=True)
    assert row is not None
    assert row.text == expected
    assert scores["text_spelling_changes"] == len(row.changes) > 0
    assert text_of(text) == text


LETTERS = "abcdefghijklmnopqrstuvwxyz"


@given(
    slips=st.lists(st.tuples(st.integers(1, 12), st.integers(0, 2), st.text(LETTERS, max_size=2)), max_size=3),
    number=st.integers(0, 10_000),
    farthest=st.sampled_from((1, 2)),
)
@example(slips=[(1, 0, "z" * 200)], number=0, farthest=2)
def test_the_words_near_a_word_are_those_that_symspell_finds(
    slips: list[tuple[int, int, str]], number: int, farthest: int
) -> None:
    words = spelling._beginning_with("z").words
    word = words[number % len(words)]
    for at, cut, letters in slips:
        word = word[:at] + letters + word[at + cut :]
    found = _symspell("z").lookup(word, Verbosity.ALL, max_edit_distance=farthest)
    assert sorted(spelling._beginning_with("z").near(word, farthest)) == sorted(
        (one.term, one.distance) for one in found
    )
    assert all(spelling._known_words()[one.term] == one.count for one in found)


@cache
def _symspell(letter: str) -> SymSpell:
    """The library's own speller, of the words that begin with a letter."""
    speller = SymSpell(max_dictionary_edit_distance=2, prefix_length=7)
    for line in spelling._dictionary().read_text("utf-8-sig").splitlines():
        word, count = line.split(" ")
        if word[0] == letter and word.isalpha() and word.isascii():
            speller.create_dictionary_entry(word, int(count))
    return speller


@pytest.mark.parametrize(
    "text",
    [
        "Yesterday we met Rahim and Khalai near the village of Wangari.",
        "The colored center of the gray theater was modeled by travelers.",
        "Run my_functon() in src/mian.py or read https://exmaple.org/paeg about it.",
        "We like #sunest and @jonh and the NSAA and iPhnoe pictures of 2nd1 place.",
        "The gelatto was good, and the gelatto was cheap, so they said.",
        "Der Mann färht mit dem Farrhad durch die Straßen der Satdt.",
    ],
)
def test_names_code_addresses_and_other_languages_keep_their_spelling(text: str) -> None:
    assert text_of(text, spelling=True) == text


@pytest.mark.parametrize(
    ("written", "kind"),
    [
        ("cirrcle", "doubled"),
        ("cricle", "swapped"),
        ("cicle", "dropped"),
        ("cirxcle", "added"),
        ("cirxle", "other"),
        ("circel", "swapped"),
    ],
)
def test_a_mistake_is_named(written: str, kind: str) -> None:
    assert mistake(written, "circle") == kind


def _captions(number: int) -> list[tuple[str, ...]]:
    return [
        write_captions(draw_scene(digest.generator("scene", i), 0.5), digest.generator("words", i), 0.5)
        for i in range(number)
    ]


def test_clean_texts_stay_and_planted_typos_are_found() -> None:
    from trichord.pipelines.demo.spoil_text import spoil_text

    clean = _captions(300)
    ops = text_ops(TextConfig(spelling=True))
    batch = Batch(rows=tuple(Row(key=str(i), text=words[0], captions=words[1:]) for i, words in enumerate(clean)))
    after, _ = run_chain(batch, ops)
    assert [(row.text, row.captions) for row in after.rows] == [(row.text, row.captions) for row in batch.rows]

    spoilt = [
        spoil_text(text, "typos", digest.generator("typos", i), draw_scene(digest.generator("scene", i), 0.5))
        for i, (text, *_) in enumerate(clean)
    ]
    rows = tuple(
        Row(key=row.key, text=text, captions=row.captions) for row, text in zip(batch.rows, spoilt, strict=True)
    )
    after, _ = run_chain(Batch(rows=rows), ops)
    assert len(after) == len(rows)
    right = wrong = 0
    for row, text, (meant, *_) in zip(after.rows, spoilt, clean, strict=True):
        for found, written, wanted in zip((row.text or "").split(), text.split(), meant.split(), strict=True):
            right += found != written and found == wanted
            wrong += found != written and found != wanted
    assert right / (right + wrong) >= 0.95
    assert sum(scores["text_spelling_changes"] > 0 for scores in after.scores) / len(rows) >= 0.90


def test_a_row_is_cleaned_as_if_alone() -> None:
    rows = tuple(Row(key=str(i), text=text, captions=tuple(others)) for i, (text, *others) in enumerate(_captions(20)))
    ops = text_ops(TextConfig(spelling=True))
    together, _ = run_chain(Batch(rows=rows), ops)
    for i, row in enumerate(rows):
        alone, _ = run_chain(Batch(rows=(row,)), ops)
        assert (alone.rows[0], alone.scores[0]) == (together.rows[i], together.scores[i])


def test_a_query_is_repaired_and_never_rejected_without_thresholds() -> None:
    ops = [op for op in text_ops(TextConfig(languages=("en",), pii="reject")) if not isinstance(op, Threshold)]
    after, _ = run_chain(Batch.of(texts=["####", GERMAN, "a@example.org", "<b>x</b>"]), ops)
    assert [row.text for row in after.rows] == ["####", GERMAN, "a@example.org", "x"]


@pytest.mark.parametrize(
    "unit",
    [
        "<", "<!--", "<script>", "<b =", "&#1", "a@", "a@b.", "4", "4 ", "4111 ", "+1 (", "+1 202 555 ", "192.168.",
        "a:", "::", "Ã©", "â€™ ", "\u0301", "wrod ", "a-", "'a", "\x1b[", "\x80", "😀", "12345678 ", "(((", "#a",
    ],
)  # fmt: skip
def test_hostile_texts_cost_little(unit: str) -> None:
    """Half a second of processor time is four times the worst; a pattern that explodes takes minutes."""
    text = (unit * 20_000)[:20_000]
    settings = {"spelling": True, "phone_region": "US", "max_symbol_ratio": None, "max_repetition": None}
    cleaned(ENGLISH, **settings)  # models and dictionaries are read once a process
    began = time.process_time()
    reason = cleaned(text, **settings)[2]
    assert time.process_time() - began < 0.5
    assert reason in (None, "text_too_short", "text_too_long")
