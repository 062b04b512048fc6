"""Adaptation of an encoder to a lake's own data, before its features are made: objectives, what is trained, the loop.

Masked language modelling (Devlin et al., arXiv 1810.04805); two views of one input agree (text: two dropout masks,
SimCSE, arXiv 2104.08821; pictures and sounds: two augmentations, SimCLR, arXiv 2002.05709); a record's other
modalities, whose encoders stay frozen (LiT, arXiv 2111.07991). Low-rank adapters (LoRA, arXiv 2106.09685) are merged
at the end, so that what is saved is a model like any other.
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypedDict

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from trichord.encoders.base import Modality
from trichord.encoders.device import compute_device, torch_threads
from trichord.encoders.huggingface import HuggingFaceEncoder
from trichord.encoders.losses import infonce
from trichord.encoders.pretrained import SENTENCE_PROMPTS, SHAPING_FILES, load_partly
from trichord.infra import digest
from trichord.infra.config import AdaptConfig
from trichord.infra.errors import ConfigError

SHARED_WIDTH = 128  # values of the space in which a record's modalities are compared
WARM_UP = 0.1  # share of the steps


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """An input of the encoder, a second view of it, and frozen features (D_m,) of the record's other modalities."""

    given: Any
    view: Any
    others: Mapping[Modality, np.ndarray]


class Samples(Protocol):
    """Where training samples come from: the same batches for an epoch's number every time."""

    @property
    def steps(self) -> int:
        """Batches of an epoch at most."""
        ...

    def epoch(self, number: int) -> Iterator[Sequence[Sample]]:
        """Return batches of at least two samples."""
        ...

    def held_out(self) -> Iterator[Sequence[Sample]]:
        """Return batches that are never trained on; the same every time."""
        ...


class Objective(nn.Module):
    """A loss over a batch of samples, None where the batch has nothing to compare.

    `network` is the part that is adapted and saved; `drawn` is True where something beside it starts from random
    weights: its loss before training says nothing.
    """

    network: Any
    drawn = False

    def saved(self) -> Any:
        """Return the encoder's own network, as it is to be saved."""
        return self.network


class MaskedLanguage(Objective):
    """Hidden words are guessed, by the head that the model came with or a new one."""

    def __init__(self, encoder: HuggingFaceEncoder, config: AdaptConfig) -> None:
        super().__init__()
        from transformers import DataCollatorForLanguageModeling

        heads = ("cls.", "lm_head.", "generator_predictions.", "generator_lm_head.", "vocab_")
        self.network, missing = load_partly(
            "AutoModelForMaskedLM", encoder.folder, encoder.setting, torch.float32, heads
        )
        self.drawn = bool(missing)
        self.tokenizer = encoder.processor
        self.longest = int(min(encoder.config.max_tokens, encoder.shape.positions or encoder.config.max_tokens))
        self.collate = DataCollatorForLanguageModeling(self.tokenizer, mlm_probability=config.mask_share)

    def forward(self, samples: Sequence[Sample]) -> Tensor:
        coded = [self.tokenizer(s.given, truncation=True, max_length=self.longest) for s in samples]
        given = {name: values.to(self.network.device) for name, values in self.collate(coded).items()}
        loss: Tensor = self.network(**given).loss
        return loss

    def saved(self) -> Any:
        """Return the model without its head."""
        return self.network.base_model


class Views(Objective):
    """An input's two views find each other among those of the others."""

    scale: Tensor

    def __init__(self, encoder: HuggingFaceEncoder, config: AdaptConfig) -> None:
        super().__init__()
        self.encoder, self.network = encoder, encoder.module
        self.register_buffer("scale", torch.tensor(1 / config.temperature))

    def forward(self, samples: Sequence[Sample]) -> Tensor:
        first = self.encoder.pooled([sample.given for sample in samples])
        second = self.encoder.pooled([sample.view for sample in samples])
        return infonce(functional.normalize(first, dim=1), functional.normalize(second, dim=1), self.scale)


class Paired(Objective):
    """An input and the frozen features of its record's other modalities find each other, through linear maps."""

    scale: Tensor
    drawn = True

    def __init__(self, encoder: HuggingFaceEncoder, config: AdaptConfig, others: Mapping[Modality, int]) -> None:
        super().__init__()
        self.encoder, self.network = encoder, encoder.module
        self.register_buffer("scale", torch.tensor(1 / config.temperature))
        widths = {encoder.modality: encoder.dimension, **others}
        self.maps = nn.ModuleDict(
            {name: nn.Sequential(nn.LayerNorm(width), nn.Linear(width, SHARED_WIDTH)) for name, width in widths.items()}
        )

    def forward(self, samples: Sequence[Sample]) -> Tensor | None:
        mine = self.maps[self.encoder.modality](self.encoder.pooled([sample.given for sample in samples]))
        mine, losses = functional.normalize(mine, dim=1), []
        for name in self.maps:
            at = [i for i, sample in enumerate(samples) if name in sample.others]
            if len(at) > 1:
                found = torch.from_numpy(np.stack([samples[i].others[name] for i in at]))  # type: ignore[index]
                theirs = functional.normalize(self.maps[name](found.to(mine.device)), dim=1)
                losses.append(infonce(mine[at], theirs, self.scale))
        return torch.stack(losses).mean() if losses else None


class Adapted(TypedDict):
    """The losses of an adaptation, JSON-ready.

    Held-out losses are None without held-out records. `held_out_before` is None, too, where the objective's own head is
    new: its loss then says nothing about the encoder.
    """

    loss: list[float]  # by epoch
    held_out_before: float | None
    held_out_after: float | None


