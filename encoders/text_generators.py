"""Other words for a text, from any masked or sequence-to-sequence Hugging Face model.

Weights are read from safetensors alone and no code of a model is ever run. One text is read at a time on one thread,
and nothing is sampled inside a model: it names its likeliest answers and the caller's generator draws one of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
import torch

from trichord.encoders.device import torch_threads
from trichord.encoders.pretrained import file_sha256, find_model, load_model, load_processor
from trichord.infra import digest
from trichord.infra.errors import ConfigError
from trichord.transforms.word_breaks import words as find_words

_SHAPING = {".json", ".txt", ".model", ".safetensors"}  # files that can change an answer


class _TextGenerator:
    """A model folder in the layout of `save_pretrained`; weights are loaded at the first use, in the worker.

    Raises:
        ConfigError: there is no such folder, or it lacks config.json or safetensors.
    """

    version = 2
    setting = ""  # where the project file names the folder
    kind = ""  # the class of transformers that loads it

    def __init__(self, path: str) -> None:
        self._folder = find_model(path, self.setting)

    def __getstate__(self) -> dict[str, object]:
        return {name: value for name, value in self.__dict__.items() if name != "_loaded"}

    @cached_property
    def fingerprint(self) -> str:
        """Digest of weights, settings and tokenizer as files, and of how they are used; the place does not count."""
        names = sorted(file.name for file in self._folder.iterdir() if file.suffix in _SHAPING)
        files = {name: file_sha256(self._folder / name) for name in names}
        return digest.address(self.setting, self.version, files, *self._how())

    def _how(self) -> tuple[Any, ...]:
        return ()

    @cached_property
    def _loaded(self) -> tuple[Any, Any]:
        """Tokenizer and model."""
        tokenizer = load_processor("AutoTokenizer", self._folder, self.setting)
        return tokenizer, load_model(self.kind, self._folder, self.setting, torch.float32)

    def check(self) -> str:
        """Load the model, and return its family.

        Raises:
            ConfigError: it cannot be loaded, or lacks weights.
        """
        return str(self._loaded[1].config.model_type)

    def _length(self, most: int) -> int:
        """Return how many tokens may be read."""
        tokenizer, model = self._loaded
        return int(min(most, tokenizer.model_max_length, getattr(model.config, "max_position_embeddings", most)))


class MaskFiller(_TextGenerator):
    """A masked language model that fills in words.

    Args:
        path: folder of the model.
        top: one of this many likeliest tokens is drawn.
    """

    setting = "augment.text.contextual.path"
    kind = "AutoModelForMaskedLM"

    def __init__(self, path: str, top: int) -> None:
        super().__init__(path)
        self._top = top

    def _how(self) -> tuple[Any, ...]:
        return (self._top,)

    def check(self) -> str:
        """Load the model. Raise ConfigError as for others, and if its tokenizer has no mask."""
        if self._loaded[0].mask_token_id is None:
            raise ConfigError(
                f"{self._folder} ({self.setting}) has a tokenizer without a mask token.\n"
                "Name the folder of a masked language model, for example a BERT."
            )
        return super().check()

    def __call__(self, text: str, spans: Sequence[tuple[int, int]], rng: np.random.Generator) -> str:
        """Return the text with the words at `spans` (start, end; in order) replaced, one after the other from the left.

        A word stays where the text is too long or the model knows no other whole word.
        """
        tokenizer, model = self._loaded
        shift = 0
        for first, last in spans:
            start, end = first + shift, last + shift
            masked = f"{text[:start]}{tokenizer.mask_token}{text[end:]}"
            ids = tokenizer(masked, return_tensors="pt")["input_ids"]
            places = (ids[0] == tokenizer.mask_token_id).nonzero()[:, 0]
            drawn = rng.random()
            if len(places) != 1 or ids.shape[1] > self._length(1 << 20):
                continue
            with torch_threads(1), torch.inference_mode():
                scores = model(input_ids=ids).logits[0, int(places[0])].double()
            words = self._words(scores, text[start:end])
            if not words:
                continue
            chances = np.cumsum(torch.softmax(torch.tensor([score for _, score in words]), dim=0).numpy())
            word = words[min(int(np.searchsorted(chances, drawn)), len(words) - 1)][0]
            word = word.capitalize() if text[start:end].istitle() else word
            text, shift = text[:start] + word + text[end:], shift + len(word) - (end - start)
        return text

    def _words(self, scores: torch.Tensor, old: str) -> list[tuple[str, float]]:
        """Return the likeliest whole words other than the old one, with their scores."""
        tokenizer, _ = self._loaded
        found: list[tuple[str, float]] = []
        for i in torch.argsort(scores, descending=True, stable=True).tolist()[: 10 * self._top + 20]:
            token = str(tokenizer.convert_ids_to_tokens(i))
            word = tokenizer.convert_tokens_to_string([token]).strip()
            alone = find_words(word) == [word] and not any(map(str.isnumeric, word))
            whole = alone and i not in tokenizer.all_special_ids and not token.startswith("##")
            if whole and word.casefold() != old.casefold():
                found.append((word, float(scores[i])))
            if len(found) == self._top:
                break
        return found


class Paraphraser(_TextGenerator):
    """A sequence-to-sequence model that says a text in other words (paraphrase, simplification, round trip).

    Args:
        path: folder of the model.
        prefix: what the model wants before the text.
        beams: beams of the search.
        max_tokens: longest text that is read and written; a longer one is left as it is.
    """

    setting = "augment.text.rewrite.path"
    kind = "AutoModelForSeq2SeqLM"

    def __init__(self, path: str, prefix: str, beams: int, max_tokens: int) -> None:
        super().__init__(path)
        self._prefix, self._beams, self._max_tokens = prefix, beams, max_tokens

    def _how(self) -> tuple[Any, ...]:
        return (self._prefix, self._beams, self._max_tokens)

    def __call__(self, text: str, rng: np.random.Generator) -> str:
        """Return one of the search's endings that differ from the text, drawn evenly; the text itself if none does."""
        tokenizer, model = self._loaded
        ids = tokenizer(self._prefix + text, return_tensors="pt")["input_ids"]
        if ids.shape[1] > self._length(self._max_tokens):
            return text
        with torch_threads(1), torch.inference_mode():
            made = model.generate(
                input_ids=ids,
                attention_mask=torch.ones_like(ids),
                do_sample=False,
                num_beams=self._beams,
                num_return_sequences=self._beams,
                max_new_tokens=self._max_tokens,
            )
        endings = [ending.strip() for ending in tokenizer.batch_decode(made, skip_special_tokens=True)]
        others = [ending for ending in dict.fromkeys(endings) if ending and ending.casefold() != text.casefold()]
        return others[int(rng.integers(len(others)))] if others else text
