"""rejects export: rows that were left out, written to a file that serves as a source, with their raw media if wanted.

Rows are read again from their source: a reject itself holds only the first 500 characters of a text. Where a source no
longer has a row, what the reject tells is written.
"""

from __future__ import annotations

import json
import os
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from trichord.infra import digest
from trichord.infra.errors import ConfigError
from trichord.pipelines.core.workspace import Workspace
from trichord.pipelines.prepare.plan import WantedShard, make_plan
from trichord.pipelines.rejects.query import Choice, reject_tables
from trichord.transforms.collect import media_root, read_partition
from trichord.transforms.collect.partitions import PlannedRow, planned_rows
from trichord.transforms.collect.read import PartitionReader, marked_repeats

EXPORT = pa.schema(
    [(name, pa.string()) for name in ("id", "source", "op", "reason", "detail", "payload", "text", "image", "audio")]
    + [("captions", pa.list_(pa.string()))]
    + [(name, pa.string()) for name in ("group", "split", "meta", "segments", "regions")]
)
_KINDS = {".jsonl": "manifest", ".parquet": "parquet"}
_MEDIA = ("image", "audio")
_NESTED = ("payload", "meta", "segments", "regions")  # JSON in Parquet
_FAULTS = ("media_", "download_")  # reason codes that stand where a medium has no version
_ROWS_PER_GROUP = 1_024
_ENDINGS = {
    b"\xff\xd8\xff": ".jpg", b"\x89PNG": ".png", b"RIFF": ".wav", b"fLaC": ".flac", b"OggS": ".ogg", b"ID3": ".mp3",
}  # fmt: skip


@dataclass(slots=True)
class _Row:
    """A row as its source has it: what it says, and its media as bytes where they were read."""

    line: Mapping[str, Any] = field(default_factory=dict)
    paths: Mapping[str, str] = field(default_factory=dict)
    media: dict[str, bytes] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)  # why media were not read


def export_rejects(workspace: Workspace, choice: Choice, *, out: Path, media: Path | None = None) -> dict[str, Any]:
    """Write rejects to a `.jsonl` or `.parquet` file; with `media`, their raw media to files in that folder.

    Media are read as `prepare` reads them: within the source's root, up to the project's `max_bytes`. Columns are those
    of a manifest, besides `source`, `op`, `reason`, `detail` and `payload`.

    Returns:
        JSON-ready: `path`, `kind` and `media_root` (of a source that reads the file), `rows`, `files`, `bytes`,
        `not_read` (media by why they were not read), `by_reason`, `rows_gone` (no longer in their source).

    Raises:
        ConfigError: the file's ending is unknown, or no reject is of that choice.
    """
    kind = _KINDS.get(out.suffix)
    if kind is None:
        raise ConfigError(f"{out}: rejects are written as .jsonl or .parquet. Choose such a name.")
    out, folder = out.absolute(), media.absolute() if media is not None else None
    wanted = _by_partition(workspace, choice)
    shards = {shard.partition.id: shard for shard in make_plan(workspace).shards} if wanted else {}
    root = out.parent if folder is None or folder.is_relative_to(out.parent) else folder
    files, told = _Files(folder, root), Counter[str]()
    by_reason: Counter[str] = Counter()
    out.parent.mkdir(parents=True, exist_ok=True)
    temporary = out.with_name(f".{out.name}.tmp")
    try:
        with ExitStack() as stack:
            write = _jsonl(stack, temporary) if kind == "manifest" else _parquet(stack, temporary)
            for partition, rejects in sorted(wanted.items()):
                for reject, row in _joined(workspace, shards.get(partition), rejects, with_media=folder is not None):
                    by_reason[reject["reason"]] += 1
                    told["rows_gone"] += row is None
                    write(_record(reject, row or _Row(), files))
        os.replace(temporary, out)
    finally:
        temporary.unlink(missing_ok=True)
    return {
        "path": str(out),
        "kind": kind,
        "media_root": str(root) if folder is not None else _root_of(shards, wanted),
        "rows": by_reason.total(),
        "by_reason": dict(sorted(by_reason.items())),
        "rows_gone": told["rows_gone"],
        "files": files.written,
        "bytes": files.size,
        "not_read": dict(sorted(files.not_read.items())),
    }


def _root_of(shards: Mapping[str, WantedShard], partitions: Iterable[str]) -> str | None:
    """The root of the one source that all rows are of; None where they are of several."""
    roots = {media_root(shards[partition].source).uri for partition in partitions if partition in shards}
    return roots.pop() if len(roots) == 1 else None


def _by_partition(workspace: Workspace, choice: Choice) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for table in reject_tables(workspace, choice, live=True):
        for row in table.to_pylist():
            found[row["partition"]].append(row)
    return found


def _joined(
    workspace: Workspace, shard: WantedShard | None, rejects: Iterable[dict[str, Any]], *, with_media: bool
) -> Iterator[tuple[dict[str, Any], _Row | None]]:
    """Rejects of one partition with their rows; None where the source has no such row any more."""
    waiting: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for reject in rejects:
        waiting[reject["key"]].append(reject)
    if shard is not None:
        read = _planned if shard.partition.part is None else _inline
        for key, reason, row in read(workspace, shard, waiting, with_media):
            meant = [reject for reject in waiting[key] if reason is None or reject["reason"] == reason]
            for reject in meant[: None if reason is None else 1]:
                waiting[key].remove(reject)
                yield reject, row
    for left in waiting.values():
        yield from ((reject, None) for reject in left)


