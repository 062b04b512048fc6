"""Detectors against known answers, text normalising against its laws."""

from __future__ import annotations

import unicodedata

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra import digest
from infra.config import PrepareConfig
from tests.transforms.samples import picture, saved, sound, tone
from transforms.batch import Batch, Reject, Row
from transforms.chain import prepare_chain
from transforms.clean.audio import clipping
from transforms.clean.image import sharpness
from transforms.clean.text import TextNormalize, normalize
from transforms.op import run_chain

CHAIN = prepare_chain(PrepareConfig())


def prepared(**media: bytes | str) -> tuple[dict[str, float], Reject | None]:
    """Scores of one row's media, and its reject."""
    row = Row(key="k", text=str(media["text"]) if "text" in media else None)
    raw = {name: media.get(name[4:-1]) for name in ("raw_images", "raw_audios")}
    after, _ = run_chain(Batch(rows=(row,), **{name: (value,) for name, value in raw.items()}), CHAIN)  # type: ignore[arg-type]
    return (dict(after.scores[0]), None) if after.rows else ({}, after.rejects[0])


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
        ("\ufeffsoft\u00adhyphen\u200b", "softhyphen"),
        ("left\u202eright", "leftright"),
        ("👩\u200d🚀 می\u200cخواهم", "👩\u200d🚀 می\u200cخواهم"),
        ("ﬁne ½", "ﬁne ½"),
    ],
)
def test_known_texts_are_normalized(text: str, expected: str) -> None:
    assert normalize(text) == expected


def test_captions_are_other_wordings_and_stand_in_for_an_absent_text() -> None:
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
    assert [r.reason for r in TextNormalize()(Batch(rows=rows[2:])).rejects] == ["row_empty"]


def test_text_length_is_judged_after_normalising() -> None:
    assert prepared(text="  ab  ")[0] == {"text_chars": 2.0}
    reject = prepared(text="x" * 20_001)[1]
    assert reject is not None
    assert (reject.reason, reject.op) == ("text_too_long", "threshold:text_too_long")


@pytest.mark.parametrize("side", [128, 200, 256, 512, 1_024])
def test_sharpness_falls_with_blur_and_hardly_depends_on_size(side: int) -> None:
    blocks = digest.generator("blocks").integers(0, 256, (24, 32, 3)).astype(np.uint8)
    scene = np.asarray(cv2.resize(blocks, (1_024, 768), interpolation=cv2.INTER_NEAREST), np.uint8)
    resized = np.asarray(cv2.resize(scene, (side, side * 3 // 4), interpolation=cv2.INTER_AREA), np.uint8)
    blurred = [cv2.GaussianBlur(resized, (0, 0), sigma * side / 256) for sigma in (0.3, 1, 2, 4)]
    values = [sharpness(np.asarray(rgb, np.uint8), 256) for rgb in blurred]
    assert values == sorted(values, reverse=True)
    assert values[0] > 50 * values[-1]
    assert sharpness(scene, 256) / 6 < sharpness(resized, 256) < sharpness(scene, 256) * 2


def test_blurred_small_and_narrow_pictures_are_refused_and_good_ones_kept() -> None:
    def reason(width: int, height: int, blur: float = 0) -> str | None:
        rgb = picture(width, height)
        rgb = np.asarray(cv2.GaussianBlur(rgb, (0, 0), blur), np.uint8) if blur else rgb
        reject = prepared(image=saved(rgb, "PNG"))[1]
        return None if reject is None else reject.reason

    assert reason(320, 240) is None
    assert reason(96, 72) is None
    assert reason(31, 200) == "image_too_small"
    assert reason(32 * 7, 32) == "image_aspect"
    assert reason(320, 240, blur=12) == "image_blurred"
    scores, _ = prepared(image=saved(picture(640, 160), "PNG"))
    assert scores["image_min_side"] == 160
    assert scores["image_aspect"] == 4


@pytest.mark.parametrize("gain", [0.5, 0.9, 1.2, 1.5, 2, 4, 10])
@pytest.mark.parametrize("hz", [50.0, 440.0, 2_000.0])
def test_clipping_is_the_share_of_time_at_full_scale(gain: float, hz: float) -> None:
    t = np.arange(44_100) / 44_100
    samples = np.clip(gain * np.sin(2 * np.pi * hz * t), -1, 1).astype(np.float32)
    share = 0 if gain < 1 else 1 - 2 / np.pi * np.arcsin(1 / gain)
    assert clipping(samples) == pytest.approx(share, abs=0.03)


def test_single_peaks_are_no_clipping() -> None:
    samples = np.zeros(1_000, np.float32)
    samples[::10] = 1
    assert clipping(samples) == 0
    samples[1::10] = 1
    assert clipping(samples) == 0
    samples[2::10] = -1
    assert clipping(samples) == pytest.approx(0.3)


@pytest.mark.parametrize("kind", ["wav", "flac", "ogg", "mp3"])
def test_clipped_and_short_sounds_are_refused_and_good_ones_kept(kind: str) -> None:
    def reason(data: bytes) -> str | None:
        reject = prepared(audio=data)[1]
        return None if reject is None else reject.reason

    assert reason(sound(tone(1.0, level=0.7), kind)) is None
    assert reason(sound(np.clip(tone(1.0, level=4), -1, 1), kind)) == "audio_clipped"
    if kind != "mp3":  # whose shortest file is longer
        assert reason(sound(tone(0.08), kind)) == "audio_too_short"
    assert reason(sound(np.zeros(22_050, np.float32), kind)) is None


def test_duration_and_peak_are_those_of_the_file() -> None:
    scores, _ = prepared(audio=sound(np.full(11_025, 0.5, np.float32), "wav", 44_100))
    assert scores["audio_duration_s"] == 0.25
    assert scores["audio_peak_db"] == pytest.approx(-6.02, abs=0.01)
    assert prepared(audio=sound(np.zeros(8_000, np.float32)))[0]["audio_peak_db"] == -120
