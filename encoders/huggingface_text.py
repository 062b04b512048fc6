"""Text through any Hugging Face encoder: BERT, RoBERTa, ELECTRA, Sentence-BERT, …"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import ClassVar, Literal

import numpy as np
import torch

from trichord.encoders.base import Modality
from trichord.encoders.families import may_be_padded
from trichord.encoders.huggingface import HuggingFaceEncoder, Window
from trichord.encoders.pooling import part_weights
from trichord.encoders.sentence_settings import sentence_settings
from trichord.infra.config import EncoderConfig
from trichord.infra.errors import ConfigError


class HuggingFaceText(HuggingFaceEncoder):
    """A text encoder. A text longer than `max_tokens`, or than the model takes, is read in windows, not cut.

    Every window has the tokenizer's special tokens; states of all tokens count, as in Sentence-BERT (arXiv 1908.10084).
    """

    modality: ClassVar[Modality] = "text"
    auto_processor: ClassVar[str] = "AutoTokenizer"
    window_setting: ClassVar[str] = "max_tokens"
    cells: ClassVar[int] = 4_096
    most_rows: ClassVar[int] = 16

    def __init__(self, config: EncoderConfig, numerics: Literal["strict", "fast"]) -> None:
        super().__init__(config, numerics)
        self.sentence = sentence_settings(self.folder, f"{self.setting}.path")

    def windows(self, inputs: Sequence[str]) -> list[Window]:
        """Return token numbers, int64 (T,), special tokens among them."""
        found = []
        for owner, ids in enumerate(self._ids(list(inputs))):
            total, start = sum(map(len, ids)), 0
            for part in ids:
                values = np.array(part, np.int64)
                found.append(Window(owner=owner, values=values, span=(start / total, (start + len(part)) / total)))
                start += len(part)
        return found

    def _ids(self, texts: list[str]) -> list[list[list[int]]]:
        """Return token numbers of each text's windows."""
        tokenizer, texts = self.processor, [self.sentence.prompt + text for text in texts]
        if self.sentence.lower:  # letter by letter, as the library's tokenizers do: a final sigma is no other one
            texts = ["".join(map(str.lower, text)) for text in texts]
        if tokenizer.is_fast:
            coded = tokenizer(texts, truncation=True, max_length=self._longest, return_overflowing_tokens=True)
            windows: list[list[list[int]]] = [[] for _ in texts]
            for owner, ids in zip(coded["overflow_to_sample_mapping"], coded["input_ids"], strict=True):
                windows[owner].append(ids or [self._pad])
            return windows
        room = self._longest - tokenizer.num_special_tokens_to_add()
        plain = tokenizer(texts, add_special_tokens=False, verbose=False)["input_ids"]
        cut = [[ids[at : at + room] for at in range(0, max(1, len(ids)), room)] for ids in plain]
        return [[tokenizer.build_inputs_with_special_tokens(ids) or [self._pad] for ids in several] for several in cut]

    def _example(self) -> np.ndarray:
        return np.zeros(8, np.int64)

    def _samples(self) -> list[np.ndarray]:
        self._require_rows()
        return [self.windows(["A few words, to see what is made of them."])[0].values]

    def _require_rows(self) -> None:
        """Raise ConfigError if the tokenizer has numbers that the model has no vector for."""
        last = max(self.processor.get_vocab().values())
        table = self.module.get_input_embeddings()
        if isinstance(table, torch.nn.Embedding) and last >= table.num_embeddings:
            raise ConfigError(
                f"{self.folder} ({self.setting}.path) has {table.num_embeddings} vectors of tokens, but its tokenizer "
                f"numbers them up to {last}: they are of two models.\nFetch both again, from one place."
            )

    @cached_property
    def _longest(self) -> int:
        """Tokens of a window: what is asked for, if tokenizer, model and a Sentence-BERT's settings allow it."""
        limits = (self.processor.model_max_length, self.shape.positions, self.sentence.longest)
        return int(min([self.config.max_tokens, *(limit for limit in limits if limit)]))

    @property
    def _changes(self) -> list[str]:
        padded = may_be_padded(self.family, "text")
        said = {"lower": self.sentence.lower, f"prompt {self.sentence.prompt}": bool(self.sentence.prompt)}
        return [name for name, true in {**said, "unpadded": not padded}.items() if true]

    @property
    def _pad(self) -> int:
        return int(self.processor.pad_token_id or 0)

    @property
    def _padding(self) -> tuple[int | None, int]:
        return (16, self._longest) if may_be_padded(self.family, "text") else (None, 0)

    def _inputs(self, values: Sequence[np.ndarray], size: tuple[int, ...]) -> dict[str, torch.Tensor]:
        ids = torch.full((len(values), *size), self._pad)
        mask = torch.zeros_like(ids)
        for i, row in enumerate(values):
            ids[i, : len(row)] = torch.from_numpy(row)
            mask[i, : len(row)] = 1
        return {"input_ids": ids, "attention_mask": mask}

    def _weights(self, windows: Sequence[Window], states: torch.Tensor, given: dict[str, torch.Tensor]) -> np.ndarray:
        spans = np.array([window.span for window in windows])
        counts = np.array([len(window.values) for window in windows])
        return part_weights(spans, counts, self.config.tokens, states.shape[1])
