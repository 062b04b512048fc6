"""Changes of sounds: levels, durations and pitches are what was drawn, and the times of segments follow."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
import torch

from tests.transforms.test_augment import config_of, variants
from trichord.infra import digest
from trichord.transforms.augment.audio import Gain, Noise, Pitch, Speed
from trichord.transforms.augment.variants import list_changes
from trichord.transforms.batch import Batch, Row, Samples, Segment, Waveform

RATE_HZ = 16_000


def voice(duration_s: float = 2.0, level: float = 0.3) -> Waveform:
    """A tone of 400 Hz that comes and goes."""
    t = np.arange(int(duration_s * RATE_HZ)) / RATE_HZ
    wave = level * np.sin(2 * np.pi * 400 * t) * (0.6 + 0.4 * np.sin(2 * np.pi * 3 * t))
    return Waveform(wave.astype(np.float32), RATE_HZ)


def one_step(
    name: str, copies: int = 4, wave: Waveform | None = None, row: Row | None = None, **settings: Any
) -> tuple[list[dict[str, Any]], list[Samples], tuple[Row, ...]]:
    """What a step drew, the sounds and the rows it made."""
    batch = Batch(rows=(row or Row(key="a"),), waves=(wave or voice(),))
    made = variants(batch, config_of(copies, audio={name: {"p": 1.0, **settings}}))
    drawn = [json.loads(list_changes(row)[0]) for row in made.rows if list_changes(row)]
    return drawn, [wave.samples for wave in made.waves if wave is not None], made.rows


def pitch_hz(samples: Samples) -> float:
    """The strongest frequency."""
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples)), 1 << 18))
    return float(np.argmax(spectrum)) * RATE_HZ / (1 << 18)


@pytest.mark.parametrize("colour", ["white", "pink"])
@pytest.mark.parametrize("snr_db", [-5.0, 0.0, 10.0, 20.0, 40.0])
def test_noise_has_the_ratio_that_was_drawn(colour: str, snr_db: float) -> None:
    clean = voice().samples.astype(np.float64)
    drawn, sounds, _ = one_step("noise", min_snr_db=snr_db, max_snr_db=snr_db, colour=colour)
    for made in sounds:
        # a sound that had to be made softer was so as a whole: the best fit says by how much
        scale = float(made @ clean / (clean @ clean))
        noise = made / scale - clean
        found = 10 * math.log10(float(np.square(clean).mean() / np.square(noise).mean()))
        assert found == pytest.approx(snr_db, abs=0.5)
    assert {story["snr_db"] for story in drawn} == {snr_db}


def test_pink_noise_falls_by_three_decibels_an_octave() -> None:
    step = Noise(seed=0, p=1, least_db=0, most_db=0, colour="pink")
    wave = Waveform(np.full(1 << 16, 0.1, np.float32), RATE_HZ)
    made = step.sound(wave, digest.generator("pink"))
    assert made is not None
    power = np.square(np.abs(np.fft.rfft(made[0] - wave.samples)))
    low, high = power[256:512].mean(), power[4_096:8_192].mean()
    assert 10 * math.log10(low / high) == pytest.approx(12, abs=1)


def test_speed_divides_duration_and_segment_times_exactly() -> None:
    segments = (Segment(start_s=0.2, end_s=0.5, text="one"), Segment(start_s=0.5, end_s=2.0, text="two"))
    row = Row(key="a", text="one two", segments=segments, span=(3.0, 5.0))
    for percent in range(25, 401):
        if percent == 100:
            continue
        step = Speed(seed=0, p=1, least=percent / 100, most=percent / 100)
        short = voice(0.05)
        made = step.sound(short, digest.generator("speed"))
        assert made is not None
        assert len(made[0]) == math.ceil(len(short.samples) * 100 / percent)
        assert made[1] == {"factor": percent / 100}
    drawn, sounds, rows = one_step("speed", copies=6, row=row, min_factor=0.5, max_factor=2)
    assert len({story["factor"] for story in drawn}) > 3
    for story, made_samples, variant in zip(drawn, sounds, rows, strict=True):
        factor = story["factor"]
        assert len(made_samples) == math.ceil(2 * RATE_HZ / factor)
        assert pitch_hz(made_samples) == pytest.approx(400 * factor, rel=0.01)
        assert [s.start_s for s in variant.segments] == pytest.approx([0.2 / factor, 0.5 / factor])
        assert [s.end_s for s in variant.segments] == pytest.approx([0.5 / factor, 2.0 / factor])
        assert variant.segments[-1].end_s <= len(made_samples) / RATE_HZ
        assert variant.span == (3.0, 5.0)


@pytest.mark.parametrize("semitones", [-2.0, -0.37, 1.0, 2.0])
def test_pitch_moves_and_duration_stays(semitones: float) -> None:
    wave = voice()
    step = Pitch(seed=0, p=1, max_semitones=abs(semitones))

    class Fixed:
        def uniform(self, low: float, high: float) -> float:
            return semitones

    made = step.sound(wave, Fixed())  # type: ignore[arg-type]
    assert made is not None
    assert len(made[0]) == len(wave.samples)
    assert 12 * math.log2(pitch_hz(made[0]) / 400) == pytest.approx(semitones, abs=0.1)


@pytest.mark.parametrize("name", ["pitch", "reverberation", "noise", "time_mask", "frequency_mask", "gain"])
def test_a_step_other_than_speed_keeps_duration_and_times(name: str) -> None:
    segments = (Segment(start_s=0.1, end_s=1.9, text="all"),)
    drawn, sounds, rows = one_step(name, row=Row(key="a", segments=segments))
    assert len(drawn) == len(sounds) == 4
    for made, row in zip(sounds, rows, strict=True):
        assert len(made) == len(voice().samples)
        assert made.dtype == np.float32
        assert np.abs(made).max() <= 1
        assert not np.array_equal(made, voice().samples)
        assert row.segments == segments


def test_masks_are_silent_where_they_say() -> None:
    drawn, sounds, _ = one_step("time_mask", max_share=0.3)
    for story, made in zip(drawn, sounds, strict=True):
        start, stop = round(story["start_s"] * RATE_HZ), round(story["end_s"] * RATE_HZ)
        assert 0 < stop - start <= 0.3 * len(made)
        assert not made[start:stop].any()
        rest = np.r_[made[:start], made[stop:]]
        assert np.array_equal(rest, np.r_[voice().samples[:start], voice().samples[stop:]])
    white = digest.generator("white").standard_normal(RATE_HZ).astype(np.float32) * np.float32(0.1)
    drawn, sounds, _ = one_step("frequency_mask", wave=Waveform(white, RATE_HZ), max_share=0.3)
    for story, made in zip(drawn, sounds, strict=True):
        hz = np.fft.rfftfreq(len(made), 1 / RATE_HZ)
        inside = (hz > story["low_hz"] + 40) & (hz < story["high_hz"] - 40)
        if inside.any():
            before, after = (np.square(np.abs(np.fft.rfft(x)))[inside].mean() for x in (white, made))
            assert 10 * math.log10(before / after) > 15


def test_reverberation_keeps_the_level_and_rings_after_the_sound() -> None:
    click = np.zeros(RATE_HZ, np.float32)
    click[1_000] = 0.9
    _, sounds, _ = one_step("reverberation", wave=Waveform(click, RATE_HZ), min_decay_s=0.5, max_decay_s=0.5)
    for made in sounds:
        assert np.square(made).sum() == pytest.approx(np.square(click).sum(), rel=1e-3)
        early, late = (np.square(made[at : at + 800]).mean() for at in (1_100, 1_100 + 4_000))
        assert 10 * math.log10(early / late) == pytest.approx(60 * 4_000 / 8_000, abs=3)


def test_gain_is_bounded_by_full_scale() -> None:
    drawn, sounds, _ = one_step("gain", wave=voice(level=0.9), min_db=-60, max_db=60)
    peak = np.abs(voice(level=0.9).samples).max()
    for story, made in zip(drawn, sounds, strict=True):
        assert np.abs(made).max() <= 1
        assert 20 * math.log10(np.abs(made).max() / peak) == pytest.approx(story["gain_db"], abs=0.01)
    softer = Gain(seed=0, p=1, least_db=-6, most_db=-6).sound(voice(), digest.generator("gain"))
    assert softer is not None
    assert np.abs(softer[0]).max() / np.abs(voice().samples).max() == pytest.approx(10**-0.3, rel=1e-3)


def test_silence_and_the_shortest_sounds_are_not_errors() -> None:
    every = {name: {"p": 1.0} for name in config_of().audio.model_dump()}
    for samples in (np.zeros(RATE_HZ, np.float32), np.zeros(1, np.float32), np.full(300, 0.5, np.float32)):
        batch = Batch(rows=(Row(key="a"),), waves=(Waveform(samples, RATE_HZ),))
        for wave in variants(batch, config_of(2, audio=every)).waves:
            assert wave is not None
            assert np.isfinite(wave.samples).all()


def test_the_number_of_threads_shapes_no_bit() -> None:
    every = {name: {"p": 1.0} for name in config_of().audio.model_dump()}
    batch, found, threads = Batch(rows=(Row(key="a"),), waves=(voice(),)), set(), torch.get_num_threads()
    for count in (1, 2, 4):
        torch.set_num_threads(count)
        [wave] = variants(batch, config_of(1, audio=every)).waves
        assert torch.get_num_threads() == count
        assert wave is not None
        found.add(digest.sha256_hex(wave.samples.tobytes()))
    torch.set_num_threads(threads)
    assert len(found) == 1
