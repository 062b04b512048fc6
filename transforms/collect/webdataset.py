"""WebDataset sources: tar files with members in any order, joined by key.

A key is a member's folder and its name up to the first dot; the rest is the ending, which says what the member is. The
members of a tar are indexed once, ordered by key; rows then do not depend on the members' order.
"""

from __future__ import annotations

import os
import posixpath
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import reduce

import pyarrow as pa

from trichord.infra import digest
from trichord.infra.config import PrepareConfig, WebDatasetSource
from trichord.infra.errors import SourceError
from trichord.infra.json_values import JsonObject, parse_json
from trichord.infra.lake import layout
from trichord.infra.lake.checked_parquet import has_seal, open_sealed
from trichord.infra.lake.lake import Lake
from trichord.infra.lake.storage import Stat, Storage, VersionCache
from trichord.infra.lake.stores import open_source
from trichord.infra.lazy import arrow_compute as pc
from trichord.infra.printable import MAX_NAME_CHARS, find_unnameable, printable
from trichord.transforms.collect.alignment import SEGMENT_FORMATS, check_alignment
from trichord.transforms.collect.data_files import TAR_ENDINGS, data_files, require_same, require_unchanged, root_of
from trichord.transforms.collect.drafts import Draft, InvalidRow
from trichord.transforms.collect.field_map import captions_of, draft, name_of, text_of
from trichord.transforms.collect.file_marks import find_file_marks
from trichord.transforms.collect.folder import MODALITY_OF_ENDING
from trichord.transforms.collect.inline import Found, limit_of, readings
from trichord.transforms.collect.line import Line
from trichord.transforms.collect.partitions import (
    PLAN_FORMAT,
    Medium,
    Part,
    Partition,
    PlannedRow,
    line_of,
    table_of,
)
from trichord.transforms.collect.plan_parts import read_plan, write_groups
from trichord.transforms.collect.read import Known, Reading
from trichord.transforms.collect.tally import Tally
from trichord.transforms.collect.tars import ArchiveError, Member, local_tar, members

INDEX_FORMAT = 3  # raised when the same tar would give other rows
MAX_MEMBERS = 500_000
MAX_MARKED_BYTES = 1 << 20  # of a `.json` member whose mark planning reads
_MARK = "split"  # in a `.json` member
_SHOWN_OTHERS = 20
_SLOT_OF_ENDING = {
    **MODALITY_OF_ENDING,
    ".json": "json",
    ".cls": "cls",
    ".caption": "caption",
    ".srt": "segments",
    ".vtt": "segments",
}
_SLOTS_OF = {"text": ("text", "caption", "json", "segments"), "image": ("image",), "audio": ("audio",)}


def plan_webdataset(
    source: WebDatasetSource,
    lake: Lake,
    cache: VersionCache | None,
    tally: Tally | None = None,
    wanted: Callable[[str], bool] | None = None,
) -> tuple[list[Partition], int]:
    """Plan one partition per tar, and count members without a known ending. Only new tars are read.

    With `wanted`, only tars whose path it accepts; the marks are those of all tars.

    Raises:
        SourceError: there is no tar, or one of them is damaged.
    """
    root = root_of(source.path, TAR_ENDINGS)
    partitions, ignored = [], 0
    found = data_files(source, lake.storage, TAR_ENDINGS)
    marks = find_file_marks(stat.uri[len(root) + 1 :] for stat in found)
    for stat in found:
        if wanted is not None and not wanted(stat.uri[len(root) + 1 :]):
            continue
        version = lake.storage.version(stat, source.version_by, cache)
        address = digest.address("tar", PLAN_FORMAT, INDEX_FORMAT, version)
        locator = layout.plan_path(address)
        uri = lake.uri(locator)
        if not has_seal(lake.storage, uri):
            rows = _read_index(source, lake.storage, stat)
            write_groups([table_of(rows)] if rows else [], lake.storage, uri)
        with open_sealed(lake.storage, uri) as index:
            count = index.metadata.num_rows
            rows_of = index.read(columns=["line", "media", "reason", "detail"], use_threads=False)
        path = stat.uri[len(root) + 1 :]
        mark = marks.get(path, "")
        for line in map(line_of, rows_of["line"].to_pylist()):
            ignored += line.get("others_count", 0)
            if tally is not None:
                tally.see_mark(line.get("subset") or mark, 1)
        if tally is not None:
            _count(rows_of, source, tally)
        if count:
            partitions.append(
                Partition(
                    source=source.name,
                    id=f"{source.name}/{path}",
                    version=digest.address(address, mark) if mark else address,
                    rows=count,
                    locator=locator,
                    row_group=0,
                    part=Part(path=path, size=stat.size, version=version, constants=((_MARK, mark),) if mark else ()),
                )
            )
    return partitions, ignored


