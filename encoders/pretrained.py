"""Folders of Hugging Face models: found, checked, hashed and loaded.

Weights are read from safetensors alone and no code of a model is ever run.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open

from trichord.infra import digest
from trichord.infra.errors import ConfigError
from trichord.infra.json_values import JsonObject, parse_object

SENTENCE_FILES = tuple(
    f"sentence_{kind}_config.json"
    for kind in ("bert", "roberta", "distilbert", "camembert", "albert", "xlm-roberta", "xlnet")
)
SENTENCE_PROMPTS = "config_sentence_transformers.json"  # of it, only the default prompt shapes a vector
# Every file beside the weights that can change a vector: settings, tokenizers, processors, Sentence-BERT's pooling.
SHAPING_FILES = (
    "1_Pooling/config.json",
    "added_tokens.json",
    "bpe.codes",
    "config.json",
    "merges.txt",
    "modules.json",
    "normalizer.json",
    "preprocessor_config.json",
    "processor_config.json",
    *SENTENCE_FILES,
    "sentencepiece.bpe.model",
    "special_tokens_map.json",
    "spiece.model",
    "spm.model",
    "tokenizer.json",
    "tokenizer.model",
    "tokenizer_config.json",
    "vocab.json",
    "vocab.txt",
)
_KERNELS = ("attn_implementation", "_attn_implementation", "experts_implementation", "_experts_implementation")
_KNOWN_KERNELS = (
    "eager",
    "sdpa",
    "flash_attention_2",
    "flash_attention_3",
    "flex_attention",
    "grouped_mm",
    "batched_mm",
)
_WEIGHTS = (".safetensors", ".safetensors.index.json")
_CODES = ("F4", "F6", "F8", "I4", "I8", "U4", "U8")  # beginnings of the types of quantised weights
_PROCESSORS = ("preprocessor_config.json", "processor_config.json")


def read_settings(path: Path) -> JsonObject:
    """Return the content of a settings file of a model, a JSON object.

    Raises:
        ConfigError: the file cannot be read.
    """
    try:
        return parse_object(path.read_bytes())
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path} cannot be read: {error}.\nFetch the model again.") from error


def find_model(path: str, setting: str, *, processor: bool = False) -> Path:
    """Return the folder that holds a model; a Hub name is looked up in the cache first (HF_HUB_OFFLINE is respected).

    Args:
        path: folder, or name on the Hub.
        setting: where the project file names it; errors say so.
        processor: whether the settings of an image processor or a feature extractor must be there.

    Raises:
        ConfigError: there is no such model, or it lacks config.json, safetensors or its processor's settings.
    """
    folder = Path(path)
    if not folder.is_dir():
        if os.path.isabs(path) or path.startswith("."):
            raise ConfigError(f"There is no folder {path} for {setting}.\nName a folder or a model of the Hub.")
        folder = _fetch(path, setting)
    found = {"config.json": (folder / "config.json").is_file(), "*.safetensors": any(folder.glob("*.safetensors"))}
    if processor:
        found["preprocessor_config.json"] = any((folder / name).is_file() for name in _PROCESSORS)
    missing = [name for name, there in found.items() if not there]
    if missing:
        raise ConfigError(
            f"{folder} ({setting}) has no {' and no '.join(missing)}.\n"
            "Name a folder as `save_pretrained` writes it, its processor too; only safetensors are read."
        )
    _require_plain(folder, setting)
    _require_weights(folder, setting)
    return folder


def _require_plain(folder: Path, setting: str) -> None:
    """Refuse what would make the library read or run something that is not a file of this folder.

    Raises:
        ConfigError: there is an adapter for another model, a kernel of the Hub, or weights in another folder or format.
    """
    if (folder / "adapter_config.json").exists():
        raise ConfigError(
            f"{folder} ({setting}) holds an adapter (adapter_config.json), which names another model.\n"
            "Merge it into its model (`merge_and_unload` of peft), save that, and name its folder."
        )
    settings = read_settings(folder / "config.json")
    parts = [settings, *(part for part in settings.values() if isinstance(part, dict))]
    for part in parts:
        for name in _KERNELS:
            if (kernel := part.get(name)) is not None and kernel not in _KNOWN_KERNELS:
                raise ConfigError(
                    f"{folder / 'config.json'} ({setting}) sets {name} to {kernel!r:.100}, which may be code from the "
                    f"Hub.\nRemove it, or set one of {', '.join(_KNOWN_KERNELS)}."
                )
    weights = [part["transformers_weights"] for part in parts if part.get("transformers_weights") is not None]
    index = folder / "model.safetensors.index.json"
    if index.exists():
        shards = read_settings(index).get("weight_map")
        weights += list(shards.values()) if isinstance(shards, dict) else [shards]
    for named in weights:
        if not isinstance(named, str) or os.path.basename(named) != named or not named.endswith(_WEIGHTS):
            raise ConfigError(
                f"{folder} ({setting}) names {named!r:.100} as its weights, which is not a safetensors file in this "
                "folder.\nFetch the model again."
            )


def _require_weights(folder: Path, setting: str) -> None:
    """Look at the headers of the files that the library would read.

    Raises:
        ConfigError: one is missing, cut short or not safetensors, or a weight is quantised.
    """
    for file in weight_files(folder):
        try:
            with safe_open(str(file), "pt") as opened:
                types = {name: str(opened.get_slice(name).get_dtype()) for name in opened.keys()}  # noqa: SIM118
        except FileNotFoundError as error:
            raise ConfigError(
                f"{folder} ({setting}) has no {file.name}, which holds weights of its model.\nFetch the model again."
            ) from error
        except (OSError, SafetensorError) as error:
            raise ConfigError(f"{file} ({setting}) cannot be read: {error}.\nFetch the model again.") from error
        coded = [name for name, kind in types.items() if name.endswith(".weight") and kind.startswith(_CODES)]
        if coded:
            raise ConfigError(
                f"{file} ({setting}) holds quantised weights, {coded[0]} in {types[coded[0]]} for one, whose scale is "
                "not read here.\nName a folder with the weights in full or half precision."
            )


def weight_files(folder: Path) -> list[Path]:
    """Return the files that the library reads a folder's weights from, whether they are there or not."""
    named = read_settings(folder / "config.json").get("transformers_weights")
    whole, index = folder / "model.safetensors", folder / "model.safetensors.index.json"
    if isinstance(named, str):
        whole, index = folder / named, folder / named if named.endswith(".json") else index
    if not index.is_file() or (whole != index and whole.is_file()):
        return [whole]
    shards = read_settings(index).get("weight_map")
    return [folder / str(name) for name in sorted({*shards.values()})] if isinstance(shards, dict) else []


