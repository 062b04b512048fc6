"""WebDataset sources: tar files with members in any order, joined by key.

A key is a member's folder and its name up to the first dot; the rest is the ending, which says what the member is. The
members of a tar are indexed once, ordered by key; rows then do not depend on the members' order.
"""

from __future__ import annotations

import os
import posixpath
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from functools import reduce

import pyarrow as pa

from trichord.infra import digest
from trichord.infra.config import PrepareConfig, WebDatasetSource
from trichord.infra.endings import OTHERS, count_ending
from trichord.infra.lake import layout
from trichord.infra.lake.checked_parquet import open_sealed
from trichord.infra.lake.lake import Lake
from trichord.infra.lake.storage import VersionCache
from trichord.infra.lake.stores import open_source
from trichord.infra.lazy import arrow_compute as pc
from trichord.transforms.collect.alignment import SEGMENT_FORMATS, check_alignment
from trichord.transforms.collect.data_files import TAR_ENDINGS, data_files, require_unchanged, root_of
from trichord.transforms.collect.drafts import Draft, InvalidRow
from trichord.transforms.collect.field_map import captions_of, draft, name_of, text_of
from trichord.transforms.collect.file_marks import find_file_marks
from trichord.transforms.collect.inline import Found, limit_of, readings
from trichord.transforms.collect.line import Line
from trichord.transforms.collect.partitions import Part, Partition, PlannedRow, line_of
from trichord.transforms.collect.plan_parts import read_plan
from trichord.transforms.collect.read import Known, Reading
from trichord.transforms.collect.tally import Tally
from trichord.transforms.collect.tar_index import MARK, IndexTar, index_address, index_on_workers, json_object
from trichord.transforms.collect.tars import local_tar
from trichord.transforms.collect.workers import Workers
from trichord.transforms.text_bytes import decode_text

_SLOTS_OF = {"text": ("text", "caption", "json", "segments"), "image": ("image",), "audio": ("audio",)}


def plan_webdataset(
    source: WebDatasetSource,
    lake: Lake,
    cache: VersionCache | None,
    tally: Tally | None = None,
    wanted: Callable[[str], bool] | None = None,
    workers: Workers | None = None,
    unread: Counter[str] | None = None,
) -> list[Partition]:
    """Plan one partition per tar; `unread` counts files and members without a known ending. Only new tars are read.

    With `wanted`, only tars whose path it accepts; the marks are those of all tars. If much is new, `workers` read it.

    Raises:
        SourceError: there is no tar, or one of them is damaged.
    """
    root = root_of(source.path, TAR_ENDINGS)
    partitions, unread = [], unread if unread is not None else Counter()
    found = data_files(source, lake.storage, TAR_ENDINGS, unread)
    marks = find_file_marks(stat.uri[len(root) + 1 :] for stat in found)
    if wanted is not None:
        found = [stat for stat in found if wanted(stat.uri[len(root) + 1 :])]
    indexing = IndexTar(source=source, lake=lake)
    versions = index_on_workers(indexing, found, cache, workers) if workers is not None else {}
    for stat in found:
        version = versions.get(stat.uri) or indexing.index(stat, cache)
        address = index_address(version)
        locator = layout.plan_path(address)
        with open_sealed(lake.storage, lake.uri(locator)) as index:
            count = index.metadata.num_rows
            rows_of = index.read(columns=["line", "media", "reason", "detail"], use_threads=False)
        path = stat.uri[len(root) + 1 :]
        mark = marks.get(path, "")
        for line in map(line_of, rows_of["line"].to_pylist()):
            others = line.get("others", ())
            for name in others:
                count_ending(unread, name)
            if (more := line.get("others_count", 0) - len(others)) > 0:
                unread[OTHERS] += more
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
                    part=Part(path=path, size=stat.size, version=version, constants=((MARK, mark),) if mark else ()),
                )
            )
    return partitions


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
        made = _draft(planned, data, str(dict(part.constants).get(MARK, "")))
    except (InvalidRow, ValueError, RecursionError) as error:
        made = Draft(key=planned.key, line=line, reason="row_invalid", detail=str(error)[:500])
    media: dict[str, bytes] = {name: data[name] for name in ("image", "audio", "segments") if name in data}
    return Found(draft=made, media=media if made.reason is None else {}, payload=payload)


def _draft(planned: PlannedRow, data: dict[str, bytes], mark: str) -> Draft:
    """Make a row of members: `.txt`, `.caption`, then `text` and `caption` of `.json` are wordings of its text.

    Args:
        planned: the row.
        data: its members by slot.
        mark: of the archive, where the row has none.
    """
    record = json_object(data["json"]) if "json" in data else {}
    written = [decode_text(data[slot]).strip("\r\n") for slot in ("text", "caption") if slot in data]
    written += [text_of(record.pop(name, None), name) or "" for name in ("text", "caption")]
    wordings = list(filter(None, [*written, *captions_of(record.pop("captions", None), "captions")]))
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
        "subset": name_of(record.pop(MARK, None), MARK) or mark,
        "meta": record | meta,
    }
    if "cls" in data:
        line["meta"]["cls"] = decode_text(data["cls"]).strip()
    if "others" in planned.line:
        line["meta"]["other_members"] = planned.line["others"]
    if alignment:
        line["alignment"] = alignment
    return draft(planned.key, line, {}, check_alignment(None, None, None), "")
