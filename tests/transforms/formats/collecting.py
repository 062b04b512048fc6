"""Collect and read a variant in this process, without an engine, and judge what became of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from tests.transforms.formats import Counted, Read, Refused, Variant
from trichord.infra.config import Source, StorageConfig
from trichord.infra.errors import SourceError
from trichord.infra.lake.lake import Lake
from trichord.infra.lake.storage import Storage
from trichord.transforms.align.time import time_ops
from trichord.transforms.batch import Batch, Row
from trichord.transforms.collect import Plan, plan_source, read_partition
from trichord.transforms.op import run_chain

SETTINGS = "source.json"  # the variant's file with the settings of its source, whose path is below the folder
_STORAGE = Storage(StorageConfig())
_SOURCE: TypeAdapter[Source] = TypeAdapter(Source)


def settings(kind: str, path: str = "", **more: Any) -> dict[str, bytes]:
    """The file that says how a variant's source is configured."""
    return {SETTINGS: json.dumps({"kind": kind, "path": path, **more}).encode()}


def source_of(variant: Variant, folder: Path) -> Source:
    """Write the variant's files below a folder, and return the source that reads them."""
    for name, data in variant.files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    chosen = json.loads((folder / SETTINGS).read_text())
    (folder / SETTINGS).unlink()
    for name in ("path", "media_root"):
        if name in chosen:
            chosen[name] = str(folder / chosen[name])
    return _SOURCE.validate_python({"name": "s", **chosen})


def collect(source: Source, lake: Path) -> tuple[Plan, list[dict[str, Any]]]:
    """Plan and read a source; its rows as dicts, and those that are rejected with their reason as `rejected`.

    Raises:
        SourceError: the source as a whole is refused.
    """
    place = Lake(_STORAGE, str(lake))
    plan = plan_source(source, place, rows_per_partition=64, cache=None, checked=True)
    rows: list[dict[str, Any]] = []
    for partition in plan.partitions:
        for batch in read_partition(source, place, partition):
            rows += _rows(batch, source)
    return plan, rows


def _rows(batch: Batch, source: Source) -> list[dict[str, Any]]:
    read = len(batch.rows) + len(batch.rejects)
    cut = run_chain(batch, time_ops(source))[0]
    parents = sum(row.parent == "" for row in cut.rows) + sum("#t" not in reject.key for reject in cut.rejects)
    assert parents == read, "a row was lost or made"
    found = [
        _row(row) | {"image": image is not None, "audio": audio is not None}
        for row, image, audio in zip(cut.rows, cut.raw_images, cut.raw_audios, strict=True)
    ]
    return found + [{"key": one.key, "rejected": f"{one.reason}: {one.detail}"} for one in cut.rejects]


def _row(row: Row) -> dict[str, Any]:
    return {
        "key": row.key,
        "text": row.text,
        "captions": list(row.captions),
        "subset": row.subset,
        "meta": json.loads(row.meta),
        "span": row.span,
    }


def judge(variant: Variant, folder: Path) -> str:
    """Return what is wrong with what became of a variant; empty if it is as expected."""
    source = source_of(variant, folder / "in")
    try:
        plan, rows = collect(source, folder / "lake")
    except SourceError as error:
        if isinstance(variant.expected, Refused) and variant.expected.says in str(error):
            return ""
        return f"SourceError: {error}"
    match variant.expected:
        case Read(check):
            return "" if check(rows) else f"read as {rows}"
        case Refused(says):
            refused = [row["rejected"] for row in rows if "rejected" in row]
            return "" if any(says in why for why in refused) else f"not refused with {says!r}: {rows}"
        case Counted():
            return "" if plan.ignored and plan.endings else f"counted {plan.ignored}: {dict(plan.endings)}, {rows}"
