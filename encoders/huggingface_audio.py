"""Sound through any Hugging Face audio model: Wav2Vec2, HuBERT, …"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cached_property
from itertools import pairwise
from typing import Any, ClassVar

import numpy as np
import torch

from trichord.encoders.base import AUDIO_RATE_HZ, Modality
from trichord.encoders.families import may_be_padded
from trichord.encoders.huggingface import HuggingFaceEncoder, Window
from trichord.encoders.pooling import part_weights
from trichord.infra.errors import ConfigError
from trichord.transforms.batch import Waveform
from trichord.transforms.media import resample

_FILLED = "whisper"  # its extractor fills every clip up to 30 s


class HuggingFaceAudio(HuggingFaceEncoder):
    """An audio encoder. A clip longer than `max_s` is read in equal windows, not cut, each as the extractor makes it.

    Models whose first layer normalises over time (`feat_extract_norm: group`: wav2vec2-base, hubert-base) were trained
    without a mask, and padding would change their vectors: only clips of one length share a pass.
    """

    modality: ClassVar[Modality] = "audio"
    auto_processor: ClassVar[str] = "AutoFeatureExtractor"
    window_setting: ClassVar[str] = "max_s"
    cells: ClassVar[int] = 20 * AUDIO_RATE_HZ
    most_rows: ClassVar[int] = 16

    def windows(self, inputs: Sequence[np.ndarray]) -> list[Window]:
        """Return what the extractor makes of each window: samples, float32 (T,), or a spectrogram.

        Raises:
            ValueError: a clip is not float32 (T,) with T >= 1.
        """
        rate_hz, found = self._rate_hz, []
        for owner, clip in enumerate(inputs):
            if clip.dtype != np.float32 or clip.ndim != 1 or not clip.size:
                raise ValueError(f"a clip must be float32 (T,), not {clip.dtype} {clip.shape}")
            if rate_hz != AUDIO_RATE_HZ:
                clip = resample(Waveform(clip, AUDIO_RATE_HZ), rate_hz).samples
            count = max(1, math.ceil(len(clip) / (self._longest_s * rate_hz)))
            borders = [len(clip) * i // count for i in range(count + 1)]
            for start, stop in pairwise(borders):
                heard = clip[start:stop]
                heard = np.pad(heard, (0, max(0, self._shortest - len(heard))))
                made = self.processor(heard, sampling_rate=rate_hz, return_tensors="np", **self._asked)
                values, mask = np.asarray(made[self._name][0], np.float32), made.get("attention_mask")
                share = 1.0
                if self.family == _FILLED:
                    share = float(mask[0].mean())
                elif mask is not None and values.ndim == 2 and len(values) == mask.shape[1]:
                    values = values[: int(mask[0].sum())]  # frames that fill it up are not the clip's
                span = (start / len(clip), stop / len(clip))
                found.append(Window(owner=owner, values=values, span=span, heard=share))
        return found

    @property
    def _name(self) -> str:
        return str(self.processor.model_input_names[0])

    @property
    def _rate_hz(self) -> int:
        rate = getattr(self.processor, "sampling_rate", None)
        if not isinstance(rate, int) or rate < 1:
            raise ConfigError(
                f"{self.folder} ({self.setting}.path) sets sampling_rate to {rate!r}.\n"
                "Name the samples of a second that the model was trained on in its preprocessor_config.json."
            )
        return rate

    @cached_property
    def _settings(self) -> Any:
        from transformers import AutoConfig

        return AutoConfig.from_pretrained(str(self.folder), local_files_only=True, trust_remote_code=False)

    @cached_property
    def _shortest(self) -> int:
        """Samples that the first state needs: the reach of the convolutions over the waveform."""
        reach, step = 1, 1
        layers = zip(
            getattr(self._settings, "conv_kernel", ()), getattr(self._settings, "conv_stride", ()), strict=False
        )
        for kernel, stride in layers:
            reach, step = reach + (kernel - 1) * step, step * stride
        return reach

    @property
    def _longest_s(self) -> float:
        """Seconds of a window: what is asked for, if the extractor does not cut it."""
        extractor, longest = self.processor, self.config.max_s
        if chunk_s := getattr(extractor, "chunk_length", None):  # Whisper's: 30 s
            longest = min(longest, float(chunk_s))
        if longest_s := getattr(extractor, "max_length_s", None):  # CLAP's: it cuts at a random place
            longest = min(longest, float(longest_s))
        if frames := getattr(extractor, "max_length", None):  # the spectrogram transformer's: frames of 10 ms
            longest = min(longest, (frames - 2) / 100)
        return longest

    @cached_property
    def _masked(self) -> bool:
        """Return True if clips of several lengths may share a pass, padded and masked."""
        waveform = self._name == "input_values" and bool(getattr(self._settings, "conv_kernel", ()))
        asked = bool(getattr(self.processor, "return_attention_mask", False))
        grouped = getattr(self._settings, "feat_extract_norm", "") == "group"
        return waveform and asked and not grouped and may_be_padded(self.family, "audio")

    @property
    def _asked(self) -> dict[str, bool]:
        return {"return_attention_mask": True} if self.family == _FILLED else {}

    @property
    def _changes(self) -> list[str]:
        if self.family == _FILLED:
            return ["without silence behind"]
        return [] if may_be_padded(self.family, "audio") else ["unpadded"]

    @property
    def _padding(self) -> tuple[int | None, int]:
        longest = math.ceil(self._longest_s * self._rate_hz)
        return (4_000, longest) if self._masked else (None, 0)

    def _prepared(self, model: Any) -> Any:
        model.config.apply_spec_augment = False  # it would draw from numpy's global generator in training
        return model

    def _example(self) -> np.ndarray:
        return self.windows([np.zeros(AUDIO_RATE_HZ, np.float32)])[0].values

    def _samples(self) -> list[np.ndarray]:
        time = np.arange(AUDIO_RATE_HZ) / AUDIO_RATE_HZ
        return [self.windows([(0.5 * np.sin(2_000 * time**2)).astype(np.float32)])[0].values]  # a rising tone

    def _inputs(self, values: Sequence[np.ndarray], size: tuple[int, ...]) -> dict[str, torch.Tensor]:
        if not self._masked:
            return {self._name: torch.from_numpy(np.stack(values))}
        waves = torch.full((len(values), *size), float(self.processor.padding_value))
        mask = torch.zeros((len(values), *size), dtype=torch.long)
        for i, row in enumerate(values):
            waves[i, : len(row)] = torch.from_numpy(row)
            mask[i, : len(row)] = 1
        return {self._name: waves, "attention_mask": mask}

    def _weights(self, windows: Sequence[Window], states: torch.Tensor, given: dict[str, torch.Tensor]) -> np.ndarray:
        counts = np.array([max(1, math.ceil(window.heard * states.shape[1])) for window in windows])
        if (mask := given.get("attention_mask")) is not None:
            counts = self.module._get_feature_vector_attention_mask(states.shape[1], mask).sum(dim=1).numpy()
        return part_weights(np.array([window.span for window in windows]), counts, self.config.tokens, states.shape[1])
