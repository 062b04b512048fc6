"""Backfill on a Ray cluster that is disturbed: a job is stopped, submitted again twice, and nodes are killed under it.

`python -m tests.faults.cluster` prints one JSON line. A cluster of three raylets asks for a token and lacks our code. A
first job, by `ray job submit`, is stopped while it prepares. A second one, by `trichord submit`, loses a node while it
prepares and is stopped; a third loses one while it encodes. The index that goes live must be the one of an undisturbed
local night, and of a run by an event, over the same sources. Meanwhile an open `Searcher` is asked every 100 ms: each
answer must be the old index's or the new one's. Needs root (network namespaces) and ten minutes.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

import trichord
from tests.command import COMMAND, trichord_process
from tests.faults.event_feed import Watching
from tests.pipelines.lakes import SETTINGS, copy_of, result_of, rows_of, write_project, write_rows
from tests.ray_cluster import RayCluster
from tests.sqs_server import CREDENTIALS, SqsServer

OTHER = {"model": {"dimension": 48}, "train": {"epochs": 3}}
RECIPE = {"prepare": {"rows_per_partition": 10, "text": {"min_chars": 2}}}
GATE = {**SETTINGS["gate"], "max_drop_of": {f"mixed.retention.{name}": 9.0 for name in ("text", "image", "audio")}}
QUERIES = ("a red circle", "two blue squares", "a low tone")
NEW = 12  # rows that came after the index that is live at first
PERIOD_S = 0.1
_PATIENCE_S = 400.0
_STOP = """import sys, urllib.request as u
u.urlopen(u.Request(sys.argv[1], b"", {"Authorization": "Bearer " + sys.argv[2]}), timeout=60)"""


class Asking(threading.Thread):
    """Asks an open searcher for as long as it runs; keeps every answer and every error."""

    def __init__(self, project: Path) -> None:
        super().__init__(daemon=True)
        self.searcher = trichord.open(str(project)).searcher(follow=True)
        self.answers, self.errors = Counter[tuple[str, str]](), Counter[str]()
        self.slowest_s = 0.0
        self._enough = threading.Event()

    def __enter__(self) -> Asking:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._enough.set()
        self.join()

    def run(self) -> None:
        """Ask until stopped."""
        turn = 0
        while not self._enough.wait(PERIOD_S):
            query = QUERIES[turn % len(QUERIES)]
            turn += 1
            started = time.monotonic()
            try:
                self.answers[(query, answer(self.searcher, query))] += 1
            except Exception as error:  # noqa: BLE001 - whatever a query meets is what this counts
                self.errors[f"{type(error).__name__}: {error}"[:200]] += 1
            self.slowest_s = max(self.slowest_s, time.monotonic() - started)


def answer(searcher: Any, query: str) -> str:
    """Return the hits of a query as one text."""
    return json.dumps([[hit.key, round(hit.score, 5)] for hit in searcher.search(text=query, k=10)])


class Scene:
    """A published index, a project for another model and recipe, and where an undisturbed night would end."""

    def __init__(self, folder: Path, records: int) -> None:
        settings = {**SETTINGS, "gate": GATE, "engine": {"workers": 3}}
        self.project = write_project(folder / "live", records=records, settings=settings)
        corpus = self.project.parent / "corpus"
        rows = rows_of(corpus)
        write_rows(corpus, rows[NEW:])
        trichord_process("reindex", "--project", str(self.project), "--json")
        write_rows(corpus, rows)
        self.model, self.recipe = folder / "model.yaml", folder / "recipe.yaml"
        self.model.write_text(yaml.safe_dump(OTHER))
        self.recipe.write_text(yaml.safe_dump(RECIPE))
        beside, evented = (copy_of(self.project.parent, folder / name) for name in ("beside", "evented"))
        for project in (beside, evented):
            project.write_text(yaml.safe_dump({**yaml.safe_load(project.read_text()), **_laid_over(settings)}))
        self.by_event = digest_by_event(evented)
        night = result_of(trichord_process("nightly", "--project", str(beside), "--json"))
        self.wanted = night["run"]["manifest_digest"]
        self.new = trichord.open(str(beside)).searcher()

    @property
    def verb(self) -> list[str]:
        """What is submitted."""
        return ["backfill", "--model", str(self.model), "--recipe", str(self.recipe), "--json"]


def digest_by_event(project: Path) -> str:
    """Tell a watcher of the changed manifest, and return the digest of the index that it publishes."""
    with SqsServer() as server:
        watching = Watching(project, f"watch.queues=[{server.url('changes')}]", "watch.quiet_s=0")
        server.queues.put("changes", json.dumps({"uris": [str(project.parent / "corpus" / "manifest.jsonl")]}))
        watching.wait_for("publish")
        watching.end()
    live = trichord.open(str(project)).publications.live()
    assert live is not None
    return str(live.manifest_digest)


def _laid_over(settings: dict[str, Any]) -> dict[str, Any]:
    """Return the sections of the project that the files of the backfill change."""
    sections: dict[str, dict[str, Any]] = {**OTHER, **RECIPE}
    return {name: {**settings.get(name, {}), **section} for name, section in sections.items()}


class Watched:
    """A job, followed by its log file on the head."""

    def __init__(self, cluster: RayCluster, job_id: str) -> None:
        self.cluster, self.id = cluster, job_id
        self._log = cluster.folder / "n0" / "session_latest" / "logs" / f"job-driver-{job_id}.log"

    def events(self) -> list[dict[str, Any]]:
        """Return what the job has reported."""
        lines = self.log().splitlines()
        return [json.loads(line) for line in lines if line.startswith('{"at"')]

    def log(self) -> str:
        """Return what the job has written."""
        return self._log.read_text(errors="replace") if self._log.exists() else ""

    def wait_for(self, is_met: Callable[[list[dict[str, Any]]], bool]) -> None:
        """Return when the events so far meet a condition."""
        deadline_s = time.monotonic() + _PATIENCE_S
        while not is_met(self.events()):
            assert time.monotonic() < deadline_s, f"{self.id}: {self.log()[-3000:]}"
            time.sleep(0.1)

    def info(self) -> dict[str, Any]:
        """Return the job as `trichord jobs ls` lists it."""
        listed = result_of(self.cluster.run(*COMMAND, "jobs", "ls", "--address", self.cluster.dashboard, "--json"))
        found: dict[str, Any] = next(job for job in listed["jobs"] if job["id"] == self.id)
        return found

    def stop(self) -> dict[str, Any]:
        """Stop the job as `ray job stop` does, without its seconds of imports, and return how it ended."""
        asked = time.monotonic()
        place = f"{self.cluster.dashboard}/api/jobs/{self.id}/stop"
        self.cluster.run(sys.executable, "-c", _STOP, place, self.cluster.token.read_text())
        while (ended := self.info())["status"] not in ("STOPPED", "SUCCEEDED", "FAILED"):
            time.sleep(0.5)
        clean = "Traceback" not in self.log() and '"interrupted"' in self.log()
        seconds = round(time.monotonic() - asked, 1)
        return {"status": ended["status"], "clean": clean, "stop_s": seconds}


def _count(name: str, least: int, **fields: str) -> Callable[[list[dict[str, Any]]], bool]:
    def is_met(events: list[dict[str, Any]]) -> bool:
        alike = [one for one in events if one["event"] == name and all(one.get(k) == v for k, v in fields.items())]
        return len(alike) >= least

    return is_met


def first_job(cluster: RayCluster, scene: Scene, folder: Path) -> tuple[str, dict[str, Any]]:
    """Submit by Ray's own command, and stop it while it prepares."""
    submit = [*COMMAND, "submit", "--project", str(scene.project), "--address", cluster.dashboard]
    staged = result_of(cluster.run(*submit, "--json", "--stage", str(folder), *scene.verb))
    command = shlex.split(staged["command"])
    command.insert(command.index("--"), "--no-wait")
    cluster.run(*command)
    job = Watched(cluster, staged["id"])
    job.wait_for(_count("prepared", 3))
    return job.id, job.stop()


