"""Events: one JSON line each on stderr, nothing on stdout."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from trichord.infra import log
from trichord.infra.errors import ConfigError


@pytest.mark.usefixtures("json_events")
def test_an_event_is_one_json_line_on_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    log.event("shard", rows=3, path=Path("/x"), text="two\nlines")
    log.event("done")
    said = capsys.readouterr()
    assert said.out == ""
    first, second = (json.loads(line) for line in said.err.splitlines())
    assert {**first, "at": ""} == {"at": "", "event": "shard", "rows": 3, "path": "/x", "text": "two\nlines"}
    assert second.keys() == {"at", "event"}


def test_without_json_an_event_is_one_plain_line_where_nobody_watches(capsys: pytest.CaptureFixture[str]) -> None:
    log.event("shard", rows=3, loss=0.123456, text="two\nlines\x1b", url="https://u:s3cr3t@host/")
    line = capsys.readouterr().err
    assert line.endswith(" shard  rows=3  loss=0.1235  text=two\\nlines\\u001b  url=https://REDACTED@host/\n")


def test_an_error_is_one_line_that_can_be_read(capsys: pytest.CaptureFixture[str]) -> None:
    log.error(ConfigError("No lake here\nNext: trichord plan \x1b" + "x" * 5_000), 2)
    line = capsys.readouterr().err
    assert line.startswith("ConfigError: No lake here; Next: trichord plan \\u001bxxx")
    assert len(line) < 1_100
