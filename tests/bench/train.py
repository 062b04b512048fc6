"""Training on cached features beside a bare torch loop of the same loss: `python -m tests.bench.train --json`.

Records of the demo's shape: text with a caption, picture and sound, as wide as the embedded features, that show one
hidden cause. Training does what the job does: it writes its row files, scores each epoch on 350 held-out records and
keeps checkpoints. The bare loop has the same network, loss, records, batch size and number of steps, its features
standardised in memory, and does nothing else. Each is a process of its own, in turn, with a worker's environment;
`loop` leaves imports and reading out, `written_mb` is what training wrote to the disk.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from trichord.encoders.base import Modality
from trichord.encoders.views import MODALITIES, Features
from trichord.infra import digest

WIDTHS: dict[Modality, int] = {"text": 1_024, "image": 1_580, "audio": 1_082}
HIDDEN = 48  # values of the cause that all modalities show
HELD = 350


def records(count: int, seed: int) -> Features:
    """Records of all modalities and one caption."""
    maps = {name: digest.generator("map", name).normal(size=(HIDDEN, width)) / 7 for name, width in WIDTHS.items()}
    rng = digest.generator("bench", seed)
    causes = rng.normal(size=(count, HIDDEN))
    shown = {
        name: (np.tanh(causes @ maps[name]) + rng.normal(size=(count, WIDTHS[name]))).astype(np.float32)
        for name in MODALITIES
    }
    captions = np.tanh(causes @ maps["text"]) + rng.normal(size=(count, WIDTHS["text"]))
    return Features(
        values=shown,
        present=np.ones((count, len(MODALITIES)), dtype=bool),
        captions=captions.astype(np.float32),
        offsets=np.arange(count + 1, dtype=np.int64),
    )


def read(folder: Path, name: str) -> Features:
    """Features that `main` wrote."""
    with np.load(folder / f"{name}.npz", allow_pickle=False) as stored:
        return Features(
            values={modality: stored[modality] for modality in MODALITIES},
            present=stored["present"],
            captions=stored["captions"],
            offsets=stored["offsets"],
        )


def trained(folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Training as the job does it."""
    from tests.encoders.planted import Planted
    from trichord.encoders.data import Part, TrainingData
    from trichord.encoders.device import torch_threads
    from trichord.encoders.frozen import Encoders
    from trichord.encoders.model import FusionModel
    from trichord.encoders.train import train
    from trichord.infra.config import ModelConfig, TrainConfig
    from trichord.pipelines.evaluation.holdout import HeldOutRows, K
    from trichord.pipelines.evaluation.retrieval import mixed_score

    encoders = Encoders({name: Planted(name, width) for name, width in WIDTHS.items()})
    held = HeldOutRows(
        keys=tuple(f"held/{row}" for row in range(HELD)), text_ids=np.arange(HELD), features=read(folder, "held")
    )

    def score(model: FusionModel) -> float:
        with torch_threads(1):
            return mixed_score(held.views(model), K, 0)

    config = TrainConfig(
        epochs=options.epochs, batch_size=options.batch_size, threads=options.threads, patience=options.epochs
    )
    features = read(folder, "records")
    with tempfile.TemporaryDirectory(prefix="trichord-bench-") as work:
        started, busy = time.perf_counter(), time.process_time()
        data = TrainingData.write(os.path.join(work, "data"), [Part(features=features)])
        _, history = train(
            data,
            encoders,
            ModelConfig(),
            config,
            score=score,
            checkpoint=os.path.join(work, "checkpoint"),
            log=lambda entry: None,
        )
        loop_s, loop_cpu_s = time.perf_counter() - started, time.process_time() - busy
    scores = [entry["score"] or 0.0 for entry in history]
    return {
        "loop_s": loop_s,
        "loop_cpu_s": loop_cpu_s,
        "untrained_score": round(scores[0], 4),
        "best_score": round(max(scores), 4),
        "last_loss": round(history[-1]["loss"], 3),
    }


