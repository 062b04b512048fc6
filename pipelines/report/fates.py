"""Rows to look at: records of each fate, copies beside what they are copies of, what ops changed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from trichord.infra.lake.shard import iter_shard
from trichord.pipelines.report.cards import Card, Printer
from trichord.pipelines.report.prepared import PreparedLake, kind_of
from trichord.pipelines.report.smallest import Smallest
from trichord.pipelines.report.tally import Place, Tally

ROWS_A_FATE, PAIRS, PAIRS_A_KIND, PLACES_A_KEY = 4, 12, 4, 8
FATES = {
    "kept": "Kept as it came",
    "changed": "Kept and changed",
    "cut": "Cut from a parent",
    "aligned": "Aligned with its sound",
    "blurred tiles": "Blurred in part: red tiles are blurred, grey ones have no edges",
}
SHOWN = ("key", "text", "image", "audio", "labels", "segments", "changes", "parent", "span", "box", "row_digest")

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """A record as a card, with the ops that changed it and the row it was cut from."""

    card: Card
    ops: tuple[str, ...]
    parent: str
    part: str  # which part of the parent: a span in seconds or a box in pixels


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """Two records that are alike; `left` was dropped, or is the later of a match."""

    left: Card
    right: Card
    kind: str
    evidence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """A change cut to where its values differ."""

    key: str
    before: str
    after: str
    head: str
    gone: str
    come: str
    tail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Changed:
    """What an op did to a field, and how often."""

    op: str
    field: str
    rows: int
    samples: tuple[Difference, ...]


def fates(lake: PreparedLake, counted: Tally, printer: Printer) -> list[tuple[str, list[Shown]]]:
    """Some records of each fate, none of them a duplicate."""
    candidates = {place[3] for places in counted.places.values() for place in places}
    dropped: set[str] = set()
    for _, rows in lake.read("duplicates", ["row_digest"]):
        dropped |= candidates & {row["row_digest"] for row in rows}
    chosen = {
        fate: [place for place in counted.places.get(fate, ()) if place[3] not in dropped][:ROWS_A_FATE]
        for fate in FATES
    }
    records = _load(lake, {place for places in chosen.values() for place in places})
    found = []
    for fate, title in FATES.items():
        shown = [_shown(printer, fate, records[place]) for place in chosen[fate] if place in records]
        if shown:
            found.append((title, shown))
    return found


def _shown(printer: Printer, fate: str, row: Row) -> Shown:
    part = ""
    if row["span"]:
        part = f"{row['span'][0]:.2f} to {row['span'][1]:.2f} s"
    elif row["box"]:
        part = "box " + ", ".join(f"{side:.0f}" for side in row["box"])
    return Shown(
        card=printer.card(
            row["key"],
            row["text"],
            row["image"],
            row["audio"],
            blur_map=dict(row["labels"]).get("image_blur_map") if fate == "blurred tiles" else None,
            segments=row["segments"] if fate == "aligned" else (),
        ),
        ops=tuple(dict.fromkeys(change["op"] for change in row["changes"])),
        parent=row["parent"],
        part=part,
    )


def duplicates(lake: PreparedLake, printer: Printer) -> list[Pair]:
    """Some dropped records of each kind of evidence, beside their survivors."""
    chosen: dict[str, Smallest[Row]] = defaultdict(lambda: Smallest(PAIRS_A_KIND))
    for _, rows in lake.read("duplicates"):
        for row in rows:
            chosen[kind_of(row["evidence"])].offer(row["key"], row)
    return _pairs(lake, printer, chosen, "survivor_key", "survivor_source")


def matches(lake: PreparedLake, printer: Printer) -> tuple[dict[str, int], list[Pair]]:
    """How many records share one modality with another, by modality, and some of them."""
    counts: dict[str, int] = defaultdict(int)
    chosen: dict[str, Smallest[Row]] = defaultdict(lambda: Smallest(PAIRS_A_KIND))
    for _, rows in lake.read("matches"):
        for row in rows:
            counts[row["modality"]] += 1
            chosen[row["modality"]].offer(row["key"], row)
    return dict(sorted(counts.items())), _pairs(lake, printer, chosen, "other_key", "other_source")


def _pairs(
    lake: PreparedLake, printer: Printer, chosen: Mapping[str, Smallest[Row]], other: str, source: str
) -> list[Pair]:
    quota = max(1, PAIRS // max(1, len(chosen)))
    shown = [(kind, row) for kind, kept in sorted(chosen.items()) for row in kept.items()[:quota]][:PAIRS]
    places = _locate(lake, {key for _, row in shown for key in (row["key"], row[other])})
    sides = []
    for kind, row in shown:
        own = next((p for p, of in places.get(row["key"], ()) if p[2] == row["partition"]
                    and row.get("row_digest", p[3]) == p[3] and of == row["source"]), None)  # fmt: skip
        its = next((p for p, of in places.get(row[other], ()) if p != own and of == row[source]), None)
        sides.append((kind, row, own, its))
    records = _load(lake, {place for _, _, own, its in sides for place in (own, its) if place is not None})

    def card(place: Place | None, key: str) -> Card:
        record = records.get(place) if place is not None else None
        if record is None:
            return Card(key=key, notes=("the record is not in the lake",))
        return printer.card(key, record["text"], record["image"], record["audio"])

    return [
        Pair(left=card(own, row["key"]), right=card(its, row[other]), kind=kind, evidence=row["evidence"])
        for kind, row, own, its in sides
    ]


def _locate(lake: PreparedLake, keys: Collection[str]) -> dict[str, list[tuple[Place, str]]]:
    """Where records of some keys are: (place, source) by key. Reads the keys of every shard, nothing else of most."""
    found: dict[str, list[tuple[Place, str]]] = defaultdict(list)
    if not keys:
        return found
    wanted = pa.array(sorted(keys), pa.string())
    columns = ["key", "source", "partition", "row_digest"]
    for ref in lake.shards("records"):
        for batch in iter_shard(lake.workspace.lake, ref, columns, batch_rows=16_384):
            for row in batch.filter(pc.is_in(batch["key"], value_set=wanted)).to_pylist():
                if len(found[row["key"]]) < PLACES_A_KEY:
                    found[row["key"]].append(
                        ((ref.path, row["key"], row["partition"], row["row_digest"]), row["source"])
                    )
    return found


def _load(lake: PreparedLake, places: Collection[Place]) -> dict[Place, Row]:
    """The records at some places, one row group in memory at a time."""
    by_path: dict[str, list[Place]] = defaultdict(list)
    for place in sorted(places):
        by_path[place[0]].append(place)
    found: dict[Place, Row] = {}
    for path, here in by_path.items():
        wanted = pa.array([place[3] for place in here], pa.string())
        for batch in iter_shard(lake.workspace.lake, path, (*SHOWN, "partition")):
            for row in batch.filter(pc.is_in(batch["row_digest"], value_set=wanted)).to_pylist():
                found[path, row["key"], row["partition"], row["row_digest"]] = row
    return found


def changes(counted: Tally) -> list[Changed]:
    """What every op changed, how often, with some of it."""
    return [
        Changed(
            op=op,
            field=field,
            rows=rows,
            samples=tuple(difference(sample) for sample in counted.change_samples.get((op, field), ())),
        )
        for (op, field), rows in sorted(counted.changes.items())
    ]


AROUND = 30  # characters of what is equal


def difference(sample: Mapping[str, str]) -> Difference:
    """A change with the words that both values share at their ends taken away, but for `AROUND` characters."""
    before, after = sample["before"] or "", sample["after"] or ""
    head = before.rfind(" ", 0, _common(before, after)) + 1
    behind = before[head:][::-1]
    tail = behind.rfind(" ", 0, _common(behind, after[head:][::-1])) + 1
    first, last = before[:head], before[len(before) - tail :]
    return Difference(
        key=sample["key"],
        before=before,
        after=after,
        head=f"…{first[-AROUND:]}" if len(first) > AROUND else first,
        gone=before[head : len(before) - tail],
        come=after[head : len(after) - tail],
        tail=f"{last[:AROUND]}…" if len(last) > AROUND else last,
    )


def _common(one: Sequence[str], other: Sequence[str]) -> int:
    pairs = zip(one, other, strict=False)
    return next((place for place, (a, b) in enumerate(pairs) if a != b), min(len(one), len(other)))
