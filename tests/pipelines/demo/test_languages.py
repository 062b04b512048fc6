"""The demo says the same in every language: what is planted in one corpus is planted, and found, in all."""

from __future__ import annotations

import json
import string
from collections import Counter
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest

from trichord.infra.config import PrepareConfig
from trichord.infra.digest import generator
from trichord.pipelines.demo.captions import CAPTIONS, write_captions
from trichord.pipelines.demo.corpus import read_labels, write_corpus
from trichord.pipelines.demo.defects import DEFECTS, expected
from trichord.pipelines.demo.foreign import foreign_to
from trichord.pipelines.demo.languages import CHINESE, ENGLISH, LANGUAGES, Language
from trichord.pipelines.demo.languages.table import Frame, Noun
from trichord.pipelines.demo.scenes import BACKGROUNDS, COLOURS, GRID, SHAPES, SIZES, draw_scene
from trichord.pipelines.demo.settings import DEMO_REASONS, fixed_by, prepare_settings
from trichord.pipelines.demo.spoil_text import TEXT_DEFECTS, spoil_text
from trichord.transforms.batch import Batch, Row
from trichord.transforms.clean.text import text_ops
from trichord.transforms.op import run_chain

OTHERS = [language for language in LANGUAGES.values() if language is not ENGLISH]
# a third language is a table: one word for everything, no blanks, no slips
PLAIN = Language(
    code="xx",
    name="Signs",
    blank="",
    unit=4,
    shapes={shape: (Noun(one=f"[{shape}]", many=f"[{shape}s]"),) for shape in SHAPES},
    colours={colour: (f"<{colour}>",) for colour in COLOURS},
    backgrounds={ground: (f"{ground}~",) for ground in BACKGROUNDS},
    sizes={size: (f"'{size}'",) for size in SIZES},
    counts={count: (f"{count}×",) for count in (1, 2, 3, 4)},
    several=("n×",),
    positions=tuple((f"@{place}",) for place in range(GRID * GRID)),
    orders=(("{count}", "{size}", "{colour}", "{noun}", "{place}"),),
    frames=tuple(
        Frame(text=f"{name}: {{parts}}{{background}}", background=" / {colour}", last=" + ") for name in "ABCDE"
    ),
    full_stop=".",
    exclamation="!",
    mojibake="é{head}{last}",
    boilerplate=("again",),
    mail="({found})",
    phone="({found})",
    address="({found})",
    card="({found})",
    phones=("+1 {area}-555-0{last}",),
    prepare={},
    example="2×",
)


def _scene(index: int, difficulty: float = 0.5) -> Any:
    return draw_scene(generator("test", index, "scene"), difficulty)


def _captions(index: int, language: Language, difficulty: float = 0.5) -> tuple[str, ...]:
    return write_captions(_scene(index, difficulty), generator("test", index, "captions"), difficulty, language)


@pytest.mark.parametrize("language", [*LANGUAGES.values(), PLAIN], ids=lambda language: language.code)
def test_a_table_has_words_for_everything(language: Language) -> None:
    assert set(language.shapes) == set(SHAPES)
    assert set(language.colours) == set(COLOURS)
    assert set(language.backgrounds) == set(BACKGROUNDS)
    assert set(language.sizes) == set(SIZES)
    assert set(language.counts) == {1, 2, 3, 4}
    assert len(language.positions) == GRID * GRID
    assert len(language.frames) >= CAPTIONS
    for order in language.orders:
        slots = [name for pattern in order for _, name, _, _ in string.Formatter().parse(pattern) if name]
        assert sorted(slots) == ["colour", "count", "noun", "place", "size"]
    for name in ("mail", "phone", "address", "card"):
        assert getattr(language, name).count("{found}") == 1
    assert not language.mojibake.isascii()
    PrepareConfig.model_validate(prepare_settings(language))
    assert all(getattr(language, field.name) is not None for field in fields(language))


@pytest.mark.parametrize("language", [*OTHERS, PLAIN], ids=lambda language: language.code)
def test_plain_captions_name_everything_that_is_in_the_scene(language: Language) -> None:
    for index in range(30):
        scene = _scene(index, 0.0)
        for caption in _captions(index, language, 0.0):
            assert "{" not in caption
            for group in scene.groups:
                assert language.colours[group.colour][0] in caption
                assert language.sizes[group.size][0] in caption
                assert language.positions[group.position][0] in caption
                noun = language.shapes[group.shape][0]
                assert (noun.many if group.count > 1 else noun.one) in caption
                assert language.counts[group.count][0].format(measure=noun.measure) in caption
            assert language.backgrounds[scene.background][0] in caption


