"""Find speech: Silero's voice activity model, version 6, computed with NumPy and SciPy's FFT alone.

The weights are those of the `silero-vad` package (MIT); its own code needs torch or onnxruntime and runs frame by
frame. Here all frames of a block go through the convolutions at once, and the recurrent cell takes a frame of every
sound in one step: several times as fast, and workers that need no torch never import it.

A sound's chances do not depend on the sounds beside it: every product has one shape whatever they are, (frames of the
sound, …) in the convolutions and (1, 128) in the cell. One product of all sounds' states would be faster still, but
OpenBLAS sums the rows of a matrix in different orders.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt

from trichord.infra.packages import version
from trichord.transforms.batch import Samples
from trichord.transforms.blas import one_thread

RATE_HZ = 16_000
FRAME = 512  # samples per judgement of the model: 32 ms
VAD_LIBRARIES = {"silero-vad": version("silero-vad")}

_CONTEXT, _REFLECTED, _N_FFT, _HOP = 64, 64, 256, 128
_BLOCK = 256  # frames of a sound that go through the convolutions at once
_SOUNDS = 32  # that the recurrent cell takes at once
_THRESHOLD, _EXIT = 0.5, 0.35  # speech begins at one probability and ends below the other, as in the package
_HALF = np.float32(0.5)
_MIN_SPEECH_S, _MIN_PAUSE_S, _PAD_S = 0.25, 0.1, 0.03

Floats = npt.NDArray[np.float32]
Span = tuple[float, float]


@dataclass(frozen=True, slots=True, eq=False)
class _Model:
    """Weights as matrices: every layer is input @ matrix + bias."""

    window: Floats  # (256,) of the Fourier transform
    convolutions: tuple[tuple[Floats, Floats], ...]  # (3 · channels in, channels out), (channels out,)
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

    def convolution(name: str) -> tuple[Floats, Floats]:
        kernel = weights[f"{name}.weight"]  # (out, in, 3)
        return np.ascontiguousarray(kernel.transpose(2, 1, 0).reshape(-1, len(kernel))), weights[f"{name}.bias"]

    # of the four gates three are sigmoids, and a sigmoid is a hyperbolic tangent of half its argument
    halved = np.repeat(np.array((0.5, 0.5, 1, 0.5), np.float32), 128)
    return _Model(
        window=weights["stft_conv.weight"][0, 0].copy(),  # the row of frequency 0
        convolutions=tuple(convolution(f"conv{i}") for i in (1, 2, 3, 4)),
        cell=(
            np.ascontiguousarray(weights["lstm_cell.weight_ih"].T * halved),
            np.ascontiguousarray(weights["lstm_cell.weight_hh"].T * halved),
            (weights["lstm_cell.bias_ih"] + weights["lstm_cell.bias_hh"]) * halved,
        ),
        final=(weights["final_conv.weight"][0, :, 0].copy(), weights["final_conv.bias"]),
    )


def speech_probabilities(sounds: Sequence[Samples]) -> list[Floats]:
    """Return the chance of speech in each frame of 32 ms: float32 (ceil(T / 512),) for each (T,) at 16 kHz."""
    found: list[Floats] = [np.empty(-(-len(samples) // FRAME), np.float32) for samples in sounds]
    longest_first = sorted(range(len(sounds)), key=lambda i: -len(found[i]))
    with one_thread():
        for first in range(0, len(sounds), _SOUNDS):
            places = longest_first[first : first + _SOUNDS]
            _judge([sounds[i] for i in places], [found[i] for i in places])
    return found


def _judge(sounds: Sequence[Samples], chances: Sequence[Floats]) -> None:
    """Fill in the chances of some sounds, the longest first."""
    model = _model()
    hidden, memory = np.zeros((len(sounds), 1, 128), np.float32), np.zeros((len(sounds), 128), np.float32)
    for first in range(0, len(chances[0]), _BLOCK):
        counts = [min(_BLOCK, len(found) - first) for found in chances if len(found) > first]
        driven = np.empty((counts[0], len(counts), 512), np.float32)
        for i, count in enumerate(counts):
            driven[:count, i] = _features(_frames(sounds[i], first, count), model) @ model.cell[0] + model.cell[2]
        states = _recur(driven, counts, hidden, memory, model.cell[1])
        for i, count in enumerate(counts):
            final = np.maximum(states[:count, i], 0) @ model.final[0] + model.final[1]
            chances[i][first : first + count] = _HALF * np.tanh(_HALF * final) + _HALF


def _recur(driven: Floats, counts: Sequence[int], hidden: Floats, memory: Floats, weights: Floats) -> Floats:
    """Return the cell's states in each frame, (frames, sounds, 128); moves `hidden` and `memory` along.

    `counts` holds the frames of each sound, falling: in any frame the sounds that still last are the first ones.
    """
    states, start = np.empty((*driven.shape[:2], 128), np.float32), 0
    for lasting in range(len(counts), 0, -1):
        state, kept = hidden[:lasting], memory[:lasting]
        gates, opened, new = (np.empty((lasting, size), np.float32) for size in (512, 512, 128))
        for i in range(start, counts[lasting - 1]):
            np.matmul(state, weights, out=gates[:, None])
            gates += driven[i, :lasting]
            np.tanh(gates, out=gates)
            np.multiply(gates, _HALF, out=opened)
            opened += _HALF
            kept *= opened[:, 128:256]
            kept += np.multiply(opened[:, :128], gates[:, 256:384], out=new)
            np.multiply(opened[:, 384:], np.tanh(kept, out=new), out=state[:, 0])
            states[i, :lasting] = state[:, 0]
        start = counts[lasting - 1]
    return states


def _frames(samples: Samples, first: int, count: int) -> Floats:
    """Return frames with the 64 samples before them and 64 mirrored ones after: (count, 640)."""
    start, stop = first * FRAME - _CONTEXT, (first + count) * FRAME
    piece = samples[max(0, start) : stop]
    padded = np.pad(piece, (max(0, -start), stop - max(0, start) - len(piece)))
    frames = np.lib.stride_tricks.sliding_window_view(padded, FRAME + _CONTEXT)[::FRAME]
    return np.concatenate((frames, frames[:, -2 : -2 - _REFLECTED : -1]), axis=1)


def _features(frames: Floats, model: _Model) -> Floats:
    """Return magnitude spectra after four convolutions: (frames, 128)."""
    from scipy import fft  # takes several short frames at once, and keeps float32

    windows = np.lib.stride_tricks.sliding_window_view(frames, _N_FFT, axis=1)[:, ::_HOP]
    layer = np.abs(fft.rfft(windows * model.window, axis=2, workers=1, overwrite_x=True))  # (frames, 4, 129)
    for (kernel, bias), stride in zip(model.convolutions, (1, 2, 2, 1), strict=True):
        count, steps, channels = layer.shape
        inputs = layer.reshape(count, -1)
        made = np.empty((count, -(-steps // stride), len(bias)), np.float32)
        for i in range(made.shape[1]):
            # a step sees the one before, itself and the one behind; before the first and behind the last is nothing
            first, last = max(0, stride * i - 1), min(steps, stride * i + 2)
            seen = kernel[(first - stride * i + 1) * channels :][: (last - first) * channels]
            np.matmul(inputs[:, first * channels : last * channels], seen, out=made[:, i])
        made += bias
        layer = np.maximum(made, 0, out=made)
    return np.ascontiguousarray(layer[:, 0])


def speech_spans(sounds: Sequence[Samples]) -> list[tuple[Span, ...]]:
    """Return the stretches of speech in sounds at 16 kHz, seconds, in order, by the package's rules and defaults.

    A stretch starts at a probability of 0.5 and ends where it stays below 0.35 for 0.1 s; it lasts at least 0.25 s and
    is widened by 0.03 s on both sides.
    """
    judged = zip(speech_probabilities(sounds), sounds, strict=True)
    return [_spans(chances, len(samples) / RATE_HZ) for chances, samples in judged]


def _spans(chances: Floats, total_s: float) -> tuple[Span, ...]:
    frame_s = FRAME / RATE_HZ
    found: list[Span] = []
    start: float | None = None
    pause: float | None = None
    for i, chance in enumerate(chances.tolist()):
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
