"""Speech: Silero's model computed with NumPy, WADA's table, and both on spoken stories."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from scipy import special, stats

from tests.transforms.test_clean_audio import RATE, noise, prepared, sine, syllables
from trichord.infra import digest
from trichord.infra.config import AudioConfig
from trichord.transforms.batch import Batch, Row, Samples, Waveform
from trichord.transforms.clean import voice
from trichord.transforms.clean.audio import audio_ops
from trichord.transforms.clean.denoise import gate_noise
from trichord.transforms.clean.snr import _STATISTIC, LEAST_DB, MOST_DB, SHAPE, wada
from trichord.transforms.clean.speech import AudioVoice, spans_of, with_spans
from trichord.transforms.clean.trim import AudioTrim
from trichord.transforms.clean.voice import speech_probabilities, speech_spans
from trichord.transforms.media import decode_audio, resample
from trichord.transforms.op import run_chain

SAMPLE = Path(os.environ.get("TRICHORD_SAMPLE", ""))
SNRS_DB = (0, 5, 10, 15, 20)


def statistic(snr_db: float) -> float:
    """WADA's statistic by integration: gamma-distributed speech, normal noise of deviation 1."""
    scale = np.sqrt(10 ** (snr_db / 10) / (SHAPE * (SHAPE + 1)))
    logs = np.linspace(-60, 5, 4_001)
    weights = np.exp(SHAPE * logs - np.exp(logs))
    weights /= weights.sum()
    size = np.exp(logs) * scale
    mean = np.sqrt(2 / np.pi) * np.exp(-(size**2) / 2) + size * special.erf(size / np.sqrt(2))
    # the logarithm of a noncentral chi-square variable is a Poisson mixture of digammas
    near, k = size < 20, np.arange(600)
    log = np.log(np.maximum(size, 1))
    log[near] = 0.5 * (np.log(2) + stats.poisson.pmf(k, size[near, None] ** 2 / 2) @ special.digamma(0.5 + k))
    return float(np.log(weights @ mean) - weights @ log)


def test_the_table_of_wada_is_that_of_its_model_and_rises() -> None:
    assert len(_STATISTIC) == MOST_DB - LEAST_DB + 1
    assert (np.diff(_STATISTIC) > 0).all()
    for snr_db in (-20, -10, 0, 10, 20, 30, 40):
        assert statistic(snr_db) == pytest.approx(_STATISTIC[snr_db - LEAST_DB], abs=2e-3)


@pytest.mark.parametrize("level", [0.01, 0.1])
@pytest.mark.parametrize("snr_db", [-5, 0, 5, 10, 15, 20, 25])
def test_wada_measures_the_true_snr_of_its_own_model_at_any_level(snr_db: int, level: float) -> None:
    rng = digest.generator("wada", snr_db)
    speech = rng.gamma(SHAPE, size=20 * RATE) * rng.choice([-1, 1], 20 * RATE)
    speech *= level / np.sqrt(np.square(speech).mean())
    mixed = speech + rng.standard_normal(20 * RATE) * level / 10 ** (snr_db / 20)
    assert wada(mixed.astype(np.float32)) == pytest.approx(snr_db, abs=1)
    assert wada((mixed + 0.2).astype(np.float32)) == pytest.approx(snr_db, abs=1)


def test_the_model_in_numpy_is_the_packages_own(monkeypatch: pytest.MonkeyPatch) -> None:
    # The package's model of record is a torch program with newer weights: given these, both must agree.
    import safetensors.numpy
    import torch
    from silero_vad import load_silero_vad

    reference = load_silero_vad()
    state = {name.removeprefix("_model."): value.numpy() for name, value in reference.state_dict().items()}
    names = {"stft_conv.weight": "stft.forward_basis_buffer"}
    for kind in ("weight", "bias"):
        names |= {f"conv{i + 1}.{kind}": f"encoder.{i}.reparam_conv.{kind}" for i in range(4)}
        names |= {f"lstm_cell.{kind}_{way}": f"decoder.rnn.{kind}_{way}" for way in ("ih", "hh")}
        names[f"final_conv.{kind}"] = f"decoder.decoder.2.{kind}"
    monkeypatch.setattr(safetensors.numpy, "load_file", lambda path: {ours: state[own] for ours, own in names.items()})
    monkeypatch.setattr(voice, "_BLOCK", 20)
    voice._model.cache_clear()
    try:
        samples = np.concatenate((syllables(3.0), noise(1.0, 0.02), sine(300, 1.1, 0.2)))
        reference.reset_states()
        expected = reference.audio_forward(torch.from_numpy(samples)[None], RATE).numpy()[0]
        np.testing.assert_allclose(speech_probabilities([samples])[0], expected, atol=1e-4)
    finally:
        voice._model.cache_clear()


