"""Rollback and re-publish under searching clients: `python -m tests.bench.rollback_load --json`.

One publication of FAISS and Milvus is rolled back and brought back again and again, while clients search: half of them
FAISS, a quarter the collection that the publication names, a quarter the alias, as strangers do. Every answer must be
that of one of the two publications, whole, and there must be no error.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from tests.milvus_server import MilvusServer
from tests.pipelines.lakes import SETTINGS, rows_of, workspace_of, write_project, write_rows
from trichord.index_builders.base import Searcher
from trichord.index_builders.manifest import read_manifests
from trichord.index_builders.milvus.client import MilvusPlace, connected
from trichord.infra.digest import generator
from trichord.infra.lake.publication import Publication
from trichord.pipelines.core.workspace import Workspace
from trichord.pipelines.index.open import backend_of, open_backend, place_of
from trichord.pipelines.publish.publish import rollback
from trichord.pipelines.reindex import reindex

K = 10
Answer = tuple[tuple[str, ...], ...]


def two_publications(folder: Path, server: MilvusServer, *, records: int) -> Workspace:
    """A lake with two publications on FAISS and Milvus; the second lacks half of the records."""
    milvus = {**server.project, "prefix": "load", "index_type": "FLAT"}
    settings = SETTINGS | {
        "index": {"backends": ["faiss", "milvus"], "rows_per_shard": 100},
        "milvus": milvus,
        "gate": SETTINGS["gate"] | {"max_row_drop": 1.0},
        "engine": {"workers": 1},
    }
    project = write_project(folder, records=records, settings=settings)
    workspace = workspace_of(project)
    reindex(workspace)
    write_rows(folder / "corpus", rows_of(folder / "corpus")[: records // 2])
    reindex(workspace)
    return workspace


class Clients:
    """Threads that ask the same questions of whatever is live, and check every answer."""

    def __init__(self, workspace: Workspace, count: int) -> None:
        self._workspace, self._lock, self._done = workspace, threading.Lock(), threading.Event()
        self.wrong: Counter[str] = Counter()
        self.answers: Counter[str] = Counter()
        self.waits_s: list[float] = []
        self._open: dict[tuple[str, str], Searcher] = {}
        self._expected: dict[tuple[str, str], Answer] = {}
        first = workspace.publications.rows()[0]
        dimension = read_manifests(workspace.lake, first.manifest)[0].dimension
        queries = generator("load", dimension).normal(size=(4, dimension))
        self._queries = (queries / np.linalg.norm(queries, axis=1, keepdims=True)).astype(np.float32)
        for row in workspace.publications.rows():
            for name in ("faiss", "milvus"):
                self._expected[row.manifest_digest, name] = self._ask(self._searcher(row, name))
        kinds = ("faiss", "milvus", "faiss", "alias")
        self._threads = [
            threading.Thread(target=self._run, args=(kinds[number % 4],), daemon=True) for number in range(count)
        ]

    def __enter__(self) -> Clients:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        for thread in self._threads:
            thread.join()

    def _searcher(self, row: Publication, backend: str) -> Searcher:
        with self._lock:
            known = self._open.get((row.manifest_digest, backend))
            if known is None:
                lake = self._workspace.lake
                manifests = read_manifests(lake, row.manifest, row.manifest_digest)
                [manifest] = [one for one in manifests if backend_of(one) == backend]
                known = open_backend(lake, place_of(self._workspace), manifest, row.fingerprint)
                self._open[row.manifest_digest, backend] = known
            return known

    def _ask(self, searcher: Searcher) -> Answer:
        return tuple(tuple(keys) for keys in searcher.search(self._queries, K).keys)

    def _run(self, kind: str) -> None:
        publications = Workspace(self._workspace.project).publications
        place = place_of(self._workspace)
        while not self._done.is_set():
            started = time.monotonic()
            try:
                if kind == "alias":
                    assert place is not None
                    good = self._through_alias(place) in {
                        answer for (_, name), answer in self._expected.items() if name == "milvus"
                    }
                else:
                    row = publications.live()
                    assert row is not None
                    good = self._ask(self._searcher(row, kind)) == self._expected[row.manifest_digest, kind]
            except Exception as error:  # noqa: BLE001 - whatever a client meets is what this counts
                self.wrong[f"{kind}: {type(error).__name__}: {error}"[:300]] += 1
                continue
            self.answers[kind] += 1
            self.waits_s.append(time.monotonic() - started)
            if not good:
                self.wrong[f"{kind}: an answer of neither publication"] += 1

    def _through_alias(self, place: MilvusPlace) -> Answer:
        with connected(place) as milvus:
            found = milvus.search(place.alias, self._queries, K, where="", params={}, fields=["key"])
        return tuple(tuple(hit["entity"]["key"] for hit in hits) for hits in found)


def measure(workspace: Workspace, *, clients: int, switches: int) -> dict[str, Any]:
    """Switch so many times under so many clients. JSON-ready; `wrong` must be empty."""
    with Clients(workspace, clients) as asking:
        took = []
        for _ in range(switches):
            before = sum(asking.answers.values())
            *_, live = rows = workspace.publications.rows()
            other = next(row.id for row in reversed(rows) if row.manifest_digest != live.manifest_digest)
            started = time.monotonic()
            rollback(workspace, to=other)  # without a name, a second one goes further back
            took.append(time.monotonic() - started)
            while sum(asking.answers.values()) < before + clients:  # everybody sees every publication
                time.sleep(0.01)
    waits = sorted(asking.waits_s)
    return {
        "clients": clients,
        "switches": switches,
        "answers": dict(asking.answers),
        "wrong": dict(asking.wrong),
        "switch_s": round(sorted(took)[len(took) // 2], 3),
        "answer_ms": {
            "median": round(1e3 * waits[len(waits) // 2], 1), "p99": round(1e3 * waits[len(waits) * 99 // 100], 1)
        },
    }  # fmt: skip


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--switches", type=int, default=20)
    parser.add_argument("--records", type=int, default=400)
    options = parser.parse_args()
    with (
        tempfile.TemporaryDirectory(prefix="trichord-load-") as name,
        MilvusServer(Path(name) / "server") as running,
    ):
        lake = two_publications(Path(name), running, records=options.records)
        result = measure(lake, clients=options.clients, switches=options.switches)
    sys.stdout.write(json.dumps(result) + "\n")
