"""A hit's record: text, metadata, and where its media are. Read shard by shard, with the last shards cached."""

from __future__ import annotations

import json
import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from trichord.index_builders.base import Searcher
from trichord.infra import log
from trichord.infra.errors import StorageError
from trichord.infra.lake.checked_parquet import REMEDY
from trichord.infra.lake.shard import read_shard
from trichord.infra.lazy import arrow_compute as pc
from trichord.infra.plain_arrow import strings
from trichord.pipelines.core.workspace import Workspace
from trichord.pipelines.index.partition_map import Planned, read_partitions, read_planned
from trichord.transforms.collect import media_root
from trichord.transforms.collect.plan_parts import planned_media

KEPT_ROWS = 200_000  # in the cache of shards read last


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """A record without its media's bytes: `media` maps image and audio to the URIs that they were read from."""

    text: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    media: Mapping[str, str] = field(default_factory=dict)


class RecordReader:
    """Reads the records of one publication by key. Thread-safe."""

    def __init__(self, workspace: Workspace, searcher: Searcher, manifest: str) -> None:
        """
        Args:
            workspace: the project on its lake.
            searcher: the publication's searcher.
            manifest: lake-relative path of its manifest.
        """
        self._workspace, self._searcher = workspace, searcher
        self._paths = read_partitions(workspace, manifest)
        self._planned = _find_planned(workspace, manifest)
        self._sources = {source.name: source for source in workspace.project.sources}
        self._kept: OrderedDict[str, dict[str, Record]] = OrderedDict()
        self._lock = threading.Lock()

    def read(self, keys: Sequence[str]) -> list[Record]:
        """Return the records of these keys, in order; an empty one for a missing key."""
        partitions = self._searcher.partitions_of(keys)
        by_partition = {partition: self._of(partition) for partition in sorted(set(partitions.values()))}
        nothing = Record()
        return [by_partition.get(partitions.get(key, ""), {}).get(key, nothing) for key in keys]

    def _of(self, partition: str) -> dict[str, Record]:
        with self._lock:
            found = self._kept.get(partition)
            if found is None:
                found = self._kept[partition] = self._load(partition)
            self._kept.move_to_end(partition)
            while len(self._kept) > 1 and sum(map(len, self._kept.values())) > KEPT_ROWS:
                self._kept.popitem(last=False)
            return found

    def _load(self, partition: str) -> dict[str, Record]:
        rows = _read(self._workspace, self._paths, partition, ["key", "parent", "text", "meta"])
        media = self._media(partition)
        columns = (rows[name].to_pylist() for name in ("key", "parent", "text", "meta"))
        return {
            key: Record(text=text, metadata=json.loads(meta), media=media.get(parent or key, {}))
            for key, parent, text, meta in zip(*columns, strict=True)
        }

    def _media(self, partition: str) -> dict[str, dict[str, str]]:
        planned = self._planned.get(partition)
        source = None if planned is None else self._sources.get(planned.source)
        if planned is None or source is None:
            return {}
        try:
            return planned_media(self._workspace.lake, planned.path, planned.row_group, media_root(source))
        except StorageError:
            return {}  # plans are a cache: an old publication's may be deleted


def _read(workspace: Workspace, paths: Mapping[str, str], partition: str, columns: Sequence[str]) -> pa.Table:
    """Return columns of a partition's records. Raise StorageError where they are missing or damaged."""
    try:
        return read_shard(workspace.lake, paths[partition], columns)
    except (FileNotFoundError, KeyError) as missing:
        place = paths.get(partition, f"of partition {partition}")
        raise StorageError(f"The records shard {place} is missing.\n{REMEDY}.") from missing


def _find_planned(workspace: Workspace, manifest: str) -> Mapping[str, Planned]:
    """Return where partitions are planned; nothing, with an event, if that is lost: hits then name no media."""
    try:
        return read_planned(workspace, manifest)
    except StorageError as error:
        log.event("media_places_lost", detail=str(error).splitlines()[0])
        return {}


def record_texts(workspace: Workspace, searcher: Searcher, manifest: str, keys: Sequence[str]) -> list[str | None]:
    """Return the texts of records in the index, in the order of `keys`."""
    partitions, paths = searcher.partitions_of(keys), read_partitions(workspace, manifest)
    found: dict[str, str | None] = {}
    for partition in set(partitions.values()):
        rows = _read(workspace, paths, partition, ["key", "text"])
        # another source's row of this key is another record
        wanted = [key for key in keys if partitions[key] == partition]
        rows = rows.filter(pc.is_in(rows["key"], value_set=strings(wanted)))
        found |= dict(zip(rows["key"].to_pylist(), rows["text"].to_pylist(), strict=True))
    return [found.get(key) for key in keys]
