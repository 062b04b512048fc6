"""Training on cached features beside a bare torch loop: `python -m tests.bench.train --json`.

Pairs of a text (384 values) and a picture (1,024 values) that show one hidden cause, no sound; the default model and
loss, each epoch scored on 1,000 held-out pairs as the job does. The bare loop has the same heads, plain InfoNCE between
the two, its data in memory and no score; it runs some of the epochs, and its time is that of as many as training ran.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from tests.encoders.planted import Planted
from trichord.encoders.base import Modality
from trichord.encoders.data import Part, TrainingData
from trichord.encoders.device import torch_threads
from trichord.encoders.frozen import Encoders
from trichord.encoders.fusion import FusionNetwork
from trichord.encoders.model import FusionModel
from trichord.encoders.train import train
from trichord.encoders.views import MODALITIES, Features
from trichord.infra import digest
from trichord.infra.config import ModelConfig, TrainConfig
from trichord.pipelines.evaluation.holdout import HeldOutRows, K
from trichord.pipelines.evaluation.retrieval import mixed_score

WIDTHS: dict[Modality, int] = {"text": 384, "image": 1_024, "audio": 16}
SHOWN: tuple[Modality, Modality] = ("text", "image")
HIDDEN = 48  # values of the cause that both modalities show
PART = 2_000
BARE_EPOCHS = 4


def pairs(records: int, seed: int) -> Iterator[Features]:
    """Parts of at most `PART` records without sound or captions."""
    maps = {name: digest.generator("map", name).normal(size=(HIDDEN, WIDTHS[name])) / 7 for name in SHOWN}
    for start in range(0, records, PART):
        rng, rows = digest.generator("bench", seed, start), min(PART, records - start)
        causes = rng.normal(size=(rows, HIDDEN))
        values = {name: np.tanh(causes @ found) + rng.normal(size=(rows, WIDTHS[name])) for name, found in maps.items()}
        values["audio"] = np.zeros((rows, WIDTHS["audio"]))
        yield Features(
            values={name: values[name].astype(np.float32) for name in MODALITIES},
            present=np.tile([True, True, False], (rows, 1)),
            captions=np.zeros((0, WIDTHS["text"]), np.float32),
            offsets=np.zeros(rows + 1, np.int64),
        )


def measure(records: int, config: TrainConfig) -> dict[str, Any]:
    """Seconds of training and of the bare loop, and what training reached."""
    encoders = Encoders({name: Planted(name, width) for name, width in WIDTHS.items()})
    held = HeldOutRows(
        keys=tuple(f"held/{row}" for row in range(1_000)),
        text_ids=np.arange(1_000),
        features=Features.concat(list(pairs(1_000, 1))),
    )

    def score(model: FusionModel) -> float:
        with torch_threads(1):
            return mixed_score(held.views(model), K, config.seed)

    with tempfile.TemporaryDirectory(prefix="trichord-bench-") as folder:
        data = TrainingData.write(str(Path(folder) / "data"), (Part(features=part) for part in pairs(records, 0)))
        started, busy = time.perf_counter(), time.process_time()
        _, history = train(data, encoders, ModelConfig(), config, score=score, checkpoint=None, log=lambda entry: None)
        seconds, busy = time.perf_counter() - started, time.process_time() - busy
        bare, bare_busy = _bare(data, encoders, config, records)
    epochs = history[-1]["epoch"]
    scores = [entry["score"] or 0.0 for entry in history]
    return {
        "seconds": round(seconds, 1),
        "cpu_seconds": round(busy, 1),
        "bare_seconds": round(bare * epochs, 1),
        "bare_cpu_seconds": round(bare_busy * epochs, 1),
        "ratio_to_bare": round(seconds / (bare * epochs), 2),
        "cpu_ratio_to_bare": round(busy / (bare_busy * epochs), 2),
        "records": records,
        "epochs": epochs,
        "threads": config.threads,
        "untrained_score": round(scores[0], 4),
        "best_score": round(max(scores), 4),
    }


def _bare(data: TrainingData, encoders: Encoders, config: TrainConfig, records: int) -> tuple[float, float]:
    """Seconds and CPU seconds of an epoch that reads from memory and knows one pair of modalities."""
    texts, images = (torch.from_numpy(data.read(name, np.arange(records))) for name in SHOWN)
    with torch_threads(config.threads):
        network = FusionNetwork(encoders.dimensions, encoders.tokens, ModelConfig())
        network.standardise(data.stats)
        scale = torch.nn.Parameter(torch.tensor(14.0))
        heads = [*network.heads["text"].parameters(), *network.heads["image"].parameters(), scale]
        optimiser = torch.optim.AdamW(heads, lr=config.learning_rate, fused=True)
        drawn = torch.Generator().manual_seed(0)
        started, busy = time.perf_counter(), time.process_time()
        for _ in range(BARE_EPOCHS):
            for rows in torch.randperm(records, generator=drawn).split(config.batch_size):
                left, right = (
                    functional.normalize(network.state(name, of[rows])[:, 0], dim=1)
                    for name, of in zip(SHOWN, (texts, images), strict=True)
                )
                logits, own = scale * left @ right.T, torch.arange(len(rows))
                loss = (functional.cross_entropy(logits, own) + functional.cross_entropy(logits.T, own)) / 2
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
        return (time.perf_counter() - started) / BARE_EPOCHS, (time.process_time() - busy) / BARE_EPOCHS


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=30_000)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--batch-size", type=int, default=512)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", action="store_true", help="print JSON on one line")
    options = parser.parse_args()
    config = TrainConfig(
        epochs=options.epochs, batch_size=options.batch_size, threads=options.threads, patience=options.epochs
    )
    result = measure(options.records, config)
    lines = json.dumps(result) if options.json else "\n".join(f"{name}: {value}" for name, value in result.items())
    sys.stdout.write(lines + "\n")


if __name__ == "__main__":
    main()