def bare(folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Nothing but the steps."""
    import torch

    torch.set_num_threads(options.threads)
    features = read(folder, "records")
    inputs = standardised(features)
    import trichord.encoders.objective  # noqa: F401 - before the clock starts

    started, busy = time.perf_counter(), time.process_time()
    _, loss = steps(inputs, len(features), options.epochs, options.batch_size)
    loop_s, loop_cpu_s = time.perf_counter() - started, time.process_time() - busy
    return {"loop_s": loop_s, "loop_cpu_s": loop_cpu_s, "last_loss": round(loss, 3)}


def standardised(features: Features) -> dict[str, Any]:
    """Tensors of each modality's features, and `again` of the first captions."""
    import torch

    from trichord.encoders.base import OUTLIER

    inputs: dict[str, torch.Tensor] = {}
    given: dict[str, np.ndarray] = {"again": features.captions}
    given.update({str(name): values for name, values in features.values.items()})
    for of, values in given.items():
        mean, spread = values.mean(axis=0), values.std(axis=0)
        spread = np.maximum(spread, 0.1 * (float(np.sqrt(np.mean(spread * spread))) or 1.0))
        inputs[of] = torch.from_numpy(((values - mean) / spread).clip(-OUTLIER, OUTLIER))
    return inputs


def steps(inputs: dict[str, Any], count: int, epochs: int, batch_size: int) -> tuple[Any, float]:
    """Train a network on records of all modalities with one caption: the network, and the loss of the last epoch."""
    import torch
    from torch.nn import functional

    from trichord.encoders.data import Rows
    from trichord.encoders.fusion import FusionNetwork
    from trichord.encoders.objective import GALLERIES, Objective
    from trichord.encoders.step import StepPlan
    from trichord.encoders.views import draw_views
    from trichord.infra.config import ModelConfig, TrainConfig

    config = TrainConfig()
    widths: dict[Modality, int] = {name: inputs[name].shape[1] for name in MODALITIES}
    network, objective = FusionNetwork(widths, dict.fromkeys(MODALITIES, 1), ModelConfig()), Objective(config)
    parameters = [*network.parameters(), *objective.parameters()]
    optimiser = torch.optim.AdamW(parameters, lr=config.learning_rate, weight_decay=config.weight_decay, fused=True)

    def state(name: Modality, of: str, rows: torch.Tensor) -> torch.Tensor:
        head = network.head(name)
        hidden, direct = head.inner(inputs[of][rows]).tensor_split([head.hidden], dim=1)
        hidden = functional.dropout(functional.gelu(head.norm(hidden)), config.dropout)
        return (head.outer(hidden) + direct)[:, None]

    rng, alone_MM, total = np.random.default_rng(0), torch.eye(len(MODALITIES), dtype=torch.bool), 0.0
    for _ in range(epochs):
        total = 0.0
        for rows in np.array_split(rng.permutation(count), max(1, round(count / batch_size))):
            present_BM, counts_B = np.ones((len(rows), len(MODALITIES)), bool), np.full(len(rows), 2)
            drawn = tuple(draw_views(present_BM, counts_B, rng) for _ in range(GALLERIES))
            chosen = torch.from_numpy(rows)
            states = {name: state(name, name, chosen) for name in MODALITIES}
            again = state("text", "again", chosen)
            asking_BMD = torch.cat([states[name] for name in MODALITIES], dim=1)
            standing_BMD = torch.cat([again, states["image"], states["audio"]], dim=1)
            views_BGM = torch.from_numpy(np.stack([gallery.gallery_BM for gallery in drawn], axis=1))
            vectors_BSD = torch.cat(
                [network.fuse(asking_BMD, alone_MM.expand(len(rows), -1, -1)), network.fuse(standing_BMD, views_BGM)],
                dim=1,
            )
            ours = Rows(
                places=dict.fromkeys(MODALITIES, rows),
                rewording=rows,
                counts=counts_B,
                same=np.eye(len(rows), dtype=bool),
                groups=np.zeros(len(rows), np.uint64),
            )
            plan = StepPlan(rows=ours, galleries=drawn, draws=np.zeros((0, 2, 0)), kept={}, dropout=0.0)
            loss = objective(vectors_BSD, plan)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            total += loss.item() * len(rows)
    return network, total / count


def process(kind: str, folder: Path, arguments: list[str]) -> dict[str, Any]:
    """Run one of the two as a process: what it reports, and its seconds and CPU seconds as a whole."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}  # as a worker's
    command = [sys.executable, "-m", "tests.bench.train", "--only", kind, "--folder", str(folder), *arguments]
    started = time.perf_counter()
    child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
    assert child.stdout is not None
    output = child.stdout.read()
    _, status, used = os.wait4(child.pid, 0)
    if status:
        raise RuntimeError(f"{kind} ended with status {status}")
    whole = {"whole_s": time.perf_counter() - started, "whole_cpu_s": used.ru_utime + used.ru_stime}
    return json.loads(output.splitlines()[-1]) | whole


def measure(options: argparse.Namespace, arguments: list[str]) -> dict[str, Any]:
    """Both in turn, the median of the rounds."""
    found: dict[str, list[dict[str, Any]]] = {"trained": [], "bare": []}
    with tempfile.TemporaryDirectory(prefix="trichord-bench-") as name:
        folder = Path(name)
        for part, count, seed in (("records", options.records, 0), ("held", HELD, 1)):
            made = records(count, seed)
            arrays: dict[str, Any] = {str(modality): values for modality, values in made.values.items()}
            arrays |= {"present": made.present, "captions": made.captions, "offsets": made.offsets}
            np.savez(folder / f"{part}.npz", allow_pickle=False, **arrays)
        for _ in range(options.rounds):
            for kind, of_kind in found.items():
                of_kind.append(process(kind, folder, arguments))
    result: dict[str, Any] = {}
    for figure in ("loop_cpu_s", "loop_s", "whole_cpu_s", "whole_s"):
        ours, theirs = (statistics.median(one[figure] for one in found[kind]) for kind in ("trained", "bare"))
        result |= {
            figure: round(ours, 2),
            f"bare_{figure}": round(theirs, 2),
            f"{figure}_ratio": round(ours / theirs, 2),
        }
    last = found["trained"][-1]
    result |= {name: last[name] for name in ("written_mb", "untrained_score", "best_score", "last_loss")}
    result |= {"bare_last_loss": found["bare"][-1]["last_loss"]}
    return result | {name: getattr(options, name) for name in ("records", "epochs", "batch_size", "threads", "rounds")}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=1_100)
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--batch-size", type=int, default=256)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", choices=("trained", "bare"), help="one of the two, in this process")
    parser.add_argument("--folder", type=Path, help="of --only: where the features are")
    parser.add_argument("--json", action="store_true", help="print JSON on one line")
    options = parser.parse_args()
    if options.only is None:
        result = measure(options, sys.argv[1:])
    else:
        result = (trained if options.only == "trained" else bare)(options.folder, options)
        counters = (line.split(": ") for line in Path("/proc/self/io").read_text().splitlines())
        written = {name: int(value) for name, value in counters}["write_bytes"]
        result |= {"written_mb": round(written / 1e6, 1)}
        sys.stdout.write(json.dumps(result) + "\n")
        return
    lines = json.dumps(result) if options.json else "\n".join(f"{name}: {value}" for name, value in result.items())
    sys.stdout.write(lines + "\n")


if __name__ == "__main__":
    main()
