"""Our index against autofaiss 2.18: same vectors, same memory, same cores, one run.

`python -m tests.bench.faiss_vs_autofaiss --json` prints one JSON line. Ours goes the whole way of the product: choice,
training sample, codes, merging, keys, hashes, tuning, then `open_searcher` (which hashes every file) and its `search`
with keys, views and sources named; autofaiss's is timed inside FAISS alone. `latency_speedup` compares at equal
recall: autofaiss's efSearch is swept, and the fastest step that reaches our recall counts; where none does, our
search depth is lowered to the best recall it reaches. Both use the same cores and one batch of 1,000 queries.
The build of ours includes its tuning, as autofaiss's does.

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
from pathlib import Path
from typing import Any

import numpy as np

from tests.bench.vectors_lake import SPACE, model_of, partitions, queries, workspace_at, write_corpus
from trichord.index_builders.base import Hits
from trichord.index_builders.choose import choose
from trichord.index_builders.exact import exact_topk
from trichord.index_builders.faiss_search import FaissSearcher, open_searcher
from trichord.index_builders.tune import DEPTHS
from trichord.infra.config import EngineConfig, IndexConfig
from trichord.infra.engines import open_engine
from trichord.pipelines.index.build_faiss import build_faiss
from trichord.pipelines.index.shards import Built

VERSION = "2.18.0"
HOME = Path(__file__).parents[2] / ".bench" / "autofaiss"
D, QUERIES, K, ROUNDS = 256, 1_000, 10, 3
LARGE, SMALL = 400_000_000, 40_000_000
SMALL_PEER = "OPQ64_128,IVF2048,PQ64x8"


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


def run_ours(lake: Path, index: dict[str, Any], rows: int, cores: int) -> tuple[Built, FaissSearcher, float]:
    """The product's build on vector shards that stand. (what was built, opened, seconds of the build)"""
    workspace = workspace_at(lake, index, cores)
    vectors = write_corpus(workspace, lake, rows, D)
    with open_engine(EngineConfig(workers=cores)) as engine:
        list(engine.map(str, ["workers", "start"]))
        started = time.perf_counter()
        built = build_faiss(workspace, engine, vectors, model_of(D), None)
        seconds = time.perf_counter() - started
    return built, open_searcher(workspace.lake, built.manifest, SPACE), seconds


def timed(searcher: FaissSearcher, asked: np.ndarray, settings: dict[str, int]) -> tuple[Hits, float]:
    """Hits of one batch, and the least milliseconds a query of a few rounds."""
    took = []
    for _ in range(ROUNDS):
        started = time.perf_counter()
        hits = searcher.search(asked, K, collapse=False, settings=settings)
        took.append(time.perf_counter() - started)
    return hits, min(took) / len(asked) * 1e3


def recall(hits: Hits, truth_NK: Sequence[Sequence[str]]) -> float:
    """Share of the true keys found."""
    found = (len(set(keys) & set(true)) for keys, true in zip(hits.keys.tolist(), truth_NK, strict=True))
    return sum(found) / (K * len(truth_NK))


def measure(rows: int, cores: int) -> dict[str, Any]:
    """Everything, one after the other."""
    with tempfile.TemporaryDirectory(prefix="trichord-bench-") as name:
        folder = Path(name)
        (folder / "rows").mkdir()
        vectors = np.concatenate([part for _, part in partitions(rows, D)])
        asked = queries(rows, D, QUERIES)
        truth_NK, _ = exact_topk(asked, [vectors], K)
        np.save(folder / "rows" / "0.npy", vectors)
        np.save(folder / "queries.npy", asked)
        np.save(folder / "truth.npy", truth_NK)
        del vectors
        keys = [f"source{n % 4}/{n:05d}-{row:05d}" for n, part in partitions(rows, D) for row in range(len(part))]
        names = [[keys[place] for place in line] for line in truth_NK]
        del keys

        large = {"memory_bytes": LARGE, "recall": 0.99}
        built, searcher, seconds = run_ours(folder / "large", large, rows, cores)
        hits, our_ms = timed(searcher, asked, {})
        our_recall, tuned = recall(hits, names), searcher.settings
        peer = run_peer(folder, "auto", LARGE, cores)
        reaching = [step for step in peer["steps"] if step["recall"] >= our_recall]
        equal, equal_ms = our_recall, our_ms
        if reaching:
            peer_ms = min(step["ms"] for step in reaching)
        else:
            best = max(peer["steps"], key=lambda step: step["recall"])
            peer_ms, equal = best["ms"], best["recall"]
            for depth in DEPTHS:
                hits, ms = timed(searcher, asked, {"depth": depth})
                if recall(hits, names) >= equal:
                    equal_ms = ms
                    break
        del searcher

        small = {"memory_bytes": SMALL, "recall": 0.88}
        small_built, small_searcher, small_seconds = run_ours(folder / "small", small, rows, cores)
        small_hits, small_ms = timed(small_searcher, asked, {})
        small_recall = recall(small_hits, names)
        del small_searcher
        small_peer = run_peer(folder, SMALL_PEER, SMALL, cores)
    more = choose(4 * rows, D, IndexConfig(memory_bytes=LARGE, recall=0.99), cores=cores)
    return {
        "build_speedup": round(peer["build_s"] / seconds, 2),
        "recall_at_10": round(our_recall, 4),
        "latency_speedup": round(peer_ms / equal_ms, 2),
        "small_budget_recall_at_10": round(small_recall, 4),
        "small_budget_build_speedup": round(small_peer["build_s"] / small_seconds, 2),
        "chosen": built.plan.to_json() if built.plan else None,
        "index_bytes": sum(shard.index.bytes for shard in built.manifest.shards),
        "tuned": tuned,
        "build_s": round(seconds, 2),
        "ms_per_query": round(our_ms, 3),
        "compared_at_recall": round(equal, 4),
        "ms_per_query_there": round(equal_ms, 3),
        "autofaiss": peer,
        "autofaiss_ms_there": round(peer_ms, 3),
        "small_chosen": small_built.plan.to_json() if small_built.plan else None,
        "small_index_bytes": sum(shard.index.bytes for shard in small_built.manifest.shards),
        "small_build_s": round(small_seconds, 2),
        "small_ms_per_query": round(small_ms, 3),
        "small_peer": small_peer,
        "four_times_the_rows": more.to_json(),
        "rows": rows,
        "cores": cores,
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=300_000)
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument("--json", action="store_true", help="one JSON line (the only output there is)")
    options = parser.parse_args()
    sys.stdout.write(json.dumps(measure(options.rows, options.cores)) + "\n")


if __name__ == "__main__":
    main()
