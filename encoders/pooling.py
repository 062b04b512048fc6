"""How the states of a model become vectors, when an input was read in several windows, too.

A window covers a span of its input, [start, stop) in [0, 1], and its states divide that span evenly. Every mean is then
a weighted sum of states whose weights follow from the spans, so windows are pooled apart and their vectors added up.

Shape letters: B windows, T states, H width, K parts (`tokens`), P = K or the number of poolings.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, cast

import numpy as np
import torch

from trichord.encoders.pretrained import read_settings
from trichord.infra.errors import ConfigError
from trichord.infra.json_values import JsonObject, parse_json

Kind = Literal["cls", "max", "mean", "pooler"]
_SENTENCE_BERT: tuple[Kind, ...] = ("cls", "max", "mean")  # in the order in which Sentence-BERT lays them end to end


@dataclass(frozen=True, kw_only=True, slots=True)
class Pooling:
    """What is made of the states: the vectors of `kinds` laid end to end, or of one kind of each of several parts."""

    kinds: tuple[Kind, ...]
    normalise: bool = False

    def of_windows(
        self,
        states_BTH: torch.Tensor,
        pooler_BH: torch.Tensor | None,
        weights_BKT: torch.Tensor,
        shares_B: torch.Tensor,
    ) -> torch.Tensor:
        """Return contributions of windows to the vectors of their inputs, float32 (B, P, H).

        Args:
            states_BTH: what the model says of each position.
            pooler_BH: its own summary, where it makes one.
            weights_BKT: of the states in each part; zero where a state belongs to no input.
            shares_B: share of its input that a window covers.
        """
        states_BTH, shares_B1 = states_BTH.float(), shares_B[:, None]
        made = []
        for kind in self.kinds:
            if kind == "mean":
                made.append(torch.bmm(weights_BKT, states_BTH))
            elif kind == "max":
                absent_BT = (weights_BKT == 0).all(dim=1)
                made.append(states_BTH.masked_fill(absent_BT[..., None], -torch.inf).amax(dim=1, keepdim=True))
            elif kind == "cls":
                made.append((states_BTH[:, 0] * shares_B1)[:, None])
            else:
                assert pooler_BH is not None
                made.append((pooler_BH.float() * shares_B1)[:, None])
        return torch.cat(made, dim=1)

    def of_inputs(self, windows_PH: Sequence[Sequence[torch.Tensor]]) -> torch.Tensor:
        """Return vectors (N, P * H) of N inputs, from the contributions (P, H) of each one's windows in their order."""
        vectors = torch.stack([self._joined(torch.stack(list(several))) for several in windows_PH]).flatten(1)
        return torch.nn.functional.normalize(vectors, dim=1) if self.normalise else vectors

    def _joined(self, several_WPH: torch.Tensor) -> torch.Tensor:
        if len(several_WPH) == 1:
            return several_WPH[0]
        if "max" not in self.kinds:
            return several_WPH.sum(dim=0)
        parts = [
            several_WPH[:, p].amax(dim=0) if kind == "max" else several_WPH[:, p].sum(dim=0)
            for p, kind in enumerate(self.kinds)
        ]
        return torch.stack(parts)


