"""Pictures, sounds and files with a defect, as they are met in the wild."""

from __future__ import annotations

import cv2
import numpy as np

IMAGE_DEFECTS = (
    "image_blur",
    "image_noise",
    "image_truncated",
    "image_too_small",
    "image_extreme_aspect",
    "image_wrong_type",
    "image_blank",
    "image_dark",
    "image_bright",
    "image_partial_blur",
    "image_border",
)
AUDIO_DEFECTS = (
    "audio_noise",
    "audio_clipped",
    "audio_truncated",
    "audio_too_short",
    "audio_wrong_type",
    "audio_silent",
    "audio_dc",
    "audio_hum",
    "audio_quiet",
    "audio_padded",
)
ERROR_PAGE = b"<!DOCTYPE html>\n<html><head><title>404 Not Found</title></head><body>It has moved.</body></html>\n"

_HARMONICS = (1.0, 0.7, 0.6, 0.35, 0.3, 0.2)  # of mains hum, against its fundamental
_FRAMES = ((0, 0, 0), (255, 255, 255), (128, 128, 128), (18, 24, 48))


def spoil_picture(rgb: np.ndarray, kind: str, rng: np.random.Generator) -> np.ndarray:
    """uint8 (H, W, 3) with a defect of the pixels; defects of the file leave it as it is."""
    height, width = rgb.shape[:2]
    match kind:
        case "image_blur":
            return cv2.GaussianBlur(rgb, (0, 0), 0.022 * max(height, width))
        case "image_noise":
            return _noisy(rgb.astype(np.float32), 45, rng)
        case "image_too_small":
            scale = int(rng.integers(12, 25)) / min(height, width)
            size = (max(1, round(width * scale)), max(1, round(height * scale)))
            return cv2.resize(rgb, size, interpolation=cv2.INTER_AREA)
        case "image_extreme_aspect":
            short = int(rng.integers(40, 48))
            long = round(short * rng.uniform(9, 12))
            size = (long, short) if rng.random() < 0.5 else (short, long)
            return cv2.resize(rgb, size, interpolation=cv2.INTER_LINEAR)
        case "image_blank":
            mean = rgb.mean(axis=(0, 1), dtype=np.float32)
            return _noisy(mean + (rgb - mean) * np.float32(rng.uniform(0, 0.01)), 0.5, rng)
        case "image_dark":
            return _grained(rgb * np.float32(rng.uniform(6, 10) / rgb.mean()), rng)
        case "image_bright":
            return _grained(255 - (255 - rgb) * np.float32(rng.uniform(0.02, 0.035)), rng)
        case "image_partial_blur":
            return _partly_blurred(rgb, rng)
        case "image_border":
            return _framed(rgb, rng)
        case _:
            return rgb


def spoil_sound(samples: np.ndarray, rate_hz: int, kind: str, rng: np.random.Generator) -> np.ndarray:
    """float32 (T,) with a defect of the samples; defects of the file leave it as it is."""
    match kind:
        case "audio_noise":
            level = _rms(samples) * 10 ** (rng.uniform(0, 6) / 20)
            noisy = samples + rng.standard_normal(len(samples), dtype=np.float32) * np.float32(level)
            return noisy * np.float32(0.6 / np.abs(noisy).max())
        case "audio_clipped":
            # Two thirds of the samples end up at full scale.
            return np.clip(samples / max(float(np.quantile(np.abs(samples), 1 / 3)), 1e-4), -1, 1)
        case "audio_too_short":
            return samples[: int(rng.uniform(0.02, 0.06) * rate_hz)]
        case "audio_silent":
            return _hiss(len(samples), rng)
        case "audio_dc":
            offset = rng.uniform(0.08, 0.25) * (1 if rng.random() < 0.5 else -1)
            return samples * np.float32(0.9) + np.float32(offset)
        case "audio_hum":
            return _hummed(samples, rate_hz, rng)
        case "audio_quiet":
            return samples * np.float32(10 ** (rng.uniform(-32, -26) / 20))
        case "audio_padded":
            before, after = (_hiss(int(seconds * rate_hz), rng) for seconds in rng.uniform(1.2, 2.5, size=2).tolist())
            return np.concatenate([before, samples, after])
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