def find_cached(path: str) -> str | None:
    """Return the folder that a path means, without the network: itself, or a model of the Hub in the local cache.

    A path that can only be a folder comes back as it is, so that `find_model` says what is missing.
    """
    if os.path.isdir(path) or os.path.isabs(path) or path.startswith("."):
        return path
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    try:
        return snapshot_download(path, local_files_only=True)
    except (HFValidationError, LocalEntryNotFoundError, OSError, ValueError):
        return None


def _fetch(name: str, setting: str) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    wanted = [*SHAPING_FILES, SENTENCE_PROMPTS, "*.safetensors", "*.safetensors.index.json"]
    try:
        return Path(snapshot_download(name, allow_patterns=wanted))
    except (HFValidationError, HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        raise ConfigError(
            f"The model {name!r} ({setting}) is neither a folder nor could it be fetched: {error}\n"
            "Name a folder as `save_pretrained` writes it, with config.json and model.safetensors."
        ) from error


def model_digests(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of every file of a model's folder that shapes its output, by name."""
    names = [*SHAPING_FILES, *(file.name for file in folder.glob("*.safetensors"))]
    return {name: file_sha256(folder / name) for name in sorted(names) if (folder / name).is_file()}


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file, as 64 hex characters."""
    with path.open("rb") as file:
        return digest.sha256_hex(iter(lambda: file.read(1 << 20), b""))


def _first_line(error: Exception) -> str:
    """Return what an error of the library says first: it goes on to list every model that it knows."""
    return (str(error).strip() or type(error).__name__).splitlines()[0][:500]


def load_processor(auto: str, folder: Path, setting: str, **choice: str) -> Any:
    """Return a tokenizer, image processor or feature extractor by its Auto class.

    Raises:
        ConfigError: the folder holds none, or one that needs code of its own or a library that is not there.
    """
    transformers = quiet_transformers()
    try:
        found = getattr(transformers, auto).from_pretrained(
            str(folder), local_files_only=True, trust_remote_code=False, **choice
        )
    except (ValueError, OSError, KeyError, ImportError, TypeError, RecursionError) as error:
        raise ConfigError(f"{folder} ({setting}) does not fit {auto}: {_first_line(error)}") from error
    if auto == "AutoTokenizer" and not _knows_words(found):  # the library makes an empty one of no files
        raise ConfigError(
            f"{folder} ({setting}) has no vocabulary: its tokenizer would read every word as unknown.\n"
            "Name a folder with its tokenizer's files, tokenizer.json for one."
        )
    return found


def _knows_words(tokenizer: Any) -> bool:
    special = set(tokenizer.all_special_ids)
    return any(number not in special and word.strip("\u2581\u0120 ") for word, number in tokenizer.get_vocab().items())


def load_model(auto: str, folder: Path, setting: str, dtype: torch.dtype, unread: Iterable[str] = ()) -> Any:
    """Return a model by its Auto class, in evaluation mode.

    Args:
        unread: beginnings of the names of weights that may be missing, because nothing reads what they make.

    Raises:
        ConfigError: the folder holds another kind of model, one that needs code of its own, or only a part of its
            weights: the library would draw the rest at random.
    """
    return load_partly(auto, folder, setting, dtype, unread)[0]


def load_partly(
    auto: str, folder: Path, setting: str, dtype: torch.dtype, drawn: Iterable[str]
) -> tuple[Any, list[str]]:
    """Load a model whose weights of the given beginnings may be new, and the names of those that are."""
    transformers = quiet_transformers()
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)  # a missing weight is drawn, always alike
            model, found = getattr(transformers, auto).from_pretrained(
                str(folder),
                local_files_only=True,
                trust_remote_code=False,
                use_safetensors=True,
                dtype=dtype,
                output_loading_info=True,
            )
    except (ValueError, OSError, KeyError, ImportError, RuntimeError, RecursionError, SafetensorError) as error:
        raise ConfigError(f"{folder} ({setting}) does not fit {auto}: {_first_line(error)}") from error
    new = sorted(found["missing_keys"])
    if missing := [name for name in new if not name.startswith(tuple(drawn))]:
        raise ConfigError(
            f"{folder} ({setting}) lacks {len(missing)} weights of its model, {missing[0]} for one; they would be "
            "drawn at random.\nName a folder that holds the whole model, or read it by another `pooling`."
        )
    return model.eval(), new


def quiet_transformers() -> Any:
    """Return the library, which takes seconds to import and talks a lot."""
    import transformers
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    return transformers
