"""A night in which nothing changed: seconds, files opened, and requests where the lake lies in a bucket.

`python -m tests.bench.quiet_night --demo FOLDER` takes the folder of a demo (`trichord demo --no-open --out FOLDER
--records 20000`) and prints one JSON line. `trichord nightly` runs three times on it, the third time under `strace`
(apt-get install strace), which tells what files of the lake and of the corpus are opened. Then a copy of the lake lies
in a bucket of an S3 server (moto), and the requests of a second night there are counted.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import resource
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import yaml

from tests.command import COMMAND

_OPENED = re.compile(r'openat\([^"]*"([^"]+)"[^=]*= \d')


def run(project: Path, *settings: str, before: tuple[str, ...] = ()) -> dict[str, Any]:
    """Run a night in a process of its own: seconds by the clock and of CPU, and whether it published nothing."""
    words = [word for setting in settings for word in ("--set", setting)]
    used, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    command = [*before, *COMMAND, "nightly", "--project", str(project), "--json", *words]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    seconds, now = time.monotonic() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    result = json.loads(done.stdout.splitlines()[-1])
    cpu_s = now.ru_utime + now.ru_stime - used.ru_utime - used.ru_stime
    return {"seconds": round(seconds, 2), "cpu_s": round(cpu_s, 2), "unchanged": result["run"]["unchanged"]}


def opened(project: Path, folder: Path) -> dict[str, int]:
    """Count the different files below the demo's folder that a night opens, by where they lie."""
    trace = folder / "opened"
    run(project, before=("strace", "-f", "-qq", "-e", "trace=openat", "-o", str(trace)))
    root = f"{project.parent.resolve()}/"
    found = {name for name in _OPENED.findall(trace.read_text(errors="replace")) if name.startswith(root)}
    files = [Path(name).relative_to(root) for name in found if Path(name).is_file()]
    counts = Counter("/".join(path.parts[:2]) if path.parts[0] == "lake" else path.parts[0] for path in files)
    return {"all": len(files), **dict(sorted(counts.items()))}


def in_bucket(project: Path) -> dict[str, Any]:
    """Run two nights on a copy of the lake in a bucket, and count the requests of the second by method."""
    import boto3
    import pytest
    from moto.server import ThreadedMotoServer

    from tests.transforms.bucket_media import requests as counted

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    client = boto3.client("s3", endpoint_url=f"http://{host}:{port}", region_name="us-east-1")
    client.create_bucket(Bucket="lake")
    lake = project.parent / yaml.safe_load(project.read_text())["lake"]
    for path in sorted(lake.rglob("*")):
        if path.is_file():
            client.upload_file(str(path), "lake", f"spine/{path.relative_to(lake).as_posix()}")
    settings = ("lake=s3://lake/spine", f"storage.endpoint=http://{host}:{port}", "storage.allow_http=true")
    run(project, *settings)
    with counted(pytest.MonkeyPatch()) as seen:
        night = run(project, *settings)
    server.stop()
    methods = Counter("LIST" if "list-type" in place else method for method, place in seen)
    return {**night, "requests": len(seen), **dict(sorted(methods.items()))}


def measure(demo: Path) -> dict[str, Any]:
    """Measure a demo's lake. JSON-ready; `unchanged` must be true in both."""
    project = demo / "trichord.yaml"
    first, second = (run(project) for _ in range(2))
    with tempfile.TemporaryDirectory(prefix="trichord-night-") as folder:
        files = opened(project, Path(folder))
    shards = sum(1 for path in (demo / "lake" / "records").rglob("*.parquet") if path.is_file())
    return {
        "record_shards": shards,
        "first_s": first["seconds"],
        "local": second,
        "files": files,
        "bucket": in_bucket(project),
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--demo", type=Path, required=True)
    os.environ.update(AWS_ACCESS_KEY_ID="test", AWS_SECRET_ACCESS_KEY="test", AWS_EC2_METADATA_DISABLED="true")
    sys.stdout.write(json.dumps(measure(parser.parse_args().demo)) + "\n")
