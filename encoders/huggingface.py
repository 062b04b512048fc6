"""Any Hugging Face model as an encoder: inputs read in windows, windows batched by length, states pooled into vectors.

What differs between text, image and audio is in `huggingface_text`, `huggingface_image` and `huggingface_audio`.

Shape letters: N inputs, B windows of a pass, T states, H width, K parts (`tokens`), P vectors of an input.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Literal

import numpy as np
import torch

from trichord.encoders.base import Modality
from trichord.encoders.batching import Pass, Planner, run_passes
from trichord.encoders.device import compute_device, exact_numerics, multiplies_bfloat16
from trichord.encoders.families import auto_class, require_known
from trichord.encoders.half_products import half_products, keep_convolutions, weights_once
from trichord.encoders.pooling import Pooling, sentence_bert_pooling
from trichord.encoders.pretrained import find_model, load_model, load_processor, model_digests, read_settings
from trichord.encoders.probe import FAULTS, ModelShape, probe_model, tower
from trichord.infra import digest
from trichord.infra.config import EncoderConfig
from trichord.infra.errors import ConfigError
from trichord.infra.packages import version

_GPU_BATCH = 16  # passes on a GPU are this many times as large as on a CPU
_HALF = 2  # version of what half precision does; convolutions in float32 on CPUs since 2
_FAST = 2  # version of what fast numerics do; bfloat16 products since 2


@dataclass(frozen=True, kw_only=True, slots=True)
class Window:
    """A part of the input number `owner` that a model reads at once: `span` of it, [start, stop) in [0, 1]."""

    owner: int
    values: np.ndarray
    span: tuple[float, float] = (0.0, 1.0)
    heard: float = 1.0  # share of its states that are of the input; what is behind them is padding


class HuggingFaceEncoder(ABC):
    """An encoder from a folder, or from the Hub's cache, in the layout of `save_pretrained`.

    `encode` is for features; `pooled` is the same with a gradient, for training `module`.

    Args:
        config: path, pooling, tokens, window and precision. The path is not part of the fingerprint; the files are.
        numerics: 'strict' gives passes fixed shapes and one thread, so that a vector does not depend on its
            neighbours; 'fast' pads to the longest of each pass, and halves a pass that does not fit into memory.
            On a CPU that multiplies bfloat16, matrix products of a float32 model are in bfloat16 then.

    Raises:
        ConfigError: there is no such model, it has no safetensors, or `tokens` and `pooling` exclude each other.
    """

    modality: ClassVar[Modality]
    version: ClassVar[int] = 2
    auto_processor: ClassVar[str]
    window_setting: ClassVar[str]  # the setting that makes an input's windows smaller
    cells: ClassVar[int]  # values of a pass on a CPU
    most_rows: ClassVar[int]

    def __init__(self, config: EncoderConfig, numerics: Literal["strict", "fast"]) -> None:
        self.config, self.numerics = config, numerics
        self.setting = f"model.{self.modality}"
        if not config.path:
            raise ConfigError(f"{self.setting}.kind is 'huggingface', but {self.setting}.path names no model.")
        if config.tokens > 1 and config.pooling not in ("auto", "mean"):
            raise ConfigError(
                f"{self.setting}.tokens is {config.tokens}, the means of this many parts, but its pooling is "
                f"{config.pooling!r}.\nSet pooling to mean, or tokens to 1."
            )
        self.folder = find_model(config.path, f"{self.setting}.path", processor=self.modality != "text")
        self.family = require_known(read_settings(self.folder / "config.json"), self.folder, f"{self.setting}.path")
        if config.tokens == 1 and config.pooling == "auto":
            sentence_bert_pooling(self.folder, self.setting)  # refuses what is not read before any work

    def __getstate__(self) -> dict[str, object]:
        heavy = ("module", "processor")
        return {name: value for name, value in self.__dict__.items() if name not in heavy}

    @property
    def tokens(self) -> int:
        """Vectors of an input."""
        return self.config.tokens

    @property
    def dimension(self) -> int:
        """Values of a feature vector; known without loading weights."""
        width = self.shape.summary if self.pooling.kinds == ("pooler",) else self.shape.width
        return self.config.tokens * width * len(self.pooling.kinds)

    @cached_property
    def fingerprint(self) -> str:
        """Digest of the files, of pooling, parts, window, precision and numerics, and of the libraries' versions."""
        how = {"pooling": self.config.pooling, "tokens": self.config.tokens, "precision": self.config.precision}
        window = getattr(self.config, self.window_setting) if self.window_setting else None
        libraries = [version(name) for name in ("torch", "transformers")]
        return digest.address(
            f"huggingface_{self.modality}",
            self.version,
            libraries,
            model_digests(self.folder),
            how,
            window,
            self.numerics,
            *([_FAST] if self.numerics == "fast" else []),
            *([f"half {_HALF}"] if self.config.precision != "float32" else []),
            *self._changes,
        )

    @property
    def _changes(self) -> list[str]:
        """What else shapes the vectors of some models alone, so that the fingerprints of all others stay."""
        return []

    @cached_property
    def processor(self) -> Any:
        """The model's own tokenizer, image processor or feature extractor."""
        choice = {"backend": "pil"} if self.modality == "image" else {}
        return load_processor(self.auto_processor, self.folder, f"{self.setting}.path", **choice)

    @cached_property
    def module(self) -> Any:
        """The network, on the device it runs on; loaded at first use."""
        model = self._load(self._dtype, read_pooler="pooler" in self.pooling.kinds)
        network = self._prepared(tower(model, self.modality)).to(compute_device())
        keep_convolutions(network, self._dtype)
        return network

    def _load(self, dtype: torch.dtype, *, read_pooler: bool) -> Any:
        unread = () if read_pooler else ("pooler.", f"{self.modality}_model.pooler.")
        return load_model(auto_class(self.family, self.modality), self.folder, f"{self.setting}.path", dtype, unread)

    @property
    def _dtype(self) -> torch.dtype:
        dtype: torch.dtype = getattr(torch, self.config.precision)
        return dtype

    @cached_property
    def shape(self) -> ModelShape:
        """What the model makes of an input, if possible without its weights.

        Raises:
            ConfigError: the model does not take what is given here, or gives no states.
        """
        try:
            example = self._example()
            given = {name: value for name, value in self._inputs([example], example.shape).items()
                     if name != "attention_mask"}  # fmt: skip
            return probe_model(
                self.folder,
                self.modality,
                given,
                auto_class(self.family, self.modality),
                lambda: self._prepared(self._load(torch.float32, read_pooler=False)),
            )
        except FAULTS as error:
            raise self._misfit(error) from error

    def _misfit(self, error: BaseException) -> ConfigError:
        first = (str(error).strip() or type(error).__name__).splitlines()[0]
        return ConfigError(
            f"{self.folder} ({self.setting}.path) is a model of the family {self.family!r}, which does not work as "
            f"the encoder of {self.modality}: {first[:300]}\nTake a model of another family, or write a plug-in."
        )

    def check(self) -> str:
        """Load the model, encode inputs twice in one pass, and return what it is.

        Raises:
            ConfigError: it cannot be loaded, does not take an input, or gives one input two vectors.
        """
        try:
            for values in self._samples():
                self._check_twice(values)
            return f"{self.family}, {self.dimension} values"
        except FAULTS as error:
            raise self._misfit(error) from error

    def _check_twice(self, values: np.ndarray) -> None:
        twice = [Window(owner=owner, values=values) for owner in range(2)]
        with exact_numerics(self.numerics == "strict"), torch.inference_mode(), weights_once():
            found = self._forward(twice, Pass(chosen=(0, 1), rows=2, size=values.shape), half=False)
        if not found.isfinite().all():
            raise self._not_finite()
        # a pass may round its rows differently by some last bits
        if not torch.allclose(found[0], found[1], rtol=1e-2, atol=1e-3 * float(found.abs().max())):
            raise ConfigError(
                f"{self.folder} ({self.setting}.path) gives one input two vectors: a model of the family "
                f"{self.family!r} draws at random.\nTake another model."
            )

    def _not_finite(self) -> ConfigError:
        return ConfigError(
            f"{self.setting} gave NaN or infinity in {self.config.precision}.\n"
            "Set its precision to bfloat16 or float32; where it is, the weights are damaged."
        )

    @cached_property
    def pooling(self) -> Pooling:
        """The pooling that the settings and the model's folder come to.

        Raises:
            ConfigError: the model cannot be pooled like that.
        """
        if self.config.tokens > 1:
            return Pooling(kinds=("mean",))
        if self.config.pooling == "auto":
            if found := sentence_bert_pooling(self.folder, self.setting):
                return found
            return Pooling(kinds=("pooler",) if self.shape.feature_map and self.shape.summary else ("mean",))
        if self.shape.feature_map and self.modality != "image" and self.config.pooling != "pooler":
            raise ConfigError(f"{self.folder} ({self.setting}) gives a map, not states in time.\nSet pooling to auto.")
        if (self.config.pooling == "pooler" and not self.shape.summary) or (
            self.config.pooling == "cls" and self.shape.feature_map
        ):
            raise ConfigError(f"{self.folder} ({self.setting}) has no {self.config.pooling!r}.\nSet pooling to mean.")
        return Pooling(kinds=(self.config.pooling,))

    def encode(self, inputs: Sequence[Any]) -> np.ndarray:
        """Return features, float32 (N, dimension), of N inputs.

        Raises:
            ConfigError: memory ran out, or half precision overflowed.
        """
        strict = self.numerics == "strict"
        _ = self.module  # loaded outside of inference mode: it may be trained later
        with exact_numerics(strict), torch.inference_mode(), weights_once():
            vectors = self._vectors(inputs, strict=strict, keep=False).numpy()
        if not np.isfinite(vectors).all():
            raise self._not_finite()
        return vectors

    def pooled(self, inputs: Sequence[Any]) -> torch.Tensor:
        """Return what `encode` returns in fast numerics, as a tensor (N, dimension) on the device, with a gradient."""
        return self._vectors(inputs, strict=False, keep=True)

    @abstractmethod
    def windows(self, inputs: Sequence[Any]) -> list[Window]:
        """Return preprocessed windows of N inputs, in order, those of one input in order of time."""

    @abstractmethod
    def _example(self) -> np.ndarray:
        """Return values of a window, for finding out what the model makes of them."""

    @abstractmethod
    def _samples(self) -> list[np.ndarray]:
        """Return values of windows of inputs that are the same nowhere, of each shape that may come."""

    @abstractmethod
    def _inputs(self, values: Sequence[np.ndarray], size: tuple[int, ...]) -> dict[str, torch.Tensor]:
        """Return the arguments of the model's `forward`: windows padded to `size`."""

    @abstractmethod
    def _weights(self, windows: Sequence[Window], states: torch.Tensor, given: dict[str, torch.Tensor]) -> np.ndarray:
        """Return weights of the states in each part, float32 (B, K, T). A map's states are (B, H, rows, columns)."""

    def _planner(self, strict: bool) -> Planner:
        larger = 1 if self.module.device.type == "cpu" else _GPU_BATCH
        shortest, longest = self._padding
        return Planner(
            cells=self.cells * larger,
            most_rows=self.most_rows * larger,
            shortest=shortest,
            longest=longest,
            strict=strict,
        )

    @property
    def _padding(self) -> tuple[int | None, int]:
        """Shortest padded length (None: no padding), and the longest."""
        return None, 0

    def _prepared(self, model: Any) -> Any:
        return model

    def _vectors(self, inputs: Sequence[Any], *, strict: bool, keep: bool) -> torch.Tensor:
        if not inputs:
            return torch.zeros((0, self.dimension), device=self.module.device if keep else "cpu")
        windows = self.windows(inputs)
        passes = self._planner(strict).plan([window.values.shape for window in windows])
        half = not strict and not keep and self._on_cpu_in_full and multiplies_bfloat16()

        def forward(now: Pass) -> torch.Tensor:
            found = self._forward([windows[i] for i in now.chosen], now, half=half)
            return found if keep else found.cpu()

        made: list[torch.Tensor | None] = [None] * len(windows)
        lower = f"Lower {self.setting}.{self.window_setting}" if self.window_setting else "Take a smaller model"
        for now, found in run_passes(passes, forward, strict=strict, advice=lower):
            for i, vectors_PH in zip(now.chosen, found, strict=True):
                made[i] = vectors_PH
        of_inputs: list[list[torch.Tensor]] = [[] for _ in inputs]
        for window, vectors in zip(windows, made, strict=True):
            assert vectors is not None
            of_inputs[window.owner].append(vectors)
        return self.pooling.of_inputs(of_inputs)

    @property
    def _on_cpu_in_full(self) -> bool:
        return self.module.device.type == "cpu" and self._dtype == torch.float32

    def _forward(self, chosen: list[Window], now: Pass, *, half: bool) -> torch.Tensor:
        """Return contributions (len(chosen), P, H). Where shapes are fixed, the first window fills up the rows."""
        rows = chosen + [chosen[0]] * (now.rows - len(chosen))
        given = self._inputs([window.values for window in rows], now.size)
        module = self.module
        inputs = {
            name: value.to(module.device, dtype=self._dtype if value.is_floating_point() else None)
            for name, value in given.items()
        }
        with half_products(half):
            output = module(**inputs)
        states, summary = output.last_hidden_state, getattr(output, "pooler_output", None)
        if half:
            states, summary = states.float(), None if summary is None else summary.float()
        weights = torch.from_numpy(self._weights(rows, states, given)).to(states.device)
        shares = torch.tensor([window.span[1] - window.span[0] for window in rows], device=states.device)
        if states.ndim == 4:
            states = states.flatten(2).transpose(1, 2)
        return self.pooling.of_windows(states, None if summary is None else summary.flatten(1), weights, shares)[
            : len(chosen)
        ]
