"""The defects that are planted in the demo corpus, and what the pipeline must make of each.

| defect | what is done | must be |
|---|---|---|
| typos | letters of a fifth of the text's words swapped, dropped or doubled | kept |
| mojibake | curly quotes and an accent, stored in UTF-8 and read as Windows-1252 | kept |
| control_characters | C0 control characters strewn inside words | kept, the text as it was |
| empty_text | no text and no captions | kept, with two modalities |
| image_blur | Gaussian, sigma 2.2 % of the longer side | image_blurred |
| image_noise | Gaussian noise, sigma 45 of 255 | kept |
| image_truncated | 30 to 80 % of a JPEG or PNG file | image_truncated |
| image_too_small | 12 to 24 px on the shorter side | image_too_small |
| image_extreme_aspect | 9 to 12 times as wide as high, or the reverse | image_aspect |
| image_wrong_type | an HTML error page under the picture's name | image_format |
| audio_noise | white noise at -6 to 0 dB SNR | kept |
| audio_clipped | overdriven until two thirds of it are at full scale | audio_clipped |
| audio_truncated | 30 to 70 % of a WAV or FLAC file | audio_truncated |
| audio_too_short | 20 to 60 ms | audio_too_short |
| audio_wrong_type | an HTML error page under the sound's name | audio_format |
| swapped_pair | two records exchange their pictures | kept |
| exact_duplicate | another record's content; WAV and FLAC may be exchanged for each other | a duplicate |
| near_duplicate | another record's content, lightly changed | kept |
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

TEXT_DEFECTS = ("typos", "mojibake", "control_characters", "empty_text")
IMAGE_DEFECTS = (
    "image_blur",
    "image_noise",
    "image_truncated",
    "image_too_small",
    "image_extreme_aspect",
    "image_wrong_type",
)
AUDIO_DEFECTS = ("audio_noise", "audio_clipped", "audio_truncated", "audio_too_short", "audio_wrong_type")
TWIN_DEFECTS = ("swapped_pair", "exact_duplicate", "near_duplicate")
DEFECTS = (*TEXT_DEFECTS, *IMAGE_DEFECTS, *AUDIO_DEFECTS, *TWIN_DEFECTS)
DEFAULT_RATE = 0.012

# The reject reason of each defect that the pipeline finds; a defect that is not here passes through.
REJECT_REASONS: Mapping[str, str] = {
    "image_blur": "image_blurred",
    "image_truncated": "image_truncated",
    "image_too_small": "image_too_small",
    "image_extreme_aspect": "image_aspect",
    "image_wrong_type": "image_format",
    "audio_clipped": "audio_clipped",
    "audio_truncated": "audio_truncated",
    "audio_too_short": "audio_too_short",
    "audio_wrong_type": "audio_format",
}
ERROR_PAGE = b"<!DOCTYPE html>\n<html><head><title>404 Not Found</title></head><body>It has moved.</body></html>\n"

_CONTROLS = "".join(map(chr, (*range(1, 9), *range(14, 27), 127)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """What `prepare` and `dedup` must make of a corpus, by key."""

    rejects: Mapping[str, str]  # key -> reason code
    duplicates: Mapping[str, str]  # key -> the twin with equal content; one of the two must survive
    two_modalities: frozenset[str]  # kept without a text
    kept: frozenset[str]  # every key that is neither in `rejects` nor in `duplicates`


def expected(labels: Iterable[Mapping[str, Any]]) -> Expected:
    """The known answer: what must become of each record, from the rows of `labels.jsonl`."""
    rejects: dict[str, str] = {}
    duplicates: dict[str, str] = {}
    textless: set[str] = set()
    kept: set[str] = set()
    for label in labels:
        key, kinds = label["key"], label["defects"]
        reasons = [REJECT_REASONS[kind] for kind in kinds if kind in REJECT_REASONS]
        if reasons:
            rejects[key] = reasons[0]
        elif "exact_duplicate" in kinds:
            duplicates[key] = label["twin"]
        else:
            kept.add(key)
            if "empty_text" in kinds:
                textless.add(key)
    return Expected(rejects=rejects, duplicates=duplicates, two_modalities=frozenset(textless), kept=frozenset(kept))


def rates_of(defects: float | Mapping[str, float]) -> dict[str, float]:
    """The rate of every defect: one rate for all, or by name with 0 for those not named.

    Raises:
        ValueError: an unknown name, a rate outside [0, 1], or rates that add up to more than 1.
    """
    if isinstance(defects, Mapping):
        unknown = sorted(set(defects) - set(DEFECTS))
        if unknown:
            raise ValueError(f"unknown defects {unknown}; known are {list(DEFECTS)}")
        rates = {kind: float(defects.get(kind, 0.0)) for kind in DEFECTS}
    else:
        rates = dict.fromkeys(DEFECTS, float(defects))
    if not all(0 <= rate <= 1 for rate in rates.values()) or sum(rates.values()) > 1 + 1e-9:
        raise ValueError(f"defect rates must lie in [0, 1] and add up to at most 1, got {rates}")
    return rates


def spoil_text(text: str, kind: str, rng: np.random.Generator) -> str:
    """A text with one of `TEXT_DEFECTS`."""
    match kind:
        case "typos":
            return _typos(text, rng)
        case "mojibake":
            return _mojibake(text)
        case "control_characters":
            letters = list(text)
            for place in rng.choice(np.arange(1, len(letters)), size=min(6, len(letters) - 1), replace=False).tolist():
                letters[place] = _CONTROLS[int(rng.integers(len(_CONTROLS)))] + letters[place]
            return "".join(letters)
        case "empty_text":
            return ("", " ", "\n\t ")[int(rng.integers(3))]
        case _:
            raise ValueError(f"not a defect of text: {kind!r}")


def spoil_picture(rgb: np.ndarray, kind: str, rng: np.random.Generator) -> np.ndarray:
    """uint8 (H, W, 3) with a defect of the pixels; defects of the file leave it as it is."""
    height, width = rgb.shape[:2]
    match kind:
        case "image_blur":
            return cv2.GaussianBlur(rgb, (0, 0), 0.022 * max(height, width))
        case "image_noise":
            noisy = rgb + np.float32(45) * rng.standard_normal(rgb.shape, dtype=np.float32)
            return np.clip(np.rint(noisy), 0, 255).astype(np.uint8)
        case "image_too_small":
            scale = int(rng.integers(12, 25)) / min(height, width)
            size = (max(1, round(width * scale)), max(1, round(height * scale)))
            return cv2.resize(rgb, size, interpolation=cv2.INTER_AREA)
        case "image_extreme_aspect":
            short = int(rng.integers(40, 48))
            long = round(short * rng.uniform(9, 12))
            size = (long, short) if rng.random() < 0.5 else (short, long)
            return cv2.resize(rgb, size, interpolation=cv2.INTER_LINEAR)
        case _:
            return rgb


def spoil_sound(samples: np.ndarray, rate_hz: int, kind: str, rng: np.random.Generator) -> np.ndarray:
    """float32 (T,) with a defect of the samples; defects of the file leave it as it is."""
    match kind:
        case "audio_noise":
            level = float(np.sqrt(np.mean(np.square(samples)))) * 10 ** (rng.uniform(0, 6) / 20)
            noisy = samples + rng.standard_normal(len(samples), dtype=np.float32) * np.float32(level)
            return noisy * np.float32(0.6 / np.abs(noisy).max())
        case "audio_clipped":
            # Two thirds of the samples end up at full scale.
            return np.clip(samples / max(float(np.quantile(np.abs(samples), 1 / 3)), 1e-4), -1, 1)
        case "audio_too_short":
            return samples[: int(rng.uniform(0.02, 0.06) * rate_hz)]
        case _:
            return samples


def spoil_file(data: bytes, kind: str, rng: np.random.Generator) -> bytes:
    """A file's bytes with a defect of the file; other defects leave them as they are."""
    match kind:
        case "image_truncated":
            return data[: int(len(data) * rng.uniform(0.3, 0.8))]
        case "audio_truncated":
            return data[: int(len(data) * rng.uniform(0.3, 0.7))]
        case "image_wrong_type" | "audio_wrong_type":
            return ERROR_PAGE
        case _:
            return data


def _typos(text: str, rng: np.random.Generator) -> str:
    words = text.split(" ")
    long = [i for i, word in enumerate(words) if len(word) >= 4]
    for i in rng.choice(long, size=max(1, min(len(long), round(len(words) / 5))), replace=False).tolist():
        word = words[i]
        place = int(rng.integers(1, len(word) - 2))
        swapped = word[:place] + word[place + 1] + word[place] + word[place + 2 :]
        dropped = word[:place] + word[place + 1 :]
        doubled = word[:place] + word[place] + word[place:]
        others = [other for other in (swapped, dropped, doubled) if other != word]
        words[i] = others[int(rng.integers(len(others)))]
    return " ".join(words)


def _mojibake(text: str) -> str:
    words = text.split(" ")
    quoted = [*words[:-1], f"\u2018{words[-1]}\u2019"]
    return ("Caf\u00e9 sketch \u2013 " + " ".join(quoted)).encode("utf-8").decode("cp1252")
