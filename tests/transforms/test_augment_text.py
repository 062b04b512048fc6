"""Changes of texts: nlpaug's augmenters on every kind of text, and synonyms from WordNet's own files."""

from __future__ import annotations

import copy
import os
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.transforms.test_augment import TEXT, config_of, variants
from trichord.infra.digest import generator
from trichord.infra.errors import ConfigError
from trichord.transforms.augment.chain import augment_chain
from trichord.transforms.augment.text import Contextual
from trichord.transforms.augment.variants import list_changes
from trichord.transforms.augment.wordnet import WordNetSynonyms
from trichord.transforms.augment.words import names_colour, protected_words, says_side, tokens
from trichord.transforms.batch import Batch, Row
from trichord.transforms.clean.language import LABEL as LANGUAGE_LABEL
from trichord.transforms.op import recipe_of

STEPS = ("swap", "delete", "spelling", "keyboard", "ocr")
WORDNET = Path("/usr/share/wordnet")  # where Debian's wordnet-base puts the dictionaries

# part of speech -> synsets; of a word's synsets the first is its most frequent sense
SYNSETS = {
    "noun": [["dog", "domestic_dog", "hound"], ["bench", "workbench"], ["red", "redness"], ["dog", "frump"]],
    "verb": [["sleep", "slumber"]],
    "adj": [["small", "little(a)"], ["old", "aged"]],
    "adv": [["far", "afar"]],
}
COUNTED = {"dog": 9, "bench": 3, "sleep": 4, "small": 7, "old": 5, "red": 8}


def write_wordnet(folder: Path) -> Path:
    """A dictionary of a few words in WordNet's format, wndb(5WN)."""
    folder.mkdir(exist_ok=True)
    for pos, (name, synsets) in zip("nvar", SYNSETS.items(), strict=True):
        data, offsets = b"  1 This stands for the licence.\n", []
        for words in synsets:
            offsets.append(len(data))
            listed = " ".join(f"{word} 0" for word in words)
            data += f"{len(data):08d} 05 {pos} {len(words):02x} {listed} 000 | a gloss  \n".encode()
        index = "  1 This stands for the licence.\n"
        for word in sorted({word.partition("(")[0] for words in synsets for word in words}):
            of = [
                at for at, words in zip(offsets, synsets, strict=True) if word in [w.partition("(")[0] for w in words]
            ]
            places = " ".join(f"{at:08d}" for at in of)
            index += f"{word} {pos} {len(of)} 2 @ ~ {len(of)} {COUNTED.get(word, 0)} {places}  \n"
        (folder / f"data.{name}").write_bytes(data)
        (folder / f"index.{name}").write_text(index, encoding="utf-8")
    return folder


def reworded(text: str, captions: tuple[str, ...] = (), copies: int = 4, **steps: Any) -> list[Row]:
    batch = Batch(rows=(Row(key="a", text=text, captions=captions),))
    return list(variants(batch, config_of(copies, text=steps)).rows)


@pytest.mark.parametrize("name", STEPS)
def test_every_step_changes_text_and_captions_and_no_protected_word(name: str) -> None:
    step: dict[str, Any] = {name: {"p": 1.0}}
    rows = reworded(TEXT, (TEXT.replace("dog", "cat"),), **step)
    assert any(row.text != TEXT for row in rows)
    for row in rows:
        assert row.text is not None
        assert protected_words(row.text) >= Counter({"not": 1, "2": 1})
        assert all(row.captions)
        assert row.text.replace(" ", "") != ""
    assert len({row.text for row in rows}) > 1


@pytest.mark.parametrize("name", ["spelling", "keyboard", "ocr"])
def test_a_step_on_letters_leaves_spaces_and_punctuation_alone(name: str) -> None:
    text = "The dog (a brown one) said:  \"wait - don't run\"...\nThen it jumped; nobody's watching!"
    step: dict[str, Any] = {name: {"p": 1.0, "max_share": 1.0}}
    for row in reworded(text, **step):
        assert row.text is not None
        assert len(tokens(row.text)) == len(tokens(text))
        for old, new in zip(tokens(text), tokens(row.text), strict=True):
            assert old == new or old[0].isalnum()
    assert any(row.text != text for row in reworded(text, **step))


