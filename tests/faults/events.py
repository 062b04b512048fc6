"""Events that come twice, late, in another order or never; watchers that are killed; hooks that are forged.

`python -m tests.faults.events` prints one JSON line a part. State is compared with a clean `reindex` of a copy of the
lake as it was before the events, over the files of after them.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import shutil
import signal
import statistics
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from tests.faults.event_feed import LONG_S, Bucket, Changes, Folder, Watching
from tests.infra.events.forged import KEYS, forgeries
from tests.pipelines.lakes import copy_of, result_of, trichord, workspace_of
from tests.pipelines.watch.small import put, write_small_project
from tests.sqs_server import CREDENTIALS, SqsServer
from trichord.infra.digest import generator
from trichord.pipelines.core.runs import last_runs
from trichord.pipelines.reindex import reindex

DOUBLED, REORDERED, LATE, DELETED_FIRST, LOST = 0.20, 0.10, 0.05, 0.02, 0.01


def through_memory(events: int, records: int, sweep_s: float) -> dict[str, Any]:
    """Feed events through the queue in memory, badly; then let a sweep find what was lost."""
    counts = dict.fromkeys(("sent", "doubled", "reordered", "late", "delete_first", "lost"), 0)
    with tempfile.TemporaryDirectory(prefix="trichord-events-") as folder, SqsServer() as server:
        project = write_small_project(Path(folder) / "watched", records=records, engine={"workers": 2})
        trichord("reindex", "--project", str(project))
        clean = copy_of(project.parent, Path(folder) / "clean")
        settings = (f"watch.queues=[{server.url('photos')}]", f"watch.sweep_every_s={sweep_s}", "watch.quiet_s=1",
                    "watch.most_s=5", "watch.folders=false")  # fmt: skip
        watching = Watching(project, *settings)
        watching.wait_for("swept")
        started_s = time.monotonic()
        late: list[str] = []
        held: list[str] = []
        store = Folder(project.parent / "data")
        changes, random = Changes(store, records, "memory"), generator("deliveries", 0)

        def send(message: str) -> None:
            server.queues.put("photos", message)
            counts["sent"] += 1

        for number in range(events):
            if random.random() < DELETED_FIRST:
                made, gone = changes.pass_by()
                send(gone)
                held.append(made)
                counts["delete_first"] += 1
                continue
            message = changes.next()
            fate = random.random()
            if fate < LOST:
                counts["lost"] += 1
            elif fate < LOST + LATE:
                late.append(message)
                counts["late"] += 1
            elif fate < LOST + LATE + REORDERED:
                held.append(message)
                counts["reordered"] += 1
            else:
                send(message)
            if random.random() < DOUBLED:
                counts["doubled"] += 1
                held.append(message) if fate >= LOST else None
            if number % 20 == 0:
                for one in random.permutation(len(held)):
                    send(held[int(one)])
                held.clear()
        fed_s = time.monotonic() - started_s
        for message in [*held, *late]:
            send(message)
        until_s = time.monotonic() + LONG_S
        while server.queues.waiting("photos") and time.monotonic() < until_s:
            time.sleep(0.05)
        drained_s = time.monotonic() - started_s
        before = sum(event["event"] == "swept" for event in watching.events)
        watching.wait_for("swept", before + 1)
        missed = [event["rows_missed"] for event in watching.events if event["event"] == "swept"]
        code = watching.end()
        ended = watching.wait_done()
        lags_s = server.queues.lags_s["photos"]
        replace_data(clean, project)
        same = compare(project, clean, Path(folder))
    return {"part": "memory", **counts, "fed_s": round(fed_s, 1), "drained_s": round(drained_s, 1),
            "missed_by_sweep": missed, "exit": code, "runs": ended["runs"],
            "messages": ended["messages"], **lag_figures(lags_s), **same}  # fmt: skip


def replace_data(project: Path, by: Path) -> None:
    """Give a project the files of another one."""
    shutil.rmtree(project.parent / "data")
    shutil.copytree(by.parent / "data", project.parent / "data")


def compare(project: Path, clean: Path, folder: Path) -> dict[str, Any]:
    """Whether lake and index are those of a clean run; records also those of a lake that never saw an event."""
    live = workspace_of(project).publications.require_live().manifest_digest
    wanted = result_of(trichord("reindex", "--project", str(clean), "--json"))["manifest_digest"]
    fresh = folder / "fresh" / "trichord.yaml"
    fresh.parent.mkdir()
    shutil.copy(project, fresh)
    if (project.parent / "data").exists():
        shutil.copytree(project.parent / "data", fresh.parent / "data")
    records = [result_of(trichord("prepare", "--project", str(one), "--json")) for one in (project, fresh)]
    return {
        "equals_clean_reindex": live == wanted,
        "records_equal_fresh_lake": records[0]["manifest_digest"] == records[1]["manifest_digest"],
        "rows": records[0]["rows_in"],
    }


def lag_figures(lags_s: list[float]) -> dict[str, float]:
    """Median and 95th percentile, in seconds."""
    cut = statistics.quantiles(lags_s, n=20)
    return {"median_s": round(statistics.median(lags_s), 2), "p95_s": round(cut[18], 2), "measured": len(lags_s)}


def through_moto(events: int, records: int) -> dict[str, Any]:
    """Let S3 itself tell, by moto, and search for new texts as a user would."""
    with tempfile.TemporaryDirectory(prefix="trichord-events-") as folder:
        bucket = Bucket()
        project = bucket.project(Path(folder) / "watched", records)
        clean = copy_of(project.parent, Path(folder) / "clean")
        queue = bucket.notify("photos")
        settings = (f"watch.queues=[{queue}]", "watch.quiet_s=1", "watch.most_s=5")
        watching = Watching(project, *settings)
        watching.wait_for("watching")
        changes = Changes(bucket, records, "moto")
        probes: dict[str, float] = {}
        found: dict[str, float] = {}
        stopping = threading.Event()

        def look() -> None:
            from trichord.pipelines.search.searcher import Searcher

            searcher = Searcher(workspace_of(project), follow=True)
            while not stopping.wait(0.25):
                for key, at_s in list(probes.items()):
                    hits = searcher.search(text=f"probe {key} of something else", k=1)
                    if hits and hits[0].key == key and key not in found:
                        found[key] = time.monotonic() - at_s

        looker = threading.Thread(target=look)
        looker.start()
        for number in range(events):
            if number % 25 == 0:
                key = f"probe{number}"
                bucket.put(f"{key}.txt", f"probe {key} of something else".encode())
                probes[key] = time.monotonic()
            else:
                changes.next()
        until_s = time.monotonic() + LONG_S
        while time.monotonic() < until_s and (bucket.left(queue) or len(found) < len(probes)):
            time.sleep(0.2)
        stopping.set()
        looker.join()
        code = watching.end()
        ended = watching.wait_done()
        same = compare(project, clean, Path(folder))
    figures = {"probes": len(probes), "found": len(found), **lag_figures(list(found.values()))}
    return {"part": "moto", "sent": events, **figures, "exit": code, "runs": ended["runs"],
            "messages": ended["messages"], **same}  # fmt: skip


def killed(kills: int) -> dict[str, Any]:
    """SIGKILL watchers at work; what was deleted from the queue must be in the index, and in the end all is."""
    with tempfile.TemporaryDirectory(prefix="trichord-events-") as folder, SqsServer() as server:
        project = write_small_project(Path(folder) / "watched", records=120)
        workspace = workspace_of(project)
        reindex(workspace, trigger="sweep")  # so that none is due: events alone must bring everything
        clean = copy_of(project.parent, Path(folder) / "clean")
        settings = (f"watch.queues=[{server.url('photos')}]", "watch.folders=false", "watch.quiet_s=0.2",
                    "watch.sweep_every_s=1000000")  # fmt: skip
        at_work, random = 0, generator("kills", 0)
        for kill in range(kills):
            for _ in range(4):
                number = int(random.integers(130))
                for path in put(project.parent / "data", number, version=kill + 1):
                    server.queues.put("photos", json.dumps({"uris": [path]}))
            watching = Watching(project, *settings)
            watching.wait_for("watching")
            watching.wait_for_events(int(random.integers(1, 32)))  # a run logs about 28
            code = watching.end(signal.SIGKILL)
            assert code == -signal.SIGKILL
            names = [event["event"] for event in watching.events]
            at_work += "looking" in names and names.count("acknowledged") < names.count("looking")
            server.queues.expire("photos")
        sent = len(server.queues.lags_s.get("photos", [])) + len(server.queues.waiting("photos"))
        words = [word for setting in settings for word in ("--set", setting)]
        trichord("watch", "--once", "--project", str(project), "--json", *words)
        waiting = len(server.queues.waiting("photos"))
        replace_data(clean, project)
        same = compare(project, clean, Path(folder))
        sweeps = sum(run.trigger == "sweep" for run in last_runs(workspace.lake))
    return {"part": "kills", "kills": kills, "killed_in_a_run": at_work, "sent": sent, "waiting": waiting,
            "sweeps": sweeps - 1, **same}  # fmt: skip


def forged(count: int) -> dict[str, Any]:
    """Send forged hooks to a watcher, and one that is signed."""
    with tempfile.TemporaryDirectory(prefix="trichord-events-") as folder:
        project = write_small_project(Path(folder) / "watched")
        trichord("reindex", "--project", str(project))
        keys = Path(folder) / "keys"
        keys.write_text("\n".join(KEYS[:2]))
        settings = ("watch.listen=127.0.0.1:0", f"watch.hook_keys={keys}", "watch.folders=false", "watch.quiet_s=1")
        watching = Watching(project, *settings)
        port = watching.wait_for("listening")["port"]
        body = json.dumps({"type": "source.changed", "data": {"source": "photos", "paths": ["1/n1.txt"]}}).encode()
        answers: dict[int, int] = {}
        for data, headers in forgeries(body, count):
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
            connection.request("POST", "/hooks", data, headers)
            status = connection.getresponse().status
            answers[status] = answers.get(status, 0) + 1
            connection.close()
        code = watching.end()
        ended = watching.wait_done()
    return {"part": "forged", "sent": count, "answers": answers, "messages": ended["messages"], "exit": code}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=10_000)
    parser.add_argument("--moto", type=int, default=500)
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--forged", type=int, default=300)
    parser.add_argument("--records", type=int, default=600)
    parser.add_argument("--sweep", type=float, default=300.0, help="seconds to the sweep of the first part")
    options = parser.parse_args()
    os.environ.update(CREDENTIALS)
    parts = (
        (options.forged, lambda: forged(options.forged)),
        (options.kills, lambda: killed(options.kills)),
        (options.moto, lambda: through_moto(options.moto, options.records // 4)),
        (options.events, lambda: through_memory(options.events, options.records, options.sweep)),
    )
    for wanted, part in parts:
        if wanted:
            sys.stdout.write(json.dumps(part()) + "\n")
            sys.stdout.flush()
