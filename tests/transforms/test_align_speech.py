"""Speech and its transcript: scores and rejects, times shifted back, words spelled and pronounced."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from trichord.infra.config import AlignConfig
from trichord.transforms.align.phones import by_letters, pronunciations
from trichord.transforms.align.speech import speech_ops
from trichord.transforms.align.sphinx import SphinxAligner
from trichord.transforms.align.transcript import Token, number_words, tokens_of
from trichord.transforms.align.words import Alignment, Word, mean_score
from trichord.transforms.batch import Batch, Row, Segment, Waveform
from trichord.transforms.op import run_chain

SPEECH = {"audio_speech_s": 4.0, "audio_speech_share": 0.8}


@dataclass(frozen=True)
class Planted:
    """Says every second one word, from `first_s` on; those in `missing` are not found."""

    first_s: float = 1.0
    missing: frozenset[str] = frozenset()
    impossible: bool = False
    asked: list[tuple[str, ...]] = field(default_factory=list)
    languages: tuple[str, ...] = ("en",)

    def settings(self) -> dict[str, Any]:
        return {"aligner": "planted"}

    def __call__(self, wave: Waveform, tokens: Sequence[Token]) -> Alignment | None:
        self.asked.append(tuple(token.text for token in tokens))
        if self.impossible:
            return None
        words = tuple(
            Word(
                text=token.text,
                span=(self.first_s + i, self.first_s + i + 1),
                score=0.1 if token.text in self.missing else 0.9,
            )
            for i, token in enumerate(tokens)
        )
        return Alignment(words=words, score=mean_score(words))


def wave(seconds: float = 5.0) -> Waveform:
    return Waveform(np.zeros(int(seconds * 16_000), np.float32), 16_000)


def aligned(row: Row, aligner: Planted, scores: dict[str, float] | None = None, **config: Any) -> Batch:
    batch = Batch(rows=(row,), waves=(wave(),), scores=(SPEECH if scores is None else scores,))
    return run_chain(batch, speech_ops(AlignConfig(speech="pocketsphinx", **config), aligner))[0]


def test_a_row_that_agrees_gets_its_words_with_times_and_three_scores() -> None:
    after = aligned(Row(key="a", text='"Go," she said.'), Planted())
    assert [segment.text for segment in after.rows[0].segments] == ["Go", "she", "said"]
    assert after.rows[0].segments[1] == Segment(start_s=2, end_s=3, text="she", score=0.9)
    measured = {name: value for name, value in after.scores[0].items() if name.startswith("speech_")}
    assert measured == pytest.approx({"speech_score": 0.9, "speech_coverage": 0.75, "speech_rate_wps": 0.75})


@pytest.mark.parametrize(
    ("aligner", "config", "reason"),
    [
        (Planted(impossible=True), {}, "speech_mismatch"),
        (Planted(missing=frozenset({"she", "said"})), {}, "speech_mismatch"),
        (Planted(), {"min_speech_coverage": 0.8}, "speech_uncovered"),
        (Planted(), {"max_speech_rate_wps": 0.5}, "speech_rate"),
        (Planted(), {"min_speech_rate_wps": 1.0}, "speech_rate"),
    ],
)
def test_each_threshold_has_its_reason(aligner: Planted, config: dict[str, Any], reason: str) -> None:
    after = aligned(Row(key="a", text="Go she said"), aligner, **config)
    assert [reject.reason for reject in after.rejects] == [reason]


def test_thresholds_that_are_null_are_left_out() -> None:
    names = ("min_speech_score", "min_speech_coverage", "min_speech_rate_wps", "max_speech_rate_wps")
    ops = speech_ops(AlignConfig(speech="pocketsphinx", **dict.fromkeys(names)))
    assert [op.name for op in ops] == ["speech_align"]
    assert speech_ops(AlignConfig()) == ()


@pytest.mark.parametrize(
    ("row", "scores", "config"),
    [
        (Row(key="a", text=None), SPEECH, {}),
        (Row(key="a", text="?!"), SPEECH, {}),
        (Row(key="a", text="one two"), SPEECH, {"min_words": 3}),
        (Row(key="a", text="dog bark"), {"audio_speech_s": 0.2}, {}),
        (Row(key="a", text="dog bark"), {"audio_speech_share": 0.05}, {}),
        (Row(key="a", text="dog bark"), {}, {}),  # silence, heard by the voice activity model
    ],
)
def test_rows_that_are_not_speech_get_no_score(row: Row, scores: dict[str, float], config: dict[str, Any]) -> None:
    aligner = Planted()
    after = aligned(row, aligner, scores, **config)
    assert after.rows == (row,)
    assert after.scores == (scores,)
    assert aligner.asked == []


@pytest.mark.parametrize("config", [{"max_s": 4.0}, {"max_words": 2}])
def test_what_is_too_long_is_kept_unaligned_and_labelled(config: dict[str, Any]) -> None:
    after = aligned(Row(key="a", text="Go she said"), Planted(), **config)
    assert [name for name, _ in after.rows[0].labels] == ["speech_skipped"]
    assert "speech_score" not in after.scores[0]


@pytest.mark.parametrize(
    ("language", "score", "skipped"), [("de", 0.99, True), ("de", 0.5, False), ("en", 0.99, False)]
)
def test_text_that_is_surely_of_another_language_is_not_aligned(language: str, score: float, skipped: bool) -> None:
    row = Row(key="a", text="Go she said", labels=(("text_language", language),))
    after = aligned(row, Planted(), SPEECH | {"text_language_score": score})
    assert (dict(after.rows[0].labels).get("speech_skipped") == "language de") == skipped
    assert ("speech_score" in after.scores[0]) != skipped


def given_segments(late_s: Sequence[float]) -> tuple[Segment, ...]:
    words = ("one", "two", "three")
    return tuple(
        Segment(start_s=1 + i + late, end_s=2 + i + late, text=word)
        for i, (word, late) in enumerate(zip(words, late_s, strict=True))
    )


@pytest.mark.parametrize("late", [1.7, -0.9])
def test_segments_that_are_all_late_are_shifted_back_and_the_change_is_recorded(late: float) -> None:
    row = Row(key="a", text="another text", segments=given_segments([late] * 3))
    aligner = Planted()
    after = aligned(row, aligner).rows[0]
    assert aligner.asked == [("one", "two", "three")]
    assert [(s.start_s, s.end_s, s.text, s.score) for s in after.segments] == [
        (1, 2, "one", 0.9), (2, 3, "two", 0.9), (3, 4, "three", 0.9),
    ]  # fmt: skip
    assert [(change.op, change.field) for change in after.changes] == [("speech_align", "segments")]
    assert f"{-late:+.2f} s" in after.changes[0].after


@pytest.mark.parametrize("late", [[0.1, 0.1, 0.1], [0.0, 4.0, -3.0], [40.0, 40.0, 40.0]])
def test_times_that_are_right_or_not_off_by_one_amount_stay(late: list[float]) -> None:
    row = Row(key="a", text="x", segments=given_segments(late))
    after = aligned(row, Planted()).rows[0]
    assert [(s.start_s, s.end_s) for s in after.segments] == [(s.start_s, s.end_s) for s in row.segments]
    assert after.changes == ()


def test_words_are_taken_as_they_are_said() -> None:
    spoken = {token.text: token.spoken for token in tokens_of("Café — don’t! 21 cows, 1,200 & twenty-one 犬")}
    assert spoken == {
        "Café": ("cafe",), "don’t": ("don't",), "21": ("twenty", "one"), "cows": ("cows",),
        "1,200": ("one", "thousand", "two", "hundred"), "twenty-one": ("twenty", "one"), "犬": (),
    }  # fmt: skip
    assert number_words("1984") == ["nineteen", "eighty", "four"]
    assert number_words("2000000007") == ["two", "billion", "seven"]
    assert number_words("007") == ["zero", "zero", "seven"]
    assert tokens_of("") == tokens_of(" -- \n") == ()


def test_words_that_the_dictionary_lacks_are_pronounced_by_stem_or_letters() -> None:
    known = {"millipede": ("M IH L",), "read": ("R IY D", "R EH D")}
    assert pronunciations("read", known) == ("R IY D", "R EH D")
    assert pronunciations("millipede's", known) == ("M IH L Z",)
    assert by_letters("nozibele")[0].startswith("N OW Z")
    assert by_letters("puuuuussssshhh")[0] == "P UW SH"
    assert by_letters("'") == ()


def test_the_embedded_aligner_gives_the_same_answer_whatever_came_before() -> None:
    tone = np.random.Generator(np.random.Philox(key=4)).normal(0, 0.05, 16_000 * 3).astype(np.float32)
    aligner, tokens = SphinxAligner(), tokens_of("The quick brown fox jumps over Nozibele")
    first = aligner(Waveform(tone, 16_000), tokens)
    aligner(Waveform(tone[::-1].copy() * 3, 16_000), tokens_of("something else"))
    assert aligner(Waveform(tone, 16_000), tokens) == first
    if first is not None:
        assert first.score < 0.5
    assert aligner(wave(), tokens_of("犬")) is None
    assert aligner(wave(0.001), tokens) is None


def test_a_script_that_the_aligner_does_not_know_is_left_out_whatever_the_label_says() -> None:
    after = aligned(Row(key="a", text="一辆红色的公交车停在路边"), planted := Planted())
    assert dict(after.rows[0].labels) == {"speech_skipped": "language zh"}
    assert planted.asked == []
    assert len(after.rows) == 1


def test_a_character_of_a_script_without_blanks_is_a_spoken_word_and_half_a_word_of_the_rate() -> None:
    assert [token.text for token in tokens_of("去ABC店，买 3个。")] == ["去", "ABC", "店", "买", "3", "个"]
    after = aligned(Row(key="a", text="红色的车"), Planted(languages=()))
    assert [segment.text for segment in after.rows[0].segments] == list("红色的车")
    assert after.scores[0]["speech_rate_wps"] == pytest.approx(2 / 4)
