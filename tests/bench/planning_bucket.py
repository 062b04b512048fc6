"""What planning asks of a bucket: requests by kind of source, and how a folder is listed and planned on workers.

`python -m tests.bench.planning_bucket` plans sources of each kind that name so many media (`--media`) in three folders
of a bucket that holds other objects too (`--others`), for the first time and unchanged, and counts requests to the S3
server of the tests. `--objects` lists a folder of so many objects in folders of 10,000, and plans it alone and on two
workers. Its server makes up a thousand objects a request, and waits for `--delay` seconds before each. Seconds are by
the clock, and of CPU of this process and its workers.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import sys
import tempfile
import threading
import time
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from multiprocessing import Process, Queue
from typing import Any
from urllib.parse import parse_qs, urlsplit

from trichord.infra.config import EngineConfig, FolderSource, Project, StorageConfig
from trichord.infra.lake.lake import Lake
from trichord.infra.lake.storage import Storage
from trichord.pipelines.core.workspace import Workspace
from trichord.pipelines.prepare.plan_workers import open_workers
from trichord.transforms.collect import plan_source

FOLDERS = ("photos/b", "photos/m", "photos/y")
_PER_FOLDER = 10_000
LISTS_ALL = ("flickr", "folder", "imagefolder", "inventory")  # whatever lies there may be a row


def count_requests(media: int, others: int) -> Iterator[dict[str, Any]]:
    """Yield the requests of two plans of each kind of source."""
    import boto3
    import pytest
    from moto.server import ThreadedMotoServer

    from tests.transforms.bucket_media import KINDS, of_media, put, requests, shuffled

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    storage = Storage(StorageConfig(endpoint=f"http://{host}:{port}", allow_http=True))
    client = boto3.client("s3", endpoint_url=storage.config.endpoint, region_name=storage.config.region)
    client.create_bucket(Bucket="lake")
    names = shuffled(media, FOLDERS)
    for kind, write in KINDS.items():
        place = f"s3://lake/{kind}"
        put(place, names)
        source = write(storage, place, names)
        beside = 0 if kind in LISTS_ALL else others
        put(place, [f"photos/{'acnz'[i % 4]}/{i:06}.bin" for i in range(beside)])
        with tempfile.TemporaryDirectory() as folder:
            for name in ("first", "unchanged"):
                with requests(pytest.MonkeyPatch()) as found:
                    plan = plan_source(source, Lake(storage, folder), rows_per_partition=256, cache=None)
                by = Counter("LIST" if "list-type" in path else method for method, path in found)
                row = {"kind": kind, "media": media, "others": beside, "plan": name, "usable": plan.usable}
                yield {**row, "of_media": len(of_media(found)), **dict(by)}
    server.stop()


class _Bucket(BaseHTTPRequestHandler):
    """Answers listings of `objects/`, a thousand at a time."""

    objects, delay = 0, 0.0
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        asked = {name: values[0] for name, values in parse_qs(urlsplit(self.path).query).items()}
        after = asked.get("continuation-token") or asked.get("start-after", "")
        first = bisect_right(range(self.objects), after, key=_name)
        last = min(first + 1_000, self.objects) - 1
        time.sleep(self.delay)
        entry = (
            "<Contents><Key>{0}</Key><LastModified>2026-01-01T00:00:00.000Z</LastModified>"
            '<ETag>"{1:032}"</ETag><Size>9</Size></Contents>'
        )
        more = f"<NextContinuationToken>{_name(last)}</NextContinuationToken>" if last + 1 < self.objects else ""
        body = (
            f"<ListBucketResult><IsTruncated>{str(bool(more)).lower()}</IsTruncated>{more}"
            f"{''.join(entry.format(_name(i), i) for i in range(first, last + 1))}</ListBucketResult>"
        ).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


def _name(number: int) -> str:
    return f"objects/{number // _PER_FOLDER:06}/{number:09}.txt"


def _serve(objects: int, delay: float, port: Queue[int]) -> None:
    _Bucket.objects, _Bucket.delay = objects, delay
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Bucket)
    port.put(server.server_port)
    threading.Thread(target=server.serve_forever).start()


@contextmanager
def _bucket(objects: int, delay: float) -> Iterator[Storage]:
    port: Queue[int] = Queue()
    process = Process(target=_serve, args=(objects, delay, port), daemon=True)
    process.start()
    yield Storage(StorageConfig(endpoint=f"http://127.0.0.1:{port.get()}", allow_http=True))
    process.kill()


def list_and_plan(objects: int, delay: float) -> dict[str, Any]:
    """List a folder, and plan it alone and on two workers; the plans are the same."""

    def spent(work: Callable[[], Any]) -> tuple[Any, float, float]:
        def cpu() -> float:
            both = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
            return sum(one.ru_utime + one.ru_stime for one in both)

        clock, before = time.monotonic(), cpu()
        done = work()
        return done, round(time.monotonic() - clock, 2), round(cpu() - before, 2)

    source = FolderSource(kind="folder", name="bench", path="s3://bench/objects", subset=None)
    found: dict[str, Any] = {"objects": objects, "delay_s": delay}
    plans = list[Any]()
    with _bucket(objects, delay) as storage, tempfile.TemporaryDirectory() as folder:
        _, found["list_s"], found["list_cpu_s"] = spent(lambda: sum(1 for _ in storage.list(source.path)))
        for count in (1, 2):
            engine = EngineConfig(workers=count)
            project = Project(lake=f"{folder}/{count}", sources=[source], engine=engine, storage=storage.config)
            workspace = Workspace(project)

            def plan(workspace: Workspace = workspace) -> Any:
                with open_workers(workspace) as workers:
                    return plan_source(source, workspace.lake, rows_per_partition=256, cache=None, workers=workers)

            planned, found[f"plan_{count}_s"], found[f"plan_{count}_cpu_s"] = spent(plan)
            plans.append(planned)
    assert plans[0] == plans[1]
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--media", type=int, nargs="*", default=[2_500])
    parser.add_argument("--others", type=int, default=20_000)
    parser.add_argument("--objects", type=int, nargs="*", default=[])
    parser.add_argument("--delay", type=float, default=0.1)
    args = parser.parse_args()
    os.environ.setdefault("AWS_ACCESS_KEY_ID", "test")
    os.environ.setdefault("AWS_SECRET_ACCESS_KEY", "test")
    for size in args.objects:
        sys.stdout.write(json.dumps(list_and_plan(size, args.delay)) + "\n")
    for size in args.media:
        for row in count_requests(size, args.others):
            sys.stdout.write(json.dumps(row) + "\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
