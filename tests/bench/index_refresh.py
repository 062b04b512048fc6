"""A night after 1% of the vector shards changed, against the full build.

`python -m tests.bench.index_refresh --json` prints one JSON line: `share` (seconds of the refresh, without merging,
over those of the full build), `merge_s` (reading codes and writing the touched index shards), `merged_share` (their
part of all bytes), and `equal` (the refreshed index has the bytes of a full rebuild of the changed corpus in another
lake that was given the same trained codes).
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tests.bench.vectors_lake import (
    PARTITION_ROWS,
    model_of,
    partition_vectors,
    workspace_at,
    write_corpus,
    write_vectors,
)
from trichord.index_builders.manifest import IndexManifest
from trichord.infra.config import EngineConfig
from trichord.infra.engines import open_engine
from trichord.infra.engines.base import Engine
from trichord.infra.lake.shard import ShardRef
from trichord.pipelines.core.workspace import Workspace
from trichord.pipelines.index.build_faiss import build_faiss
from trichord.pipelines.index.shards import Built

INDEX: dict[str, Any] = {"kind": "rabitq", "bits": 4, "refine": "none"}


class Watched:
    """An engine that keeps how long the tasks of each type took by the clock."""

    def __init__(self, engine: Engine) -> None:
        self.engine, self.spent = engine, dict[str, float]()

    def map(self, task: Any, items: Any, **limits: Any) -> Iterator[Any]:
        """As the engine's."""
        started = time.perf_counter()
        yield from self.engine.map(task, items, **limits)
        name = type(task).__name__
        self.spent[name] = self.spent.get(name, 0.0) + time.perf_counter() - started

    def __getattr__(self, name: str) -> Any:
        return getattr(self.engine, name)


def timed(
    workspace: Workspace, engine: Engine, vectors: Mapping[str, ShardRef], dimension: int, live: Any
) -> tuple[Built, float, float]:
    """(what was built, seconds, seconds of these spent merging)."""
    watched = Watched(engine)
    started = time.perf_counter()
    built = build_faiss(workspace, watched, vectors, model_of(dimension), live)
    return built, time.perf_counter() - started, watched.spent.get("BuildTask", 0.0)


def live_of(manifest: IndexManifest) -> dict[str, Any]:
    """The part of a publication that a build looks at."""
    return {"manifest": manifest.path, "manifest_digest": manifest.digest}


def measure(rows: int, dimension: int, workers: int) -> dict[str, Any]:
    """Full build, refresh, and a full rebuild of the changed corpus with the same trained codes in another lake."""
    with (
        tempfile.TemporaryDirectory(prefix="trichord-bench-") as name,
        open_engine(EngineConfig(workers=workers)) as engine,
    ):
        lake, other = Path(name) / "lake", Path(name) / "other"
        workspace = workspace_at(lake, INDEX, workers)
        vectors = write_corpus(workspace, lake, rows, dimension)
        list(engine.map(str, ["workers", "start"]))
        full, full_s, _ = timed(workspace, engine, vectors, dimension, None)
        changed = dict(vectors)
        for number in range(0, len(vectors), 100):
            partition = f"source{number % 4}/{number:05d}"
            fresh = partition_vectors(number, PARTITION_ROWS, dimension, max(1, rows // 10), "changed")
            changed[partition] = write_vectors(workspace.storage, lake, number, fresh, version="b")
        night, night_s, merge_s = timed(workspace, engine, changed, dimension, live_of(full.manifest))
        again = workspace_at(other, INDEX, workers)
        for ref in changed.values():
            source = workspace.storage.read(f"{lake}/{ref.path}", max_bytes=2**30)
            again.storage.write(f"{other}/{ref.path}", source)
        for path in (file.path for file in full.manifest.files()):
            if (full.manifest.quantiser and full.manifest.quantiser.address in path) or path == full.manifest.path:
                again.storage.write(f"{other}/{path}", workspace.storage.read(f"{lake}/{path}", max_bytes=2**30))
        whole, whole_s, _ = timed(again, engine, changed, dimension, live_of(full.manifest))
        merged = sum(shard.index.bytes for shard in night.manifest.shards if shard.address in night.made)
        total = sum(shard.index.bytes for shard in night.manifest.shards)
    return {
        "share": round((night_s - merge_s) / full_s, 4),
        "equal": night.manifest.to_bytes() == whole.manifest.to_bytes(),
        "full_s": round(full_s, 2),
        "refresh_s": round(night_s, 2),
        "merge_s": round(merge_s, 2),
        "rebuilt_s": round(whole_s, 2),
        "merged_share": round(merged / total, 4),
        "rows": rows,
        "vector_shards": len(vectors),
        "index_shards": len(night.manifest.shards),
        "made": len(night.made),
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=500_000)
    parser.add_argument("--dimension", type=int, default=128)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--json", action="store_true", help="one JSON line (the only output there is)")
    options = parser.parse_args()
    sys.stdout.write(json.dumps(measure(options.rows, options.dimension, options.workers)) + "\n")


if __name__ == "__main__":
    main()
