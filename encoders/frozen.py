"""The frozen encoders of the three modalities, chosen by the project file, and what they make of a batch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from typing import Any, Literal

import numpy as np

from trichord.encoders.base import AUDIO_RATE_HZ, Encoder, Modality
from trichord.encoders.features import HashedNgrams, ImageStatistics, LogMelStatistics
from trichord.encoders.plugin import load_plugin
from trichord.encoders.views import MODALITIES, Features
from trichord.infra import digest
from trichord.infra.config import EncoderConfig, ModelConfig
from trichord.infra.errors import ConfigError
from trichord.transforms.batch import Batch
from trichord.transforms.media import resample


@dataclass(frozen=True)
class Encoders:
    """One encoder a modality. Picklable; weights are loaded at first use."""

    by_modality: Mapping[Modality, Encoder]

    def __post_init__(self) -> None:
        if any(self.by_modality[name].modality != name for name in MODALITIES):
            raise ValueError("an encoder was given for another modality than its own")

    @cached_property
    def fingerprint(self) -> str:
        """Digest of the encoders' fingerprints: features of equal fingerprint are interchangeable."""
        return encoders_fingerprint({name: self.by_modality[name].fingerprint for name in MODALITIES})

    @property
    def dimensions(self) -> dict[Modality, int]:
        """Values of a feature vector, by modality."""
        return {name: self.by_modality[name].dimension for name in MODALITIES}

    @property
    def tokens(self) -> dict[Modality, int]:
        """Vectors that an input gives, by modality: a feature vector is this many of equal width, end to end."""
        return {name: self.by_modality[name].tokens for name in MODALITIES}

    def featurise(self, batch: Batch) -> Features:
        """Return features of N rows; a row without words, picture or sound lacks that modality."""
        texts = [row.text or None for row in batch.rows]
        sounds = [None if wave is None else resample(wave, AUDIO_RATE_HZ).samples for wave in batch.waves]
        captions = [[caption for caption in row.captions if caption] for row in batch.rows]
        wordings = [caption for several in captions for caption in several]
        values, present = {}, np.zeros((len(batch), len(MODALITIES)), dtype=bool)
        inputs_of: dict[Modality, Sequence[Any]] = {"text": texts, "image": batch.images, "audio": sounds}
        for m, name in enumerate(MODALITIES):
            encoder, inputs = self.by_modality[name], inputs_of[name]
            present[:, m] = [given is not None for given in inputs]
            given = [one for one in inputs if one is not None]
            # captions go along with the texts: together they fill more passes of one length
            found = encoder.encode([*given, *wordings] if name == "text" else given)
            values[name] = np.zeros((len(batch), encoder.dimension), np.float32)
            values[name][present[:, m]] = found[: len(given)]
            if name == "text":
                of_captions = found[len(given) :]
        return Features(
            values=values,
            present=present,
            captions=of_captions,
            offsets=np.array(list(accumulate(map(len, captions), initial=0)), dtype=np.int64),
        )


def encoders_fingerprint(by_modality: Mapping[str, str]) -> str:
    """Return the digest of the three encoders' fingerprints. Raise KeyError where one is missing."""
    return digest.address("encoders", {name: by_modality[name] for name in MODALITIES})


def load_encoders(config: ModelConfig) -> Encoders:
    """Return the encoders that the project file names.

    Raises:
        ConfigError: a Hugging Face folder or a plug-in's class is missing or unusable, or settings exclude each other.
    """
    chosen: dict[Modality, EncoderConfig] = {"text": config.text, "image": config.image, "audio": config.audio}
    return Encoders({name: load_encoder(name, given, config.numerics) for name, given in chosen.items()})


def load_encoder(modality: Modality, config: EncoderConfig, numerics: Literal["strict", "fast"]) -> Encoder:
    """Return the encoder of one modality. Raise as `load_encoders`."""
    if config.kind == "huggingface":
        return _huggingface(modality, config, numerics)
    if config.kind == "plugin":
        return load_plugin(modality, config)
    if config.tokens > 1:
        raise ConfigError(
            f"model.{modality}.tokens is {config.tokens}, but the embedded encoder gives one vector.\n"
            "Set it to 1, or kind to huggingface."
        )
    embedded: dict[Modality, Encoder] = {
        "text": HashedNgrams(),
        "image": ImageStatistics(),
        "audio": LogMelStatistics(),
    }
    return embedded[modality]


def _huggingface(modality: Modality, config: EncoderConfig, numerics: Literal["strict", "fast"]) -> Encoder:
    # here and not above: torch and transformers take seconds to import
    from trichord.encoders.huggingface_audio import HuggingFaceAudio
    from trichord.encoders.huggingface_image import HuggingFaceImage
    from trichord.encoders.huggingface_text import HuggingFaceText

    adapters: dict[Modality, Callable[..., Encoder]] = {
        "text": HuggingFaceText,
        "image": HuggingFaceImage,
        "audio": HuggingFaceAudio,
    }
    return adapters[modality](config, numerics)
