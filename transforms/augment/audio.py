"""Changes of sounds by torchaudio on one thread. If a sound is stretched, the times of its segments follow."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import numpy as np

from trichord.infra.config.augment import AudioAugment
from trichord.transforms.augment.variants import Draft, Drawn, Step, uniform
from trichord.transforms.batch import Samples, Segment, Waveform

_FFT, _HOP = 512, 128  # of the short-time spectrum whose bands are masked
_PITCH_RATE_HZ = 1_000  # nominal: only the ratio of rates counts, and small numbers keep the resampling kernel small
_SILENT = 1e-8  # mean square below which a sound has no level for noise to relate to


def audio_steps(config: AudioAugment, seed: int) -> tuple[Step, ...]:
    """Return the changes of a sound with a probability above 0, in order."""
    c = config
    steps: tuple[Step, ...] = (
        Speed(seed=seed, p=c.speed.p, least=c.speed.min_factor, most=c.speed.max_factor),
        Pitch(seed=seed, p=c.pitch.p, max_semitones=c.pitch.max_semitones),
        Reverberation(
            seed=seed,
            p=c.reverberation.p,
            least_s=c.reverberation.min_decay_s,
            most_s=c.reverberation.max_decay_s,
            min_direct_db=c.reverberation.min_direct_db,
        ),
        Noise(seed=seed, p=c.noise.p, least_db=c.noise.min_snr_db, most_db=c.noise.max_snr_db, colour=c.noise.colour),
        TimeMask(seed=seed, p=c.time_mask.p, max_share=c.time_mask.max_share, max_s=c.time_mask.max_s),
        FrequencyMask(seed=seed, p=c.frequency_mask.p, max_share=c.frequency_mask.max_share),
        Gain(seed=seed, p=c.gain.p, least_db=c.gain.min_db, most_db=c.gain.max_db),
    )
    return tuple(step for step in steps if step.p > 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class AudioStep(Step):
    """A change of the sound."""

    medium: ClassVar[str] = "audio"
    packages: ClassVar[tuple[str, ...]] = ("torchaudio", "torch", "numpy")

    def sound(self, wave: Waveform, rng: np.random.Generator) -> tuple[Samples, Drawn] | None:
        """Return new samples (T,) and what was drawn; None if the change does not fit the sound."""
        raise NotImplementedError

    def apply(self, draft: Draft, rng: np.random.Generator) -> Draft | None:
        """Return the variant with its sound changed; sounds above full scale are made softer as a whole."""
        if draft.wave is None:
            return None
        with _one_thread():
            made = self.sound(draft.wave, rng)
        if made is None:
            return None
        samples, drawn = made
        peak = float(np.abs(samples).max(initial=0.0))
        if peak > 1:
            samples = samples * np.float32(1 / peak)
        wave = Waveform(np.clip(samples, -1, 1).astype(np.float32, copy=False), draft.wave.rate_hz)
        return self.retime(replace(draft, wave=wave, drawn=drawn))

    def retime(self, draft: Draft) -> Draft:
        """Return the variant with the times that the change asks for."""
        return draft


@dataclass(frozen=True, slots=True, kw_only=True)
class Speed(AudioStep):
    """Plays faster or slower by resampling (Ko et al., Interspeech 2015)."""

    kind: ClassVar[str] = "speed"
    least: float
    most: float

    def sound(self, wave: Waveform, rng: np.random.Generator) -> tuple[Samples, Drawn] | None:
        """Return ceil(T / factor) samples; the factor is a whole number of hundredths."""
        from torchaudio.functional import speed

        percent = int(rng.integers(math.ceil(self.least * 100 - 1e-6), math.floor(self.most * 100 + 1e-6) + 1))
        if percent == 100:
            return None
        # of its rate speed() uses the ratio int(factor × rate) : rate, which hundredths make small and exact
        made, _ = speed(_tensor(wave), 100, math.nextafter(percent / 100, math.inf))
        return made.numpy(), {"factor": percent / 100}

    def retime(self, draft: Draft) -> Draft:
        """Divide the times of segments by the factor, within the sound."""
        factor, wave = draft.drawn["factor"], draft.wave
        assert wave is not None
        assert isinstance(factor, float)
        end_s = wave.duration_s

        def move(segment: Segment) -> Segment:
            start_s, stop_s = (min(end_s, at / factor) for at in (segment.start_s, segment.end_s))
            return replace(segment, start_s=start_s, end_s=stop_s)

        return replace(draft, row=replace(draft.row, segments=tuple(map(move, draft.row.segments))))


@dataclass(frozen=True, slots=True, kw_only=True)
class Pitch(AudioStep):
    """Shifts the pitch by a phase vocoder; the duration stays."""

    kind: ClassVar[str] = "pitch"
    max_semitones: float

    def sound(self, wave: Waveform, rng: np.random.Generator) -> tuple[Samples, Drawn] | None:
        """Return T samples."""
        from torchaudio.functional import pitch_shift

        semitones = uniform(rng, -self.max_semitones, self.max_semitones, digits=2)
        if len(wave.samples) < _FFT or semitones == 0:
            return None
        made = pitch_shift(_tensor(wave)[None], _PITCH_RATE_HZ, semitones, n_fft=_FFT)[0]
        return made.numpy(), {"semitones": semitones}


@dataclass(frozen=True, slots=True, kw_only=True)
class Reverberation(AudioStep):
    """A room: convolves the sound with an impulse response of decaying noise after the direct sound."""

    kind: ClassVar[str] = "reverberation"
    least_s: float
    most_s: float
    min_direct_db: float

    def sound(self, wave: Waveform, rng: np.random.Generator) -> tuple[Samples, Drawn] | None:
        """Return T samples: the tail after the end is cut, the level (mean square) kept."""
        import torch
        from torchaudio.functional import fftconvolve

        decay_s = uniform(rng, self.least_s, self.most_s, digits=3)
        direct_db = uniform(rng, self.min_direct_db, self.min_direct_db + 10, digits=2)
        size = max(2, int(decay_s * wave.rate_hz))
        # the amplitude of a room falls by 60 dB, a factor of 1000, in its decay time
        tail = rng.standard_normal(size) * np.power(10.0, -3 * np.arange(size) / size)
        tail[0] = 0
        response = tail * (10 ** (-direct_db / 20) / np.linalg.norm(tail))
        response[0] = 1
        made = fftconvolve(_tensor(wave), torch.from_numpy(response.astype(np.float32)))[: len(wave.samples)].numpy()
        before, after = float(np.square(wave.samples).mean()), float(np.square(made).mean())
        level = math.sqrt(before / after) if after > 0 else 1.0
        return made * np.float32(level), {"decay_s": decay_s, "direct_db": direct_db}


@dataclass(frozen=True, slots=True, kw_only=True)
class Noise(AudioStep):
    """Adds noise at a signal-to-noise ratio, in dB of mean squares over the whole sound."""

    kind: ClassVar[str] = "noise"
    least_db: float
    most_db: float
    colour: Literal["white", "pink"]

    def sound(self, wave: Waveform, rng: np.random.Generator) -> tuple[Samples, Drawn] | None:
        """Return T samples."""
        import torch
        from torchaudio.functional import add_noise

        snr_db = uniform(rng, self.least_db, self.most_db, digits=2)
        if float(np.square(wave.samples).mean()) < _SILENT:
            return None
        noise = rng.standard_normal(len(wave.samples))
        if self.colour == "pink":  # power falls as 1/f
            spectrum = np.fft.rfft(noise)
            spectrum /= np.sqrt(np.maximum(1, np.arange(len(spectrum))))
            noise = np.fft.irfft(spectrum, len(noise))
        made = add_noise(_tensor(wave), torch.from_numpy(noise.astype(np.float32)), torch.tensor(snr_db))
        return made.numpy(), {"snr_db": snr_db, "colour": self.colour}


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeMask(AudioStep):
    """Silences a stretch (SpecAugment, arXiv 1904.08779); segments stay where they are."""

    kind: ClassVar[str] = "time_mask"
    max_share: float
    max_s: float

    def sound(self, wave: Waveform, rng: np.random.Generator) -> tuple[Samples, Drawn] | None:
        """Return T samples."""
        size = len(wave.samples)
        mask, start, stop = _mask(size, int(min(size * self.max_share, self.max_s * wave.rate_hz)), rng)
        if stop == start:
            return None
        drawn = {"start_s": round(start / wave.rate_hz, 6), "end_s": round(stop / wave.rate_hz, 6)}
        return wave.samples * mask, drawn


@dataclass(frozen=True, slots=True, kw_only=True)
class FrequencyMask(AudioStep):
    """Removes a band of the short-time spectrum (SpecAugment, arXiv 1904.08779)."""

    kind: ClassVar[str] = "frequency_mask"
    max_share: float

    def sound(self, wave: Waveform, rng: np.random.Generator) -> tuple[Samples, Drawn] | None:
        """Return T samples."""
        import torch

        bands = _FFT // 2 + 1
        mask, start, stop = _mask(bands, int(bands * self.max_share), rng)
        if stop == start or len(wave.samples) < _FFT:
            return None
        window = torch.hann_window(_FFT)
        spectrum = torch.stft(_tensor(wave), _FFT, _HOP, window=window, return_complex=True)
        masked = spectrum * torch.from_numpy(mask)[:, None]
        made = torch.istft(masked, _FFT, _HOP, window=window, length=len(wave.samples)).numpy()
        width_hz = wave.rate_hz / _FFT
        return made, {"low_hz": round(start * width_hz, 2), "high_hz": round(stop * width_hz, 2)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Gain(AudioStep):
    """Makes the sound louder, up to full scale, or softer."""

    kind: ClassVar[str] = "gain"
    least_db: float
    most_db: float

    def sound(self, wave: Waveform, rng: np.random.Generator) -> tuple[Samples, Drawn] | None:
        """Return T samples; `gain_db` is the part of the drawn gain that stays below full scale."""
        from torchaudio.functional import gain

        gain_db = uniform(rng, self.least_db, self.most_db, digits=2)
        peak = float(np.abs(wave.samples).max(initial=0.0))
        if peak > 0:
            gain_db = min(gain_db, max(0.0, round(-20 * math.log10(peak) - 0.005, 2)))
        return gain(_tensor(wave), gain_db).numpy(), {"gain_db": gain_db}


def _mask(size: int, most: int, rng: np.random.Generator) -> tuple[Samples, int, int]:
    """Return ones (size,) with a stretch of up to `most` zeros, drawn by torchaudio, and its start and end."""
    import torch
    from torchaudio.functional import mask_along_axis

    with torch.random.fork_rng(devices=[]):  # torchaudio draws from torch's global generator, which is restored
        torch.manual_seed(int(rng.integers(2**32)))
        mask: Samples = mask_along_axis(torch.ones(1, size), most, 0.0, 1)[0].numpy()
    zeros = np.flatnonzero(mask == 0)
    return (mask, int(zeros[0]), int(zeros[-1]) + 1) if len(zeros) else (mask, 0, 0)


def _tensor(wave: Waveform) -> Any:
    import torch

    return torch.from_numpy(np.require(wave.samples, np.float32, requirements=["C", "W"]))


@contextmanager
def _one_thread() -> Iterator[None]:
    """Sums, and so their bits, must not depend on the machine's free cores."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.inference_mode():
            yield
    finally:
        torch.set_num_threads(threads)