@pytest.mark.parametrize("language", OTHERS, ids=lambda language: language.code)
def test_no_two_things_share_a_word(language: Language) -> None:
    for words in (language.colours, language.backgrounds, language.sizes, dict(enumerate(language.positions))):
        assert max(Counter(word for choices in words.values() for word in choices).values()) == 1
    assert max(Counter(noun.one for nouns in language.shapes.values() for noun in nouns).values()) == 1


def test_chinese_captions_hold_no_letters_and_no_blanks() -> None:
    for index in range(60):
        for caption in _captions(index, CHINESE):
            assert not any(letter.isascii() and not letter.isdigit() for letter in caption), caption


@pytest.mark.parametrize("language", [CHINESE, PLAIN], ids=lambda language: language.code)
def test_a_corpus_in_another_language_differs_in_its_texts_alone(tmp_path: Path, language: Language) -> None:
    rows, labels = {}, {}
    for one in (ENGLISH, language):
        folder = tmp_path / one.code
        write_corpus(folder, records=40, seed=7, defects=0.02, language=one)
        rows[one.code] = [json.loads(line) for line in (folder / "manifest.jsonl").read_text("utf-8").splitlines()]
        labels[one.code] = list(read_labels(folder))
    for english, other in zip(labels["en"], labels[language.code], strict=True):
        assert english["clean_text"] != other["clean_text"]
        assert {**english, "clean_text": ""} == {**other, "clean_text": ""}
    for english, other in zip(rows["en"], rows[language.code], strict=True):
        for medium in ("image", "audio"):
            assert english[medium] == other[medium]
            paths = [tmp_path / code / english[medium] for code in ("en", language.code)]
            assert paths[0].read_bytes() == paths[1].read_bytes()


@pytest.mark.parametrize("language", OTHERS, ids=lambda language: language.code)
@pytest.mark.parametrize("kind", [None, *TEXT_DEFECTS])
def test_the_ops_on_text_make_of_every_defect_what_they_make_of_it_in_english(
    language: Language, kind: str | None
) -> None:
    clean = [_captions(index, language)[0] for index in range(150)]
    spoilt = clean
    if kind is not None:
        spoilt = [
            spoil_text(text, kind, generator("test", index, kind), _scene(index), language)
            for index, text in enumerate(clean)
        ]
        assert all(ours != theirs for ours, theirs in zip(spoilt, clean, strict=True))
    ops = text_ops(PrepareConfig.model_validate(prepare_settings(language)).text)
    sound = [b"sound"] * len(spoilt)  # so that a row without a text is kept
    rows = tuple(Row(key=str(index), text=text) for index, text in enumerate(spoilt))
    done = run_chain(Batch(rows=rows, raw_images=(None,) * len(rows), raw_audios=tuple(sound)), ops)[0]
    if kind is not None and kind in DEMO_REASONS:
        rejected = [reject for reject in done.rejects if reject.reason == DEMO_REASONS[kind]]
        assert len(rejected) >= 0.98 * len(spoilt)
        return
    assert len(done.rejects) <= 0.01 * len(spoilt), [reject.detail for reject in done.rejects][:3]
    after = {int(row.key): row for row in done.rows}
    changed = {number: {change.op for change in row.changes} for number, row in after.items()}
    if kind is None:
        assert not any(changed.values())
    elif kind in fixed_by(language):
        assert sum(fixed_by(language)[kind] in ops for ops in changed.values()) >= 0.98 * len(spoilt)
    if kind in ("control_characters", "html_markup", "bidi_controls"):
        assert all(row.text == clean[number] for number, row in after.items())
    if kind == "mojibake":
        assert all(clean[number] in (row.text or "") for number, row in after.items())
    if kind == "pii":
        assert all((row.text or "").startswith(clean[number]) for number, row in after.items())
        assert not any(
            letter.isdigit() for number, row in after.items() for letter in (row.text or "")[len(clean[number]) :]
        )


def test_a_foreign_text_is_never_in_the_language_of_the_corpus() -> None:
    for code in LANGUAGES:
        assert len(foreign_to(code)) >= 6
        assert code not in foreign_to(code)


def test_every_defect_has_one_fate_in_every_language() -> None:
    for language in LANGUAGES.values():
        assert set(fixed_by(language)) <= set(DEFECTS) - set(DEMO_REASONS)
    assert set(fixed_by(ENGLISH)) - set(fixed_by(CHINESE)) == {"typos"}, "spelling is corrected in English only"
    labels = [{"key": kind, "defects": [kind], "twin": None} for kind in DEFECTS]
    assert expected(labels, DEMO_REASONS).rejects.keys() == set(DEMO_REASONS)
    assert replace(PLAIN, prepare={"spelling": True}).prepare  # a table turns it on
    assert "typos" in fixed_by(replace(PLAIN, prepare={"spelling": True}))
