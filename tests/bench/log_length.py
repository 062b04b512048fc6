"""What a long log of a table costs, and what is left of that after `trichord maintain`.

`python -m tests.bench.log_length --commits 2000 --needed 20` makes a table of so many commits, of which the last are
needed by kept publications, and puts it on an S3 server in this process (moto). It counts requests and seconds by the
clock: to open the newest version and an earlier one, to commit, and to examine the log as `verify` does, before and
after the log was shortened. Prints a Markdown table.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import boto3
import pytest
from moto.server import ThreadedMotoServer

from tests.conftest import Place
from tests.infra.test_table import make_shard, reconcile, table_of
from tests.transforms.bucket_media import requests
from trichord.infra.config import StorageConfig
from trichord.infra.lake.lake import Lake
from trichord.infra.lake.shorten import shorten
from trichord.infra.lake.storage import Storage
from trichord.infra.lake.table import LakeTable

NAME = "signatures"


def make_table(folder: str, commits: int) -> Place:
    """Make a table of so many commits: each replaces one of its shards, as an event does."""
    place = Place(Storage(StorageConfig()), folder)
    refs = [make_shard(place, number) for number in range(11)]
    for step in range(commits):
        reconcile(table_of(place), [refs[(step + number) % 11] for number in range(10)])
    return place


def copy_to_bucket(folder: str, place: Place) -> None:
    """Put all files of a lake into a bucket."""
    for path in Path(folder).rglob("*"):
        if path.is_file():
            place.storage.write(f"{place.uri}/{path.relative_to(folder).as_posix()}", path.read_bytes())


def measure(place: Place, needed: int) -> dict[str, tuple[int, int, float]]:
    """Return requests, those of them that list, and seconds, of each use of a table."""
    table = LakeTable(place.lake, NAME)
    newest = table.version()
    assert newest is not None
    shards = [*table.shards().values()]
    uses: dict[str, Callable[[], object]] = {
        "open the newest version": table.shards,
        "open a kept version": lambda: table.shards(newest - needed),
        "commit": lambda: reconcile(table, shards[1:]),
        "examine the log (`verify`)": table.log.examine,
    }
    found = {}
    for name, use in uses.items():
        with requests(pytest.MonkeyPatch()) as made:
            began = time.perf_counter()
            use()
            seconds = time.perf_counter() - began
        found[name] = (len(made), sum("list-type" in path for _, path in made), seconds)
    return found


def files_of(lake: Lake) -> int:
    """Return the number of files of the table's log and its copies."""
    return sum(not stat.uri.endswith(".parquet") or ".checkpoint" in stat.uri for stat in lake.list(NAME))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--commits", type=int, default=2_000)
    parser.add_argument("--needed", type=int, default=20)
    asked = parser.parse_args()
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    os.environ |= {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    config = StorageConfig(endpoint=f"http://{host}:{port}", allow_http=True)
    boto3.client("s3", endpoint_url=config.endpoint, region_name=config.region).create_bucket(Bucket="lake")
    place = Place(Storage(config), "s3://lake/long")
    with tempfile.TemporaryDirectory() as folder:
        make_table(folder, asked.commits)
        copy_to_bucket(folder, place)
    files, before = files_of(place.lake), measure(place, asked.needed)
    newest = LakeTable(place.lake, NAME).version()
    assert newest is not None
    began = time.perf_counter()
    removed = shorten(
        place.lake, NAME, needed=newest - asked.needed, before_ns=time.time_ns() + 10**10, check=lambda: None
    )
    seconds = time.perf_counter() - began
    left, after = files_of(place.lake), measure(place, asked.needed)
    server.stop()
    lines = ["| | before | after |", "|---|---|---|", f"| files of the log | {files:,} | {left:,} |"]
    for name, old in before.items():
        cells = [f"{one[0]:,} requests ({one[1]:,} list), {one[2]:.2f} s" for one in (old, after[name])]
        lines.append(f"| {name} | {cells[0]} | {cells[1]} |")
    sys.stdout.write("\n".join(lines) + f"\n\n{removed:,} commits removed in {seconds:.0f} s.\n")


if __name__ == "__main__":
    main()
