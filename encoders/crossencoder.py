"""A cross-encoder reads a question and a text together and says how well they fit (Nogueira and Cho, arXiv 1901.04085).

Any Hugging Face sequence classifier with one output (as trained on MS MARCO) or two (no, yes). Weights are read from
safetensors alone and no code of a model is ever run.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from encoders.device import torch_threads
from infra.errors import ConfigError

_ROWS = 16  # pairs of one forward pass


class CrossEncoder:
    """A model folder in the layout of `save_pretrained`; weights are loaded at the first use.

    Args:
        path: the folder.
        max_tokens: of question and text together; of a longer pair the longer text is cut.

    Raises:
        ConfigError: the folder lacks config.json or safetensors, or holds a model of more than two outputs.
    """

    def __init__(self, path: str, max_tokens: int) -> None:
        self._folder, self._max_tokens = Path(path), max_tokens
        found = {"config.json": (self._folder / "config.json").is_file()}
        found["*.safetensors"] = any(self._folder.glob("*.safetensors"))
        if missing := [name for name, there in found.items() if not there]:
            raise ConfigError(
                f"{path} (rag.cross_encoder) has no {' and no '.join(missing)}.\n"
                "Name a folder as `save_pretrained` writes it; only safetensors are read."
            )

    def scores(self, question: str, texts: Sequence[str]) -> np.ndarray:
        """How well each text fits the question, float32 (N,): the model's one output, or yes minus no; higher fits."""
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
        from transformers import AutoModelForSequenceClassification, AutoTokenizer
        from transformers.utils import logging

        logging.set_verbosity_error()
        logging.disable_progress_bar()
        folder = str(self._folder)
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        try:
            model, told = AutoModelForSequenceClassification.from_pretrained(
                folder,
                local_files_only=True,
                trust_remote_code=False,
                use_safetensors=True,
                dtype=torch.float32,
                output_loading_info=True,
            )
        except ValueError as error:
            kind = json.loads((self._folder / "config.json").read_bytes()).get("model_type")
            raise ConfigError(
                f"{folder} (rag.cross_encoder) holds a {kind} model, which does not fit: {error}"
            ) from error
        if told["missing_keys"]:  # a plain encoder would get a head of random weights
            raise ConfigError(
                f"{folder} (rag.cross_encoder) is no trained classifier: it has no {sorted(told['missing_keys'])[0]}.\n"
                "Name the folder of a cross-encoder, for example one trained on MS MARCO."
            )
        if model.config.num_labels > 2:
            raise ConfigError(
                f"{folder} (rag.cross_encoder) has {model.config.num_labels} outputs; a cross-encoder has one or two."
            )
        return tokenizer, model.eval()