@settings(max_examples=40)
@given(text=st.text(max_size=60))
def test_no_text_is_an_error(text: str) -> None:
    steps: dict[str, Any] = {name: {"p": 1.0, "max_share": 1.0} for name in STEPS}
    for row in reworded(text, (text, "x"), copies=1, **steps, min_words=1):
        assert row.text is not None


def test_short_texts_and_other_languages_are_left_as_they_are() -> None:
    steps: dict[str, Any] = {name: {"p": 1.0} for name in STEPS}
    assert [row.text for row in reworded("two words", **steps)] == ["two words"] * 4
    row = Row(key="a", text=TEXT, labels=((LANGUAGE_LABEL, "cy"),))  # of which no word is known
    assert [made.text for made in variants(Batch(rows=(row,)), config_of(3, text=steps)).rows] == [TEXT] * 3
    assert variants(Batch(rows=(Row(key="a"),)), config_of(1, text=steps)).rows[0].text is None


FOREIGN = {
    "zh": ("一位老人没有在公园的湖边看书，旁边停着两辆红色自行车。", "没两"),
    "ja": ("公園のベンチで老人が本を読んでいないので、隣に犬が二匹いる。", "二ないので"),
    "ko": ("공원 벤치에서 노인이 책을 읽지 않고 옆에 강아지 두 마리가 있다.", "않두"),
    "de": ("Ein alter Mann liest nicht auf der Bank, daneben stehen zwei rote Fahrräder.", "nicht zwei"),
    "ar": ("رجل عجوز لا يقرأ كتابا في الحديقة وبجانبه دراجة حمراء على اليمين.", "لا اليمين"),
}


@pytest.mark.parametrize("language", FOREIGN)
def test_words_of_other_languages_are_removed_and_exchanged_but_none_that_turns_the_meaning(language: str) -> None:
    text, kept = FOREIGN[language]
    row = Row(key="a", text=text, labels=((LANGUAGE_LABEL, language),))
    for name in ("swap", "delete"):
        step: dict[str, Any] = {name: {"p": 1.0, "max_share": 0.3}}
        made = [one.text or "" for one in variants(Batch(rows=(row,)), config_of(8, text=step)).rows]
        assert len({*made, text}) > 3, name
        for one in made:
            assert all(
                one.count(char) == text.count(char) for char in kept.replace(" ", "") if language in ("zh", "ja")
            )
            assert protected_words(one, language) == protected_words(text, language)
            assert protected_words(text, language)
            letters = [Counter(filter(str.isalnum, wording)) for wording in (one, text)]
            assert letters[0] == letters[1] if name == "swap" else letters[0] < letters[1] or one == text


def test_dictionaries_and_keyboards_are_english_and_thai_is_left_as_it_is() -> None:
    english: dict[str, Any] = {name: {"p": 1.0} for name in ("spelling", "keyboard", "ocr")}
    for language, (text, _) in FOREIGN.items():
        row = Row(key="a", text=text, labels=((LANGUAGE_LABEL, language),))
        assert {one.text for one in variants(Batch(rows=(row,)), config_of(2, text=english)).rows} == {text}
    thai = Row(key="a", text="ชายชราไม่ได้อ่านหนังสืออยู่ในสวนสาธารณะ")
    every: dict[str, Any] = {name: {"p": 1.0} for name in STEPS}
    assert {one.text for one in variants(Batch(rows=(thai,)), config_of(4, text=every)).rows} == {thai.text}


@settings(max_examples=60)
@given(text=st.text(max_size=60))
def test_tokens_join_to_the_text(text: str) -> None:
    assert "".join(tokens(text)) == text


def test_a_language_that_the_project_does_not_name_is_left_as_it_is() -> None:
    row = Row(key="a", text=FOREIGN["zh"][0])
    step: dict[str, Any] = {"delete": {"p": 1.0}, "languages": ("en",)}
    assert {one.text for one in variants(Batch(rows=(row,)), config_of(3, text=step)).rows} == {row.text}