def test_a_sounds_chances_have_the_same_bits_whatever_is_judged_beside_it() -> None:
    lengths = (3.0, 0.02, 9.7, 1.1, 0.0, 4.4, 9.7, 0.6)  # longer and shorter than a block of frames
    sounds = [syllables(length) + noise(length, 0.01, str(i)) for i, length in enumerate(lengths)]
    sounds += [noise(0.3 + i / 50, 0.1) for i in range(voice._SOUNDS)]
    alone = [speech_probabilities([samples])[0].tobytes() for samples in sounds]
    for size in (2, 5, len(sounds)):
        for order in (range(len(sounds)), range(len(sounds) - 1, -1, -1)):
            for at in range(0, len(sounds), size):
                places = order[at : at + size]
                together = speech_probabilities([sounds[i] for i in places])
                assert [found.tobytes() for found in together] == [alone[i] for i in places]


def chances(monkeypatch: pytest.MonkeyPatch, *runs: tuple[int, float]) -> tuple[voice.Span, ...]:
    """Spans made of given probabilities: (frames, chance) in turn."""
    given = np.concatenate([np.full(count, chance, np.float32) for count, chance in runs])
    monkeypatch.setattr(voice, "speech_probabilities", lambda sounds: [given])
    return speech_spans([np.zeros(len(given) * voice.FRAME, np.float32)])[0]


def test_spans_follow_the_rules_of_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    frame = voice.FRAME / voice.RATE_HZ
    found = chances(monkeypatch, (10, 0.1), (20, 0.9), (3, 0.1), (20, 0.6), (2, 0.4), (10, 0.7), (20, 0.1))
    np.testing.assert_allclose(found, [(10 * frame - 0.03, 65 * frame + 0.03)])
    assert chances(monkeypatch, (10, 0.1), (7, 0.9), (30, 0.1)) == ()  # shorter than 0.25 s
    two = chances(monkeypatch, (20, 0.9), (5, 0.1), (20, 0.9))
    np.testing.assert_allclose(two, [(0, 20 * frame + 0.03), (25 * frame - 0.03, 45 * frame)])


@pytest.mark.parametrize("samples", [noise(3, 0.1), noise(3, 0.003), sine(440, 3.0, 0.3), np.zeros(RATE, np.float32)])
def test_noise_tones_and_silence_are_not_speech(samples: Samples) -> None:
    batch = prepared(samples, max_silence=None)
    assert batch.scores[0]["audio_speech_s"] == 0
    assert batch.scores[0]["audio_speech_share"] == 0
    assert "audio_snr_db" not in batch.scores[0]
    assert batch.rows[0].labels == ()
    assert prepared(samples, max_silence=None, min_speech_share=0.1).rejects[0].reason == "audio_no_speech"


@pytest.mark.parametrize("length", [1, 511, 512, 513, 8_000])
def test_a_sound_of_any_length_and_rate_is_judged(length: int) -> None:
    for rate_hz in (8_000, RATE, 22_050):
        found = AudioVoice()(Batch.of(waves=[Waveform(np.zeros(length, np.float32), rate_hz), None])).scores
        assert found == ({"audio_speech_s": 0.0, "audio_speech_share": 0.0}, {})


def test_spans_of_speech_are_a_label_and_move_with_the_trimmed_sound() -> None:
    row = with_spans(Row(key="k", labels=(("z", "1"), ("a", "2"))), [(1.0, 1.8), (2.1, 3.0)])
    assert row.labels == (("a", "2"), ("audio_speech", "1.000-1.800 2.100-3.000"), ("z", "1"))
    assert spans_of(row) == ((1.0, 1.8), (2.1, 3.0))
    assert with_spans(row, ()).labels == (("a", "2"), ("z", "1"))
    # speech in steady noise: energy finds no silence, the speech does
    batch = Batch(rows=(row,), waves=(Waveform(noise(3.4, 0.1), RATE),))
    after = AudioTrim(margin_s=0.1, silence_db=-60, least_s=0.1)(batch)
    assert after.waves[0] is not None
    assert after.waves[0].duration_s == pytest.approx(2.2, abs=0.01)
    assert spans_of(after.rows[0]) == ((0.1, 0.9), (1.2, 2.1))


