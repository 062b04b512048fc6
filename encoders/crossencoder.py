"""A cross-encoder reads a question and a text together and says how well they fit (Nogueira and Cho, arXiv 1901.04085).

Any Hugging Face sequence classifier with one output (as trained on MS MARCO) or two (no, yes). Weights are read from
safetensors alone and no code of a model is ever run.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
import torch

from trichord.encoders.device import torch_threads
from trichord.encoders.pretrained import find_model, load_partly, load_processor
from trichord.infra.errors import ConfigError

_SETTING = "rag.cross_encoder"
_ROWS = 16  # pairs of one forward pass


class CrossEncoder:
    """A model folder in the layout of `save_pretrained`; weights are loaded at the first use.

    Args:
        path: the folder, or a name on the Hub.
        max_tokens: of question and text together; of a longer pair the longer text is cut.

    Raises:
        ConfigError: the folder lacks config.json or safetensors, or holds a model of more than two outputs.
    """

    def __init__(self, path: str, max_tokens: int) -> None:
        self._folder, self._max_tokens = find_model(path, _SETTING), max_tokens

    def scores(self, question: str, texts: Sequence[str]) -> np.ndarray:
        """Return how well each text fits the question, float32 (N,), higher is better: one output, or yes minus no."""
        tokenizer, model = self._loaded
        limit = min(
            self._max_tokens,
            tokenizer.model_max_length,
            getattr(model.config, "max_position_embeddings", self._max_tokens),
        )
        scores = np.empty(len(texts), np.float32)
        with torch_threads(1), torch.inference_mode():
            for start in range(0, len(texts), _ROWS):
                part = list(texts[start : start + _ROWS])
                pairs = tokenizer(
                    [question] * len(part),
                    part,
                    truncation="longest_first",
                    max_length=limit,
                    padding=True,
                    return_tensors="pt",
                )
                logits = model(**pairs).logits.float()
                fit = logits[:, 0] if logits.shape[1] == 1 else logits[:, 1] - logits[:, 0]
                scores[start : start + len(part)] = fit.numpy()
        return scores

    @cached_property
    def _loaded(self) -> tuple[Any, Any]:
        """Tokenizer and model."""
        tokenizer = load_processor("AutoTokenizer", self._folder, _SETTING)
        model, new = load_partly("AutoModelForSequenceClassification", self._folder, _SETTING, torch.float32, ("",))
        if new:  # a plain encoder would get a head of random weights
            raise ConfigError(
                f"{self._folder} ({_SETTING}) is not a trained classifier: it has no {new[0]}.\n"
                "Name the folder of a cross-encoder, for example one trained on MS MARCO."
            )
        if model.config.num_labels > 2:
            raise ConfigError(
                f"{self._folder} ({_SETTING}) has {model.config.num_labels} outputs; a cross-encoder has one or two."
            )
        return tokenizer, model