@pytest.mark.parametrize(
    ("text", "side", "colour"),
    [
        ("一个男人站在桌子左边", True, False),
        ("红色的公交车", False, True),
        ("桌上有一本书", False, False),
        ("右手に持つ", True, False),
        ("青い車", False, True),
        ("오른쪽에 있는 집", True, False),
        ("노란 꽃", False, True),
        ("รถสีแดงอยู่ทางซ้าย", True, True),
        ("Haus auf der linken Seite", True, False),
        ("ein blaues Auto", False, True),
        ("красная машина справа", True, True),
        ("سيارة حمراء على اليمين", True, True),
        ("two dogs solve a cleft and rode home", False, False),
    ],
)
def test_sides_and_colours_are_known_in_many_languages(text: str, side: bool, colour: bool) -> None:
    assert says_side(text) == side
    assert names_colour(text) == colour


def test_synonyms_are_of_the_most_frequent_sense(tmp_path: Path) -> None:
    wordnet = write_wordnet(tmp_path / "dict")
    step = {"p": 1.0, "max_share": 1.0, "wordnet": str(wordnet)}
    texts = {row.text for row in reworded("A small dog sleeps by the red bench.", copies=20, synonym=step)}
    words = set().union(*(tokens(text or "") for text in texts))
    assert words & {"little", "hound", "workbench", "domestic"}
    assert not words & {"frump", "redness", "slumber"}  # another sense, a colour, another form
    rows = reworded("The Old Dog barked at home.", copies=3, synonym=step)
    assert [row.text for row in rows] == ["The Old Dog barked at home."] * 3  # names


def test_a_dictionary_counts_by_its_bytes_and_not_by_its_place(tmp_path: Path) -> None:
    def recipe(folder: Path) -> Any:
        chain = augment_chain(config_of(1, text={"synonym": {"p": 0.5, "wordnet": str(folder)}}))
        return recipe_of(chain)

    one, other = write_wordnet(tmp_path / "one"), write_wordnet(tmp_path / "other")
    assert recipe(one) == recipe(other)
    with (other / "data.adv").open("ab") as file:
        file.write(b"\n")
    opened = WordNetSynonyms(str(other))
    assert opened.fingerprint != WordNetSynonyms(str(one)).fingerprint
    assert "_senses" not in vars(copy.copy(opened))


def test_a_missing_dictionary_is_an_error_with_its_remedy(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="apt-get install wordnet-base"):
        augment_chain(config_of(1, text={"synonym": {"p": 0.5, "wordnet": str(tmp_path / "none")}}))
    names = [op.name for op in augment_chain(config_of(1, text={"synonym": {"p": 0.5}}))]
    assert "augment:text_synonym" not in names


@pytest.mark.skipif(
    not (Path(os.environ.get("TRICHORD_WORDNET", WORDNET)) / "index.noun").is_file(),
    reason="no WordNet on this machine",
)
def test_the_real_wordnet_gives_synonyms() -> None:
    folder = os.environ.get("TRICHORD_WORDNET", str(WORDNET))
    wordnet = WordNetSynonyms(folder)
    assert wordnet.predict("car", "n") == ["auto", "automobile", "machine", "motorcar"]
    assert wordnet.predict("large", "a") == ["big"]
    assert wordnet.pos_tag(["A", " ", "car", "in", "Paris", "not"])[2:] == [
        ("car", "NN"),
        ("in", "DT"),
        ("Paris", "DT"),
        ("not", "DT"),
    ]
    step = {"p": 1.0, "max_share": 0.5, "wordnet": folder}
    rows = reworded("A large car stops near the small bicycle of a boy.", copies=8, synonym=step)
    assert all(row.text != "A large car stops near the small bicycle of a boy." for row in rows)
    assert all(list_changes(row) for row in rows)


def test_a_model_fills_in_single_characters_where_there_are_no_blanks() -> None:
    asked: list[str] = []

    def fill(text: str, spans: Any, rng: Any) -> str:
        asked.extend(text[start:end] for start, end in spans)
        return text

    text = FOREIGN["zh"][0]
    step = Contextual(seed=0, p=1.0, min_words=3, languages=(), max_share=1.0, model=fill)  # type: ignore[arg-type]
    for number in range(6):
        step.reword(text, "zh", generator("fill", number))
    assert asked
    assert set(map(len, asked)) == {1}
    assert not {"没", "两", "一", "，"} & set(asked)
    assert not step.fits("th")
