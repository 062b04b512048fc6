"""`FusionModel`: frozen encoders, trained heads and fusion, and the fingerprint that names their space."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor

from trichord.encoders import model_file
from trichord.encoders.base import Encoder, Modality
from trichord.encoders.batching import blocks
from trichord.encoders.calibration import Calibration
from trichord.encoders.device import torch_threads
from trichord.encoders.frozen import Encoders, load_encoders
from trichord.encoders.fusion import AttentionMaps, FusionNetwork
from trichord.encoders.heads import FeatureStats
from trichord.encoders.inputs import Picture, Sound, batch_of_inputs, is_one_picture, is_one_sound
from trichord.encoders.located import placeless, write_hints
from trichord.encoders.model_file import ModelFile
from trichord.encoders.stored_model import WEIGHTS, StoredModel, model_fingerprint, read_model
from trichord.encoders.views import MODALITIES, Features, View, present_of
from trichord.infra import digest
from trichord.infra.config import ModelConfig
from trichord.transforms.batch import Batch

__all__ = ["Encoders", "FusionModel", "load_encoders"]

_ROWS = 256  # rows of one pass through the heads


class FusionModel:
    """Embeds any view of a record in one space. Immutable by contract: the fingerprint is of the weights it was given.

    Shape letters: N rows, C captions, D = `dimension`.
    """

    def __init__(
        self, config: ModelConfig, encoders: Encoders, network: FusionNetwork, calibration: Calibration | None = None
    ) -> None:
        self.config = config
        self.encoders = encoders
        self.network = network.eval().requires_grad_(False)
        self.calibration = calibration

    @classmethod
    def initial(
        cls,
        config: ModelConfig,
        encoders: Encoders,
        stats: Mapping[Modality, FeatureStats],
        seed: int,
    ) -> FusionModel:
        """Return an untrained model: random heads drawn from `seed`, standardised by the training set's statistics."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(digest.hash64(f"model/{seed}") >> 1)
            network = FusionNetwork(encoders.dimensions, encoders.tokens, config)
        network.standardise(stats)
        return cls(config, encoders, network)

    def calibrated(self, calibration: Calibration) -> FusionModel:
        """Return the same model with the calibration of its cosines: the same vectors under another fingerprint."""
        return FusionModel(self.config, self.encoders, self.network, calibration)

    @property
    def dimension(self) -> int:
        """Values of a vector."""
        return self.config.dimension

    @property
    def input_dimensions(self) -> dict[Modality, int]:
        """Values of a feature vector, by modality."""
        return self.encoders.dimensions

    @cached_property
    def fingerprint(self) -> str:
        """Digest of the weights, the encoders with their preprocessing, the fusion's settings, and the calibration."""
        tokens = self.encoders.tokens
        weights = {name: tensor.contiguous().numpy() for name, tensor in self.network.state_dict().items()}
        return model_fingerprint(self.config, self.encoders.fingerprint, tokens, weights, self.calibration)

    def featurise(self, batch: Batch) -> Features:
        """Return what the frozen encoders make of N rows and their captions."""
        return self.encoders.featurise(batch)

    def encode(self, batch: Batch, view: View) -> tuple[np.ndarray, np.ndarray]:
        """Embed a batch: `embed` of its features."""
        return self.embed(self.featurise(batch), view)

    def encode_text(self, texts: str | Sequence[str]) -> np.ndarray:
        """Vectors of texts, float32 (N, D), L2-normalised; (D,) of one string.

        Raises:
            ValueError: a text is empty.
        """
        return self._encode_inputs("text", texts, isinstance(texts, str))

    def encode_image(self, images: Picture | Sequence[Picture]) -> np.ndarray:
        """Vectors of pictures, float32 (N, D), L2-normalised; (D,) of one.

        Args:
            images: a file's path, its bytes, a Pillow image or uint8 (H, W, 3), or a sequence of them.

        Raises:
            ValueError: one is of no known kind.
            OSError: a file cannot be read.
            MediaError: one cannot be decoded.
        """
        return self._encode_inputs("image", images, is_one_picture(images))

    def encode_audio(self, sounds: Sound | Sequence[Sound]) -> np.ndarray:
        """Vectors of sounds, float32 (N, D), L2-normalised; (D,) of one.

        Args:
            sounds: a file's path, its bytes or (samples, rate in Hz), or a sequence of them. Samples are float32 in
                [-1, 1], (T,) or (T, channels).

        Raises:
            ValueError: one is of no known kind.
            OSError: a file cannot be read.
            MediaError: one cannot be decoded.
        """
        return self._encode_inputs("audio", sounds, is_one_sound(sounds))

    def _encode_inputs(self, modality: Modality, inputs: Any, one: bool) -> np.ndarray:
        vectors_ND, _ = self.encode(batch_of_inputs(modality, [inputs] if one else list(inputs)), modality)
        return vectors_ND[0] if one else vectors_ND

    def embed(self, features: Features, view: View) -> tuple[np.ndarray, np.ndarray]:
        """Embed one view of N records: the fusion of those of its modalities that a record has.

        Args:
            features: of this model's encoders.
            view: 'fused', 'text', 'text+image', …, or a collection of modalities.

        Returns:
            Vectors, float32 (N, D), L2-normalised, and bool (N,), True where the record has a modality of the view.
            Where it has none the vector is all zeros.

        Raises:
            ValueError: no such view, or features of another width.
        """
        present = present_of(features, view)
        return self._embed(features.values, present[:, None])[:, 0], np.asarray(present.any(axis=1))

    def embed_views(self, features: Features, views: Sequence[View]) -> list[np.ndarray]:
        """Return vectors of several views of N records, as `embed` makes them, by one pass through the heads."""
        present = np.stack([present_of(features, view) for view in views], axis=1)
        return list(self._embed(features.values, present).transpose(1, 0, 2))

    def embed_captions(self, features: Features) -> np.ndarray:
        """Embed the records' other wordings as texts: float32 (C, D), L2-normalised."""
        present = np.zeros((len(features.captions), 1, len(MODALITIES)), dtype=bool)
        present[:, :, MODALITIES.index("text")] = True
        return self._embed({"text": features.captions}, present)[:, 0]

    def attention(self, features: Features, view: View) -> AttentionMaps:
        """Return who attends to whom while `embed` fuses the view: the weights of that pass, of a transformer fusion.

        Weights of a position to all sum to 1; to and from what is not in the view they are zeros.

        Raises:
            ValueError: the fusion is not a transformer, or as `embed` raises.
        """
        present = present_of(features, view)
        found = list(self._passes(self.network.attention, features.values, present))
        layers, heads, width = self.config.layers, self.config.attention_heads, len(self.network.positions)
        weights = np.empty((layers, len(present), heads, width, width), np.float32)
        for start, maps in found:
            weights[:, start : start + _ROWS] = maps[:, : len(present) - start]
        return AttentionMaps(weights, self.network.positions)

    def _embed(self, values: Mapping[Modality, np.ndarray], views_NSM: np.ndarray) -> np.ndarray:
        vectors = np.empty((*views_NSM.shape[:2], self.dimension), np.float32)
        for start, found in self._passes(self.network, values, views_NSM):
            vectors[start : start + _ROWS] = found[: len(vectors) - start]
        return vectors

    def _passes(
        self,
        run: Callable[[dict[Modality, Tensor], Tensor], Tensor],
        values: Mapping[Modality, np.ndarray],
        views: np.ndarray,
    ) -> Iterator[tuple[int, np.ndarray]]:
        """Yield results block by block, with the first row of each; `run` gets `views` (N, ..., M) in blocks too."""
        values = {name: values[name] for m, name in enumerate(MODALITIES) if views[..., m].any()}
        for name, rows in values.items():
            if rows.shape[1] != self.input_dimensions[name]:
                taken = self.input_dimensions[name]
                raise ValueError(f"{name} features have {rows.shape[1]} values, this model takes {taken}")
        strict = self.config.numerics == "strict"
        for start, block, mask in blocks(values, views, _ROWS, pad=strict):
            with torch_threads(1 if strict else None), torch.inference_mode():
                inputs = {name: torch.from_numpy(rows) for name, rows in block.items()}
                found = run(inputs, torch.from_numpy(mask)).numpy()
            yield start, found

    def save(self, folder: str) -> None:
        """Write `model.safetensors` and then `model.json` into a folder, which is made.

        Both are equal wherever the encoders' folders are. Their present places are in `places.json`, a hint that is not
        part of the model: an encoder found there must have the stored fingerprint.
        """
        target = Path(folder)
        target.mkdir(parents=True, exist_ok=True)
        weights = {name: tensor.contiguous() for name, tensor in self.network.state_dict().items()}
        save_file(weights, target / WEIGHTS)
        stored = ModelFile(
            fingerprint=self.fingerprint,
            dimension=self.dimension,
            encoders={name: self.encoders.by_modality[name].fingerprint for name in MODALITIES},
            config=placeless(self.config),
            calibration=self.calibration.to_json() if self.calibration is not None else None,
        )
        write_hints(target, self.config)
        (target / model_file.NAME).write_bytes(stored.to_bytes())

    @classmethod
    def load(
        cls,
        folder: str,
        places: ModelConfig | None = None,
        *,
        plugins: Mapping[Modality, Encoder] | None = None,
        expected: str | None = None,
    ) -> FusionModel:
        """Read a model and prove that it is the one that was saved. Arguments and errors are those of `read_model`."""
        return cls.of(read_model(folder, places, plugins=plugins, expected=expected))

    @classmethod
    def of(cls, stored: StoredModel) -> FusionModel:
        """Return the model of a folder that was read. Raise StorageError where its weights do not fit its settings."""
        network = FusionNetwork(stored.encoders.dimensions, stored.encoders.tokens, stored.config)
        try:
            network.load_state_dict({name: torch.from_numpy(values) for name, values in stored.weights.items()})
        except RuntimeError as error:
            raise stored.unreadable(error) from error
        return cls(stored.config, stored.encoders, network, stored.calibration)