_Found = Iterator[tuple[str, str | None, _Row]]  # key of a reject, the reason if it was refused by reading, the row


def _planned(workspace: Workspace, shard: WantedShard, keys: Iterable[str], with_media: bool) -> _Found:
    """Rows whose media are files, and only theirs are read."""
    lake, config = workspace.lake, workspace.project.prepare
    reader = PartitionReader(shard.source, lake, media_root(shard.source), config, shard.partition)
    parts = _parts(keys)
    for planned in marked_repeats(planned_rows(shard.partition, lake)):
        named = parts.get(planned.key, ())
        if not named:
            continue
        row = _Row(line=planned.line, paths={name: medium.path for name, medium in planned.media.items()})
        if with_media:
            _read(reader, planned, row)
        yield from ((key, planned.reason if key == planned.key else None, row) for key in named)


def _read(reader: PartitionReader, planned: PlannedRow, row: _Row) -> None:
    """The media of a row, one for one, so that a bad one does not hide the others."""
    for name, medium in planned.media.items():
        if name not in (*_MEDIA, "text"):
            continue
        if medium.version.startswith(_FAULTS):  # planning found none
            row.faults.append(medium.version)
            continue
        batch = reader.batch([PlannedRow(key=planned.key, line={}, media={name: medium})])
        row.faults += [reject.reason for reject in batch.rejects]
        for found, image, audio in zip(batch.rows, batch.raw_images, batch.raw_audios, strict=True):
            row.media |= {kind: data for kind, data in (("image", image), ("audio", audio)) if data is not None}
            if found.text is not None:
                row.line = {**row.line, "text": found.text}


def _inline(workspace: Workspace, shard: WantedShard, keys: Iterable[str], with_media: bool) -> _Found:
    """Rows whose media lie in a data file. Of those that reading itself refuses, nothing more is known."""
    parts = _parts(keys)
    for batch in read_partition(shard.source, workspace.lake, shard.partition, config=workspace.project.prepare):
        for at, row in enumerate(batch.rows):
            media = {"image": batch.raw_images[at], "audio": batch.raw_audios[at]} if with_media else {}
            line = {
                "text": row.text,
                "captions": list(row.captions),
                "group": row.group if row.group != row.key else "",
                "subset": row.subset,
                "meta": json.loads(row.meta),
                "alignment": json.loads(row.alignment),
            }
            found = _Row(line=line, media={name: data for name, data in media.items() if data is not None})
            yield from ((key, None, found) for key in parts.get(row.key, ()))


def _parts(keys: Iterable[str]) -> dict[str, list[str]]:
    """Keys of rejects by the key of the row they are, or may have been cut from."""
    found: dict[str, list[str]] = defaultdict(list)
    for key in keys:
        pieces = key.split("#")
        for n in range(1, len(pieces) + 1):
            found["#".join(pieces[:n])].append(key)
    return found


def _record(reject: Mapping[str, Any], row: _Row, files: _Files) -> dict[str, Any]:
    """A row of the export. With media, only those that were read are named; without, all as the source names them."""
    payload = json.loads(reject["payload"])
    alignment = row.line.get("alignment", {})
    files.not_read.update(row.faults)
    if files.folder is None:
        media = {name: row.paths[name] for name in _MEDIA if name in row.paths}
    else:
        media = {name: files.put(str(reject["source"]), name, data) for name, data in row.media.items()}
    record = {
        "id": reject["key"],
        **{name: reject[name] for name in ("source", "op", "reason", "detail")},
        "payload": payload,
        "text": row.line.get("text") or payload.get("text"),
        **media,
        **{name: row.line.get(name) for name in ("captions", "group", "meta")},
        "split": row.line.get("subset"),
        **{name: alignment.get(name) for name in ("segments", "regions")},
    }
    return {name: value for name, value in record.items() if value}


def _jsonl(stack: ExitStack, path: Path) -> Callable[[dict[str, Any]], None]:
    file = stack.enter_context(path.open("wb"))

    def write(record: dict[str, Any]) -> None:
        file.write(digest.canonical_json(record) + b"\n")

    return write


def _parquet(stack: ExitStack, path: Path) -> Callable[[dict[str, Any]], None]:
    writer = stack.enter_context(pq.ParquetWriter(path, EXPORT, compression="zstd"))
    held: list[dict[str, Any]] = []

    def flush() -> None:
        writer.write_table(pa.Table.from_pylist(held, schema=EXPORT))
        held.clear()

    def write(record: dict[str, Any]) -> None:
        nested = {name: digest.canonical_json(record[name]).decode() for name in _NESTED if name in record}
        held.append({**record, **nested})
        if len(held) == _ROWS_PER_GROUP:
            flush()

    stack.callback(flush)
    return write


@dataclass(slots=True)
class _Files:
    """Raw media written beside the export, named by content: what is there already is not written again."""

    folder: Path | None
    root: Path  # what paths in the export are relative to
    written: int = 0
    size: int = 0  # in bytes
    not_read: Counter[str] = field(default_factory=Counter)

    def put(self, source: str, name: str, data: bytes) -> str:
        """Write a medium; its path below `root`."""
        assert self.folder is not None
        ending = next((end for magic, end in _ENDINGS.items() if data.startswith(magic)), ".bin")
        path = self.folder / source / f"{digest.sha256_hex(data)[:32]}-{name}{ending}"
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            temporary = path.with_name(f".{path.name}.tmp")
            temporary.write_bytes(data)
            os.replace(temporary, path)
            self.written += 1
            self.size += len(data)
        return path.relative_to(self.root).as_posix()
