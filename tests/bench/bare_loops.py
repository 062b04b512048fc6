"""What any preparation of these pictures and sounds must do, by the libraries alone, and nothing else.

`pictures` reads, decodes, shrinks, measures sharpness and encodes: all by OpenCV, as the product does. `sounds` decodes
(libsndfile), resamples (torchaudio), looks for speech (silero-vad's own program), measures hum and flatness (spectra of
scipy.signal, quartiles and medians of NumPy), loudness (pyloudnorm) and levels, and encodes FLAC: what the product
measures by default, each as its library's documentation shows it.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from functools import cache
from typing import Any

import cv2
import numpy as np
import soundfile

from trichord.infra.config import PrepareConfig

CONFIG = PrepareConfig()


def run(files: Sequence[tuple[str, str | None]]) -> int:
    """Process records, each the path of a picture and perhaps of a sound; return their number."""
    cv2.setNumThreads(1)
    for image, audio in files:
        picture(image)
        if audio is not None:
            sound(audio)
    return len(files)


def picture(path: str) -> tuple[np.ndarray, bytes]:
    """Decode, shrink, measure, encode; return pixels (BGR) and the JPEG."""
    pixels = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_COLOR)
    assert pixels is not None
    scale = CONFIG.image.side / max(pixels.shape[:2])
    if scale < 1:
        way = cv2.INTER_AREA if scale < 0.5 else cv2.INTER_LINEAR  # as the product, which is the faster one
        pixels = cv2.resize(pixels, None, fx=scale, fy=scale, interpolation=way)
    cv2.meanStdDev(cv2.Laplacian(cv2.cvtColor(pixels, cv2.COLOR_BGR2GRAY), cv2.CV_16S))
    return pixels, cv2.imencode(".jpg", pixels, (cv2.IMWRITE_JPEG_QUALITY, CONFIG.image.quality))[1].tobytes()


def sound(path: str, *, voice: bool = True) -> tuple[np.ndarray, bytes]:
    """Decode, resample, measure (speech only with `voice`), encode; return samples and the FLAC."""
    from scipy import signal

    rate_hz = CONFIG.audio.rate_hz
    samples, file_hz = soundfile.read(path, dtype="float32", always_2d=True)
    mono = samples.mean(axis=1)
    if file_hz != rate_hz:
        mono = _resample(mono, file_hz)
    (np.abs(mono) >= 0.999).mean()
    frames = mono[: len(mono) // 320 * 320].reshape(-1, 320)
    np.log10(np.square(frames).mean(axis=1) + 1e-12)
    for seconds, share in ((0.512, 0.25), (0.032, 0.5)):
        size = min(len(mono), 1 << round(np.log2(seconds * rate_hz)))
        _, _, power = signal.spectrogram(mono, rate_hz, "hann", size, size // 2, detrend=False)
        np.quantile(power, share, axis=1)
    if voice:
        _find_speech(mono)
    if len(mono) > 0.4 * rate_hz:
        _meter().integrated_loudness(mono.astype(np.float64))
    file = io.BytesIO()
    soundfile.write(file, mono, rate_hz, format="FLAC", subtype="PCM_16")
    return mono, file.getvalue()


def _resample(mono: np.ndarray, file_hz: int) -> np.ndarray:
    import torch

    found: np.ndarray = _resampler(file_hz)(torch.from_numpy(mono)).numpy()
    return found


def _find_speech(mono: np.ndarray) -> None:
    import torch

    with torch.inference_mode():
        _voice().reset_states()
        _voice().audio_forward(torch.from_numpy(mono)[None], CONFIG.audio.rate_hz)


@cache
def _resampler(file_hz: int) -> Any:
    import torchaudio.transforms

    return torchaudio.transforms.Resample(file_hz, CONFIG.audio.rate_hz)


@cache
def _voice() -> Any:
    import silero_vad
    import torch

    torch.set_num_threads(1)
    return silero_vad.load_silero_vad()


@cache
def _meter() -> Any:
    import pyloudnorm

    return pyloudnorm.Meter(CONFIG.audio.rate_hz)
