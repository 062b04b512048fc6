"""Rows to look at: rejects and hits as cards."""

from __future__ import annotations

import heapq
import json
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from trichord.index_builders.row_labels import read_keys
from trichord.infra.errors import StorageError
from trichord.infra.lake.shard import iter_shard
from trichord.infra.lake.storage import TooLarge
from trichord.pipelines.index.partition_map import read_partitions
from trichord.pipelines.report.cards import MAX_FILE_BYTES, Card, Printer
from trichord.pipelines.report.prepared import Tables
from trichord.pipelines.report.snapshot import Snapshot
from trichord.transforms.collect import media_root
from trichord.transforms.media import MediaError

REJECTS, REJECTS_A_REASON, QUERIES, HITS = 24, 3, 12, 10

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejected:
    """A rejected row; `within` says where in a larger file it lies."""

    card: Card
    row: Row
    within: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A query and its hits; `answer` is the key that the query was made from, if that is known."""

    by: str
    query: str
    card: Card
    answer: str | None
    hits: tuple[tuple[Row, Card], ...]


def reject_samples(lake: Tables, printer: Printer) -> list[Rejected]:
    """Some rejects of every reason, the smallest keys of each."""
    if not lake.rejects:
        return []
    quota = max(1, min(REJECTS_A_REASON, REJECTS // len(lake.rejects)))
    chosen: dict[tuple[str, str], list[Row]] = defaultdict(list)
    for _, rows in lake.read("rejects"):
        for row in rows:
            chosen[row["op"], row["reason"]].append(row)
        chosen.update({reason: _first(quota, held) for reason, held in chosen.items()})
    shown = [row for reason in lake.rejects for row in chosen[reason]]
    return [_rejected(lake, printer, row) for row in shown[:REJECTS]]


def _rejected(lake: Tables, printer: Printer, row: Row) -> Rejected:
    payload = json.loads(row["payload"])
    media, notes = dict[str, bytes | None](), []
    for name in ("image", "audio"):
        media[name], note = _source_file(lake, row["source"], payload.get(name))
        notes += [f"{name}: {note}"] if note else []
    text = payload.get("text") or payload.get("raw")
    card = printer.card(row["key"], text, media["image"], media["audio"])
    within = payload.get("file") or ""
    if within and "row" in payload:
        within = f"{within}, row {payload['row']}"
    return Rejected(row=row, card=replace(card, notes=(*notes, *card.notes)), within=str(within))


def _source_file(lake: Tables, name: str, path: str | None) -> tuple[bytes | None, str]:
    """A file that a reject refers to, never from outside its source's root; else why it is not shown."""
    if path is None:
        return None, ""
    sources = {source.name: source for source in lake.workspace.project.sources}
    if name not in sources:
        return None, "its source is no longer in the project"
    root = media_root(sources[name])
    try:
        uri = root.locate(root.relative(path))
        return lake.workspace.storage.read(uri, max_bytes=MAX_FILE_BYTES), ""
    except MediaError as error:
        return None, error.reason
    except FileNotFoundError:
        return None, "the file is gone"
    except TooLarge:
        return None, "too large to show"
    except StorageError as error:
        return None, str(error).splitlines()[0]


def query_cards(snapshot: Snapshot, printer: Printer, queries: Sequence[Mapping[str, Any]]) -> list[Asked]:
    """Queries with their hits.

    Args:
        snapshot: the publication that was asked.
        printer: makes the cards.
        queries: each with `by`, `query` (words to show) and `hits` (`key`, `score`, `view`, `text`); optionally
            `image` and `audio`, URIs of the query's own files, and `answer`, the key it was made from.
    """
    queries = queries[:QUERIES]
    partitions = _partitions_of(snapshot, {hit["key"] for query in queries for hit in query["hits"][:HITS]})
    records = _records(snapshot, {(partition, key) for key, partition in partitions.items()})
    asked = []
    for query in queries:
        media = {}
        for name in ("image", "audio"):
            uri = query.get(name)
            media[name] = snapshot.workspace.storage.read(str(uri), max_bytes=MAX_FILE_BYTES) if uri else None
        own = printer.card("", None, media["image"], media["audio"], clip=True)
        hits = []
        for place, hit in enumerate(query["hits"][:HITS]):
            found = records.get((partitions.get(hit["key"], ""), hit["key"]))
            hits.append((hit, _stored(printer, hit["key"], found, clip=place == 0)))
        asked.append(
            Asked(by=query["by"], query=query["query"], card=own, answer=query.get("answer"), hits=tuple(hits))
        )
    return asked


def _stored(printer: Printer, key: str, record: Row | None, *, clip: bool = False) -> Card:
    if record is None:
        return Card(key=key, notes=("the record is not in this publication",))
    return printer.card(key, record["text"], record["image"], record["audio"], clip=clip)


def _partitions_of(snapshot: Snapshot, keys: Collection[str]) -> dict[str, str]:
    """The partition of every indexed key among `keys`."""
    found: dict[str, str] = {}
    wanted = pa.array(sorted(keys), pa.string())
    for shard in snapshot.manifest.shards:
        if len(found) == len(wanted):
            break
        rows = read_keys(snapshot.workspace.lake, shard).select(["key", "partition"])
        rows = rows.filter(pc.is_in(rows["key"], value_set=wanted))
        found |= dict(zip(rows["key"].to_pylist(), rows["partition"].to_pylist(), strict=True))
    return found


def _records(snapshot: Snapshot, places: Collection[tuple[str, str]]) -> dict[tuple[str, str], Row]:
    """The records at (partition, key), one row group in memory at a time."""
    workspace = snapshot.workspace
    found: dict[tuple[str, str], Row] = {}
    paths = read_partitions(workspace, snapshot.row["manifest"]) if places else {}
    for partition, keys in _grouped(places):
        if partition not in paths:
            continue
        columns = ["key", "text", "image", "audio"]
        for batch in iter_shard(workspace.lake, paths[partition], columns):
            chosen = batch.filter(pc.is_in(batch["key"], value_set=pa.array(keys, pa.string())))
            found |= {(partition, row["key"]): row for row in chosen.to_pylist()}
    return found


def _grouped(places: Collection[tuple[str, str]]) -> Iterator[tuple[str, list[str]]]:
    keys: dict[str, list[str]] = defaultdict(list)
    for partition, key in sorted(places):
        keys[partition].append(key)
    yield from keys.items()


def _first(count: int, rows: Sequence[Row]) -> list[Row]:
    return heapq.nsmallest(count, rows, key=lambda row: (row["key"], row["source"]))
