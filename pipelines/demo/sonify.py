"""A scene as sound: each group plays in the time slot of its position, over a drone that is the background.

| of the scene | in the sound |
|---|---|
| position 0 to 8 | which ninth of the clip the group plays in |
| colour | pitch of its notes, 420 to 1,600 Hz |
| shape | timbre: an overtone rings along with the note, 2,100 to 6,700 Hz |
| count | number of notes |
| size | loudness, and how long a note rings |
| background | pitch of the drone, 150 to 375 Hz: lower ones would pass for the hum of the mains |
"""

from __future__ import annotations

import io
import zlib
from functools import cache
from typing import Literal

import numpy as np
import soundfile

from trichord.infra.digest import generator
from trichord.pipelines.demo.scenes import BACKGROUNDS, COLOURS, GRID, MAX_COUNT, SHAPES, Group, Scene

AudioFormat = Literal["wav", "flac", "ogg"]

RATES_HZ = (16_000, 22_050)
DURATION_S = (2.0, 3.0)
PEAK = 0.6  # of full scale: a clean clip is far from clipping
_LOUDNESS = {"small": 0.4, "medium": 0.65, "large": 1.0}
_RING = {"small": 0.45, "medium": 0.7, "large": 1.0}  # share of its step that a note rings
_OVERTONES_HZ = tuple(2_100 * 1.18**i for i in range(len(SHAPES)))  # 2,100 to 6,700 Hz
_OVERTONE = np.float32(0.6)  # loudness against the note itself
_TABLE = 2_048  # samples of one period of a stored waveform
_NOISE = 1 << 18
_MIRRORED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


def sonify(scene: Scene, rng: np.random.Generator, difficulty: float) -> tuple[np.ndarray, int]:
    """Play the scene: float32 (T,) mono with |x| <= `PEAK`, and its rate in Hz.

    A higher `difficulty` in [0, 1] detunes the clip (by up to three semitones), shifts the notes in time,
    leaves out some of the lesser groups and raises the noise from -40 to -6 dB of the signal.
    """
    rate = int(rng.choice(RATES_HZ, p=(0.7, 0.3)))
    length = int(rng.uniform(*DURATION_S) * rate)
    # Clipped so that the highest overtone stays below half the lowest rate.
    detune = 2 ** (0.16 * difficulty * float(np.clip(rng.normal(), -1.5, 1.5)))
    drone_hz = 150 * 2.5 ** (tuple(BACKGROUNDS).index(scene.background) / (len(BACKGROUNDS) - 1)) * detune
    clip = _period(3)[_phase(drone_hz, rate, length)] * np.float32(0.22)
    for i, group in enumerate(scene.groups):
        if i and rng.random() < 0.6 * difficulty:
            continue
        _play(clip, group, rate, detune, rng, difficulty)
    signal_rms = float(np.sqrt(np.mean(np.square(clip))))
    start = int(rng.integers(0, _NOISE - length))
    clip += _noise()[start : start + length] * np.float32(signal_rms * 10 ** ((-40 + 34 * difficulty) / 20))
    return clip * np.float32(PEAK * rng.uniform(0.75, 1.0) / np.abs(clip).max()), rate


def encode_sound(samples: np.ndarray, rate_hz: int, kind: AudioFormat) -> bytes:
    """Encode float32 (T,) in [-1, 1] as 16-bit WAV or FLAC (equal samples in both), or as Ogg Vorbis."""
    buffer = io.BytesIO()
    if kind == "ogg":
        soundfile.write(buffer, samples, rate_hz, format="OGG", subtype="VORBIS")
        return _with_fixed_serial(buffer.getvalue())
    # libsndfile rounds differently for WAV and FLAC.
    pcm16 = np.rint(samples * np.float32(32_767)).astype(np.int16)
    soundfile.write(buffer, pcm16, rate_hz, format=kind.upper(), subtype="PCM_16")
    return buffer.getvalue()


def _with_fixed_serial(ogg: bytes) -> bytes:
    """The stream with serial number 1 on every page: libsndfile draws another one each time. RFC 3533, section 6."""
    pages, start = bytearray(ogg), 0
    while start < len(pages):
        segments = pages[start + 26]
        end = start + 27 + segments + sum(pages[start + 27 : start + 27 + segments])
        pages[start + 14 : start + 18] = (1).to_bytes(4, "little")
        pages[start + 22 : start + 26] = bytes(4)
        # Ogg's checksum runs the other way: zlib's, without its inversions, on mirrored bits is the mirrored one.
        mirrored = zlib.crc32(pages[start:end].translate(_MIRRORED), 0xFFFFFFFF) ^ 0xFFFFFFFF
        pages[start + 22 : start + 26] = mirrored.to_bytes(4, "big").translate(_MIRRORED)
        start = end
    return bytes(pages)


def _play(
    clip: np.ndarray, group: Group, rate: int, detune: float, rng: np.random.Generator, difficulty: float
) -> None:
    slot = len(clip) / (GRID * GRID)
    step = slot / MAX_COUNT
    start = slot * max(0.0, group.position + rng.uniform(-0.5, 0.5) * difficulty)
    pitch = 420 * 3.8 ** (tuple(COLOURS).index(group.colour) / (len(COLOURS) - 1)) * detune
    overtone = _OVERTONES_HZ[SHAPES.index(group.shape)] * detune
    length = int(step * 0.95)
    note = _period(1)[_phase(pitch, rate, length)] + _OVERTONE * _period(1)[_phase(overtone, rate, length)]
    note = note * _envelope(length, _RING[group.size]) * np.float32(_LOUDNESS[group.size])
    for i in range(group.count):
        first = int(start + i * step)
        played = clip[first : first + length]
        played += note[: len(played)]


def _phase(frequency_hz: float, rate: int, length: int) -> np.ndarray:
    return (np.arange(length) * (frequency_hz / rate * _TABLE)).astype(np.int64) & (_TABLE - 1)


@cache
def _period(partials: int) -> np.ndarray:
    """One period of a tone, float32 (_TABLE,): partial k has the amplitude 1 / k^2."""
    angle = 2 * np.pi * np.arange(_TABLE) / _TABLE
    k = np.arange(1, partials + 1)[:, None]
    return (np.sin(k * angle) / k**2).sum(axis=0).astype(np.float32)


def _envelope(length: int, ring: float) -> np.ndarray:
    t = np.arange(length, dtype=np.float32) / max(length, 1)
    return np.minimum(t * 12, 1) * np.clip((ring - t) * 8, 0, 1)


@cache
def _noise() -> np.ndarray:
    return generator("demo", "noise").standard_normal(_NOISE, dtype=np.float32)
