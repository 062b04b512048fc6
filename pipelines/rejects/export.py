"""rejects export: write rejected rows to a file that can be a source, with their raw media on request.

Rows are read from their source again, because a reject keeps only the first 500 characters of a text. If the source no
longer has a row, the export holds what the reject says.
"""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from trichord.infra import digest
from trichord.infra.errors import ConfigError
from trichord.infra.json_values import parse_json
from trichord.pipelines.core.json_objects import stored_object
from trichord.pipelines.core.result import Result
from trichord.pipelines.core.workspace import Workspace
from trichord.pipelines.prepare.plan import WantedShard, make_plan
from trichord.pipelines.rejects.query import Choice, Reject, iter_rejects
from trichord.transforms.collect import media_root, read_partition
from trichord.transforms.collect.partitions import PlannedRow
from trichord.transforms.collect.plan_parts import read_plan
from trichord.transforms.collect.read import PartitionReader, mark_repeats

EXPORT = pa.schema(
    [(name, pa.string()) for name in ("id", "source", "op", "reason", "detail", "payload", "text", "image", "audio")]
    + [("captions", pa.list_(pa.string()))]
    + [(name, pa.string()) for name in ("group", "split", "meta", "segments", "regions")]
)
_KINDS = {".jsonl": "manifest", ".parquet": "parquet"}
_MEDIA = ("image", "audio")
_NESTED = ("payload", "meta", "segments", "regions")  # JSON in Parquet
_FAULTS = ("media_", "download_")  # a medium without a version has such a reason code instead
_ROWS_PER_GROUP = 1_024
_MAX_LINE = 64 << 20
_ELSEWHERE = "Next: name another file by --out."
_ENDINGS = {
    b"\xff\xd8\xff": ".jpg", b"\x89PNG": ".png", b"RIFF": ".wav", b"fLaC": ".flac", b"OggS": ".ogg", b"ID3": ".mp3",
    b"FORM": ".aiff", b".snd": ".au", b"caff": ".caf", b"riff": ".w64", b"RF64": ".rf64",
}  # fmt: skip


@dataclass(slots=True)
class _Row:
    """A row as its source has it: its fields, and its media as bytes if they were read."""

    line: Mapping[str, Any] = field(default_factory=dict)
    paths: Mapping[str, str] = field(default_factory=dict)
    media: dict[str, bytes] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)  # why media were not read


@dataclass(frozen=True, slots=True, kw_only=True)
class Export(Result):
    """What an export wrote.

    Attributes:
        path: the file.
        kind: kind of a source that reads the file.
        media_root: root of such a source; None where the rows come from several.
        rows: rejects written.
        by_reason: rejects written, by reason.
        rows_gone: rejects whose row is no longer in its source.
        files: media files written now.
        bytes: their size.
        not_read: media that were not read, by reason.
    """

    path: str
    kind: str
    media_root: str | None
    rows: int
    by_reason: Mapping[str, int]
    rows_gone: int
    files: int
    bytes: int
    not_read: Mapping[str, int]


def export_rejects(workspace: Workspace, choice: Choice, *, out: Path, media: Path | None = None) -> Export:
    """Write rejects to a `.jsonl` or `.parquet` file; with `media`, their raw media to files in that folder.

    Media are read as `prepare` reads them: within the source's root, up to the project's `max_bytes`. Columns are those
    of a manifest, and `source`, `op`, `reason`, `detail` and `payload`.

    Raises:
        ConfigError: the file's ending is unknown, it is another file or a source's, or no reject matches.
    """
    kind = _KINDS.get(out.suffix)
    if kind is None:
        raise ConfigError(f"{out}: cannot write this kind of file. Name a .jsonl or .parquet file.")
    out, folder = out.absolute(), media.absolute() if media is not None else None
    _require_replaceable(workspace, out, kind)
    wanted = _group_by_partition(workspace, choice)
    shards = {shard.partition.id: shard for shard in make_plan(workspace).shards} if wanted else {}
    root = out.parent if folder is None or folder.is_relative_to(out.parent) else folder
    files, rows_gone = _Files(folder, root), 0
    by_reason: Counter[str] = Counter()
    out.parent.mkdir(parents=True, exist_ok=True)
    temporary = out.with_name(f".{out.name}.tmp")
    try:
        with ExitStack() as stack:
            write = _open_jsonl(stack, temporary) if kind == "manifest" else _open_parquet(stack, temporary)
            for partition, rejects in sorted(wanted.items()):
                for reject, row in _join(workspace, shards.get(partition), rejects, with_media=folder is not None):
                    by_reason[reject.reason] += 1
                    rows_gone += row is None
                    write(_make_record(reject, row or _Row(), files))
        os.replace(temporary, out)
    finally:
        temporary.unlink(missing_ok=True)
    return Export(
        path=str(out),
        kind=kind,
        media_root=str(root) if folder is not None else _find_root(shards, wanted),
        rows=by_reason.total(),
        by_reason=dict(sorted(by_reason.items())),
        rows_gone=rows_gone,
        files=files.written,
        bytes=files.size,
        not_read=dict(sorted(files.not_read.items())),
    )