@cache
def stories() -> tuple[tuple[str, Samples], ...]:
    """Key and samples at 16 kHz of every second spoken page of the stories that WADA's shape was *not* fitted on."""
    rows = [json.loads(line) for line in (SAMPLE / "manifest.jsonl").open()]
    spoken = [row for row in rows if row.get("audio") and "storybook" in row["audio"]]
    groups = sorted({row["group"] for row in spoken})[1::2]
    chosen = [row for row in spoken if row["group"] in groups][::2]
    return tuple((row["id"], read(SAMPLE / row["audio"])) for row in chosen)


def read(path: Path) -> Samples:
    return resample(decode_audio(path.read_bytes(), max_bytes=50_000_000, max_duration_s=600), RATE).samples


def voiced(samples: Samples) -> npt.NDArray[np.bool_]:
    mask = np.zeros(len(samples), bool)
    for start, end in speech_spans([samples])[0]:
        mask[round(start * RATE) : round(end * RATE)] = True
    return mask


def noisy(samples: Samples, key: str, snr_db: float) -> Samples:
    """With white noise, so that the power of the voiced parts is `snr_db` above it; within full scale."""
    power = np.square(samples[voiced(samples)], dtype=np.float64).mean()
    mixed = samples + digest.generator("snr", key).standard_normal(len(samples)) * np.sqrt(power / 10 ** (snr_db / 10))
    return np.asarray(mixed * min(1, 0.99 / np.abs(mixed).max()), np.float32)


def measured(samples: Samples) -> dict[str, float]:
    return dict(AudioVoice()(Batch.of(waves=[Waveform(samples, RATE)])).scores[0])


@pytest.mark.sample
@pytest.mark.parametrize("snr_db", SNRS_DB)
def test_wada_is_within_two_decibels_of_the_true_snr_on_spoken_stories(snr_db: int) -> None:
    found = [measured(noisy(samples, key, snr_db)) for key, samples in stories()]
    errors = np.array([scores["audio_snr_db"] - snr_db for scores in found if "audio_snr_db" in scores])
    assert len(errors) > 0.9 * len(stories())
    assert abs(errors.mean()) < 2
    assert abs(np.median(errors)) < 2
    # a single clip is less certain the better it is: the statistic hardly grows above 15 dB, and the recordings
    # have noise of their own
    assert np.quantile(np.abs(errors), 0.9) < (2 if snr_db <= 5 else 3 if snr_db <= 10 else 9)


@pytest.mark.sample
def test_the_share_of_speech_is_that_of_the_speech_spliced_in() -> None:
    errors = []
    for key, samples in stories()[::4]:
        spans = speech_spans([samples])[0]
        speech = samples[round(spans[0][0] * RATE) : round(spans[-1][1] * RATE)]
        held = sum(end - start for start, end in spans)
        for pause_s in (1.0, 3.0):
            floor = noise(2 * pause_s, 0.0005, key)
            half = len(floor) // 2
            spliced = np.concatenate((floor[:half], speech, floor[half:]))
            errors.append(measured(spliced)["audio_speech_share"] - held / (len(spliced) / RATE))
    assert np.abs(errors).mean() < 0.03
    assert np.abs(errors).max() < 0.15


@pytest.mark.sample
def test_the_gate_gains_three_decibels_on_noisy_stories_and_keeps_clean_ones() -> None:
    gains, losses = [], []
    for key, samples in stories()[::4]:
        power = np.square(samples[voiced(samples)], dtype=np.float64).mean()
        hiss = (digest.generator("gate", key).standard_normal(len(samples)) * np.sqrt(power / 10)).astype(np.float32)
        left = np.square(gate_noise(Waveform(samples + hiss, RATE), 20) - samples).mean()
        gains.append(10 * np.log10(np.square(hiss).mean() / left))
        clean = gate_noise(Waveform(samples, RATE), 20)
        losses.append(10 * np.log10(np.square(samples).mean() / np.square(clean).mean()))
    assert np.mean(gains) > 3
    assert np.max(losses) < 1


@pytest.mark.sample
def test_every_real_sound_passes_the_default_chain_and_rain_is_not_speech() -> None:
    def kept(folder: str) -> Iterator[tuple[Row, dict[str, float]]]:
        files = sorted((SAMPLE / folder / "audio").glob("*.ogg"))[::3]
        raw = tuple(path.read_bytes() for path in files)
        batch = Batch(rows=tuple(Row(key=path.name) for path in files), raw_audios=raw)
        after, _ = run_chain(batch, audio_ops(AudioConfig()))
        assert [(reject.key, reject.reason) for reject in after.rejects] == []
        return zip(after.rows, map(dict, after.scores), strict=True)

    assert all(scores["audio_speech_share"] > 0.2 for _, scores in kept("storybook"))
    assert all(scores["audio_speech_share"] < 0.2 for _, scores in kept("esc10"))