def _count(rows: pa.Table, source: WebDatasetSource, tally: Tally) -> None:
    """Count the modalities of an index's rows; a `.json` member may hold a text, a member of segments gives texts."""
    usable = pc.is_null(rows["reason"])
    has = {name: pc.and_(usable, _has(rows, slots)) for name, slots in _SLOTS_OF.items()}
    enough = pc.greater_equal(_sum_up(has.values()), source.require_any)
    for name in source.require:
        enough = pc.and_(enough, has[name])
    tally.rows += len(rows)
    tally.usable += _count_true(usable)
    tally.passing += _count_true(pc.and_(usable, enough))
    tally.empty += _count_true(pc.equal(rows["reason"], "row_empty"))
    tally.modalities.update({name: _count_true(there) for name, there in has.items()})
    details = rows["detail"].filter(pc.invert(usable)).slice(0, 1).to_pylist()
    tally.example = tally.example or "".join(details)[:200]


def _has(rows: pa.Table, slots: tuple[str, ...]) -> pa.ChunkedArray:
    found = [pc.match_substring(rows["media"], f'"{slot}":[') for slot in slots]  # a quote in a path is escaped
    return reduce(pc.or_, found)


def _sum_up(masks: Iterable[pa.ChunkedArray]) -> pa.ChunkedArray:
    return reduce(pc.add, [pc.cast(mask, pa.int64()) for mask in masks])


def _count_true(mask: pa.ChunkedArray) -> int:
    return int(pc.sum(mask).as_py() or 0)


def _read_index(source: WebDatasetSource, storage: Storage, stat: Stat) -> list[PlannedRow]:
    with require_same(storage, stat), local_tar(storage, stat.uri, source.max_unpacked_bytes) as path:
        index = _Index(path)
        try:
            for count, member in enumerate(members(path)):
                if count == MAX_MEMBERS:
                    raise ArchiveError(f"it has more than {MAX_MEMBERS:,} members; split it")
                index.add(member)
            return index.rows()
        except ArchiveError as error:
            raise SourceError(f"{stat.uri}: {error}. Fix or remove the file") from error


@dataclass(slots=True)
class _Index:
    """Members by key, for rows in an order that depends only on content."""

    path: str
    keys: dict[str, list[tuple[str, Member]]] = field(default_factory=lambda: defaultdict(list))  # slot, member
    others: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    refused: list[PlannedRow] = field(default_factory=list)

    def add(self, member: Member) -> None:
        """Add a member; hidden files (`.DS_Store`, `._a.jpg`) are skipped."""
        parts = [part for part in member.name.split("/") if part not in ("", ".")]
        name = "/".join(parts)
        shown = printable(name)
        fault = member.fault
        if member.name.startswith("/") or ".." in parts:
            fault = "its name leads out of the archive"
        elif not name:
            fault = "its name is empty"
        unnameable = None if fault else find_unnameable([("name", name)])
        if fault or unnameable:
            row = PlannedRow(
                key=shown[:MAX_NAME_CHARS] or "?",
                line={"names": [shown[:MAX_NAME_CHARS]]},
                reason="member_invalid" if fault else "key_invalid",
                detail=f"the member {shown[:200]}: {fault or unnameable}",
            )
            self.refused.append(row)
            return
        stem, dot, rest = parts[-1].partition(".")
        if not stem:
            return
        key = "/".join([*parts[:-1], stem])
        slot = _SLOT_OF_ENDING.get((dot + rest).lower())
        if slot is None:
            self.others[key].append(name)
        else:
            self.keys[key].append((slot, Member(name, member.offset, member.size)))

    def rows(self) -> list[PlannedRow]:
        """Return all rows, ordered by key; of members with one key and ending, the smallest name counts."""
        rows = list(self.refused)
        for key in self.keys.keys() | self.others.keys():
            rows += self._rows_of(key)
        with open_source(self.path) as file:
            for row in rows:
                if mark := _mark_of(row, file.fileno()):
                    row.line["subset"] = mark
        return sorted(rows, key=lambda row: (row.key, row.reason or "", row.detail, row.line["names"]))

    def _rows_of(self, key: str) -> Iterator[PlannedRow]:
        slots: dict[str, list[Member]] = defaultdict(list)
        for slot, member in self.keys.get(key, ()):
            slots[slot].append(member)
        media = {}
        for slot, found in sorted(slots.items()):
            first, *surplus = self._order(found)
            media[slot] = Medium(path=first.name, size=first.size, version=str(first.offset))
            for member in surplus:
                detail = f"the member {member.name!r} beside {first.name!r}"
                yield PlannedRow(key=key, line={"names": [member.name]}, reason="key_repeated", detail=detail)
        others = sorted(self.others.get(key, ()))
        line: Line = {"names": sorted(medium.path for medium in media.values()) + others[:_SHOWN_OTHERS]}
        if others:
            line["others"], line["others_count"] = others[:_SHOWN_OTHERS], len(others)
        if media:
            yield PlannedRow(key=key, line=line, media=media)
        else:
            detail = f"only members with unknown endings: {', '.join(others[:_SHOWN_OTHERS])}"
            yield PlannedRow(key=key, line=line, reason="row_empty", detail=detail[:500])

    def _order(self, found: list[Member]) -> list[Member]:
        names = {member.name for member in found}
        if len(names) == len(found):
            return sorted(found, key=lambda member: member.name)
        with open_source(self.path) as file:  # repeated names differ only in content
            return sorted(found, key=lambda member: (member.name, _sha256(file.fileno(), member)))


