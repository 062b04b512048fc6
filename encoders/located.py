"""The encoders of a stored model: where they are, and which of them may be constructed at all.

`model.json` and `places.json` are data. They may name a folder of weights, which is read only if its digest is the
stored one. They never decide what code is imported or called, nor what is fetched from the Hub: plug-ins and names on
the Hub count only where the project file, or the caller, names them too.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from trichord.encoders.base import Encoder, Modality
from trichord.encoders.frozen import Encoders, load_encoder
from trichord.encoders.model_file import MAX_BYTES
from trichord.encoders.plugin import CheckedEncoder
from trichord.encoders.views import MODALITIES
from trichord.infra.config import EncoderConfig, ModelConfig
from trichord.infra.errors import ConfigError, FingerprintMismatch
from trichord.infra.json_values import JsonObject, parse_object
from trichord.infra.regular_file import read_regular

PLACES = "places.json"


def placeless(config: ModelConfig) -> JsonObject:
    """Return the settings without the places of encoders: only the last name of a folder's path stays."""
    settings = config.model_dump(mode="json")
    for name in MODALITIES:
        del settings[name]["adapt"]
        path = settings[name]["path"]
        if path is not None and os.path.isabs(path):
            settings[name]["path"] = os.path.join(".", os.path.basename(path))  # the dot: it is not a name on the Hub
    return settings


def write_hints(target: Path, config: ModelConfig) -> None:
    """Write the present places of the encoders' folders."""
    places = {name: path for name in MODALITIES if (path := _of(config, name).path) is not None}
    (target / PLACES).write_text(json.dumps(places, sort_keys=True) + "\n", encoding="utf-8")


def read_hints(source: Path) -> dict[str, str]:
    """Return the places that `write_hints` wrote; none without the file. Raise ValueError where it is damaged."""
    try:
        return {name: str(path) for name, path in parse_object(read_regular(source / PLACES, MAX_BYTES)).items()}
    except FileNotFoundError:
        return {}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Located:
    """What a model's folder says of its encoders, and what the project or the caller allows.

    Attributes:
        folder: of the model; errors name it.
        config: the settings in `model.json`.
        places: the project's settings; None without a project.
        hints: modality -> place of an encoder's folder, from `places.json`.
        plugins: modality -> encoder that the caller constructed.
    """

    folder: str
    config: ModelConfig
    places: ModelConfig | None
    hints: Mapping[str, str]
    plugins: Mapping[Modality, Encoder]

    def encoders(self, wanted: Mapping[str, str]) -> Encoders:
        """Return the encoders with the fingerprints in `wanted`; nothing is constructed unless all may be.

        Raises:
            ConfigError: a plug-in is neither named by the project nor given, or an encoder is at none of the places.
            FingerprintMismatch: an encoder is not the one that the model was trained with.
        """
        for name in MODALITIES:
            self._require_allowed(name)
        encoders = Encoders({name: self._encoder(name, wanted[name]) for name in MODALITIES})
        found = {name: encoders.by_modality[name].fingerprint for name in MODALITIES}
        if changed := [name for name in MODALITIES if found[name] != wanted[name]]:
            raise FingerprintMismatch(
                f"The {' and '.join(changed)} encoder of the model in {self.folder} is not the one it was trained "
                "with.\nRestore its files, or name the folder that holds them: --set model.MODALITY.path=FOLDER; or "
                "train a new model: trichord reindex"
            )
        return encoders

    def _require_allowed(self, name: Modality) -> None:
        given = _of(self.config, name)
        if given.kind != "plugin" or name in self.plugins:
            return
        allowed = None if self.places is None else _of(self.places, name)
        if allowed is not None and _plugin_of(allowed) == _plugin_of(given):
            return
        named = "nothing was given" if self.places is None else f"the project file names {_shown(allowed)}"
        raise ConfigError(
            f"The model in {self.folder} names {_shown(given)} as its {name} encoder, but {named}. A model folder "
            "does not decide what code runs.\n"
            f"If you trust this plug-in, name it with these options in the project file (model.{name}), or construct "
            f"it in Python: trichord.load_model(FOLDER, plugins={{{name!r}: YourClass(...)}})."
        )

    def _encoder(self, name: Modality, wanted: str) -> Encoder:
        """Return the encoder from the first place that holds the wanted one; else from the first that holds any."""
        given = _of(self.config, name)
        if given.kind == "plugin" and name in self.plugins:
            return CheckedEncoder(self.plugins[name], name, type(self.plugins[name]).__qualname__)
        if given.kind == "plugin" and self.places is not None:
            return load_encoder(name, _of(self.places, name), self.config.numerics)
        if given.kind != "huggingface":
            return load_encoder(name, given, self.config.numerics)
        problem, other = None, None
        for path in self._paths(name):
            try:
                encoder = load_encoder(name, given.model_copy(update={"path": path}), self.config.numerics)
                if encoder.fingerprint == wanted:
                    return encoder
            except ConfigError as error:  # raised if no further place has it
                problem = problem or error
            else:
                other = other or encoder
        if other is not None:
            return other
        raise problem or self._unplaced(name)

    def _paths(self, name: Modality) -> list[str]:
        """Return where to look: what the project names, and folders or cached models that the model's files name."""
        from trichord.encoders.pretrained import find_cached  # imports torch

        today = None if self.places is None else _of(self.places, name).path
        stored = (find_cached(path) for path in (self.hints.get(name), _of(self.config, name).path) if path is not None)
        return list(dict.fromkeys(path for path in (today, *stored) if path is not None))

    def _unplaced(self, name: Modality) -> ConfigError:
        named = self.hints.get(name) or _of(self.config, name).path
        return ConfigError(
            f"The model in {self.folder} names {named!r} as its {name} encoder, which is neither a folder here nor in "
            "the cache of the Hub. A model folder does not decide what is fetched.\n"
            f"Name it yourself: --set model.{name}.path={named}, or trichord.load_model(FOLDER, "
            f"encoders={{{name!r}: {named!r}}})."
        )


def _of(config: ModelConfig, name: Modality) -> EncoderConfig:
    found: EncoderConfig = getattr(config, name)
    return found


def _plugin_of(config: EncoderConfig) -> tuple[object, ...]:
    """Return class and options; options of other types differ, as 1 and True do."""
    options = sorted((name, type(value).__name__, value) for name, value in config.options.items())
    return config.kind, config.plugin, options


def _shown(config: EncoderConfig | None) -> str:
    if config is None or config.kind != "plugin":
        return "no plug-in"
    return f"the plug-in {str(config.plugin)[:200]!r} with the options {str(config.options)[:200]}"
