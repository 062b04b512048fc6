"""`FusionModel`: frozen encoders, trained heads and fusion, and the fingerprint that names their space."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from trichord.encoders import model_file
from trichord.encoders.base import Encoder, Modality
from trichord.encoders.batching import blocks
from trichord.encoders.calibration import Calibration
from trichord.encoders.device import torch_threads
from trichord.encoders.frozen import Encoders, encoders_fingerprint, load_encoders
from trichord.encoders.fusion import AttentionMaps, FusionNetwork
from trichord.encoders.heads import FeatureStats
from trichord.encoders.inputs import Picture, Sound, batch_of_inputs, is_one_picture, is_one_sound
from trichord.encoders.located import Located, placeless, read_hints, write_hints
from trichord.encoders.model_file import MODEL_FORMAT, ModelFile
from trichord.encoders.views import MODALITIES, Features, View, view_modalities
from trichord.infra import digest
from trichord.infra.config import ModelConfig
from trichord.infra.errors import FingerprintMismatch, StorageError
from trichord.infra.regular_file import read_regular
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
        weights = self.network.state_dict()
        return _fingerprint(self.config, self.encoders.fingerprint, tokens, weights, self.calibration)

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
        present = _of_view(features, view)
        return self._embed(features.values, present[:, None])[:, 0], np.asarray(present.any(axis=1))

    def embed_views(self, features: Features, views: Sequence[View]) -> list[np.ndarray]:
        """Return vectors of several views of N records, as `embed` makes them, by one pass through the heads."""
        present = np.stack([_of_view(features, view) for view in views], axis=1)
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
        present = _of_view(features, view)
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
        save_file(weights, target / "model.safetensors")
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
        """Read a model and prove that it is the one that was saved, before any of its encoders is constructed.

        No file of the folder decides what code runs: a plug-in is constructed only as `places` names it, or given.

        Args:
            folder: as `save` wrote it.
            places: a project's settings: which plug-ins may run, and where encoders are before `places.json` is asked.
            plugins: encoders that the caller constructed, by modality.
            expected: the fingerprint that the model must have; None takes any.

        Raises:
            ConfigError: an encoder's folder is at none of these places, or a plug-in is neither named by `places`
                nor given.
            FingerprintMismatch: it is another model than `expected`; or a weight, a setting or an encoder differs from
                what was saved.
            StorageError: a file is missing or cannot be read.
        """
        source = Path(folder)
        try:
            stored = ModelFile.parse(read_regular(source / model_file.NAME, model_file.MAX_BYTES))
            config = ModelConfig.model_validate(stored.config)
            weights = load_file(source / "model.safetensors")
            calibration = Calibration.from_json(stored.calibration) if stored.calibration is not None else None
            hints = read_hints(source)
            tokens, named = _tokens_of(weights), encoders_fingerprint(stored.encoders)
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError, SafetensorError) as error:
            raise _unreadable(folder, error) from error
        if expected is not None and stored.fingerprint != expected:
            raise FingerprintMismatch(
                f"The model in {folder} has fingerprint {stored.fingerprint}, expected {expected}.\n"
                "Vectors of different models cannot be compared. Use the model that the index was built with."
            )
        made = _fingerprint(config, named, tokens, weights, calibration)
        if made != stored.fingerprint:
            raise FingerprintMismatch(
                f"The model in {folder} was saved as {stored.fingerprint}, but its files make {made}: "
                "its weights or settings were changed.\nRun `trichord recover`."
            )
        found = Located(folder=folder, config=config, places=places, hints=hints, plugins=plugins or {})
        encoders = found.encoders(stored.encoders)
        network = FusionNetwork(encoders.dimensions, encoders.tokens, config)
        try:
            network.load_state_dict(weights)
        except RuntimeError as error:
            raise _unreadable(folder, error) from error
        return cls(config, encoders, network, calibration)


def _fingerprint(
    config: ModelConfig,
    encoders: str,
    tokens: Mapping[Modality, int],
    weights: Mapping[str, Tensor],
    calibration: Calibration | None,
) -> str:
    """Return a model's fingerprint; `encoders` is that of its encoders."""
    digests = {
        name: [str(tensor.dtype), list(tensor.shape), digest.sha256_hex(tensor.contiguous().numpy().tobytes())]
        for name, tensor in weights.items()
    }
    shaping = {"dimension", "hidden", "fusion", "numerics"}
    if config.fusion == "transformer":
        shaping |= {"layers", "attention_heads"}
    settings = [config.model_dump(mode="json", include=shaping), dict(tokens)]
    lines = [calibration.to_json()] if calibration is not None else []
    return digest.address("fusion_model", MODEL_FORMAT, encoders, settings, digests, *lines)


def _tokens_of(weights: Mapping[str, Tensor]) -> dict[Modality, int]:
    """Return the vectors that an input gives, by modality: the shapes of the heads' weights say it.

    Raises:
        KeyError, ValueError: the weights are not those of three heads.
    """
    found: dict[Modality, int] = {}
    for name in MODALITIES:
        values, width = weights[f"heads.{name}.mean"].numel(), weights[f"heads.{name}.inner.weight"].shape[-1]
        if not width or values % width:
            raise ValueError(f"the {name} head has {values} values in vectors of {width}")
        found[name] = values // width
    return found


def _of_view(features: Features, view: View) -> np.ndarray:
    """Return which modalities of a view each record has, bool (N, M)."""
    names = view_modalities(view)
    return features.present & np.array([name in names for name in MODALITIES])


def _unreadable(folder: str, error: Exception) -> StorageError:
    return StorageError(f"The model in {folder} cannot be read: {error}\nRun `trichord recover`.")