def adapt(
    encoder: HuggingFaceEncoder,
    config: AdaptConfig,
    samples: Samples,
    others: Mapping[Modality, int],
    folder: str,
    threads: int,
) -> Adapted:
    """Adapt an encoder and save it as a model of its own.

    Args:
        encoder: what is adapted; its weights are changed in place.
        config: objective, what is trained, and the schedule.
        samples: of the lake.
        others: widths of the other modalities' features.
        folder: receives the model in the layout of `save_pretrained`, with the processor's files as they were.
        threads: torch threads (part of the result's bits).

    Raises:
        ConfigError: the model has nothing that can be trained so, or there are no samples.
    """
    with torch_threads(threads), torch.random.fork_rng(devices=[]):
        torch.manual_seed(digest.hash64(f"adapt/{config.seed}") >> 1)
        objective = open_objective(encoder, config, others)
        before = None if objective.drawn else _held_out_loss(objective, samples, config)
        objective.network = _made_trainable(objective.network, config)
        if isinstance(objective, Views | Paired):
            encoder.__dict__["module"] = objective.network
        losses = _train(objective, config, samples)
        after = _held_out_loss(objective, samples, config)
        if config.layers == "lora":
            objective.network = objective.network.merge_and_unload()
        _save(objective.saved(), encoder.folder, Path(folder))
    return {"loss": losses, "held_out_before": before, "held_out_after": after}


def open_objective(
    encoder: HuggingFaceEncoder, config: AdaptConfig, others: Mapping[Modality, int]
) -> MaskedLanguage | Views | Paired:
    """Return the objective that the settings name, on the device that encoders run on."""
    found: MaskedLanguage | Views | Paired
    if config.objective == "masked_language":
        found = MaskedLanguage(encoder, config)
    else:
        found = Views(encoder, config) if config.objective == "views" else Paired(encoder, config, others)
    return found.to(compute_device())


def _made_trainable(network: Any, config: AdaptConfig) -> Any:
    """Return the network with the weights that are to be trained, and no others, asking for gradients."""
    if config.layers == "lora":
        return _with_adapters(network, config)
    network.requires_grad_(config.layers == "all")
    if config.layers == "last":
        stacks = [part for part in network.modules() if isinstance(part, nn.ModuleList) and len(part) > 1]
        if not stacks:
            raise ConfigError(f"{type(network).__name__} has no stack of layers.\nSet adapt.layers to all.")
        layers = max(stacks, key=lambda stack: sum(weight.numel() for weight in stack.parameters()))
        for layer in layers[-config.last_layers :]:
            layer.requires_grad_(True)
    return network


def _with_adapters(network: Any, config: AdaptConfig) -> Any:
    try:
        from peft import LoraConfig, get_peft_model
    except ImportError as error:
        raise ConfigError("adapt.layers is lora, but peft is not installed.\npip install 'trichord[tune]'") from error
    rank = config.lora_rank
    try:
        return get_peft_model(network, LoraConfig(r=rank, lora_alpha=2 * rank, target_modules="all-linear"))
    except ValueError as error:
        raise ConfigError(
            f"{type(network).__name__} takes no low-rank adapters: {error}\nSet adapt.layers to last or all."
        ) from error


def _train(objective: Objective, config: AdaptConfig, samples: Samples) -> list[float]:
    parameters = [weight for weight in objective.parameters() if weight.requires_grad]
    optimiser = torch.optim.AdamW(parameters, lr=config.learning_rate)
    total, step, losses = max(1, samples.steps * config.epochs), 0, []
    for epoch in range(1, config.epochs + 1):
        _training(objective)
        torch.manual_seed(digest.hash64(f"adapt/{config.seed}/{epoch}") >> 1)
        summed, seen = 0.0, 0
        for batch in samples.epoch(epoch):
            warm = min(1.0, (step + 1) / max(1.0, WARM_UP * total))
            for group in optimiser.param_groups:
                group["lr"] = config.learning_rate * warm * (1 + math.cos(math.pi * min(1.0, step / total))) / 2
            loss = objective(batch)
            if loss is None:
                continue
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            step, summed, seen = step + 1, summed + float(loss.detach()) * len(batch), seen + len(batch)
        if not seen:
            raise ConfigError(
                f"No two records have what adapt.objective {config.objective} learns from: what the encoder reads"
                f"{' and another modality' if config.objective == 'paired' else ''}.\n"
                "Prepare such records, or set another objective."
            )
        losses.append(round(summed / seen, 6))
    return losses


def _training(objective: Objective) -> None:
    """Set dropout as in training; batch norms keep the statistics that the model came with."""
    objective.train()
    for part in objective.modules():
        if isinstance(part, nn.modules.batchnorm._BatchNorm):
            part.eval()


def _held_out_loss(objective: Objective, samples: Samples, config: AdaptConfig) -> float | None:
    """Return the mean loss over held-out batches, drawing the same every time; None where there are none."""
    _training(objective)  # two dropout masks are the two views of a text
    summed, seen = 0.0, 0
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(digest.hash64(f"adapt/{config.seed}/held out") >> 1)
        for batch in samples.held_out():
            if (loss := objective(batch)) is not None:
                summed, seen = summed + float(loss) * len(batch), seen + len(batch)
    return round(summed / seen, 6) if seen else None


def _save(network: Any, base: Path, folder: Path) -> None:
    for name in (*SHAPING_FILES, SENTENCE_PROMPTS):
        if (base / name).is_file() and name != "config.json":
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(base / name, folder / name)
    network.eval().requires_grad_(False)
    network.save_pretrained(folder)
