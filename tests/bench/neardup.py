"""Near duplicates: `python -m tests.bench.neardup --json` (one JSON line).

Distinct demo records with copies of some of them, each changed in one way of `tests.bench.variants`, go through prepare
and dedup: recall by way, and every false merge. `--scale` rows of made-up signatures measure dedup alone.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from tests.bench.variants import VARIANTS, batch_of_record, changed
from trichord.infra import digest
from trichord.infra.config import PrepareConfig
from trichord.infra.engines import open_engine
from trichord.infra.engines.base import Done
from trichord.infra.lake import schema
from trichord.infra.lake.lake import Lake
from trichord.infra.lake.shard import ShardRef, ShardWriter, read_shard
from trichord.infra.project import load_project
from trichord.pipelines.core.workspace import Workspace
from trichord.pipelines.demo.defects import rates_of
from trichord.pipelines.demo.records import Recipe
from trichord.pipelines.prepare.exact_duplicates import deduplicate
from trichord.pipelines.prepare.prepared import Prepared
from trichord.transforms.batch import Batch, join
from trichord.transforms.chain import prepare_chain
from trichord.transforms.dedup.shingles import band_keys, text_sketch
from trichord.transforms.dedup.signatures import signatures_table
from trichord.transforms.dedup.spectrum import audio_hash, image_hash
from trichord.transforms.op import run_chain
from trichord.transforms.record import finish

SEED, DIFFICULTY, PER_TASK = 11, 0.5, 64
DEMO = "demo_near_duplicate"
PLANTED = (*("+".join(filter(None, variant)) for variant in VARIANTS), DEMO)


@dataclass(frozen=True)
class Sign:
    """Record numbers (first, last, planted every) → a signatures shard."""

    lake: Lake
    every: int

    @cached_property
    def recipe(self) -> Recipe:
        """Distinct records alone."""
        return Recipe(seed=SEED, records=1 << 30, difficulty=DIFFICULTY, rates=rates_of(0.0))

    def __call__(self, span: tuple[int, int]) -> ShardRef:
        batches = list(self._batches(range(*span)))
        chain, config = prepare_chain(PrepareConfig()), PrepareConfig()
        address = digest.address("neardup", span)
        with ShardWriter(self.lake, "signatures", address, schema.SIGNATURES) as writer:
            for start in range(0, len(batches), 8):
                batch, _ = run_chain(join(batches[start : start + 8]), chain)
                writer.write(signatures_table(finish(batch, config), batch, config.dedup))
            return writer.finish({"rows": 0})

    def _batches(self, indexes: range) -> Iterator[Batch]:
        for index in indexes:
            raw = batch_of_record(self.recipe.make(index), f"a/{index:06d}")
            yield raw
            if index % self.every == 0:
                way = index // self.every % len(PLANTED)
                key = f"b/{index:06d}/{PLANTED[way]}"
                if PLANTED[way] == DEMO:
                    near = self.recipe._near_duplicate(index + (1 << 29), index)
                    yield batch_of_record(near, key)
                else:
                    yield changed(raw, VARIANTS[way], key)


@dataclass(frozen=True)
class MakeUp:
    """Shard number → made-up signatures, every hundredth a near copy of one in the shard before."""

    lake: Lake
    rows: int

    def __call__(self, number: int) -> ShardRef:
        table = pa.Table.from_pylist([self._row(number, i) for i in range(self.rows)], schema=schema.SIGNATURES)
        with ShardWriter(self.lake, "signatures", digest.address("made-up", number), schema.SIGNATURES) as writer:
            writer.write(table)
            return writer.finish({"rows": 0})

    def _row(self, number: int, i: int) -> dict[str, Any]:
        copy = i % 100 == 0 and number > 0
        rng = digest.generator("made-up", number - copy, i + copy)
        words = " ".join(f"w{word}" for word in rng.integers(0, 5_000, 14))
        image, audio = rng.bytes(40), rng.bytes(40)
        sketch = text_sketch(words) or b""
        row = digest.address(number, i)
        return {
            "key": f"k{number:05d}-{i:05d}", "source": "made", "partition": f"made/{number}", "row_digest": row,
            "content_digest": row, "input_digest": row, "modalities": "text,image,audio", "text_sketch": sketch,
            "text_bands": band_keys(sketch),
            "image_hash": bytes([image[0] ^ copy]) + image[1:] + bytes([128] * 32),
            "audio_hash": bytes([audio[0] ^ copy]) + audio[1:] + (3_000).to_bytes(4, "little"),
        }  # fmt: skip


def run_planted(folder: Path, records: int, planted: int, engine_kind: str) -> dict[str, Any]:
    """Recall by way of change, and the false merges."""
    workspace = _workspace(folder, engine_kind)
    with open_engine(workspace.project.engine) as engine:
        spans = [(start, min(start + PER_TASK, records)) for start in range(0, records, PER_TASK)]
        every = max(1, records // planted)
        signed = _made(engine.map(Sign(workspace.lake, every), spans))
        started = time.perf_counter()
        found = deduplicate(workspace, engine, signed)
        seconds = time.perf_counter() - started
    rows = [row for ref in found.duplicates for row in read_shard(workspace.lake, ref).to_pylist()]
    false = [row for row in rows if row["key"].split("/")[1] != row["survivor_key"].split("/")[1]]
    hits = Counter(row["key"].split("/")[2] for row in rows if row["key"][0] == "b" and row not in false)
    made = [key for item in signed for key in read_shard(workspace.lake, item.signatures, ["key"])["key"].to_pylist()]
    tried = Counter(key.split("/")[2] for key in made if key[0] == "b")
    return {
        "distinct": sum(key[0] == "a" for key in made),
        "planted": tried.total(),
        "recall": round(hits.total() / tried.total(), 4),
        "recall_by_way": {way: f"{hits[way]}/{tried[way]}" for way in PLANTED},
        "false_merges": len(false),
        "false": [{name: row[name] for name in ("key", "survivor_key", "evidence")} for row in false[:10]],
        "dedup_seconds": round(seconds, 2),
    }


def run_scale(folder: Path, rows: int, engine_kind: str) -> dict[str, Any]:
    """Seconds and the driver's peak memory for so many made-up signatures."""
    workspace = _workspace(folder, engine_kind)
    per_shard = 256
    with open_engine(workspace.project.engine) as engine:
        signed = _made(engine.map(MakeUp(workspace.lake, per_shard), list(range(-(-rows // per_shard)))))
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        started = time.perf_counter()
        found = deduplicate(workspace, engine, signed)
        seconds = time.perf_counter() - started
        engine.close()
        workers = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
        again = time.perf_counter()
        deduplicate(workspace, engine, signed)
        again = time.perf_counter() - again
    return {
        "rows": sum(item.signatures.rows for item in signed),
        "duplicates": sum(ref.rows for ref in found.duplicates),
        "seconds": round(seconds, 2),
        "seconds_unchanged": round(again, 4),
        "driver_peak_mib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
        "driver_grew_mib": round((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024),
        "largest_worker_mib": round(workers / 1024),
    }


def signature_ms() -> dict[str, float]:
    """CPU milliseconds of each signature of a 224 pixel picture, a caption and 3 s of sound."""
    recipe = Recipe(seed=SEED, records=1, difficulty=DIFFICULTY, rates=rates_of(0.0))
    batch, _ = run_chain(batch_of_record(recipe.make(0), "k"), prepare_chain(PrepareConfig()))
    rgb, wave, text = batch.images[0], batch.waves[0], batch.rows[0].text
    assert rgb is not None
    assert wave is not None
    rgb = np.ascontiguousarray(np.resize(rgb, (224, 224, 3)))
    wave = type(wave)(np.resize(wave.samples, 3 * wave.rate_hz), wave.rate_hz)
    calls = {
        "image": lambda: image_hash(rgb),
        "text": lambda: band_keys(text_sketch(text or "") or b""),
        "audio": lambda: audio_hash(wave),
    }
    spent = {}
    for name, call in calls.items():
        call()
        started = time.process_time()
        for _ in range(200):
            call()
        spent[name] = round((time.process_time() - started) / 200 * 1_000, 3)
    return spent


def _workspace(folder: Path, engine_kind: str) -> Workspace:
    folder.mkdir(parents=True, exist_ok=True)
    project = folder / "trichord.yaml"
    sources = [f"  - {{name: {name}, kind: folder, path: {name}}}\n" for name in ("demo", "made")]
    project.write_text(
        f"lake: lake\nsources:\n{''.join(sources)}engine: {{kind: {engine_kind}, workers: 2}}\n"
        "prepare: {dedup: {verify: false}}\n",
        encoding="utf-8",
    )
    return Workspace(load_project(project))


def _made(outcomes: Iterator[Any]) -> list[Prepared]:
    refs = []
    for outcome in outcomes:
        if not isinstance(outcome, Done):
            raise RuntimeError(str(outcome.failure))
        refs.append(outcome.result)
    refs.sort(key=lambda ref: ref.address)
    return [
        Prepared(address=ref.address, partition=ref.address, records=ref, signatures=ref, rejects=None) for ref in refs
    ]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=10_000)
    parser.add_argument("--planted", type=int, default=1_000)
    parser.add_argument("--scale", type=int, nargs="*", default=[])
    parser.add_argument("--engine", default="local")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    result: dict[str, Any] = {"signature_ms": signature_ms()}
    with tempfile.TemporaryDirectory(prefix="trichord-neardup-") as name:
        for rows in options.scale:
            result[f"scale_{rows}"] = run_scale(Path(name) / f"scale{rows}", rows, options.engine)
        if options.records:
            result |= run_planted(Path(name) / "planted", options.records, options.planted, options.engine)
    sys.stdout.write(json.dumps(result, indent=None if options.json else 2) + "\n")


if __name__ == "__main__":
    from tests.bench import neardup  # under its own name, so that workers find its tasks

    neardup.main()
