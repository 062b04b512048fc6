"""Training of heads and fusion on frozen features.

An epoch is a function of seed, number and the state before it, so a killed run resumes bit for bit. While an epoch is
scored, the next one is trained; if the score ends the run, that epoch is dropped.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from time import monotonic
from typing import Any, Required, TypedDict, cast

import numpy as np
import torch
from torch import Tensor

from trichord.encoders import gradient_cache
from trichord.encoders.adamw import AdamW
from trichord.encoders.checkpoint import Checkpoint, stored
from trichord.encoders.data import TrainingData
from trichord.encoders.device import torch_threads
from trichord.encoders.distributed import ProcessGroup
from trichord.encoders.frozen import Encoders
from trichord.encoders.model import FusionModel
from trichord.encoders.objective import Objective
from trichord.encoders.step import StepPlan, represent
from trichord.infra import digest
from trichord.infra.config import ModelConfig, TrainConfig

__all__ = ["TrainingData", "train"]

TRAIN_FORMAT = 3
WARMUP_STEPS = 20
CHECKPOINT_S = 60.0  # between two checkpoints: work that a killed run may lose
SHAPELESS = {"policy", "tensorboard"}  # settings that shape no bit of a run


class Epoch(TypedDict, total=False):
    """An entry of a training history, JSON-ready: epoch 0 is the model before training.

    Beside these it holds what the loss has learned (`Objective.learned`).
    """

    epoch: Required[int]
    score: Required[float | None]  # on validation records, higher is better; None where nothing is measured
    loss: float  # mean over the records; not of epoch 0
    records: int  # of epoch 0 alone: training records
    records_skipped: int  # of epoch 0 alone: records with nothing to compare


History = list[Epoch]


def train(
    data: TrainingData,
    encoders: Encoders,
    model_config: ModelConfig,
    train_config: TrainConfig,
    *,
    score: Callable[[FusionModel], float] | None,
    checkpoint: str | None,
    log: Callable[[Mapping[str, Any]], None],
    process_group: ProcessGroup | None = None,
    checkpoint_s: float = CHECKPOINT_S,
) -> tuple[FusionModel, History]:
    """Train a model and return the best state it went through.

    Args:
        data: the training records.
        encoders: what made their features.
        model_config: shape of the model.
        train_config: loss, schedule and seed.
        score: measures a model on validation records, higher is better; called for the untrained model and after each
            epoch, in a thread beside training. None where nothing can be measured: then the last epoch is kept.
        checkpoint: folder in which the state after an epoch is left, and looked for first; None keeps none.
        log: called with each entry of the history as it arises, again from the start where a run is resumed.
        process_group: the processes that share every step. All of them call this with equal arguments and get equal
            models; only rank 0 scores, logs and keeps checkpoints.
        checkpoint_s: seconds between two checkpoints at least.

    Returns:
        The model of the best score (the earliest of equal ones) and the history: an entry an epoch, of JSON values that
        depend on nothing but data and settings. Epoch 0 is the untrained model.
    """
    leads = process_group is None or process_group.rank == 0
    with torch_threads(train_config.threads), torch.random.fork_rng(devices=[]), ThreadPoolExecutor(1) as beside:
        run = _Run(data, encoders, model_config, train_config, score, beside, process_group)
        state = stored(checkpoint) if checkpoint is not None and leads else None
        state = state if process_group is None else process_group.broadcast(state)
        if state is not None and (found := Checkpoint.parse(state, run.digest)) is not None:
            run.restore(found)
        logged, due_s = 0, monotonic() + checkpoint_s
        while True:
            for entry in run.history[logged:] if leads else ():
                log(entry)
            logged = len(run.history)
            if run.finished:
                break
            run.epoch()
            if checkpoint is not None and run.agree(monotonic() >= due_s):
                run.settle()
                if leads:
                    run.checkpoint().write(checkpoint)
                    due_s = monotonic() + checkpoint_s
    return run.best_model(), run.history


@dataclass(frozen=True, slots=True)
class _Unscored:
    """An epoch that is trained, the model it left, and the score that is being measured."""

    entry: Epoch
    model: FusionModel
    score: Future[float | None]


@dataclass
class _Run:
    """A training run between two epochs; `unscored` is the last of them until its score is known."""

    data: TrainingData
    encoders: Encoders
    model_config: ModelConfig
    config: TrainConfig
    score: Callable[[FusionModel], float] | None
    beside: ThreadPoolExecutor
    process_group: ProcessGroup | None = None
    history: History = field(default_factory=list)
    best: Mapping[str, Tensor] = field(default_factory=dict)
    unscored: _Unscored | None = None

    def __post_init__(self) -> None:
        self.network = self._fresh().network.train().requires_grad_(True)
        self.objective = Objective(self.config)
        matrices = [parameter for parameter in self.network.parameters() if parameter.ndim > 1]
        others = [parameter for parameter in self.network.parameters() if parameter.ndim < 2]
        decay = self.config.weight_decay  # of matrices alone: biases and temperatures have no reason to be small
        self.optimiser = AdamW([(matrices, decay), ([*others, *self.objective.parameters()], 0.0)])
        self.usable = self.data.usable(across=not self.objective.mixed)
        self.steps = max(1, round(len(self.usable) / self.config.batch_size))
        skipped = len(self.data) - len(self.usable)
        first = Epoch(epoch=0, score=None, records=len(self.usable), records_skipped=skipped)
        untrained = self._fresh()
        self.unscored = _Unscored(first, untrained, self._score(untrained))
        self.settle()

    def _fresh(self) -> FusionModel:
        return FusionModel.initial(self.model_config, self.encoders, self.data.stats, self.config.seed)

    @property
    def digest(self) -> str:
        """Digest of everything that shapes the run, the number of threads included."""
        settings = [self.model_config.model_dump(mode="json"), self.config.model_dump(mode="json", exclude=SHAPELESS)]
        made_of = [self.data.digest, self.encoders.fingerprint, torch.__version__]
        return digest.address("train", TRAIN_FORMAT, made_of, settings)

    @property
    def best_epoch(self) -> int:
        if self.score is None:
            return self.history[-1]["epoch"]
        return max(self.history, key=lambda entry: (cast(float, entry["score"]), -entry["epoch"]))["epoch"]

    @property
    def leads(self) -> bool:
        """Return True on the one process that scores."""
        return self.process_group is None or self.process_group.rank == 0

    def _score(self, model: FusionModel) -> Future[float | None]:
        """Begin to score a model; None comes of it at once where another process scores, or nothing is measured."""
        if self.score is not None and self.leads:
            return self.beside.submit(self.score, model)
        nothing: Future[float | None] = Future()
        nothing.set_result(None)
        return nothing

    def agree(self, said: bool) -> bool:
        """Return what the leading process says."""
        if self.process_group is None:
            return said
        return self.process_group.broadcast(b"yes" if said and self.leads else None) is not None

    @property
    def finished(self) -> bool:
        done = self.history[-1]["epoch"]
        # one record alone has no negative to learn from
        return len(self.usable) < 2 or done >= self.config.epochs or done - self.best_epoch >= self.config.patience

    def epoch(self) -> None:
        """Train an epoch while the one before it is scored, and begin to score it."""
        number = self.history[-1]["epoch"] + (1 if self.unscored is None else 2)
        trained = self._pass(number) if number <= self.config.epochs else None
        self.settle()
        if trained is not None and not self.finished:
            model = FusionModel(self.model_config, self.encoders, copy.deepcopy(self.network))
            self.unscored = _Unscored(trained, model, self._score(model))

    def settle(self) -> None:
        """Wait for the score of the last epoch, if it is not known yet."""
        if self.unscored is None:
            return
        entry, model, score = self.unscored.entry, self.unscored.model, self.unscored.score.result()
        self.unscored = None
        if self.score is not None and self.process_group is not None:
            said = self.process_group.broadcast(repr(score).encode() if self.leads else None)
            assert said is not None
            score = float(said)
        self.history.append(entry | {"score": score})
        if self.best_epoch == entry["epoch"]:
            self.best = dict(model.network.state_dict())

    def _pass(self, number: int) -> Epoch:
        """Pass over the records once."""
        rng = digest.generator(self.config.seed, "train", number)
        total = 0.0
        for step, positions in enumerate(np.array_split(rng.permutation(self.usable), self.steps)):
            plan = self.objective.plan(self.network, self.data.locate(positions, rng), rng)
            total += float(self.backward(plan)) * len(positions)
            if self.process_group is not None:
                self.process_group.all_reduce_gradients(self.network.parameters())
            self.optimiser.step(self._rate((number - 1) * self.steps + step))
        entry = {"epoch": number, "loss": total / len(self.usable), "score": None, **self.objective.learned()}
        return cast(Epoch, entry)

    def backward(self, plan: StepPlan) -> Tensor:
        """Compute the gradients of a step, and return its loss.

        Vectors of any slice of the batch follow from the plan, and the loss from the vectors of all: what encodes the
        slices, in chunks here or in several processes, changes nothing but the order of sums.
        """
        half = self.config.precision == "bfloat16"

        def encode(part: slice) -> Tensor:
            with torch.autocast("cpu", torch.bfloat16, enabled=half):
                return represent(self.network, self.data, plan, part)

        def loss(vectors: Tensor) -> Tensor:
            found: Tensor = self.objective(vectors, plan)
            return found

        return gradient_cache.backward(encode, len(plan.rows), self.config.chunk_size, loss, self.process_group)

    def _rate(self, step: int) -> float:
        """Return the learning rate: linear warm-up, then cosine decay over the epochs asked for."""
        total = self.steps * self.config.epochs
        warm = min(1.0, (step + 1) / min(WARMUP_STEPS, max(1, total // 4)))
        return self.config.learning_rate * warm * (1 + math.cos(math.pi * step / total)) / 2

    def checkpoint(self) -> Checkpoint:
        """Return everything that the next epoch depends on."""
        tensors = {f"best.{name}": tensor for name, tensor in self.best.items()}
        tensors |= {f"network.{name}": tensor for name, tensor in self.network.state_dict().items()}
        tensors |= {f"objective.{name}": tensor for name, tensor in self.objective.state_dict().items()}
        tensors |= {f"optimiser.{name}": tensor for name, tensor in self.optimiser.tensors().items()}
        return Checkpoint(run=self.digest, tensors=tensors, state={"history": self.history})

    def restore(self, found: Checkpoint) -> None:
        """Go on from a checkpoint of this run."""

        def part(prefix: str) -> Iterator[tuple[str, Tensor]]:
            named = found.tensors.items()
            return ((name.removeprefix(prefix), value) for name, value in named if name.startswith(prefix))

        self.best = dict(part("best."))
        self.network.load_state_dict(dict(part("network.")))
        self.objective.load_state_dict(dict(part("objective.")))
        self.optimiser.restore(dict(part("optimiser.")))
        self.history = list(found.state["history"])

    def best_model(self) -> FusionModel:
        """Return the model of the best epoch so far."""
        network = self._fresh().network
        network.load_state_dict(self.best)
        return FusionModel(self.model_config, self.encoders, network)
