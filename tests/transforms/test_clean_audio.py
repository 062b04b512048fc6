"""The ops on sounds against known answers: spans, level, offset, hum, flatness, loudness, gate, trimming."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from typing import Any

import numpy as np
import pyloudnorm
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from tests.transforms.samples import sound, tone
from trichord.infra import digest
from trichord.infra.config import AudioConfig
from trichord.transforms.batch import Batch, Row, Samples, Segment, Waveform
from trichord.transforms.clean.audio import audio_ops
from trichord.transforms.clean.denoise import gate_noise
from trichord.transforms.clean.level import AudioLevel, frame_levels
from trichord.transforms.clean.loudness import AudioLoudness, loudness
from trichord.transforms.clean.noise import _medians, flatness, hum
from trichord.transforms.clean.trim import AudioTrim
from trichord.transforms.media import decode_audio
from trichord.transforms.op import recipe_of, run_chain

RATE = 16_000
EVERYTHING = AudioConfig(
    trim=True, noise_reduction_db=15, remove_hum_above_db=20, target_lufs=-23, min_duration_s=0.05, max_silence=None
)


def noise(duration_s: float, level: float, name: str = "noise") -> Samples:
    """White noise of an effective value."""
    values = digest.generator("clean-audio", name).standard_normal(round(duration_s * RATE), dtype=np.float32)
    return values * np.float32(level)


def sine(hz: float, duration_s: float, peak: float, rate_hz: int = RATE) -> Samples:
    """A pure tone."""
    return (peak * np.sin(2 * np.pi * hz * np.arange(round(duration_s * rate_hz)) / rate_hz)).astype(np.float32)


def syllables(duration_s: float) -> Samples:
    """Something like speech: harmonics of a gliding pitch in syllables of 0.25 s, with pauses of 0.15 s."""
    t = np.arange(round(duration_s * RATE)) / RATE
    phase = 2 * np.pi * np.cumsum(130 + 30 * np.sin(2 * np.pi * 0.7 * t)) / RATE
    voice = sum(np.sin(k * phase) / k for k in range(1, 20))
    envelope = np.clip(np.sin(2 * np.pi * np.minimum(t % 0.4, 0.25) / 0.5), 0, None)
    return (0.2 * voice * envelope).astype(np.float32)


def run(batch: Batch, config: AudioConfig) -> Batch:
    return run_chain(batch, audio_ops(config))[0]


def prepared(samples: Samples, rate_hz: int = RATE, **settings: Any) -> Batch:
    """One sound through the chain, as a WAV file."""
    raw = sound(samples, "wav", rate_hz, "FLOAT")
    return run(Batch(rows=(Row(key="k"),), raw_audios=(raw,)), AudioConfig(**settings))


def scores(samples: Samples, **settings: Any) -> dict[str, float]:
    return dict(prepared(samples, **settings).scores[0])


def reason(batch: Batch) -> str | None:
    return batch.rejects[0].reason if batch.rejects else None


def cut(*spans: tuple[float, float] | None, raw: bytes, **settings: Any) -> Batch:
    """Rows of one file, each with a span of it."""
    rows = tuple(Row(key=str(i), span=span) for i, span in enumerate(spans))
    return run(Batch(rows=rows, raw_audios=(raw,) * len(rows)), AudioConfig(vad=False, **settings))


def test_a_span_is_cut_out_of_the_decoded_sound() -> None:
    steps = np.repeat(np.array([0.1, 0.2, 0.3, 0.4], np.float32), RATE) * np.tile([1, -1], 2 * RATE)
    batch = cut((1.0, 2.0), None, (2.5, 3.5), (3.0, 4.4), raw=sound(steps.astype(np.float32), "wav", RATE))
    lengths = [0 if wave is None else len(wave.samples) for wave in batch.waves]
    assert lengths == [RATE, 4 * RATE, RATE, RATE]
    first, _, third, last = (np.abs(wave.samples) for wave in batch.waves if wave is not None)
    np.testing.assert_allclose(first, 0.2, atol=1e-4)
    np.testing.assert_allclose(third[[0, -1]], [0.3, 0.4], atol=1e-4)
    np.testing.assert_allclose(last, 0.4, atol=1e-4)
    assert [row.span for row in batch.rows] == [(1.0, 2.0), None, (2.5, 3.5), (3.0, 4.0)]
    assert [score["audio_duration_s"] for score in batch.scores] == [1, 4, 1, 1]


@pytest.mark.parametrize("span", [(-0.1, 1.0), (2.0, 2.2), (1.0, 2.51), (1.5, 1.5), (1.5, 1.0), (0.0, float("nan"))])
def test_a_span_outside_the_sound_is_refused(span: tuple[float, float]) -> None:
    assert [r.reason for r in cut(span, raw=sound(tone(2.0, RATE), "wav", RATE)).rejects] == ["span_outside"]


def test_rows_are_cut_out_of_files_too_long_to_be_rows() -> None:
    batch = cut((0.0, 1.0), (0.0, 2.5), None, raw=sound(tone(3.0, RATE), "wav", RATE), max_duration_s=2)
    assert [row.key for row in batch.rows] == ["0"]
    assert [(r.key, r.reason) for r in batch.rejects] == [("1", "audio_too_long"), ("2", "audio_too_long")]


def test_one_bytes_object_is_decoded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []

    def counted(data: bytes, **bounds: Any) -> Waveform:
        calls.append(len(data))
        return decode_audio(data, **bounds)

    monkeypatch.setattr("trichord.transforms.clean.audio.decode_audio", counted)
    cut((0.0, 1.0), (1.0, 2.0), (2.0, 3.0), raw=sound(tone(3.0, RATE), "wav", RATE))
    assert len(calls) == 1
    broken = cut((0.0, 1.0), (1.0, 2.0), raw=sound(tone(3.0, RATE), "wav", RATE)[:5_000])
    assert [r.reason for r in broken.rejects] == ["audio_truncated"] * 2
    assert len(calls) == 2


@pytest.mark.parametrize("constant", [0.0, 0.002, -0.02, 0.1, -0.3])
def test_an_offset_is_measured_and_a_large_one_subtracted(constant: float) -> None:
    batch = prepared(sine(440, 1.0, 0.5) + np.float32(constant))
    assert batch.scores[0]["audio_dc"] == pytest.approx(abs(constant), abs=1e-4)
    wave, changes = batch.waves[0], batch.rows[0].changes
    assert wave is not None
    removed = abs(constant) > 0.005
    assert float(wave.samples.mean()) == pytest.approx(0 if removed else constant, abs=1e-4)
    assert [change.before for change in changes] == ([f"offset {constant:.5f}"] if removed else [])
    assert reason(prepared(sine(440, 1.0, 0.5) + np.float32(constant), max_dc=0.05)) == (
        "audio_dc" if abs(constant) > 0.05 else None
    )


def test_silence_is_refused_whatever_its_offset_and_any_sound_kept() -> None:
    quiet = np.zeros(2 * RATE, np.float32)
    assert reason(prepared(quiet)) == "audio_silent"
    assert reason(prepared(quiet + np.float32(0.2))) == "audio_silent"
    assert reason(prepared(noise(2, 10 ** (-75 / 20)))) == "audio_silent"
    assert reason(prepared(noise(2, 10 ** (-50 / 20)))) is None
    quiet[1_000:1_800] = sine(440, 0.05, 0.1)
    assert reason(prepared(quiet)) is None


@pytest.mark.parametrize("seconds", [0.0, 0.2, 0.5, 1.0])
def test_silent_share_and_padding_are_those_planted(seconds: float) -> None:
    padded = np.pad(sine(440, 1.0, 0.3), round(seconds * RATE))
    found = AudioLevel(silence_db=-60)(Batch.of(waves=[Waveform(padded, RATE)])).scores[0]
    assert found["audio_silence"] == pytest.approx(2 * seconds / (1 + 2 * seconds), abs=0.02)
    assert found["audio_padding_s"] == pytest.approx(2 * seconds, abs=0.041)


@given(st.floats(-90, 0), st.integers(1, 5_000))
def test_frame_levels_are_the_level_of_noise_in_decibels(level_db: float, length: int) -> None:
    square = np.where(np.arange(length) % 2, 1, -1).astype(np.float32) * np.float32(10 ** (level_db / 20))
    levels = frame_levels(Waveform(square, RATE))
    assert len(levels) == -(-length // 320)
    if length % 2 == 0:
        assert levels[0] == pytest.approx(level_db, abs=0.01)


@pytest.mark.parametrize("mains", [50.0, 60.0])
@pytest.mark.parametrize("factor", [1, 2])
def test_hum_follows_its_level_decibel_by_decibel(mains: float, factor: int) -> None:
    base = noise(4.0, 0.01)
    found = []
    for level_db in (-55, -45, -35):
        lines = hum(Waveform(base + sine(mains * factor, 4.0, 10 ** (level_db / 20)), RATE))
        assert lines is not None
        found.append(lines[0])
        assert lines[1] == mains
    np.testing.assert_allclose(np.diff(found), 10, atol=1.5)
    clean = hum(Waveform(base, RATE))
    assert clean is not None
    assert clean[0] < 6
    assert hum(Waveform(base[: RATE // 2], RATE)) is None


def test_hum_is_refused_or_notched_out_by_policy() -> None:
    voice = syllables(3.0) + noise(3.0, 0.002)
    humming = voice + sine(50, 3.0, 0.1) + sine(150, 3.0, 0.03)
    assert reason(prepared(humming, max_hum_db=20)) == "audio_hum"
    assert reason(prepared(voice, max_hum_db=20)) is None
    batch = prepared(humming, remove_hum_above_db=20)
    wave = batch.waves[0]
    assert wave is not None
    error = np.square(wave.samples - voice)[1_000:-1_000].mean()
    assert error < np.square(humming - voice).mean() / 10
    assert batch.rows[0].changes[0].before.startswith("hum of 50 Hz")
    assert prepared(voice, remove_hum_above_db=20).rows[0].changes == ()


def test_flatness_is_one_of_white_noise_and_finds_noise_under_what_comes_and_goes() -> None:
    def flat(samples: Samples) -> float:
        found = flatness(Waveform(samples, RATE), -60)
        assert found is not None
        return found

    assert flat(noise(3, 0.1)) > 0.95
    assert flat(sine(440, 3.0, 0.3) + noise(3, 0.0003)) < 0.05
    voice = syllables(3.0)
    found = [flat(voice + noise(3, level)) for level in (0.0003, 0.003, 0.03, 0.3)]
    assert found == sorted(found)
    assert found[0] < 0.2 < 0.8 < found[-1]
    assert flatness(Waveform(np.zeros(RATE, np.float32), RATE), -60) is None
    assert reason(prepared(noise(3, 0.1), max_flatness=0.45)) == "audio_noise"
    assert reason(prepared(noise(3, 0.1))) is None


@pytest.mark.parametrize("frames", [1, 2, 7, 8])
def test_medians_are_those_of_numpy(frames: int) -> None:
    power = np.square(noise(1.0, 1.0)[: 40 * frames]).reshape(frames, 40)
    assert np.array_equal(_medians(power), np.median(power, axis=0))


@pytest.mark.parametrize("rate_hz", [16_000, 48_000])
@pytest.mark.parametrize("level_db", [-40.0, -23.0, -3.01])
def test_loudness_of_a_sine_of_997_hz_is_its_level(rate_hz: int, level_db: float) -> None:
    # BS.1770: a 997 Hz sine on one channel reads its effective level, -3.01 LUFS at full scale
    peak = 10 ** ((level_db + 3.01) / 20)
    assert loudness(Waveform(sine(997, 3.0, peak, rate_hz), rate_hz)) == pytest.approx(level_db, abs=0.2)


@pytest.mark.parametrize("length", [1, 2, 160, 1_600, 6_399, 6_400, 6_401])
def test_short_and_silent_sounds_have_a_loudness(length: int) -> None:
    whole, part = sine(997, 1.0, 0.1), sine(997, 1.0, 0.1)[:length]
    assert loudness(Waveform(np.zeros(length, np.float32), RATE)) == -70
    assert -70 <= loudness(Waveform(part, RATE)) < 0
    if length >= 1_600:
        assert loudness(Waveform(part, RATE)) == pytest.approx(loudness(Waveform(whole, RATE)), abs=1)


@pytest.mark.parametrize("rate_hz", [8_000, RATE, 44_100])
def test_loudness_is_what_pyloudnorm_measures(rate_hz: int) -> None:
    for length in (1, 2, 100, 6_399, 6_400, 17_637, 50_000):
        loud = noise(4.0, 0.1)[:length] * np.linspace(0, 1, length, dtype=np.float32) ** 4  # most of it below the gates
        for samples in (loud, loud * np.float32(1e-3)):
            block_s = 0.4 if length >= 0.4 * rate_hz else (length - 0.5) / rate_hz
            meter = pyloudnorm.Meter(rate_hz, block_size=block_s)
            with np.errstate(divide="ignore"):
                expected = max(-70.0, meter.integrated_loudness(samples.astype(np.float64)))
            assert loudness(Waveform(samples, rate_hz)) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("peak", [0.001, 0.01, 0.1, 0.5])
def test_loudness_is_brought_to_the_target_unless_the_peak_forbids(peak: float) -> None:
    calm = Waveform(sine(997, 2.0, peak), RATE)
    after = AudioLoudness(target_lufs=-23, max_peak_db=-1)(Batch.of(waves=[calm]))
    assert after.waves[0] is not None
    assert loudness(after.waves[0]) == pytest.approx(-23, abs=0.1)
    spiky = calm.samples.copy()
    spiky[::4_000] = 0.9
    limited = AudioLoudness(target_lufs=-5, max_peak_db=-1)(Batch.of(waves=[Waveform(spiky, RATE)])).waves[0]
    assert limited is not None
    assert np.abs(limited.samples).max() <= 10 ** (-1 / 20) + 1e-6


def test_a_quiet_sound_is_refused_by_policy_and_silence_is_not_amplified() -> None:
    assert reason(prepared(sine(997, 2.0, 0.005), min_loudness_lufs=-40)) == "audio_quiet"
    assert reason(prepared(sine(997, 2.0, 0.05), min_loudness_lufs=-40)) is None
    silent = prepared(np.zeros(RATE, np.float32), max_silence=None, target_lufs=-23)
    assert silent.waves[0] is not None
    assert not silent.waves[0].samples.any()


@pytest.mark.parametrize("snr_db", [0, 5, 10])
def test_the_gate_gains_three_decibels_on_noisy_and_loses_less_than_one_on_clean_sound(snr_db: float) -> None:
    voice = syllables(4.0)
    level = float(np.sqrt(np.square(voice).mean())) / 10 ** (snr_db / 20)
    noisy = voice + noise(4, level)
    after = gate_noise(Waveform(noisy, RATE), 20)
    gain_db = 10 * np.log10(np.square(noisy - voice).mean() / np.square(after - voice).mean())
    assert gain_db >= 3
    clean = gate_noise(Waveform(voice, RATE), 20)
    assert len(clean) == len(voice)
    assert abs(10 * np.log10(np.square(clean).mean() / np.square(voice).mean())) < 1
    assert np.square(clean - voice).mean() < np.square(voice).mean() / 100


def test_the_gate_gives_the_same_samples_block_by_block(monkeypatch: pytest.MonkeyPatch) -> None:
    wave = Waveform(syllables(2.0) + noise(2, 0.02), RATE)
    whole = gate_noise(wave, 15)
    monkeypatch.setattr("trichord.transforms.clean.denoise._BLOCK", 64)
    np.testing.assert_allclose(gate_noise(wave, 15), whole, atol=1e-6)


@pytest.mark.parametrize(("before_ms", "behind_ms"), [(0, 0), (100, 50), (300, 500), (1_000, 2_000)])
def test_silence_is_cut_off_up_to_the_margin(before_ms: int, behind_ms: int) -> None:
    padded = np.pad(sine(440, 1.0, 0.3), (before_ms * 16, behind_ms * 16))
    op = AudioTrim(margin_s=0.1, silence_db=-60, least_s=0.1)
    after = op(Batch.of(waves=[Waveform(padded, RATE)]))
    assert after.waves[0] is not None
    expected_s = 1 + min(0.1, before_ms / 1_000) + min(0.1, behind_ms / 1_000)
    assert after.waves[0].duration_s == pytest.approx(expected_s, abs=0.041)
    trimmed_s = (len(padded) - len(after.waves[0].samples)) / RATE
    assert after.scores[0]["audio_trimmed_s"] == pytest.approx(trimmed_s)
    assert bool(after.rows[0].changes) == (trimmed_s > 0)


def test_segments_and_span_move_with_the_trimmed_sound() -> None:
    padded = np.pad(sine(440, 2.0, 0.3), RATE)
    row = Row(
        key="k",
        span=(10.0, 14.0),
        segments=(
            Segment(start_s=0.1, end_s=0.5, text="gone"),
            Segment(start_s=0.5, end_s=1.5, text="clipped"),
            Segment(start_s=1.5, end_s=2.0, text="moved"),
            Segment(start_s=3.5, end_s=4.0, text="gone too"),
        ),
    )
    batch = Batch(rows=(row,), waves=(Waveform(padded, RATE),))
    after = AudioTrim(margin_s=0.1, silence_db=-60, least_s=0.1)(batch).rows[0]
    assert after.span == pytest.approx((10.9, 13.1))
    assert [(s.text, round(s.start_s, 3), round(s.end_s, 3)) for s in after.segments] == [
        ("clipped", 0.0, 0.6),
        ("moved", 0.6, 1.1),
    ]
    assert after.changes[0].before == "0.000-4.000 s"
    assert after.changes[0].after == "0.900-3.100 s"
    silent = Waveform(np.zeros(RATE, np.float32), RATE)
    assert AudioTrim(margin_s=0.1, silence_db=-60, least_s=0.1)(replace(batch, waves=(silent,))).rows == (row,)


def test_a_sound_does_not_depend_on_its_neighbours() -> None:
    files = [sound(s, "wav", r) for s, r in (
        (syllables(2.0) + noise(2, 0.01), RATE), (tone(1.0), 22_050), (sine(50, 2.0, 0.3), RATE),
        (np.pad(tone(0.3), 8_000), 22_050), (np.zeros(4_000, np.float32), RATE), (np.zeros(1, np.float32), RATE),
    )]  # fmt: skip
    rows = tuple(Row(key=str(i), span=(0.2, 0.8) if i in (1, 6) else None) for i in range(8))
    raw = (*files, files[1], None)
    together = run(Batch(rows=rows, raw_audios=raw), EVERYTHING)
    backwards = run(Batch(rows=rows[::-1], raw_audios=raw[::-1]), EVERYTHING)
    alone = [run(Batch(rows=rows[i : i + 1], raw_audios=raw[i : i + 1]), EVERYTHING) for i in range(8)]
    for other in (backwards, *alone):
        for i, row in enumerate(other.rows):
            j = next(j for j, same in enumerate(together.rows) if same.key == row.key)
            assert (row, other.scores[i]) == (together.rows[j], together.scores[j])
            ours, theirs = other.waves[i], together.waves[j]
            assert (ours is None) == (theirs is None)
            if ours is not None and theirs is not None:
                assert ours.samples.tobytes() == theirs.samples.tobytes()
    assert len(together.rows) == sum(len(one.rows) for one in alone)
    assert together.scores[-1] == {}
    assert all(np.isfinite(list(found.values())).all() for found in together.scores)


SCRIPT = """
import hashlib, json, sys
from trichord.infra.config import AudioConfig
from tests.transforms.samples import sound, tone
from trichord.transforms.batch import Batch, Row
from trichord.transforms.clean.audio import audio_ops
from trichord.transforms.op import recipe_of, run_chain
heavy = lambda: sorted({"torch", "scipy", "safetensors", "pyloudnorm"} & set(sys.modules))
none = run_chain(Batch(rows=(Row(key="k", text="x"),)), audio_ops(AudioConfig()))[0]
before = heavy()
raw = (sound(tone(3.0, 44_100), "wav", 44_100),)
done = run_chain(Batch(rows=(Row(key="k"),), raw_audios=raw), audio_ops(AudioConfig(noise_reduction_db=15)))[0]
print(json.dumps([before, "torch" in heavy(), done.scores[0], hashlib.sha256(done.waves[0].samples).hexdigest()]))
"""


def test_threads_change_no_bit_and_torch_is_not_imported() -> None:
    answers = []
    for threads in ("1", "4"):
        environment = {**os.environ, "OMP_NUM_THREADS": threads, "OPENBLAS_NUM_THREADS": threads}
        made = subprocess.run([sys.executable, "-c", SCRIPT], env=environment, capture_output=True, text=True)
        assert made.returncode == 0, made.stderr
        answers.append(json.loads(made.stdout))
    assert answers[0] == answers[1]
    assert answers[0][:2] == [[], False]


def test_the_recipe_changes_with_every_setting() -> None:
    limits = {"max_dc": 0.5, "max_hum_db": 30.0, "max_flatness": 0.5, "min_speech_share": 0.1, "min_snr_db": 5.0}
    base = {**EVERYTHING.model_dump(), **limits, "max_silence": 0.9, "min_loudness_lufs": -40.0}
    recipes = {digest.address(recipe_of(audio_ops(AudioConfig.model_validate(base))))}
    for name, value in base.items():
        other = not value if isinstance(value, bool) else value * 0.9 if abs(value) < 100 else value + 1
        changed: dict[str, object] = {**base, name: other}
        if name == "vad":
            changed |= {"min_speech_share": None, "min_snr_db": None}
        recipes.add(digest.address(recipe_of(audio_ops(AudioConfig.model_validate(changed)))))
    assert None not in base.values()
    assert len(recipes) == len(base) + 1


def test_a_limit_that_needs_speech_needs_vad() -> None:
    with pytest.raises(ValidationError, match="min_snr_db"):
        AudioConfig(vad=False, min_snr_db=5)
    assert "audio_voice" not in {op.name for op in audio_ops(AudioConfig(vad=False))}
