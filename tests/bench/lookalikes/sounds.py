"""Sounds that differ in what matters: tones, melodies and spoken digits, drawn from a few choices of which one
changes."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from scipy.signal import lfilter

from tests.bench.lookalikes.pictures import Choices, Rng, pick

RATE_HZ = 16_000
PITCHES = (220, 262, 294, 330, 392, 440, 523, 660, 880, 1_000, 1_320, 2_000)
TIMBRES = {
    "sine": (1.0,),
    "soft": (1.0, 0.5, 0.25),
    "reed": (1.0, 0.1, 0.6, 0.1, 0.4),
    "bright": (1.0, 0.8, 0.7, 0.6, 0.5),
}


def _note(pitch_hz: float, seconds: float, timbre: str, decay: float) -> np.ndarray:
    t = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
    partials = [level * np.sin(2 * np.pi * pitch_hz * (i + 1) * t) for i, level in enumerate(TIMBRES[timbre])]
    envelope = np.minimum(1, t / 0.01) * np.exp(-decay * t) * np.minimum(1, (seconds - t) / 0.02)
    return np.sum(partials, axis=0) * envelope


def _levelled(samples: np.ndarray) -> np.ndarray:
    return 0.5 * samples / np.abs(samples).max()


def tone(rng: Rng) -> Choices:
    """Draw a steady tone, or a chord."""
    return {"pitches": sorted({float(pick(rng, PITCHES)) for _ in range(int(rng.integers(1, 4)))}),
            "timbre": pick(rng, TIMBRES), "seconds": pick(rng, (1.0, 2.0, 3.0))}  # fmt: skip


def play_tone(c: Choices) -> np.ndarray:
    """Play it."""
    return _levelled(np.sum([_note(pitch, c["seconds"], c["timbre"], 0.1) for pitch in c["pitches"]], axis=0))


def vary_tone(c: Choices, rng: Rng) -> Choices:
    """Play another pitch: by an octave, a semitone or any step."""
    at = int(rng.integers(len(c["pitches"])))
    old = c["pitches"][at]
    new = pick(rng, (old * 2, old / 2, old * 2 ** (1 / 12), old * 1.01, pick(rng, PITCHES, old)))
    return {**c, "pitches": sorted({float(new if i == at else pitch) for i, pitch in enumerate(c["pitches"])})}


def song(rng: Rng) -> Choices:
    """Draw a melody over chords."""
    return {"notes": [int(v) for v in rng.integers(0, 12, 12)], "key": pick(rng, (196, 220, 247, 262)),
            "timbre": pick(rng, TIMBRES), "beat_s": pick(rng, (0.2, 0.25, 0.3)),
            "chords": [int(v) for v in rng.integers(0, 5, 3)]}  # fmt: skip


def play_song(c: Choices) -> np.ndarray:
    """Play it."""
    notes = [_note(c["key"] * 2 ** (step / 12), c["beat_s"], c["timbre"], 2.0) for step in c["notes"]]
    melody = np.concatenate(notes)
    out = melody.copy()
    width = len(melody) // len(c["chords"])
    for i, chord in enumerate(c["chords"]):
        for step in (0, 4, 7):
            part = _note(c["key"] / 2 * 2 ** ((chord + step) / 12), width / RATE_HZ, "soft", 0.5)
            out[i * width : i * width + len(part)] += 0.3 * part[: len(out) - i * width]
    return _levelled(out)


def vary_song(c: Choices, rng: Rng) -> Choices:
    """Change a note, a chord, the key, the beat or the timbre."""
    match pick(rng, ("notes", "notes", "chords", "key", "beat_s", "timbre")):
        case "notes":
            at = int(rng.integers(12))
            return {**c, "notes": [pick(rng, range(12), n) if i == at else n for i, n in enumerate(c["notes"])]}
        case "chords":
            at = int(rng.integers(3))
            return {**c, "chords": [pick(rng, range(5), n) if i == at else n for i, n in enumerate(c["chords"])]}
        case "key":
            return {**c, "key": c["key"] * 2 ** (1 / 12)}
        case "beat_s":
            return {**c, "beat_s": pick(rng, (0.2, 0.25, 0.3), c["beat_s"])}
        case _:
            return {**c, "timbre": pick(rng, TIMBRES, c["timbre"])}


# First and second formant of the vowels of a digit, Hz; a burst of noise begins some of them.
DIGITS: Mapping[str, tuple[tuple[tuple[int, int], ...], bool]] = {
    "zero": (((300, 2200), (400, 900)), True), "one": (((350, 800), (600, 1200)), False),
    "two": (((300, 2000), (320, 900)), True), "three": (((400, 1300), (290, 2300)), True),
    "four": (((500, 850), (480, 800)), True), "five": (((750, 1200), (350, 2100)), True),
    "six": (((400, 2000), (380, 1900)), True), "seven": (((550, 1800), (500, 1400)), True),
    "eight": (((450, 2100), (300, 2300)), False), "nine": (((720, 1250), (350, 2200)), False),
}  # fmt: skip


def digits(rng: Rng) -> Choices:
    """Draw a few digits of one voice."""
    said = [pick(rng, DIGITS) for _ in range(int(rng.integers(1, 5)))]
    return {"said": said, "voice_hz": float(rng.uniform(90, 220)),
            "take": int(rng.integers(1 << 30))}  # fmt: skip


def say_digits(c: Choices) -> np.ndarray:
    """Say them: pulses of a voice through two moving resonances."""
    rng = np.random.default_rng(c["take"])
    parts = []
    for name in c["said"]:
        formants, burst = DIGITS[name]
        length = round(RATE_HZ * float(rng.uniform(0.32, 0.4)))
        pitch = c["voice_hz"] * np.linspace(1.08, 0.92, length) * (1 + 0.01 * rng.standard_normal())
        source = np.maximum(0, np.sin(2 * np.pi * np.cumsum(pitch) / RATE_HZ)) ** 8 + 0.01 * rng.standard_normal(length)
        halves = []
        for half, (first, second) in zip(np.array_split(source, 2), formants, strict=True):
            out = half
            for formant, width in ((first, 80), (second, 120)):
                radius = np.exp(-np.pi * width / RATE_HZ)
                out = lfilter([1 - radius], [1, -2 * radius * np.cos(2 * np.pi * formant / RATE_HZ), radius**2], out)
            halves.append(out / np.abs(out).max())
        word = np.concatenate(halves) * np.hanning(length) ** 0.5
        if burst:
            word[: length // 6] += 0.15 * rng.standard_normal(length // 6)
        parts += [word, np.zeros(round(RATE_HZ * 0.08))]
    return _levelled(np.concatenate(parts) + 1e-4 * rng.standard_normal(sum(map(len, parts))))


def vary_digits(c: Choices, rng: Rng) -> Choices:
    """Say another digit, say them with another voice, or say them once more."""
    match pick(rng, ("said", "said", "voice_hz", "take")):
        case "said":
            at = int(rng.integers(len(c["said"])))
            return {**c, "said": [pick(rng, DIGITS, n) if i == at else n for i, n in enumerate(c["said"])]}
        case "voice_hz":
            return {**c, "voice_hz": c["voice_hz"] * 1.06}
        case _:
            return {**c, "take": c["take"] + 1}


Play = tuple[Callable[[Rng], Choices], Callable[[Choices], np.ndarray], Callable[[Choices, Rng], Choices]]
FAMILIES: Mapping[str, Play] = {
    "tone": (tone, play_tone, vary_tone),
    "song": (song, play_song, vary_song),
    "digits": (digits, say_digits, vary_digits),
}
