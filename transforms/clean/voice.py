"""Find speech: Silero's voice activity model, version 6, computed with NumPy alone.

The weights are those of the `silero-vad` package (MIT); its own code needs torch or onnxruntime and runs frame by
frame. Here all frames of a block go through the convolutions at once and only the recurrent cell runs frame by frame:
several times as fast, and workers that need no torch never import it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import version
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from trichord.transforms.batch import Samples

RATE_HZ = 16_000
FRAME = 512  # samples per judgement of the model: 32 ms
VAD_LIBRARIES = {"silero-vad": version("silero-vad")}

_CONTEXT, _REFLECTED, _N_FFT, _HOP = 64, 64, 256, 128
_BLOCK = 512  # frames that go through the convolutions at once
_THRESHOLD, _EXIT = 0.5, 0.35  # speech begins at one probability and ends below the other, as in the package
_HALF = np.float32(0.5)
_MIN_SPEECH_S, _MIN_PAUSE_S, _PAD_S = 0.25, 0.1, 0.03

Floats = npt.NDArray[np.float32]
Span = tuple[float, float]


@dataclass(frozen=True, slots=True, eq=False)
class _Model:
    """Weights as matrices: every layer is input @ matrix + bias."""

    fourier: Floats  # (256, 258)
    convolutions: tuple[tuple[Floats, Floats, int], ...]  # (3 · channels in, channels out), (channels out,), stride
    cell: tuple[Floats, Floats, Floats]  # (128, 512) of the input, (128, 512) of the state, (512,)
    final: tuple[Floats, Floats]  # (128,), (1,)


@lru_cache(maxsize=1)
def _model() -> _Model:
    from safetensors.numpy import load_file

    found = find_spec("silero_vad")  # finds the folder without running the package, which imports torch
    if found is None or not found.submodule_search_locations:
        raise ImportError("voice activity needs the package silero-vad. Run `pip install silero-vad`")
    folder = Path(found.submodule_search_locations[0])
    weights = load_file(folder / "data" / "silero_vad_16k.safetensors")

    def convolution(name: str, stride: int) -> tuple[Floats, Floats, int]:
        kernel = weights[f"{name}.weight"]  # (out, in, 3)
        return np.ascontiguousarray(kernel.transpose(2, 1, 0).reshape(-1, len(kernel))), weights[f"{name}.bias"], stride

    # of the four gates three are sigmoids, and a sigmoid is a hyperbolic tangent of half its argument
    halved = np.repeat(np.array((0.5, 0.5, 1, 0.5), np.float32), 128)
    return _Model(
        fourier=np.ascontiguousarray(weights["stft_conv.weight"][:, 0].T),
        convolutions=tuple(convolution(f"conv{i}", stride) for i, stride in ((1, 1), (2, 2), (3, 2), (4, 1))),
        cell=(
            np.ascontiguousarray(weights["lstm_cell.weight_ih"].T * halved),
            np.ascontiguousarray(weights["lstm_cell.weight_hh"].T * halved),
            (weights["lstm_cell.bias_ih"] + weights["lstm_cell.bias_hh"]) * halved,
        ),
        final=(weights["final_conv.weight"][0, :, 0].copy(), weights["final_conv.bias"]),
    )


@lru_cache(maxsize=1)
def _threads() -> Any:
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()


def speech_probabilities(samples: Samples) -> Floats:
    """Return the chance of speech in each frame of 32 ms: float32 (ceil(T / 512),) of samples (T,) at 16 kHz."""
    model, count = _model(), -(-len(samples) // FRAME)
    hidden, memory = np.zeros(128, np.float32), np.zeros(128, np.float32)
    chances = np.empty(count, np.float32)
    with _threads().limit(limits=1):  # sums, and so their bits, must not depend on the machine's free cores
        for first in range(0, count, _BLOCK):
            frames = _frames(samples, first, min(_BLOCK, count - first))
            driven = _features(frames, model) @ model.cell[0] + model.cell[2]
            states = np.empty((len(frames), 128), np.float32)
            for i, drive in enumerate(driven):
                gates = np.tanh(drive + hidden @ model.cell[1])
                opened = _HALF * gates + _HALF
                memory = opened[128:256] * memory + opened[:128] * gates[256:384]
                hidden = opened[384:] * np.tanh(memory)
                states[i] = hidden
            final = np.maximum(states, 0) @ model.final[0] + model.final[1]
            chances[first : first + len(frames)] = _HALF * np.tanh(_HALF * final) + _HALF
    return chances


def _frames(samples: Samples, first: int, count: int) -> Floats:
    """Return frames with the 64 samples before them and 64 mirrored ones after: (count, 640)."""
    start, stop = first * FRAME - _CONTEXT, (first + count) * FRAME
    piece = samples[max(0, start) : stop]
    padded = np.pad(piece, (max(0, -start), stop - max(0, start) - len(piece)))
    frames = np.lib.stride_tricks.sliding_window_view(padded, FRAME + _CONTEXT)[::FRAME]
    return np.concatenate((frames, frames[:, -2 : -2 - _REFLECTED : -1]), axis=1)


def _features(frames: Floats, model: _Model) -> Floats:
    """Return magnitude spectra after four convolutions: (frames, 128)."""
    windows = np.lib.stride_tricks.sliding_window_view(frames, _N_FFT, axis=1)[:, ::_HOP]
    spectrum = np.ascontiguousarray(windows) @ model.fourier
    half = spectrum.shape[2] // 2
    layer = np.sqrt(spectrum[..., :half] ** 2 + spectrum[..., half:] ** 2)  # (frames, 4, 129)
    for kernel, bias, stride in model.convolutions:
        padded = np.pad(layer, ((0, 0), (1, 1), (0, 0)))
        steps = range(0, layer.shape[1], stride)
        patches = np.stack([padded[:, step : step + 3].reshape(len(frames), -1) for step in steps], axis=1)
        layer = np.maximum(patches @ kernel + bias, 0)
    return np.ascontiguousarray(layer[:, 0])


def speech_spans(samples: Samples) -> tuple[Span, ...]:
    """Return the stretches of speech in a sound at 16 kHz, seconds, in order, by the package's rules and defaults.

    A stretch starts at a probability of 0.5 and ends where it stays below 0.35 for 0.1 s; it lasts at least 0.25 s and
    is widened by 0.03 s on both sides.
    """
    total_s, frame_s = len(samples) / RATE_HZ, FRAME / RATE_HZ
    found: list[Span] = []
    start: float | None = None
    pause: float | None = None
    for i, chance in enumerate(speech_probabilities(samples).tolist()):
        at = i * frame_s
        if chance >= _THRESHOLD:
            pause = None
            start = at if start is None else start
        elif start is not None and (chance < _EXIT or pause is not None):
            pause = at if pause is None else pause
            if chance < _EXIT and at - pause >= _MIN_PAUSE_S:
                found.append((start, pause))
                start = pause = None
    if start is not None:
        found.append((start, total_s))
    long = [span for span in found if span[1] - span[0] > _MIN_SPEECH_S]
    return tuple(_pad(long, total_s))


def _pad(spans: list[Span], total_s: float) -> list[Span]:
    """Widen spans by the margin; neighbours nearer than two margins meet in the middle."""
    borders = [0.0, *((a[1] + b[0]) / 2 for a, b in pairwise(spans)), total_s]
    return [
        (max(borders[i], start - _PAD_S), min(borders[i + 1], end + _PAD_S)) for i, (start, end) in enumerate(spans)
    ]
