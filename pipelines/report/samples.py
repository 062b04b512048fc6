"""Rows to look at, as cards: rejects, records of each fate, duplicates beside the records kept, queries and hits."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
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
from trichord.pipelines.report.facts import REJECTS_PER_REASON, Facts, Kinds
from trichord.pipelines.report.publication import Snapshot
from trichord.pipelines.report.tally import Place
from trichord.transforms.collect import media_root
from trichord.transforms.dedup.clusters import NOT_COMPARED
from trichord.transforms.media import MediaError

REJECTS, PAIRS, LISTED, ROWS_PER_FATE, OPS, QUERIES, HITS = 24, 12, 300, 4, 4, 12, 10
PLACES_PER_KEY = 8
FATES = {
    "kept": "Kept unchanged",
    "changed": "Kept and changed",
    "cut": "Cut from a parent",
    "aligned": "Transcript aligned with the sound",
    "tiles": "Partly blurred: red tiles are blurred, grey tiles have no edges",
}
_SHOWN = (*Place._fields[1:], "text", "image", "audio", "labels", "segments", "changes", "parent", "span", "box")

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """Two records that resemble each other; `left` was dropped, or is the later of a match."""

    left: Card
    right: Card
    evidence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A query and its hits; `answer` is the key that the query was made from, if known."""

    by: str
    query: str
    card: Card
    answer: str | None
    hits: tuple[Card, ...]


