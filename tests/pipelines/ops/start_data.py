"""Data of every kind for the tests of `init`, and what they do with it."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.transforms.samples import picture, saved, sound, tone
from trichord.infra.project import load_project
from trichord.pipelines.core.workspace import Workspace
from trichord.pipelines.ops.start import Started, start
from trichord.pipelines.run_plan import plan_run

IMAGE, AUDIO = saved(picture(), "JPEG"), sound(tone(0.2))
SENTENCES = [f"a red circle above {number} blue squares" for number in range(6)]


def put(path: Path, data: bytes | str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return path


def media(folder: Path, count: int = 6, ending: str = "jpg") -> list[str]:
    """Files 0.jpg, 1.jpg ... of different bytes; returns their names."""
    data = AUDIO if ending == "wav" else IMAGE
    for number in range(count):
        put(folder / f"{number}.{ending}", data + (b"" if ending == "wav" else b"%d" % number))
    return [f"{number}.{ending}" for number in range(count)]


def table(path: Path, rows: Sequence[Mapping[str, Any]], delimiter: str = ",") -> Path:
    out = io.StringIO()
    writer = csv.DictWriter(out, list(rows[0]), delimiter=delimiter)
    writer.writeheader()
    writer.writerows(rows)
    return put(path, out.getvalue())


def lines(path: Path, rows: Sequence[Mapping[str, Any]]) -> Path:
    return put(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


def started(data: Path, tmp_path: Path, rows: int) -> Started:
    """What `init` wrote; the file plans, with as many rows as the data have."""
    out = tmp_path / "trichord.yaml"
    result = start(str(data), out)
    [source] = plan_run(Workspace(load_project(out))).sources
    assert source.rows == rows
    assert len(out.read_text().splitlines()) <= 16
    assert 1 <= len(result.records) <= 3
    return result


def fields_of(result: Started) -> dict[str, Any]:
    assert result.source is not None
    return dict(result.source.get("fields", {}))


def kind_of(result: Started) -> str:
    assert result.source is not None
    return str(result.source["kind"])
