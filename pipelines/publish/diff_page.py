"""The page of a comparison: what changed, with the pictures, waveforms and texts of both sides."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from trichord.infra.lake.shard import iter_shard
from trichord.infra.lazy import arrow_compute as pc
from trichord.infra.plain_arrow import strings
from trichord.pipelines.core.workspace import Workspace
from trichord.pipelines.publish.diff_drift import ScoreDrift
from trichord.pipelines.publish.diff_fields import Change
from trichord.pipelines.publish.diff_queries import Found, QueryChange
from trichord.pipelines.publish.diff_rows import Rows
from trichord.pipelines.report import plots
from trichord.pipelines.report.cards import Card, Printer
from trichord.pipelines.report.changes import Difference, difference
from trichord.pipelines.report.render import write_html

if TYPE_CHECKING:
    from trichord.pipelines.publish.diff import Diff

CARDS, PLOTS, ROWS = 8, 12, 100  # of each kind
_SHOWN = ("key", "source", "row_digest", "text", "image", "audio", "meta")

Record = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangedCards:
    """A changed record on both sides, and the words of its text and metadata that differ."""

    key: str
    fields: tuple[str, ...]
    before: Card
    after: Card
    differences: tuple[tuple[str, Difference], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class AskedCards:
    """A query with both lists; each hit with its mark: `lost`, `came`, or nothing."""

    query: QueryChange
    card: Card
    lists: tuple[tuple[str, tuple[tuple[Card, Found, str], ...]], ...]


def write_diff_page(workspace: Workspace, found: Diff, rows: Rows, path: Path) -> None:
    """Write the page of a comparison; an existing file is replaced.

    Raises:
        StorageError: a shard is damaged, or the page cannot be written.
    """
    printer = Printer()
    content = {
        "title": f"Trichord: {found.before} → {found.after}",
        "diff": found,
        "asked": _asked(workspace, printer, found.queries.most_changed),  # first: they get their pictures
        "changed": _changed(workspace, printer, found.fields.first),
        "added": _cards(workspace, printer, rows.places("added", CARDS)),
        "removed": _cards(workspace, printer, rows.places("removed", CARDS)),
        "moved": found.moved[:ROWS],
        "rejects": list(found.rejects.items())[:ROWS],
        "most_rejects": max((max(pair) for pair in found.rejects.values()), default=1),
        "fields": list(found.fields.fields.items()),
        "plots": [(one, _plot(one)) for one in found.scores[:PLOTS]],
        "drifted": sum(one.drifted for one in found.scores),
        "gate": found.gate[:ROWS],
        "figures": list(found.figures.items())[: 3 * ROWS],
    }
    write_html(workspace, path, "diff.html.j2", content | {"left_out": printer.left_out, "defects": (), "matches": ()})


def _cards(workspace: Workspace, printer: Printer, places: Sequence[tuple[str, str]]) -> list[Card]:
    records = _load(workspace, "row_digest", places)
    return [_card(printer, records.get(place)) for place in places]


def _card(printer: Printer, record: Record | None, key: str = "") -> Card:
    if record is None:
        return Card(key=key, notes=("the record is not in the lake",))
    return printer.card(record["key"], record["text"], record["image"], record["audio"])


def _changed(workspace: Workspace, printer: Printer, changes: Sequence[Change]) -> list[ChangedCards]:
    records = _load(workspace, "row_digest", (place for one in changes for place in (one.before, one.after)))
    shown = []
    for one in changes:
        was, now = records.get(one.before, {}), records.get(one.after, {})
        texts = [("text", was.get("text") or "", now.get("text") or "")] if "text" in one.fields else []
        texts += list(_metadata(was, now)) if "meta" in one.fields else []
        shown.append(
            ChangedCards(
                key=f"{one.source}/{one.key}",
                fields=one.fields,
                before=_card(printer, was or None, one.key),
                after=_card(printer, now or None, one.key),
                differences=tuple((name, difference(before, after)) for name, before, after in texts),
            )
        )
    return shown


def _metadata(was: Record, now: Record) -> Iterator[tuple[str, str, str]]:
    """Yield the fields of the metadata that differ, with both values."""
    before, after = (json.loads(one["meta"]) if one else {} for one in (was, now))
    for name in sorted({*before, *after}):
        if before.get(name) != after.get(name):
            yield name, *(str(one.get(name, "")) for one in (before, after))


def _asked(workspace: Workspace, printer: Printer, changes: Sequence[QueryChange]) -> list[AskedCards]:
    hits = [hit for one in changes for hit in (*one.before, *one.after)]
    places = {(hit.shard, hit.key) for hit in hits if hit.shard} | {(one.shard, one.key) for one in changes}
    records = _load(workspace, "key", sorted(places))
    cards: dict[tuple[str, str], Card] = {}

    def card(shard: str | None, key: str) -> Card:
        place = shard or "", key
        if place not in cards:  # a record is in many lists
            cards[place] = _card(printer, records.get(place), key)
        return cards[place]

    shown = []
    for one in changes:
        keys = [{hit.key for hit in side} for side in (one.before, one.after)]
        lists = tuple(
            (name, tuple((card(hit.shard, hit.key), hit, "" if hit.key in other else mark) for hit in side))
            for name, side, other, mark in (
                ("before", one.before, keys[1], "lost"),
                ("after", one.after, keys[0], "came"),
            )
        )
        own = card(one.shard, one.key)
        asking = Card(
            key=one.key,
            text=own.text if one.by == "text" else None,
            thumbnail=own.thumbnail if one.by == "image" else None,
            wave=own.wave if one.by == "audio" else None,
            duration_s=own.duration_s,
        )
        shown.append(AskedCards(query=one, card=asking, lists=lists))
    return shown


def _plot(drift: ScoreDrift) -> Markup:
    """Draw the comparison that is nearest to its limit: before in grey, after in front of it."""
    shown = drift.comparisons[0]
    label = f"{drift.score} of {drift.source}, before and after"
    return plots.overlaid(drift.low, drift.high, shown.before.histogram, shown.after.histogram, label)


def _load(workspace: Workspace, name: str, places: Iterable[tuple[str, str]]) -> dict[tuple[str, str], Record]:
    """Return records by (path, value of a column); only the rows wanted are kept."""
    by_path: dict[str, set[str]] = defaultdict(set)
    for path, value in places:
        by_path[path].add(value)
    found: dict[tuple[str, str], Record] = {}
    for path, values in sorted(by_path.items()):
        wanted = strings(sorted(values))
        for batch in iter_shard(workspace.lake, path, _SHOWN):
            for record in batch.filter(pc.is_in(batch[name], value_set=wanted)).to_pylist():
                found[path, record[name]] = record
    return found
