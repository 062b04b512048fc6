"""What a folder of sentence-transformers says beside its modules: how a text is changed before it is read.

Its files are those of sentence-transformers 2 to 6. What is not done here is refused by the name of its key.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from trichord.encoders.pretrained import SENTENCE_FILES, SENTENCE_PROMPTS, read_settings
from trichord.infra.errors import ConfigError
from trichord.infra.json_values import JsonObject

_HARMLESS = {"max_seq_length", "do_lower_case", "unpad_inputs", "model_args", "modality_config"}
_WANTED = {"transformer_task": "feature-extraction", "module_output_name": "token_embeddings"}
_MODEL_ARGS = {"add_pooling_layer", "trust_remote_code", "attn_implementation", "dtype", "torch_dtype"}


@dataclass(frozen=True, slots=True, kw_only=True)
class SentenceSettings:
    """How a text is changed before it is read: lower-cased, behind a prompt; and the most tokens that are read."""

    lower: bool = False
    prompt: str = ""
    longest: int | None = None


def sentence_settings(folder: Path, setting: str) -> SentenceSettings:
    """Return what a folder says; nothing special where it is not of sentence-transformers.

    Raises:
        ConfigError: a file cannot be read, or asks for something that is not done here.
    """
    file = next((folder / name for name in SENTENCE_FILES if (folder / name).is_file()), None)
    found = {} if file is None else read_settings(file)
    if file is not None:
        _require_done(found, file, setting)
    longest, lower = found.get("max_seq_length"), found.get("do_lower_case")
    if file is not None and not (longest is None or (type(longest) is int and longest > 0)):
        raise _refusal(file, setting, "max_seq_length", longest, "which is not a number of tokens")
    if file is not None and not (lower is None or isinstance(lower, bool)):
        raise _refusal(file, setting, "do_lower_case", lower, "which is neither true nor false")
    return SentenceSettings(
        lower=lower is True,
        prompt=_default_prompt(folder, setting),
        longest=longest if isinstance(longest, int) else None,
    )


def _require_done(found: JsonObject, file: Path, setting: str) -> None:
    for key, value in found.items():
        if key in _HARMLESS or not value or value == _WANTED.get(key):
            continue
        raise _refusal(file, setting, key, value)
    arguments = found.get("model_args")
    for key, value in arguments.items() if isinstance(arguments, dict) else ():
        if key not in _MODEL_ARGS:
            raise _refusal(file, setting, f"model_args.{key}", value)
    modalities = found.get("modality_config")
    text = modalities.get("text") if isinstance(modalities, dict) else None
    if isinstance(text, dict) and (text.get("method"), text.get("method_output_name")) != (
        "forward",
        "last_hidden_state",
    ):
        raise _refusal(file, setting, "modality_config.text", text)


def _default_prompt(folder: Path, setting: str) -> str:
    file = folder / SENTENCE_PROMPTS
    found = read_settings(file) if file.is_file() else {}
    if (width := found.get("truncate_dim")) is not None:
        raise _refusal(file, setting, "truncate_dim", width)
    name, prompts = found.get("default_prompt_name"), found.get("prompts")
    if name is None:
        return ""
    prompt = prompts.get(name) if isinstance(prompts, dict) else None
    if not isinstance(prompt, str):
        raise _refusal(file, setting, "default_prompt_name", name, "which is not among its prompts")
    pooling = folder / "1_Pooling" / "config.json"
    if prompt and pooling.is_file() and read_settings(pooling).get("include_prompt", True) is not True:
        raise _refusal(pooling, setting, "include_prompt", False, "which is not done here: the prompt's tokens count")
    return prompt


def _refusal(file: Path, setting: str, key: str, value: object, why: str = "which is not done here") -> ConfigError:
    return ConfigError(
        f"{file} ({setting}) sets {key} to {str(value)[:200]!r}, {why}.\n"
        "Without it the vectors would not be the model's. Take another model, or remove the key if you want that."
    )
