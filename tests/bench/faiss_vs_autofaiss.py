"""Our index against autofaiss 2.18: same vectors, same memory, same cores, one run, on two sets of vectors.

`python -m tests.bench.faiss_vs_autofaiss --json [--set patches --pictures FOLDER]` prints one JSON line. Ours goes the
whole way of the product: choice, training sample, codes, merging, keys, hashes, tuning, then `open_searcher` (which
hashes every file) and its `search` with keys, views and sources named; autofaiss's is timed inside FAISS alone. Speeds
are compared at equal recall: autofaiss's effort is swept, and the fastest step that reaches our recall counts; where
none does, our effort is lowered to the best recall it reaches. Both use the same cores; a batch is 1,000 queries, and
`single` is one query after the other. The build of ours includes its tuning, as autofaiss's does. With a tenth of the
memory autofaiss fails, and a factory of FAISS takes its place. `--also` builds another index in the same run, by its
settings: `--also '{"kind": "pq_fast", "parts": 64, "refine": "fp16"}'`.

autofaiss lives in an environment of its own, which the first run makes under `.bench/`.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tests.bench.vector_sets import ROWS, draw
from tests.bench.vectors_lake import PARTITION_ROWS, SPACE, key_of, model_of, workspace_at, write_partitions
from trichord.index_builders.base import Hits
from trichord.index_builders.exact import exact_topk
from trichord.index_builders.faiss_search import FaissSearcher, open_searcher
from trichord.index_builders.tune import ALL, DEPTHS
from trichord.infra.config import EngineConfig
from trichord.infra.engines import open_engine
from trichord.pipelines.index.build_faiss import build_faiss
from trichord.pipelines.index.shards import Built

VERSION = "2.18.0"
HOME = Path(__file__).parents[2] / ".bench" / "autofaiss"
QUERIES, SINGLE, K, ROUNDS = 1_000, 200, 10, 3
SMALL_PEER = "OPQ{codes},IVF2048,PQ{codes}x8"


def installed() -> Path:
    """A Python with autofaiss, in an environment of its own."""
    python = HOME / "bin" / "python"
    uv = str(Path(sys.executable).parent / "uv")
    if not (HOME / "installed").exists():
        subprocess.run([uv, "venv", "--quiet", "--clear", "--python", sys.executable, str(HOME)], check=True)
        needed = (f"autofaiss=={VERSION}", "faiss-cpu==1.15.1", "pyarrow==21.0.0")  # its numpy is 1.26
        subprocess.run([uv, "pip", "install", "--quiet", "--python", str(python), *needed], check=True)
        (HOME / "installed").touch()
    return python


def run_peer(folder: Path, factory: str, memory: int, cores: int) -> dict[str, Any]:
    """What autofaiss (or a factory string of FAISS) makes of the same rows."""
    script = Path(__file__).with_name("autofaiss_peer.py")
    command = [str(installed()), str(script), str(folder), factory, f"{memory // 10**6}MB", str(cores)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{factory} ended with {done.returncode}:\n{done.stderr[-3_000:]}")
    found: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


def run_ours(lake: Path, index: dict[str, Any], vectors: np.ndarray, cores: int) -> tuple[Built, FaissSearcher, float]:
    """The product's build on vector shards that stand. (what was built, opened, seconds of the build)"""
    workspace = workspace_at(lake, index, cores)
    parts = enumerate(np.split(vectors, range(PARTITION_ROWS, len(vectors), PARTITION_ROWS)))
    shards = write_partitions(workspace, lake, parts)
    with open_engine(EngineConfig(workers=cores)) as engine:
        list(engine.map(str, ["workers", "start"]))
        started = time.perf_counter()
        built = build_faiss(workspace, engine, shards, model_of(vectors.shape[1]), None)
        seconds = time.perf_counter() - started
    return built, open_searcher(workspace.lake, built.manifest, SPACE), seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Timed:
    """Recall@10, and the least milliseconds a query of a few rounds: in one batch of all, and one by one."""

    recall: float
    batch_ms: float
    single_ms: float


def timed(
    searcher: FaissSearcher, asked: np.ndarray, truth: Sequence[Sequence[str]], settings: dict[str, int]
) -> Timed:
    """Search with these settings, with the tuned ones if there are none."""
    batch, single = [], []
    for _ in range(ROUNDS):
        started = time.perf_counter()
        hits = searcher.search(asked, K, collapse=False, settings=settings)
        batch.append((time.perf_counter() - started) / len(asked))
        started = time.perf_counter()
        for query in asked[:SINGLE]:
            searcher.search(query[None], K, collapse=False, settings=settings)
        single.append((time.perf_counter() - started) / SINGLE)
    return Timed(recall=recall(hits, truth), batch_ms=min(batch) * 1e3, single_ms=min(single) * 1e3)


