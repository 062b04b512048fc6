"""Sound: decoding to the canonical rate, and the ops that judge and repair it, cheap ones first.

| op | scores | may reject with | may change |
|---|---|---|---|
| audio_decode | audio_duration_s, audio_peak_db, audio_clipping | span_outside, what `media` lists | span |
| audio_level | audio_dc, audio_silence, audio_padding_s | audio_silent, audio_dc | |
| audio_dc_removal | | | samples |
| audio_spectrum | audio_hum_db, audio_flatness | audio_hum, audio_noise | |
| audio_voice | audio_speech_share, audio_speech_s, audio_snr_db | audio_no_speech, audio_low_snr | label audio_speech |
| audio_hum_removal, audio_noise_reduction | | | samples |
| audio_trim | audio_trimmed_s | | samples, segments, span, label audio_speech |
| audio_loudness | audio_loudness_lufs | audio_quiet | samples |
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from trichord.infra.config import AudioConfig
from trichord.transforms.batch import Batch, Row, Samples, Waveform
from trichord.transforms.clean.denoise import HumRemoval, NoiseReduction
from trichord.transforms.clean.level import AudioLevel, DcRemoval
from trichord.transforms.clean.loudness import AudioLoudness
from trichord.transforms.clean.noise import AudioSpectrum
from trichord.transforms.clean.speech import AudioVoice
from trichord.transforms.clean.trim import AudioTrim
from trichord.transforms.libraries import audio_libraries
from trichord.transforms.media import MediaError, decode_audio, resample
from trichord.transforms.op import Op, Threshold

FULL_SCALE = 0.999
MIN_RUN = 3  # one sample at full scale is a peak, three in a row are a plateau
SILENCE_DB = -120.0
SPAN_SLACK_S = 0.5  # a subtitle may end this long after the sound


def clipping(samples: Samples) -> float:
    """Return the share of samples in runs of at least three at full scale.

    A clipped sound stays at the end of its range. A pure tone that just reaches full scale also stays there, for up to
    2.8 % of its length.
    """
    hot = np.abs(samples) >= FULL_SCALE
    edges = np.flatnonzero(np.diff(hot, prepend=False, append=False))
    runs = edges[1::2] - edges[::2]
    return float(runs[runs >= MIN_RUN].sum() / len(samples))


@dataclass(frozen=True, slots=True, kw_only=True)
class AudioDecode(Op):
    """Decodes raw sounds to mono, cuts out a row's span, measures it unchanged, and resamples it to `rate_hz`.

    All in one op, so that a batch never holds more than one sound at its own rate. Clipping must be measured there, as
    resampling rounds plateaus off. Measures `audio_duration_s`, `audio_peak_db` (relative to full scale, at least
    -120) and `audio_clipping` (share of the samples). Rows with the same bytes object share one decoding.
    """

    version: ClassVar[int] = 4

    max_bytes: int
    max_duration_s: float
    max_parent_s: float
    rate_hz: int

    @property
    def name(self) -> str:
        """The op's name."""
        return "audio_decode"

    def libraries(self) -> Mapping[str, str]:
        """Return the libraries that decode and resample."""
        return audio_libraries()

    def __call__(self, batch: Batch) -> Batch:
        """Apply the op."""
        rows, waves, measured = list(batch.rows), list(batch.waves), [dict[str, float]() for _ in batch.rows]
        refused: dict[int, tuple[str, str]] = {}
        # whole and cut rows have different bounds, so they never share: a row must not depend on its neighbours
        wanted = [
            None if raw is None else (id(raw), row.span is not None)
            for raw, row in zip(batch.raw_audios, batch.rows, strict=True)
        ]
        left = Counter(wanted)
        decoded: dict[tuple[int, bool], Waveform | MediaError] = {}
        for i, (raw, key) in enumerate(zip(batch.raw_audios, wanted, strict=True)):
            if raw is None or key is None:
                continue
            try:
                if key not in decoded:
                    decoded[key] = self._decode(raw, cut=key[1])
                whole = decoded[key]
                left[key] -= 1
                if not left[key]:
                    del decoded[key]
                if isinstance(whole, MediaError):
                    raise whole
                rows[i], wave = self._cut(rows[i], whole)
                measured[i] = _measure(wave)
                waves[i] = resample(wave, self.rate_hz)
            except MediaError as error:
                refused[i] = (error.reason, error.detail)
        done = replace(batch, rows=tuple(rows), waves=tuple(waves), raw_audios=(None,) * len(batch))
        return done.with_scores(measured).reject(refused, self.name)

    def _decode(self, raw: bytes, *, cut: bool) -> Waveform | MediaError:
        longest_s = max(self.max_parent_s, self.max_duration_s) if cut else self.max_duration_s
        try:
            return decode_audio(raw, max_bytes=self.max_bytes, max_duration_s=longest_s)
        except MediaError as error:
            return error

    def _cut(self, row: Row, whole: Waveform) -> tuple[Row, Waveform]:
        if row.span is None:
            return row, whole
        start_s, end_s = row.span
        total_s, rate_hz = whole.duration_s, whole.rate_hz
        detail = f"{start_s:g} to {end_s:g} s of a sound of {total_s:.3f} s"
        if not 0 <= start_s < min(end_s, total_s) or not end_s <= total_s + SPAN_SLACK_S:
            raise MediaError("span_outside", detail)
        end_s = min(end_s, total_s)
        if end_s - start_s > self.max_duration_s:
            raise MediaError("audio_too_long", f"{detail}; the limit is {self.max_duration_s:g} s")
        piece = whole.samples[round(start_s * rate_hz) : round(end_s * rate_hz)].copy()
        if len(piece) == 0:
            raise MediaError("span_outside", f"{detail}: no sample")
        return replace(row, span=(start_s, end_s)), Waveform(piece, rate_hz)


