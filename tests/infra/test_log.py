"""Events: one JSON line each on stderr, nothing on stdout."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from trichord.infra import log


def test_an_event_is_one_json_line_on_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    log.configure(as_json=True)
    log.event("shard", rows=3, path=Path("/x"), text="two\nlines")
    log.event("done")
    said = capsys.readouterr()
    assert said.out == ""
    first, second = (json.loads(line) for line in said.err.splitlines())
    assert {**first, "at": ""} == {"at": "", "event": "shard", "rows": 3, "path": "/x", "text": "two\nlines"}
    assert second.keys() == {"at", "event"}
