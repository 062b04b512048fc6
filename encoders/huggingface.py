"""Text through a Hugging Face transformer: token states pooled into one vector (Sentence-BERT, arXiv 1908.10084).

Weights are read from safetensors alone and no code of a model is ever run.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import torch

from encoders.base import Modality
from encoders.device import torch_threads
from infra import digest
from infra.errors import ConfigError

_TOKENIZER_FILES = (
    "added_tokens.json",
    "merges.txt",
    "sentencepiece.bpe.model",
    "special_tokens_map.json",
    "spiece.model",
    "tokenizer.json",
    "tokenizer.model",
    "tokenizer_config.json",
    "vocab.json",
    "vocab.txt",
)
_ROWS = 16  # texts of one forward pass
_SHORTEST = 16  # tokens of the shortest padded length


class HuggingFaceText:
    """A text encoder from a folder, or from the Hub's cache, in the layout of `save_pretrained`.

    Args:
        path: folder or Hub name. It is not part of the fingerprint; the files' bytes are.
        pooling: 'mean' of the token states, or the first one ('cls').
        max_tokens: longer texts are cut; never more than the model itself takes.
        numerics: 'strict' pads to fixed shapes on one thread, so that a text's vector does not depend on its
            neighbours; 'fast' pads to the longest of each pass.

    Raises:
        ConfigError: there is no such model, or it has no safetensors.
    """

    modality: ClassVar[Modality] = "text"
    tokens: ClassVar[int] = 1
    version: ClassVar[int] = 1

    def __init__(
        self, path: str, pooling: Literal["mean", "cls"], max_tokens: int, numerics: Literal["strict", "fast"]
    ) -> None:
        self.path, self.pooling, self.max_tokens, self.numerics = path, pooling, max_tokens, numerics
        self._folder = _resolve(path)
        self._settings: dict[str, Any] = json.loads((self._folder / "config.json").read_bytes())

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_loaded"}

    @property
    def dimension(self) -> int:
        """Width of the model's token states."""
        return int(self._settings["hidden_size"])

    @cached_property
    def fingerprint(self) -> str:
        """Digest of weights, model settings and tokenizer as files, and of pooling, length and numerics."""
        names = [*_TOKENIZER_FILES, "config.json", *(file.name for file in self._folder.glob("*.safetensors"))]
        files = {name: _sha256(self._folder / name) for name in names if (self._folder / name).exists()}
        return digest.address(
            "huggingface_text", self.version, files, self.pooling, self.max_tokens, self.numerics, "float32"
        )

    def encode(self, inputs: Sequence[str]) -> np.ndarray:
        """Vectors, float32 (N, dimension), of N texts."""
        tokenizer, _, limit = self._loaded
        tokens = tokenizer(list(inputs), truncation=True, max_length=limit)["input_ids"] if inputs else []
        vectors = np.zeros((len(tokens), self.dimension), np.float32)
        strict = self.numerics == "strict"
        lengths = np.array([self._padded_length(len(ids)) if strict else len(ids) for ids in tokens], dtype=np.int64)
        order = np.argsort(lengths, kind="stable")
        with torch_threads(1 if strict else None), torch.inference_mode():
            start = 0
            while start < len(order):
                stop = start + _ROWS
                if strict:  # texts of one length only
                    stop = min(stop, int(np.searchsorted(lengths[order], lengths[order[start]], side="right")))
                chosen = order[start:stop]
                vectors[chosen] = self._pool([tokens[i] for i in chosen], int(lengths[chosen].max()))
                start = stop
        return vectors

    def _padded_length(self, length: int) -> int:
        padded = _SHORTEST
        while padded < length:
            padded *= 2
        return min(padded, self._loaded[2])

    def _pool(self, tokens: list[list[int]], length: int) -> np.ndarray:
        """One forward pass. Where shapes are fixed, rows of a single padding token fill it up."""
        tokenizer, model, _ = self._loaded
        rows = _ROWS if self.numerics == "strict" else len(tokens)
        ids = torch.full((rows, length), tokenizer.pad_token_id or 0)
        mask = torch.zeros((rows, length), dtype=torch.long)
        mask[:, 0] = 1
        for i, row in enumerate(tokens):
            ids[i, : len(row)] = torch.tensor(row)
            mask[i, : len(row)] = 1
        states = model(input_ids=ids, attention_mask=mask).last_hidden_state
        if self.pooling == "cls":
            pooled = states[:, 0]
        else:
            weights = mask[..., None].to(states.dtype)
            pooled = (states * weights).sum(dim=1) / weights.sum(dim=1)
        normalised: np.ndarray = torch.nn.functional.normalize(pooled, dim=1)[: len(tokens)].numpy()
        return normalised

    @cached_property
    def _loaded(self) -> tuple[Any, Any, int]:
        """Tokenizer, model and the most tokens it takes."""
        from transformers import AutoModel, AutoTokenizer
        from transformers.utils import logging

        logging.set_verbosity_error()
        logging.disable_progress_bar()
        folder = str(self._folder)
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        model = AutoModel.from_pretrained(
            folder, local_files_only=True, trust_remote_code=False, use_safetensors=True, dtype=torch.float32
        ).eval()
        takes = min(tokenizer.model_max_length, self._settings.get("max_position_embeddings", self.max_tokens))
        return tokenizer, model, int(min(self.max_tokens, takes))


def _resolve(path: str) -> Path:
    """The folder that holds a model; a Hub name is looked up in the cache first."""
    folder = Path(path)
    if not folder.is_dir():
        if os.path.isabs(path) or path.startswith("."):
            raise ConfigError(f"There is no folder {path} for model.text.path.\nName a folder or a model of the Hub.")
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

        wanted = ["config.json", "*.safetensors", "*.safetensors.index.json", *_TOKENIZER_FILES]
        try:
            folder = Path(snapshot_download(path, allow_patterns=wanted))
        except (HFValidationError, HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
            raise ConfigError(
                f"The model {path!r} (model.text.path) is neither a folder nor could it be fetched: {error}\n"
                "Name a folder that holds config.json, model.safetensors and the tokenizer's files."
            ) from error
    missing = [name for name, found in _needed(folder).items() if not found]
    if missing:
        raise ConfigError(f"{folder} (model.text.path) has no {' and no '.join(missing)}: only safetensors are read.")
    return folder


def _needed(folder: Path) -> dict[str, bool]:
    return {"config.json": (folder / "config.json").exists(), "*.safetensors": any(folder.glob("*.safetensors"))}


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return digest.sha256_hex(iter(lambda: file.read(1 << 20), b""))
