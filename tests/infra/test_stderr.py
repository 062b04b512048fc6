"""stderr belongs to events: what libraries and child processes write to descriptor 2 never comes between them."""

from __future__ import annotations

import json
import subprocess
import sys

NOISY = """
import os, subprocess, sys
from trichord.infra import log, stderr
from trichord.infra.config import EngineConfig
from trichord.infra.engines import open_engine
from tests.infra.engine_tasks import say

log.configure(as_json=True)
with stderr.own():
    os.write(2, b"INFO: Created TensorFlow Lite delegate\\x1b[31m\\n")
    log.event("first", text="\\x1b\\u202e", url="https://u:s3cr3t@host/")
    print("a warning", file=sys.stderr)
    subprocess.run([sys.executable, "-c", "import os; os.write(2, b'a child')"], check=True)
    with open_engine(EngineConfig(kind="local", workers=1)) as engine:
        list(engine.map(say, ["from a worker"]))
    print(stderr.held())
    os.write(2, bytes(3 << 20))
    log.event("last")
    print(len(stderr.held()))
os.write(2, b"after\\n")
"""


def test_libraries_and_children_write_beside_the_events_not_between_them() -> None:
    done = subprocess.run([sys.executable, "-c", NOISY], capture_output=True, text=True, timeout=120, check=True)
    *events, after = done.stderr.splitlines()
    assert [json.loads(line)["event"] for line in events] == ["first", "from a worker", "last"]
    assert after == "after"
    assert json.loads(events[0])["url"] == "https://REDACTED@host/"
    assert "\x1b" not in done.stderr
    held, size = done.stdout.rsplit("\n", 2)[0:2]
    assert all(part in held for part in ("TensorFlow Lite", "a warning", "a child", "noise of a worker"))
    assert size == "0", "it is bounded"