def _measure(wave: Waveform) -> dict[str, float]:
    peak = max(float(wave.samples.max()), -float(wave.samples.min()))
    return {
        "audio_duration_s": wave.duration_s,
        "audio_peak_db": max(SILENCE_DB, 20 * math.log10(peak)) if peak else SILENCE_DB,
        "audio_clipping": clipping(wave.samples) if peak >= FULL_SCALE else 0.0,
    }


def audio_ops(config: AudioConfig) -> tuple[Op, ...]:
    """Return the ops on sounds, in order: the original sound is judged, and what is kept is repaired."""
    ops: list[Op | None] = [
        AudioDecode(
            max_bytes=config.max_bytes,
            max_duration_s=config.max_duration_s,
            max_parent_s=config.max_parent_s,
            rate_hz=config.rate_hz,
        ),
        Threshold(score="audio_duration_s", reason="audio_too_short", least=config.min_duration_s),
        Threshold(score="audio_clipping", reason="audio_clipped", most=config.max_clipping),
        AudioLevel(silence_db=config.silence_db),
        _most("audio_silence", "audio_silent", config.max_silence),
        _most("audio_dc", "audio_dc", config.max_dc),
        DcRemoval(above=config.remove_dc_above) if config.remove_dc_above is not None else None,
        AudioSpectrum(silence_db=config.silence_db),
        _most("audio_hum_db", "audio_hum", config.max_hum_db),
        _most("audio_flatness", "audio_noise", config.max_flatness),
        AudioVoice() if config.vad else None,
        _least("audio_speech_share", "audio_no_speech", config.min_speech_share),
        _least("audio_snr_db", "audio_low_snr", config.min_snr_db),
        HumRemoval(above_db=config.remove_hum_above_db) if config.remove_hum_above_db is not None else None,
        NoiseReduction(reduction_db=config.noise_reduction_db) if config.noise_reduction_db is not None else None,
        _trim(config) if config.trim else None,
        AudioLoudness(target_lufs=config.target_lufs, max_peak_db=config.max_peak_db),
        _least("audio_loudness_lufs", "audio_quiet", config.min_loudness_lufs),
    ]
    return tuple(op for op in ops if op is not None)


_TRIM_MARGIN_S = 0.1  # left before and behind the sound


def _trim(config: AudioConfig) -> AudioTrim:
    return AudioTrim(margin_s=_TRIM_MARGIN_S, silence_db=config.silence_db, least_s=config.min_duration_s)


def _most(score: str, reason: str, limit: float | None) -> Threshold | None:
    return None if limit is None else Threshold(score=score, reason=reason, most=limit)


def _least(score: str, reason: str, limit: float | None) -> Threshold | None:
    return None if limit is None else Threshold(score=score, reason=reason, least=limit)