def _require_replaceable(workspace: Workspace, out: Path, kind: str) -> None:
    """Raise ConfigError if there is a file that is not an export, or that a source reads: it may have been fixed."""
    if not out.is_file():
        return
    real = os.path.realpath(out)
    for source in workspace.project.sources:
        read = os.path.realpath(source.path) if "://" not in source.path else source.path
        if real == read or fnmatchcase(real, read) or real.startswith(f"{read}{os.sep}"):
            raise ConfigError(f"{out} is data of the source {source.name!r}; it was left as it is.\n{_ELSEWHERE}")
    if not (_is_export_of_lines(out) if kind == "manifest" else _is_export_of_columns(out)):
        raise ConfigError(f"{out} exists and is not an export of rejects; it was left as it is.\n{_ELSEWHERE}")


def _is_export_of_lines(path: Path) -> bool:
    with path.open("rb") as file:
        line = file.readline(_MAX_LINE)
    try:
        found = parse_json(line) if line else {}
    except ValueError:
        return False
    return not line or (isinstance(found, dict) and found.keys() >= {"op", "reason", "source"})


def _is_export_of_columns(path: Path) -> bool:
    try:
        return bool(pq.read_schema(path).names == EXPORT.names)
    except (pa.ArrowException, OSError):
        return False


def _find_root(shards: Mapping[str, WantedShard], partitions: Iterable[str]) -> str | None:
    """Return the root of the source of all rows; None if they come from several."""
    roots = {media_root(shards[partition].source).uri for partition in partitions if partition in shards}
    return roots.pop() if len(roots) == 1 else None


def _group_by_partition(workspace: Workspace, choice: Choice) -> dict[str, list[Reject]]:
    found: dict[str, list[Reject]] = defaultdict(list)
    for table in iter_rejects(workspace, choice, live=True):
        for row in table.to_pylist():
            found[row["partition"]].append(Reject.of_row(row))
    return found


def _join(
    workspace: Workspace, shard: WantedShard | None, rejects: Iterable[Reject], *, with_media: bool
) -> Iterator[tuple[Reject, _Row | None]]:
    """Join the rejects of one partition with their rows; None where the source no longer has the row."""
    waiting: dict[str, list[Reject]] = defaultdict(list)
    for reject in rejects:
        waiting[reject.key].append(reject)
    if shard is not None:
        read = _read_planned if shard.partition.part is None else _read_part
        for key, reason, row in read(workspace, shard, waiting, with_media):
            meant = [reject for reject in waiting[key] if reason is None or reject.reason == reason]
            for reject in meant[: None if reason is None else 1]:
                waiting[key].remove(reject)
                yield reject, row
    for left in waiting.values():
        yield from ((reject, None) for reject in left)


_Found = Iterator[tuple[str, str | None, _Row]]  # key of a reject, its reason if reading rejected it, the row


def _read_planned(workspace: Workspace, shard: WantedShard, keys: Iterable[str], with_media: bool) -> _Found:
    """Read rows whose media are files; no other row's media are read."""
    lake, config = workspace.lake, workspace.project.prepare
    reader = PartitionReader(shard.source, lake, media_root(shard.source), config, shard.partition)
    parts = _index_by_row(keys)
    for planned in mark_repeats(read_plan(shard.partition, lake)):
        named = parts.get(planned.key, ())
        if not named:
            continue
        row = _Row(line=planned.line, paths={name: medium.path for name, medium in planned.media.items()})
        if with_media:
            _read_media(reader, planned, row)
        yield from ((key, planned.reason if key == planned.key else None, row) for key in named)