def sentence_bert_pooling(folder: Path, setting: str) -> Pooling | None:
    """Return the pooling that a Sentence-BERT model (arXiv 1908.10084) names in `modules.json`; None for other models.

    Raises:
        ConfigError: it has a pooling or a layer that is not supported here.
    """
    listing = folder / "modules.json"
    if not listing.is_file():
        return None
    try:
        modules = parse_json(listing.read_bytes())
    except (OSError, ValueError) as error:
        raise ConfigError(f"{listing} ({setting}.path) cannot be read: {error}.\nFetch the model again.") from error
    if not isinstance(modules, list) or not all(isinstance(module, dict) for module in modules):
        raise ConfigError(f"{listing} ({setting}.path) is not a list of modules.\nFetch the model again.")
    kinds = [_module_kind(cast(JsonObject, module), folder) for module in modules]
    given = read_settings(folder / "1_Pooling" / "config.json") if "Pooling" in kinds else {}
    asked = [name.removeprefix("pooling_mode_") for name, value in given.items() if value is True]
    asked = [name.removesuffix("_tokens").removesuffix("_token") for name in asked if name != "include_prompt"]
    asked = sorted(asked, key=lambda name: _SENTENCE_BERT.index(name) if name in _SENTENCE_BERT else -1)
    if isinstance(named := given.get("pooling_mode"), str | list | tuple):
        asked = [named] if isinstance(named, str) else list(named)  # laid end to end in this order
    other = sorted({*asked} - {*_SENTENCE_BERT}) + sorted({*kinds} - {"Transformer", "Pooling", "Normalize", "Dropout"})
    if kinds[:2] != ["Transformer", "Pooling"] or kinds.count("Transformer") + kinds.count("Pooling") > 2:
        other = other or [f"the modules {', '.join(kinds)}"]
    if other or not asked:
        raise ConfigError(
            f"{folder} ({setting}.path) is a Sentence-BERT model with {', '.join(other) or 'no pooling'}, which is not "
            f"read here.\nSet {setting}.pooling to mean, cls or max to read the states of its transformer."
        )
    return Pooling(kinds=cast(tuple[Kind, ...], tuple(asked)), normalise="Normalize" in kinds)


def _module_kind(module: JsonObject, folder: Path) -> str:
    """Return the class of a module. What is not the library's own, or is elsewhere, gives a name that is not known."""
    whole, path = str(module.get("type")), module.get("path")
    kind = whole.rsplit(".", 1)[-1]
    usual = {"Transformer": "", "Pooling": "1_Pooling"}.get(kind, path)
    if not whole.startswith("sentence_transformers."):
        return f"code of its own ({whole})"
    if path != usual or not isinstance(path, str) or "/" in path:
        return f"{kind} in {path!r}"
    settings = folder / path / "config.json"
    if kind == "Normalize" and settings.is_file():
        read = read_settings(settings).get("module_input_name", "sentence_embedding")
        return kind if read == "sentence_embedding" else f"Normalize of {read}"
    return kind


def part_weights(spans: np.ndarray, counts: np.ndarray, parts: int, width: int) -> np.ndarray:
    """Return weights of states in means over equal parts of their inputs, float32 (B, K, T): an input's sum to 1.

    A state on a border counts in both parts by its share, so any number of states gives any number of parts.

    Args:
        spans: float64 (B, 2), what each window covers of its input.
        counts: int (B,), its states; the rest is padding.
        parts: K.
        width: T.
    """
    start, stop = spans[:, :1], spans[:, 1:]
    place = np.minimum(np.arange(width + 1), counts[:, None]) / counts[:, None]
    borders = np.where(place < 1, start + (stop - start) * place, stop)
    edges = np.arange(parts + 1) / parts
    low = np.maximum(borders[:, None, :-1], edges[:-1, None])
    high = np.minimum(borders[:, None, 1:], edges[1:, None])
    return (np.maximum(high - low, 0) * parts).astype(np.float32)


def grid_weights(rows: int, columns: int, parts: int) -> np.ndarray:
    """Return weights of a grid's states in means over equal rectangles, float32 (K, rows * columns), in reading order.

    K is laid out as near to a square as its divisors allow: 4 is 2 × 2, 6 is 2 × 3, 5 is 1 × 5.
    """
    down = next(n for n in range(int(parts**0.5), 0, -1) if parts % n == 0)
    whole = np.array([[0.0, 1.0]])
    vertical = part_weights(whole, np.array([rows]), down, rows)[0]
    horizontal = part_weights(whole, np.array([columns]), parts // down, columns)[0]
    return np.kron(vertical, horizontal)
