"""An encoder of the user's own, named as `module:Class`: the one place where code is loaded by its name."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from trichord.encoders.base import Encoder, Modality
from trichord.infra.config import EncoderConfig
from trichord.infra.errors import ConfigError


class CheckedEncoder:
    """An encoder of the user's own, whose features are checked before anything is trained on them or stored.

    Raises:
        ConfigError: the encoder says something impossible of itself.
    """

    def __init__(self, encoder: Encoder, modality: Modality, name: str) -> None:
        self._encoder, self._name = encoder, name
        for attribute in ("modality", "dimension", "tokens", "fingerprint", "encode"):
            if not hasattr(encoder, attribute):
                raise self._refused(f"has no `{attribute}`")
        if encoder.modality != modality:
            raise self._refused(f"reads {encoder.modality!r}, but is set as model.{modality}")
        for attribute in ("dimension", "tokens"):
            value = getattr(encoder, attribute)
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise self._refused(f"has the {attribute} {value!r}, which must be an int of at least 1")
        if encoder.dimension % encoder.tokens:
            raise self._refused(f"has {encoder.dimension} values, which {encoder.tokens} tokens cannot share")
        if not isinstance(encoder.fingerprint, str) or not encoder.fingerprint:
            raise self._refused(f"has the fingerprint {encoder.fingerprint!r}, which must be a digest")

    @property
    def modality(self) -> Modality:
        """The modality that it reads."""
        return self._encoder.modality

    @property
    def dimension(self) -> int:
        """Values of a feature vector."""
        return self._encoder.dimension

    @property
    def tokens(self) -> int:
        """Vectors that an input gives."""
        return self._encoder.tokens

    @property
    def fingerprint(self) -> str:
        """Digest, as the encoder reports it."""
        return self._encoder.fingerprint

    def encode(self, inputs: Sequence[Any]) -> np.ndarray:
        """Return features, float32 (N, dimension), of N inputs.

        Raises:
            ConfigError: it gave something else, or NaN or infinity.
        """
        given = self._encoder.encode(inputs)
        wanted = (len(inputs), self.dimension)
        if not isinstance(given, np.ndarray) or given.dtype != np.float32 or given.shape != wanted:
            got = f"{given.dtype} {given.shape}" if isinstance(given, np.ndarray) else type(given).__name__
            raise self._refused(f"gave {got} for {len(inputs)} inputs, and not float32 {wanted}")
        if not np.isfinite(given).all():
            raise self._refused("gave NaN or infinity")
        return given

    def _refused(self, what: str) -> ConfigError:
        return ConfigError(f"The plug-in {self._name} {what}.\nSee `Encoder` in encoders/base.py and docs/model.md.")


def load_plugin(modality: Modality, config: EncoderConfig) -> Encoder:
    """Return the encoder that `plugin` names, constructed with `options`.

    The module is found as Python finds any: installed, or on PYTHONPATH, here and on every worker.

    Raises:
        ConfigError: no such module or class, its constructor refused the options, or it is not an encoder.
    """
    setting, name = f"model.{modality}.plugin", config.plugin or ""
    module_name, _, class_name = name.partition(":")
    if not module_name or not class_name:
        raise ConfigError(f"{setting} is {config.plugin!r}.\nName a class as module:Class, for example my.code:Mine.")
    if config.tokens > 1:
        raise ConfigError(f"model.{modality}.tokens is {config.tokens}, but a plug-in itself says how many it returns.")
    try:
        module = importlib.import_module(module_name)
    except ImportError as error:
        raise ConfigError(
            f"{setting} names {name!r}, but its module cannot be imported: {error}\n"
            "Install it, or put its folder on PYTHONPATH, here and on every worker."
        ) from error
    made = getattr(module, class_name, None)
    if not isinstance(made, type):
        raise ConfigError(f"{setting} names {name!r}, but {module.__file__} has no class {class_name!r}.")
    try:
        # the documented exception to the rule against **kwargs: the options are the class's own
        encoder = made(**config.options)
    except Exception as error:
        raise ConfigError(f"{name} ({setting}) refused its options {config.options}: {error!r}") from error
    return CheckedEncoder(encoder, modality, name)