def _sha256(descriptor: int, member: Member) -> str:
    step = 1 << 20
    ends = member.offset + member.size
    return digest.sha256_hex(os.pread(descriptor, min(step, ends - at), at) for at in range(member.offset, ends, step))


def _mark_of(row: PlannedRow, descriptor: int) -> str:
    """Return the train/test mark in a row's `.json` member; '' if there is none, or the row will be rejected."""
    member = row.media.get("json")
    if member is None or member.size > MAX_MARKED_BYTES:
        return ""
    try:
        mark = name_of(_object(os.pread(descriptor, member.size, int(member.version))).get(_MARK), _MARK)
    except (InvalidRow, ValueError, RecursionError):
        return ""
    return "" if find_unnameable([(_MARK, mark)]) else mark


def read_webdataset(
    source: WebDatasetSource, lake: Lake, partition: Partition, config: PrepareConfig, known: Known
) -> Iterator[Reading]:
    """Yield the rows of a tar, ordered by key.

    Raises:
        SourceError: the tar changed since planning.
    """
    assert partition.part is not None
    uri = lake.storage.join(root_of(source.path, TAR_ENDINGS), partition.part.path)
    rows = read_plan(partition, lake)
    with (
        require_unchanged(lake.storage, uri, partition.part, source.version_by),
        local_tar(lake.storage, uri, source.max_unpacked_bytes) as path,
        open_source(path) as file,
    ):
        found = (_read_row(row, file.fileno(), partition.part, config) for row in rows)
        yield from readings(found, partition, known)


def _read_row(planned: PlannedRow, descriptor: int, part: Part, config: PrepareConfig) -> Found:
    payload = {"file": part.path, "members": planned.line["names"]}
    line: Line = {"text": None, "captions": [], "group": "", "subset": "", "meta": {}}
    if planned.reason is not None:
        bad = Draft(key=planned.key, line=line, reason=planned.reason, detail=planned.detail)
        return Found(draft=bad, payload=payload)
    data: dict[str, bytes] = {}
    for slot, medium in planned.media.items():
        limit = limit_of(slot, config)
        if medium.size > limit:
            detail = f"{medium.path!r} has {medium.size} bytes; the limit is {limit}"
            return Found(
                draft=Draft(key=planned.key, line=line, reason="media_too_large", detail=detail), payload=payload
            )
        data[slot] = os.pread(descriptor, medium.size, int(medium.version))
    try:
        made = _draft(planned, data, str(dict(part.constants).get(_MARK, "")))
    except (InvalidRow, ValueError, RecursionError) as error:
        detail = f"{type(error).__name__}: {error}" if isinstance(error, UnicodeDecodeError) else str(error)
        made = Draft(key=planned.key, line=line, reason="row_invalid", detail=detail[:500])
    media: dict[str, bytes] = {name: data[name] for name in ("image", "audio", "segments") if name in data}
    return Found(draft=made, media=media if made.reason is None else {}, payload=payload)


def _draft(planned: PlannedRow, data: dict[str, bytes], mark: str) -> Draft:
    """Make a row of members: `.txt`, `.caption`, then `text` and `caption` of `.json` are wordings of its text.

    Args:
        planned: the row.
        data: its members by slot.
        mark: of the archive, where the row has none.
    """
    record = _object(data["json"]) if "json" in data else {}
    written = [data[slot].decode("utf-8-sig").strip("\r\n") for slot in ("text", "caption") if slot in data]
    written += [text_of(record.pop(name, None), name) or "" for name in ("text", "caption")]
    wordings = list(dict.fromkeys(filter(None, [*written, *captions_of(record.pop("captions", None), "captions")])))
    meta = record.pop("meta", None) or {}
    if not isinstance(meta, dict):
        raise InvalidRow(f"meta must be an object, not {type(meta).__name__}")
    found = check_alignment(record.pop("segments", None), None, record.pop("regions", None))
    alignment = found.alignment.copy()
    if found.media:
        raise InvalidRow("segments must be a list; a subtitle file must be a member of its own")
    if "segments" in data:
        alignment.pop("segments", None)
        ending = posixpath.splitext(planned.media["segments"].path)[1].lower()
        alignment["segments_format"] = SEGMENT_FORMATS[ending]
    line: Line = {
        "text": wordings[0] if wordings else None,
        "captions": wordings[1:],
        "group": name_of(record.pop("group", None), "group"),
        "subset": name_of(record.pop(_MARK, None), _MARK) or mark,
        "meta": record | meta,
    }
    if "cls" in data:
        line["meta"]["cls"] = data["cls"].decode("utf-8-sig").strip()
    if "others" in planned.line:
        line["meta"]["other_members"] = planned.line["others"]
    if alignment:
        line["alignment"] = alignment
    return draft(planned.key, line, {}, check_alignment(None, None, None), "")


def _object(data: bytes) -> JsonObject:
    record = parse_json(data.decode("utf-8-sig"), allow_nan=False)
    if not isinstance(record, dict):
        raise InvalidRow(f"the .json member is a {type(record).__name__}, not an object")
    return record
