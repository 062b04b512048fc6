"""The index of a tar: its members joined by key, made once for each content, by the driver or by workers."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from trichord.infra import digest
from trichord.infra.config import WebDatasetSource
from trichord.infra.errors import SourceError
from trichord.infra.json_values import JsonObject, parse_json
from trichord.infra.lake import layout
from trichord.infra.lake.checked_parquet import has_seal
from trichord.infra.lake.lake import Lake
from trichord.infra.lake.storage import Stat, Storage, VersionCache
from trichord.infra.lake.stores import open_source
from trichord.infra.printable import MAX_NAME_CHARS, find_unnameable, printable
from trichord.transforms.bounded_text import normal_form
from trichord.transforms.collect.data_files import require_same
from trichord.transforms.collect.drafts import InvalidRow
from trichord.transforms.collect.field_map import name_of
from trichord.transforms.collect.folder import MODALITY_OF_ENDING
from trichord.transforms.collect.line import Line
from trichord.transforms.collect.partitions import PLAN_FORMAT, Medium, PlannedRow, table_of
from trichord.transforms.collect.plan_parts import write_groups
from trichord.transforms.collect.tars import ArchiveError, Member, local_tar, members
from trichord.transforms.collect.workers import Workers
from trichord.transforms.text_bytes import decode_text

INDEX_FORMAT = 4  # raised when the same tar would give other rows
MAX_MEMBERS = 500_000
MAX_MARKED_BYTES = 1 << 20  # of a `.json` member whose mark planning reads
MARK = "split"  # in a `.json` member
_SHOWN_OTHERS = 20
_LEAST_RATIO = 8  # bytes of tars take this many times less than bytes of a manifest
_SLOT_OF_ENDING = {
    **MODALITY_OF_ENDING,
    ".json": "json",
    ".cls": "cls",
    ".caption": "caption",
    ".srt": "segments",
    ".vtt": "segments",
}


def index_address(version: str) -> str:
    """Return the address of the index of a tar of this version."""
    return digest.address("tar", PLAN_FORMAT, INDEX_FORMAT, version)


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexTar:
    """The task of a worker that indexes new tars where they lie: the driver reads none of them."""

    source: WebDatasetSource
    lake: Lake

    def __call__(self, stat: Stat) -> tuple[str, str]:
        """Index a tar; return its URI and its version. Raises as `plan_webdataset`."""
        return stat.uri, self.index(stat, None)

    def index(self, stat: Stat, cache: VersionCache | None) -> str:
        """Return the version of a tar, and write its index if it is not in the lake."""
        version = self.lake.storage.version(stat, self.source.version_by, cache)
        if not self.is_indexed(version):
            rows = _read_index(self.source, self.lake.storage, stat)
            uri = self.lake.uri(layout.plan_path(index_address(version)))
            write_groups([table_of(rows)] if rows else [], self.lake.storage, uri)
        return version

    def is_indexed(self, version: str) -> bool:
        """Return True if the lake has the index of a tar of this version."""
        return has_seal(self.lake.storage, self.lake.uri(layout.plan_path(index_address(version))))


def index_on_workers(
    indexing: IndexTar, stats: Iterable[Stat], cache: VersionCache | None, workers: Workers
) -> dict[str, str]:
    """Return the versions of new tars by URI, indexed by workers; none if the driver does it as fast."""
    storage, by, new = indexing.lake.storage, indexing.source.version_by, dict[str, Stat]()
    for stat in stats:
        hashed = by == "sha256" or (by == "auto" and stat.etag is None)
        sha256 = cache.get(stat) if hashed and cache is not None else None
        version = f"sha256:{sha256}" if sha256 else None if hashed else storage.version(stat, by, None)
        if version is None or not indexing.is_indexed(version):
            new[stat.uri] = stat
    if len(new) < 2 or sum(stat.size for stat in new.values()) < _LEAST_RATIO * workers.least_bytes:
        return {}
    versions = {}
    for uri, version in workers.run(indexing, new.values()):
        versions[uri] = version
        # Hashing took time: it counts only if the file is still the one that was listed.
        if cache is not None and version.startswith("sha256:") and storage.stat(uri) == new[uri]:
            cache.put(new[uri], version.removeprefix("sha256:"))
    return versions


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
        key = normal_form("NFC", "/".join([*parts[:-1], stem]))
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
        mark = name_of(json_object(os.pread(descriptor, member.size, int(member.version))).get(MARK), MARK)
    except (InvalidRow, ValueError, RecursionError):
        return ""
    return "" if find_unnameable([(MARK, mark)]) else mark


def json_object(data: bytes) -> JsonObject:
    """Parse a `.json` member.

    Raises:
        InvalidRow, ValueError: it is not a JSON object.
    """
    record = parse_json(decode_text(data), allow_nan=False, unique=True)
    if not isinstance(record, dict):
        raise InvalidRow(f"the .json member is a {type(record).__name__}, not an object")
    return record