def _noisy(rgb: np.ndarray, sigma: float, rng: np.random.Generator) -> np.ndarray:
    noisy = rgb + np.float32(sigma) * rng.standard_normal(rgb.shape, dtype=np.float32)
    return np.clip(np.rint(noisy), 0, 255).astype(np.uint8)


def _grained(rgb: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A picture taken with the wrong exposure: the grain is all that is left at its strength."""
    grain = np.float32(4) * rng.standard_normal((*rgb.shape[:2], 1), dtype=np.float32)
    return np.clip(np.rint(rgb + grain), 0, 255).astype(np.uint8)


def _partly_blurred(rgb: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A third to three fifths of the picture out of focus, from the side where most is to be seen."""
    small = cv2.resize(rgb, (60, 60), interpolation=cv2.INTER_AREA).astype(np.int16)
    outlines = np.abs(np.diff(small, axis=0)[:, 1:]).max(axis=2) + np.abs(np.diff(small, axis=1)[1:]).max(axis=2) > 40
    side = int(np.argmax([np.rot90(outlines, side)[:20].sum() for side in range(4)]))
    seen = np.cumsum(np.rot90(outlines, side).sum(axis=1))
    # so much that half of what is to be seen is in it
    share = max(rng.uniform(1 / 3, 1 / 2), min(0.6, np.searchsorted(seen, seen[-1] / 2) / 60 + 0.05))
    turned = np.ascontiguousarray(np.rot90(rgb, side))
    # the focus is lost over a fiftieth of the height
    height, rows = len(turned), np.arange(len(turned), dtype=np.float32)
    mask = np.clip((share - rows / height) * 50 + 0.5, 0, 1)[:, None, None]
    last = int(np.count_nonzero(mask))
    blurred = cv2.GaussianBlur(turned, (0, 0), 0.025 * max(turned.shape[:2]))[:last]
    turned[:last] = np.rint(turned[:last] * (1 - mask[:last]) + blurred * mask[:last])
    return np.ascontiguousarray(np.rot90(turned, -side))


def _framed(rgb: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The picture in a plain frame or between two bars, each an eighth to a fifth of its side wide."""
    height, width = rgb.shape[:2]
    thick = rng.uniform(1 / 8, 1 / 5)
    vertical, horizontal = ((1, 1), (1, 1), (1, 0), (0, 1))[int(rng.integers(4))]
    y, x = round(thick * height) * vertical, round(thick * width) * horizontal
    colour = _FRAMES[int(rng.integers(len(_FRAMES)))]
    return cv2.copyMakeBorder(rgb, y, y, x, x, cv2.BORDER_CONSTANT, value=colour)


def _rms(samples: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(samples))))


def _hiss(length: int, rng: np.random.Generator) -> np.ndarray:
    """What a muted channel holds: nothing at all, or its last bits, at -84 dB at most. float32 (length,)."""
    level = np.float32(max(0.0, rng.uniform(-4e-5, 6e-5)))
    return rng.standard_normal(length, dtype=np.float32) * level


def _hummed(samples: np.ndarray, rate_hz: int, rng: np.random.Generator) -> np.ndarray:
    """Mains hum of 50 or 60 Hz with its harmonics, as loud as the sound or up to 6 dB louder."""
    angle = np.arange(len(samples)) * (2 * np.pi * (50.0, 60.0)[int(rng.integers(2))] / rate_hz)
    phases = rng.uniform(0, 2 * np.pi, len(_HARMONICS)).tolist()
    parts = [
        part * np.sin(k * angle + phase) for k, (part, phase) in enumerate(zip(_HARMONICS, phases, strict=True), 1)
    ]
    hum = np.sum(parts, axis=0).astype(np.float32)
    hummed = samples + hum * np.float32(_rms(samples) / _rms(hum) * 10 ** (rng.uniform(0, 6) / 20))
    return hummed * np.float32(0.6 / np.abs(hummed).max())