def later_job(cluster: RayCluster, scene: Scene, job_id: str, disturb: Callable[[Watched], Any]) -> dict[str, Any]:
    """Submit by `trichord submit`, disturb the job, and return how it ended."""
    submit = [*COMMAND, "submit", "--project", str(scene.project), "--address", cluster.dashboard, "--json"]
    with cluster.popen(*submit, *scene.verb, stdout=-1, stderr=-3) as client:
        disturbed = disturb(Watched(cluster, job_id))
        out, _ = client.communicate(timeout=_PATIENCE_S)
    results = [json.loads(line) for line in out.splitlines() if line.startswith('{"address"')]
    return {
        "disturbed": disturbed,
        "client_code": client.returncode,
        **(results[-1] if results else {"said": out[-500:]}),
    }


def measure(records: int) -> dict[str, Any]:
    """Run it all; JSON-ready. `digest_equal` and `by_event_equal` must be true, `failed` empty and `mixed` 0."""
    with tempfile.TemporaryDirectory(prefix="trichord-cluster-") as name:
        folder = Path(name)
        scene = Scene(folder, records)
        old = trichord.open(str(scene.project)).searcher()
        with RayCluster() as cluster, Asking(scene.project) as asking:
            first, stopped = first_job(cluster, scene, folder / "staged")
            base = first.rpartition("-")[0]

            def lose_and_stop(job: Watched) -> dict[str, Any]:
                before = len(job.events())
                job.wait_for(_count("prepared", 2))
                killed = cluster.kill_node(2)
                job.wait_for(lambda events: len(events) > before + 4)
                ended = job.stop()
                cluster.start_node(2)
                return {"killed": killed, **ended}

            def lose(job: Watched) -> dict[str, Any]:
                job.wait_for(_count("encoded", 1))
                return {"killed": cluster.kill_node(1), "after": job.events()[-1]["event"]}

            second = later_job(cluster, scene, f"{base}-2", lose_and_stop)
            third = later_job(cluster, scene, f"{base}-3", lose)
            wanted = {(query, answer(one, query)) for one in (old, scene.new) for query in QUERIES}
            time.sleep(3)  # the searcher looks for a new publication once a second
        live = trichord.open(str(scene.project)).publications.live()
    return {
        "digest_equal": live is not None and live.manifest_digest == scene.wanted,
        "by_event_equal": scene.by_event == scene.wanted,
        "jobs": [stopped, second, third],
        "queries": sum(asking.answers.values()),
        "old": sum(times for (query, said), times in asking.answers.items() if said == answer(old, query)),
        "new": sum(times for (query, said), times in asking.answers.items() if said == answer(scene.new, query)),
        "mixed": sum(times for found, times in asking.answers.items() if found not in wanted),
        "failed": dict(asking.errors),
        "slowest_s": round(asking.slowest_s, 2),
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=480)
    options = parser.parse_args()
    os.environ.update(CREDENTIALS)
    sys.stdout.write(json.dumps(measure(options.records)) + "\n")