def rejects(facts: Facts, printer: Printer) -> list[Card]:
    """Return some rejects of every reason."""
    quota = max(1, min(REJECTS_PER_REASON, REJECTS // max(1, len(facts.reasons))))
    rows = [row for reason in facts.reasons for row in facts.rejects.sample(reason)[:quota]]
    return [_reject(facts, printer, row) for row in rows[:REJECTS]]


def _reject(facts: Facts, printer: Printer, row: Row) -> Card:
    payload = json.loads(row["payload"])
    media, notes = dict[str, bytes | None](), []
    for name in ("image", "audio"):
        media[name], note = _source_file(facts, row["source"], payload.get(name))
        notes += [f"{name}: {note}"] if note else []
    card = printer.card(row["key"], payload.get("text") or payload.get("raw"), media["image"], media["audio"])
    file, op = payload.get("file") or "", row["op"]
    within = f"in {file}, row {payload['row']}" if file and "row" in payload else f"in {file}" if file else ""
    return replace(
        card,
        tags=(("red", row["reason"]), *([("", op)] if not op.startswith("threshold:") else [])),
        lines=tuple(line for line in (row["detail"], within) if line),
        notes=(*notes, *card.notes),
    )


def _source_file(facts: Facts, name: str, path: str | None) -> tuple[bytes | None, str]:
    """Read a file that a reject refers to, never from outside its source's root; else say why it is not shown."""
    if path is None:
        return None, ""
    source = next((chain.source for chain in facts.chains if chain.source.name == name), None)
    if source is None:
        return None, "its source is no longer in the project"
    root = media_root(source)
    try:
        return facts.workspace.storage.read(root.locate(root.relative(path)), max_bytes=MAX_FILE_BYTES), ""
    except MediaError as error:
        return None, error.reason
    except FileNotFoundError:
        return None, "the file no longer exists"
    except TooLarge:
        return None, "too large to show"
    except StorageError as error:
        return None, str(error).splitlines()[0]


def fates(facts: Facts, printer: Printer) -> list[tuple[str, list[Card]]]:
    """Return some records of each fate, without duplicates."""
    chosen = {fate: facts.records.fates.get(fate, [])[:ROWS_PER_FATE] for fate in FATES}
    records = _load(facts, {place for places in chosen.values() for place in places})
    return [
        (title, [_fate(printer, fate, records[place]) for place in chosen[fate]])
        for fate, title in FATES.items()
        if chosen[fate]
    ]


def _fate(printer: Printer, fate: str, row: Row) -> Card:
    card = printer.card(
        row["key"],
        row["text"],
        row["image"],
        row["audio"],
        blur_map=dict(row["labels"]).get("image_blur_map") if fate == "tiles" else None,
        segments=row["segments"] if fate == "aligned" else (),
    )
    lines = [f"from {row['parent']}"] if row["parent"] else []
    if row["span"]:
        lines.append(f"{row['span'][0]:.2f} to {row['span'][1]:.2f} s")
    elif row["box"]:
        lines.append("box " + ", ".join(f"{side:.0f}" for side in row["box"]))
    ops = list(dict.fromkeys(change["op"] for change in row["changes"]))
    return replace(card, tags=tuple(("", op) for op in ops[:OPS]), lines=tuple(lines))


def duplicates(facts: Facts, printer: Printer) -> list[Pair]:
    """Return some dropped records of each kind of evidence, beside the records that were kept."""
    return _pairs(facts, printer, facts.duplicates, "survivor", "survivor")


def matches(facts: Facts, printer: Printer) -> list[Pair]:
    """Return some records that share one modality with an earlier one."""
    return _pairs(facts, printer, facts.matches, "other", "earlier")


def listed(facts: Facts, table: str, other: str) -> list[dict[str, str]]:
    """Return the first `LISTED` pairs of `duplicates` or `matches` without their media, uncertain ones first."""
    first: list[tuple[bool, str, str, str]] = []
    for ref in facts.shards[table]:
        for batch in iter_shard(facts.workspace.lake, ref, batch_rows=4_096):
            for row in batch.to_pylist():
                why = row.get("why") or ""
                words = ": ".join(part for part in (row["evidence"], why) if part)
                first.append((why in NOT_COMPARED, row["key"], row[other], words))
            first = sorted(first)[:LISTED]
    return [{"key": key, "other": survivor, "evidence": words} for _, key, survivor, words in first]


def _pairs(facts: Facts, printer: Printer, kinds: Kinds[str], other: str, title: str) -> list[Pair]:
    quota = max(1, PAIRS // max(1, len(kinds.totals())))
    chosen = [(kind, row) for kind in kinds.totals() for row in kinds.sample(kind)[:quota]][:PAIRS]
    places = _locate(facts, {key for _, row in chosen for key in (row["key"], row[f"{other}_key"])})
    sides: list[tuple[Place | None, Place | None]] = []
    for _, row in chosen:
        own = {name: row[name] for name in Place._fields if name in row}
        left = next((p for p in places[row["key"]] if own.items() <= p._asdict().items()), None)
        others = (p for p in places[row[f"{other}_key"]] if p != left and p.source == row[f"{other}_source"])
        sides.append((left, next(others, None)))
    records = _load(facts, {place for side in sides for place in side if place is not None})

    def card(place: Place | None, key: str, tag: tuple[str, str]) -> Card:
        return replace(_stored(printer, key, records.get(place) if place else None, "the lake"), tags=(tag,))

    return [
        Pair(
            left=card(left, row["key"], ("amber", kind.replace("_", " "))),
            right=card(right, row[f"{other}_key"], ("green", title)),
            evidence=": ".join(part for part in (row["evidence"], row.get("why")) if part and part != kind),
        )
        for (kind, row), (left, right) in zip(chosen, sides, strict=True)
    ]


def queries(snapshot: Snapshot, printer: Printer, asked: Sequence[Mapping[str, Any]]) -> list[Asked]:
    """Return queries with their hits.

    Args:
        snapshot: the publication that was asked.
        printer: makes the cards.
        asked: queries, each with `by`, `query` (words to show) and `hits` (`key`, `score`, `view`, `text`); optionally
            `image` and `audio`, URIs of the query's own files, and `answer`, the key it was made from.
    """
    asked = asked[:QUERIES]
    places = _indexed(snapshot, {hit["key"] for query in asked for hit in query["hits"][:HITS]})
    records = _load(snapshot.facts, places.values())

    def own_file(uri: str | None) -> bytes | None:
        return snapshot.facts.workspace.storage.read(str(uri), max_bytes=MAX_FILE_BYTES) if uri else None

    shown = []
    for query in asked:
        own = printer.card("", None, own_file(query.get("image")), own_file(query.get("audio")), clip=True)
        hits = []
        for rank, hit in enumerate(query["hits"][:HITS]):
            record = records.get(places[hit["key"]]) if hit["key"] in places else None
            card = _stored(printer, hit["key"], record, "this publication", clip=rank == 0)
            hits.append(replace(card, text=hit["text"], tags=(("", f"{hit['score']:.3f}"), ("", hit["view"]))))
        shown.append(
            Asked(by=query["by"], query=query["query"], card=own, answer=query.get("answer"), hits=tuple(hits))
        )
    return shown


def _stored(printer: Printer, key: str, record: Row | None, where: str, *, clip: bool = False) -> Card:
    if record is None:
        return Card(key=key, notes=(f"the record is not in {where}",))
    return printer.card(key, record["text"], record["image"], record["audio"], clip=clip)


def _indexed(snapshot: Snapshot, keys: Collection[str]) -> dict[str, Place]:
    """Return where the records of indexed keys are, by the keys of the index."""
    lake, found, wanted = snapshot.facts.workspace.lake, dict[str, Place](), pa.array(sorted(keys), pa.string())
    paths = read_partitions(snapshot.facts.workspace, snapshot.publication.manifest) if keys else {}
    for shard in snapshot.manifest.shards:
        if len(found) == len(wanted):
            break
        rows = read_keys(lake, shard).select(Place._fields[1:])
        for row in rows.filter(pc.is_in(rows["key"], value_set=wanted)).to_pylist():
            if row["partition"] in paths:
                found[row["key"]] = Place(paths[row["partition"]], **row)
    return found


def _locate(facts: Facts, keys: Collection[str]) -> dict[str, list[Place]]:
    """Return where the records of some keys are. Reads the keys of every shard, and little else."""
    found: dict[str, list[Place]] = defaultdict(list)
    wanted = pa.array(sorted(keys), pa.string())
    for ref in facts.shards["records"] if keys else ():
        for batch in iter_shard(facts.workspace.lake, ref, Place._fields[1:], batch_rows=16_384):
            for row in batch.filter(pc.is_in(batch["key"], value_set=wanted)).to_pylist():
                if len(found[row["key"]]) < PLACES_PER_KEY:
                    found[row["key"]].append(Place(ref.path, **row))
    return found


def _load(facts: Facts, places: Collection[Place]) -> dict[Place, Row]:
    """Return the records at some places, with one row group in memory at a time."""
    by_path: dict[str, list[str]] = defaultdict(list)
    for place in sorted(places):
        by_path[place.path].append(place.row_digest)
    found: dict[Place, Row] = {}
    for path, digests in by_path.items():
        wanted = pa.array(digests, pa.string())
        for batch in iter_shard(facts.workspace.lake, path, _SHOWN):
            for row in batch.filter(pc.is_in(batch["row_digest"], value_set=wanted)).to_pylist():
                found[Place(path, *(row[name] for name in Place._fields[1:]))] = row
    return found
