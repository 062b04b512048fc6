"""The frozen encoders of the three modalities, chosen by the project file, and what they make of a batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from typing import Any

import numpy as np

from encoders.base import AUDIO_RATE_HZ, Encoder, Modality
from encoders.features import HashedNgrams, ImageStatistics, LogMelStatistics
from encoders.views import MODALITIES, Features
from infra import digest
from infra.config import ModelConfig
from infra.errors import ConfigError
from transforms.batch import Batch
from transforms.media import resample


@dataclass(frozen=True)
class Encoders:
    """One encoder a modality. Picklable; weights are loaded at first use."""

    by_modality: Mapping[Modality, Encoder]

    def __post_init__(self) -> None:
        if any(self.by_modality[name].modality != name for name in MODALITIES):
            raise ValueError("an encoder stands at another modality than its own")

    @cached_property
    def fingerprint(self) -> str:
        """Digest of the encoders' fingerprints: features of equal fingerprint are interchangeable."""
        return digest.address("encoders", {name: self.by_modality[name].fingerprint for name in MODALITIES})

    @property
    def dimensions(self) -> dict[Modality, int]:
        """Values of a feature vector, by modality."""
        return {name: self.by_modality[name].dimension for name in MODALITIES}

    @property
    def tokens(self) -> dict[Modality, int]:
        """Vectors that an input gives, by modality: a feature vector is so many of equal width, laid end to end."""
        return {name: self.by_modality[name].tokens for name in MODALITIES}

    def featurise(self, batch: Batch) -> Features:
        """Features of N rows; a row without words, picture or sound lacks that modality."""
        texts = [row.text or None for row in batch.rows]
        sounds = [None if wave is None else resample(wave, AUDIO_RATE_HZ).samples for wave in batch.waves]
        values, present = {}, np.zeros((len(batch), len(MODALITIES)), dtype=bool)
        inputs_of: dict[Modality, Sequence[Any]] = {"text": texts, "image": batch.images, "audio": sounds}
        for m, name in enumerate(MODALITIES):
            inputs = inputs_of[name]
            encoder = self.by_modality[name]
            values[name] = np.zeros((len(batch), encoder.dimension), np.float32)
            present[:, m] = [given is not None for given in inputs]
            values[name][present[:, m]] = encoder.encode([given for given in inputs if given is not None])
        captions = [[caption for caption in row.captions if caption] for row in batch.rows]
        return Features(
            values=values,
            present=present,
            captions=self.by_modality["text"].encode([caption for several in captions for caption in several]),
            offsets=np.array(list(accumulate(map(len, captions), initial=0)), dtype=np.int64),
        )


def load_encoders(config: ModelConfig) -> Encoders:
    """The encoders that the project file names.

    Raises:
        ConfigError: a kind is not there for its modality, or a Hugging Face folder is missing or unusable.
    """
    for name in ("image", "audio"):
        if (kind := getattr(config, name).kind) != "embedded":
            raise ConfigError(
                f"model.{name}.kind is {kind!r}, but only text has that kind of encoder.\nSet it to embedded."
            )
    text: Encoder = HashedNgrams()
    if config.text.kind == "huggingface":
        # here and not above: transformers takes seconds to import
        from encoders.huggingface import HuggingFaceText

        if not config.text.path:
            raise ConfigError("model.text.kind is 'huggingface', but model.text.path names no model.")
        text = HuggingFaceText(config.text.path, config.text.pooling, config.text.max_tokens, config.numerics)
    return Encoders({"text": text, "image": ImageStatistics(), "audio": LogMelStatistics()})