def recall(hits: Hits, truth_NK: Sequence[Sequence[str]]) -> float:
    """Share of the true keys found."""
    found = (len(set(keys) & set(true)) for keys, true in zip(hits.keys.tolist(), truth_NK, strict=True))
    return sum(found) / (K * len(truth_NK))


def compare(
    searcher: FaissSearcher, asked: np.ndarray, truth: Sequence[Sequence[str]], steps: Sequence[dict[str, float]]
) -> dict[str, Any]:
    """Compare with the fastest step of the peer that reaches our recall, or at the most recall that it reaches."""
    ours = there = timed(searcher, asked, truth, {})
    settings = tuned = dict(searcher.settings.get(ALL, {}))
    reaching = [step for step in steps if step["recall"] >= ours.recall]
    if not reaching:
        reaching = [max(steps, key=lambda step: step["recall"])]
        name = min(tuned, default="")  # "depth" goes before "nprobe" where there are both; some kinds have neither
        for value in DEPTHS if name == "depth" else (2**power for power in range(12 if name else 0)):
            settings = {**tuned, name: value}
            there = timed(searcher, asked, truth, settings)
            if there.recall >= reaching[0]["recall"]:
                break
    peer = {name: min(step[name] for step in reaching) for name in ("batch_ms", "single_ms")}
    return {
        "recall_at_10": round(ours.recall, 4),
        "batch_speedup": round(peer["batch_ms"] / there.batch_ms, 2),
        "single_speedup": round(peer["single_ms"] / there.single_ms, 2),
        "ours": asdict(ours),
        "compared": {"settings": settings, **asdict(there)},
        "peer_there": peer,
    }


def measure(name: str, cores: int, pictures: Path | None, also: dict[str, Any] | None) -> dict[str, Any]:
    """Everything of one set, one after the other."""
    vectors, asked = draw(name, ROWS[name], QUERIES, pictures)
    rows, dimension = vectors.shape
    with tempfile.TemporaryDirectory(prefix="trichord-bench-") as temporary:
        folder = Path(temporary)
        (folder / "rows").mkdir()
        truth_NK, _ = exact_topk(asked, [vectors], K)
        np.save(folder / "rows" / "0.npy", vectors)
        np.save(folder / "queries.npy", asked)
        np.save(folder / "truth.npy", truth_NK)
        truth = [[key_of(*divmod(row, PARTITION_ROWS)) for row in line] for line in truth_NK.tolist()]
        found: dict[str, Any] = {"set": name, "rows": rows, "dimension": dimension, "cores": cores}
        row_bytes = 4 * dimension + 310  # a row of HNSW32 and a little, as 400 MB are for 300,000 rows of 256 values
        for size, memory, target, factory in (
            ("large", rows * row_bytes, 0.99, "auto"),
            ("small", rows * row_bytes // 10, 0.88, SMALL_PEER.format(codes=dimension // 4)),
        ):
            settings = {"memory_bytes": memory, "recall": target}
            built, searcher, seconds = run_ours(folder / size, settings, vectors, cores)
            peer = run_peer(folder, factory, memory, cores)
            found[size] = {
                "build_speedup": round(peer["build_s"] / seconds, 2),
                **compare(searcher, asked, truth, peer["steps"]),
                "chosen": built.plan.to_json() if built.plan else None,
                "tuned": searcher.settings,
                "index_bytes": sum(shard.index.bytes for shard in built.manifest.shards),
                "build_s": round(seconds, 2),
                "peer": peer,
            }
            del searcher
            if also and size == "large":
                _, searcher, seconds = run_ours(folder / "also", settings | also, vectors, cores)
                found["also"] = {**also, "build_s": round(seconds, 2), **asdict(timed(searcher, asked, truth, {}))}
                del searcher
    return found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--set", choices=tuple(ROWS), default="clusters", help="patches needs --pictures")
    parser.add_argument("--pictures", type=Path, help="a folder with at least 100 photographs (*.jpg)")
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument("--json", action="store_true", help="one JSON line (the only output there is)")
    parser.add_argument("--also", type=json.loads, help="settings of the section `index`, of another index")
    options = parser.parse_args()
    found = measure(options.set, options.cores, options.pictures, options.also)
    sys.stdout.write(json.dumps(found) + "\n")


if __name__ == "__main__":
    main()
