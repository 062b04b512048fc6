"""Encoders of one's own: two TensorFlow Lite models, of pictures and of sounds, as plug-ins of Trichord.

    model:
      image: {kind: plugin, plugin: "examples.encoders.tflite:Pictures", options: {path: weights/mobilenet.tflite}}
      audio: {kind: plugin, plugin: "examples.encoders.tflite:Sounds", options: {path: weights/yamnet.tflite}}

They run by `pip install ai-edge-litert`, with the repository's folder on PYTHONPATH (docs/model.md, "An encoder of your
own"). A module like this one needs numpy and its own library; of Trichord it imports nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image


class _Model:
    """A TFLite file with one input and one output. It is opened at the first use, in the worker, on one thread."""

    tokens = 1

    def __init__(self, path: str) -> None:
        self._path = path
        self.fingerprint = hashlib.sha256(
            Path(path).read_bytes() + f"{type(self).__name__} 1 {version('ai-edge-litert')}".encode()
        ).hexdigest()

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_interpreter"}

    @cached_property
    def _interpreter(self) -> Any:
        from ai_edge_litert.interpreter import Interpreter

        opened = Interpreter(model_path=self._path, num_threads=1)
        opened.allocate_tensors()
        return opened

    def _run(self, values: np.ndarray) -> np.ndarray:
        """Output of one input, float32 (D,), its quantisation undone."""
        run = self._interpreter
        run.set_tensor(run.get_input_details()[0]["index"], values[None])
        run.invoke()
        output = run.get_output_details()[0]
        found: np.ndarray = run.get_tensor(output["index"]).astype(np.float32).ravel()
        scale, zero = output["quantization"]
        return (found - np.float32(zero)) * np.float32(scale) if scale else found


class Pictures(_Model):
    """A picture classifier without its last layer: MobileNet v1 (arXiv 1704.04861), uint8 (224, 224, 3) → 1,024 values.

    Preprocessing as published with it: the middle 87.5 % of each side, brought to 224 × 224 (bilinear).
    """

    modality = "image"
    dimension = 1_024

    def encode(self, inputs: Sequence[np.ndarray]) -> np.ndarray:
        """Features, float32 (N, 1024), of N pictures, uint8 (H, W, 3)."""
        return _stacked([self._run(self._prepared(picture)) for picture in inputs], self.dimension)

    @staticmethod
    def _prepared(picture: np.ndarray) -> np.ndarray:
        height, width = picture.shape[:2]
        middle = (width / 16, height / 16, width * 15 / 16, height * 15 / 16)
        return np.asarray(Image.fromarray(picture).resize((224, 224), Image.Resampling.BILINEAR, box=middle))


class Sounds(_Model):
    """A sound classifier: YAMNet (AudioSet), log-mel patches float32 (96, 64) → 521 class scores, mean over patches.

    Preprocessing as published with it: 16 kHz, 25 ms Hann windows every 10 ms, magnitudes in 64 mel bands of 125 to
    7,500 Hz, log(mel + 0.001), patches of 0.96 s every 0.48 s. A shorter clip is filled up with silence.
    """

    modality = "audio"
    dimension = 521

    def encode(self, inputs: Sequence[np.ndarray]) -> np.ndarray:
        """Features, float32 (N, 521), of N clips, float32 (T,) at 16 kHz."""
        return _stacked([self._vector(clip) for clip in inputs], self.dimension)

    def _vector(self, clip: np.ndarray) -> np.ndarray:
        scores: np.ndarray = np.stack([self._run(patch) for patch in log_mel_patches(clip)]).mean(axis=0)
        return scores


def log_mel_patches(clip: np.ndarray) -> np.ndarray:
    """Log-mel energies, float32 (patches, 96, 64), of a clip, float32 (T,) at 16 kHz."""
    window, hop, first, step = 400, 160, 15_600, 48 * 160  # samples; of a first patch, of a further one
    further = -(-max(0, len(clip) - first) // step)
    padded = np.pad(clip, (0, first + further * step - len(clip)))
    frames = np.lib.stride_tricks.sliding_window_view(padded, window)[::hop]
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(window) / window)
    magnitudes = np.abs(np.fft.rfft(frames * hann, 512))
    log_mel = np.log(magnitudes @ _mel_bank(257, 64, 125.0, 7_500.0) + 0.001).astype(np.float32)
    return np.stack([log_mel[48 * i : 48 * i + 96] for i in range(further + 1)])


def _mel_bank(bins: int, bands: int, low_hz: float, high_hz: float) -> np.ndarray:
    """Triangles in mel, float64 (bins, bands), as `tf.signal.linear_to_mel_weight_matrix` makes them."""

    def mel(hz: Any) -> Any:
        return 1127 * np.log(1 + hz / 700)

    edges = np.linspace(mel(low_hz), mel(high_hz), bands + 2)
    place = mel(np.linspace(0, 8_000, bins))[:, None]
    rising = (place - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - place) / (edges[2:] - edges[1:-1])
    bank: np.ndarray = np.maximum(0, np.minimum(rising, falling))
    bank[0] = 0  # the mean is not a sound
    return bank


def _stacked(vectors: list[np.ndarray], dimension: int) -> np.ndarray:
    return np.stack(vectors) if vectors else np.zeros((0, dimension), np.float32)