def _read_media(reader: PartitionReader, planned: PlannedRow, row: _Row) -> None:
    """Read the media of a row one by one, so that a bad one does not hide the others."""
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


def _read_part(workspace: Workspace, shard: WantedShard, keys: Iterable[str], with_media: bool) -> _Found:
    """Read rows whose media are inside a data file. Of rows that reading itself rejects, only the reject is known."""
    parts = _index_by_row(keys)
    for batch in read_partition(shard.source, workspace.lake, shard.partition, config=workspace.project.prepare):
        for at, row in enumerate(batch.rows):
            media = {"image": batch.raw_images[at], "audio": batch.raw_audios[at]} if with_media else {}
            line = {
                "text": row.text,
                "captions": list(row.captions),
                "group": row.group if row.group != row.key else "",
                "subset": row.subset,
                "meta": stored_object(row.meta, f"The metadata of {row.key!r}"),
                "alignment": stored_object(row.alignment, f"The alignment of {row.key!r}"),
            }
            found = _Row(line=line, media={name: data for name, data in media.items() if data is not None})
            yield from ((key, None, found) for key in parts.get(row.key, ()))


def _index_by_row(keys: Iterable[str]) -> dict[str, list[str]]:
    """Group keys of rejects by the key of the row that they are, or may have been cut from."""
    found: dict[str, list[str]] = defaultdict(list)
    for key in keys:
        pieces = key.split("#")
        for n in range(1, len(pieces) + 1):
            found["#".join(pieces[:n])].append(key)
    return found


def _make_record(reject: Reject, row: _Row, files: _Files) -> Mapping[str, Any]:
    """Make a row of the export. It names the media that were exported; without an export, all that the source names."""
    alignment = row.line.get("alignment", {})
    files.not_read.update(row.faults)
    if files.folder is None:
        media = {name: row.paths[name] for name in _MEDIA if name in row.paths}
    else:
        media = {name: files.put(reject.source, name, data) for name, data in row.media.items()}
    record = {
        "id": reject.key,
        "source": reject.source,
        "op": reject.op,
        "reason": reject.reason,
        "detail": reject.detail,
        "payload": reject.payload,
        "text": row.line.get("text") or reject.payload.get("text"),
        **media,
        **{name: row.line.get(name) for name in ("captions", "group", "meta")},
        "split": row.line.get("subset"),
        **{name: alignment.get(name) for name in ("segments", "regions")},
    }
    return {name: value for name, value in record.items() if value}


def _open_jsonl(stack: ExitStack, path: Path) -> Callable[[Mapping[str, Any]], None]:
    file = stack.enter_context(path.open("wb"))

    def write(record: Mapping[str, Any]) -> None:
        file.write(digest.canonical_json(record) + b"\n")

    return write


def _open_parquet(stack: ExitStack, path: Path) -> Callable[[Mapping[str, Any]], None]:
    writer = stack.enter_context(pq.ParquetWriter(path, EXPORT, compression="zstd"))
    held: list[Mapping[str, Any]] = []

    def flush() -> None:
        writer.write_table(pa.Table.from_pylist(held, schema=EXPORT))
        held.clear()

    def write(record: Mapping[str, Any]) -> None:
        nested = {name: digest.canonical_json(record[name]).decode() for name in _NESTED if name in record}
        held.append({**record, **nested})
        if len(held) == _ROWS_PER_GROUP:
            flush()

    stack.callback(flush)
    return write


@dataclass(slots=True)
class _Files:
    """Raw media beside the export, named by content; an existing file is not written again."""

    folder: Path | None
    root: Path  # what paths in the export are relative to
    written: int = 0
    size: int = 0  # in bytes
    not_read: Counter[str] = field(default_factory=Counter)

    def put(self, source: str, name: str, data: bytes) -> str:
        """Write a medium and return its path below `root`."""
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
