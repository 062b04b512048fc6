"""Speech through a Hugging Face CTC model (wav2vec 2.0, arXiv 2006.11477; HuBERT, arXiv 2106.07447).

Weights are read from safetensors alone and no code of a model is ever run.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
import torch

from trichord.encoders.device import torch_threads
from trichord.encoders.pretrained import find_model, load_model, load_processor, model_digests, read_settings
from trichord.infra import digest
from trichord.infra.errors import ConfigError
from trichord.infra.packages import version
from trichord.transforms.batch import Waveform
from trichord.transforms.media import resample

_SETTING = "align.ctc_model"


class HuggingFaceCtc:
    """Letter probabilities of a sound, by a model laid out by `save_pretrained`; for `trichord.transforms.align.ctc`.

    Args:
        path: folder or Hub name. It is not part of the fingerprint; the files' bytes are.

    Raises:
        ConfigError: there is no such model, it has no safetensors, or it is not a CTC model.
    """

    version: ClassVar[int] = 1

    def __init__(self, path: str) -> None:
        self._folder = find_model(path, _SETTING, processor=True)
        kinds = read_settings(self._folder / "config.json").get("architectures")
        if not isinstance(kinds, list) or not any(str(kind).endswith("ForCTC") for kind in kinds):
            raise ConfigError(f"{path} (align.ctc_model) is not a CTC model: it is {kinds}.")

    def __getstate__(self) -> dict[str, object]:
        return {name: value for name, value in self.__dict__.items() if name != "_loaded"}

    @cached_property
    def fingerprint(self) -> str:
        """Digest of weights, settings and vocabulary as files."""
        libraries = [version(name) for name in ("torch", "transformers")]
        return digest.address("huggingface_ctc", self.version, libraries, model_digests(self._folder), "float32")

    def check(self) -> str:
        """Load the model, and return its family.

        Raises:
            ConfigError: it cannot be loaded, or lacks weights.
        """
        return str(self._loaded[1].config.model_type)

    @property
    def blank(self) -> int:
        """The label that means no sound: CTC models of this library pad with it."""
        return int(self._loaded[0].pad_token_id)

    @property
    def delimiter(self) -> int | None:
        """The label between words, if the model has one."""
        found = getattr(self._loaded[0], "word_delimiter_token_id", None)
        return None if found is None or found == self._loaded[0].unk_token_id else int(found)

    def labels(self, word: str) -> Sequence[int]:
        """Return the labels of a word by the model's own tokenizer, in the letter case of its vocabulary."""
        tokenizer = self._loaded[0]
        vocabulary = tokenizer.get_vocab()
        if "a" not in vocabulary and "A" in vocabulary:
            word = word.upper()
        elif "A" not in vocabulary and "a" in vocabulary:
            word = word.lower()
        ids = tokenizer(word, add_special_tokens=False)["input_ids"]
        special = {tokenizer.unk_token_id, self.blank, self.delimiter}
        return [int(label) for label in ids if label not in special]

    def __call__(self, wave: Waveform) -> tuple[np.ndarray, float]:
        """Log-probabilities, float32 (T frames, V labels), and the seconds of one frame."""
        _, model, extractor = self._loaded
        rate_hz = int(extractor.sampling_rate)
        heard = wave if wave.rate_hz == rate_hz else resample(wave, rate_hz)
        ratio = int(model.config.inputs_to_logits_ratio)
        if len(heard.samples) < 2 * ratio:  # shorter than the first convolution
            return np.zeros((0, model.config.vocab_size), np.float32), ratio / rate_hz
        values = extractor(heard.samples, sampling_rate=rate_hz, return_tensors="pt")["input_values"]
        with torch_threads(1), torch.inference_mode():
            logits = model(values).logits[0]
            log_probs: np.ndarray = torch.log_softmax(logits.to(torch.float32), dim=-1).numpy()
        return log_probs, ratio / rate_hz

    @cached_property
    def _loaded(self) -> tuple[Any, Any, Any]:
        """Tokenizer, model and feature extractor."""
        tokenizer = load_processor("AutoTokenizer", self._folder, _SETTING)
        extractor = load_processor("AutoFeatureExtractor", self._folder, _SETTING)
        return tokenizer, load_model("AutoModelForCTC", self._folder, _SETTING, torch.float32), extractor
