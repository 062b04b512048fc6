"""The same rows as sources of six kinds. A row has an id, a text, a picture and perhaps a sound (bytes)."""

from __future__ import annotations

import csv
import io
import json
import shutil
import tarfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from deltalake import write_deltalake

Rows = list[dict[str, Any]]
ENDINGS = {"image": "png", "audio": "wav"}


def _media(folder: Path, rows: Rows) -> list[dict[str, Any]]:
    """Write media that are not there yet; return the rows with their paths."""
    (folder / "media").mkdir(parents=True, exist_ok=True)
    named = []
    for row in rows:
        paths = {name: f"media/{row['id']}.{ending}" for name, ending in ENDINGS.items() if row.get(name)}
        for name, path in paths.items():
            file = folder / path
            if not file.exists() or file.read_bytes() != row[name]:
                file.write_bytes(row[name])
        named.append({**row, **paths})
    return named


def _files(row: dict[str, Any]) -> list[tuple[str, bytes]]:
    """Endings and content of a row's files."""
    files = [(ending, row[name]) for name, ending in ENDINGS.items() if row.get(name)]
    return [*files, ("txt", row["text"].encode())] if row["text"] else files


def as_jsonl(folder: Path, rows: Rows) -> dict[str, Any]:
    """A manifest of JSON lines."""
    lines = "".join(json.dumps(row) + "\n" for row in _media(folder, rows))
    (folder / "rows.jsonl").write_text(lines)
    return {"kind": "manifest", "path": "rows.jsonl"}


def as_csv(folder: Path, rows: Rows) -> dict[str, Any]:
    """A manifest with a header."""
    with open(folder / "rows.csv", "w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(_media(folder, rows))
    return {"kind": "manifest", "path": "rows.csv"}


def as_folder(folder: Path, rows: Rows) -> dict[str, Any]:
    """Files named after their rows."""
    shutil.rmtree(folder / "files", ignore_errors=True)
    (folder / "files").mkdir()
    for row in rows:
        for ending, data in _files(row):
            (folder / "files" / f"{row['id']}.{ending}").write_bytes(data)
    return {"kind": "folder", "path": "files"}


def as_parquet(folder: Path, rows: Rows, group_rows: int = 8) -> dict[str, Any]:
    """One file with media as bytes."""
    pq.write_table(pa.Table.from_pylist(rows), folder / "rows.parquet", row_group_size=group_rows)
    return {"kind": "parquet", "path": "rows.parquet"}


def as_delta(folder: Path, rows: Rows) -> dict[str, Any]:
    """A table with media as bytes, written anew."""
    write_deltalake(str(folder / "rows"), pa.Table.from_pylist(rows), mode="overwrite")
    return {"kind": "delta", "path": "rows"}


def as_tar(folder: Path, rows: Rows) -> dict[str, Any]:
    """One tar."""
    with tarfile.open(folder / "rows.tar", "w") as archive:
        for row in rows:
            for ending, data in _files(row):
                member = tarfile.TarInfo(f"{row['id']}.{ending}")
                member.size = len(data)
                archive.addfile(member, io.BytesIO(data))
    return {"kind": "webdataset", "path": "rows.tar"}


KINDS = {"jsonl": as_jsonl, "csv": as_csv, "folder": as_folder, "parquet": as_parquet, "delta": as_delta, "tar": as_tar}
