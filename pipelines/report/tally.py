"""One pass over the records: counts of what they hold, and a few records of each fate by smallest key digest."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from trichord.infra.lake.lake import Lake
from trichord.infra.lake.shard import ShardRef, iter_shard
from trichord.pipelines.report.smallest import Smallest
from trichord.transforms.clean.language import LABEL as LANGUAGE

MAX_SHARDS = 200  # a larger lake is sampled: this many shards, evenly spaced by address
SCORED, CANDIDATES, CHANGES_PER_KIND, MAX_NAMES = 2_000, 12, 3, 64
_COLUMNS = ("key", "source", "partition", "subset", "row_digest", "captions", "meta", "scores", "labels", "changes",
            "segments", "parent", "text")  # fmt: skip
_LICENCE = ("license", "licence")

Kind = tuple[str, str]  # (op, field) of a change


class Place(NamedTuple):
    """Where a record is stored."""

    path: str  # of its shard, relative to the lake
    key: str
    source: str
    partition: str
    row_digest: str


@dataclass(slots=True, kw_only=True)
class Tally:
    """Counts over the `looked` records of `total`, duplicates included. At most `MAX_NAMES` names are counted of each.

    `scores` are (source, value) by name, of the `SCORED` records with the smallest key digests; `fates` are
    records that were kept, by what happened to them.
    """

    total: int
    looked: int = 0
    changed: int = 0
    cut: int = 0
    aligned: int = 0
    captions: int = 0
    languages: Counter[str] = field(default_factory=Counter)
    licences: Counter[str] = field(default_factory=Counter)
    modalities: Counter[tuple[str, str]] = field(default_factory=Counter)  # (source, 'text + image')
    subsets: Counter[tuple[str, str]] = field(default_factory=Counter)  # (source, subset)
    changes: Counter[Kind] = field(default_factory=Counter)  # records
    change_samples: dict[Kind, list[Mapping[str, str]]] = field(default_factory=dict)
    scores: dict[str, list[tuple[str, float]]] = field(default_factory=dict)
    fates: dict[str, list[Place]] = field(default_factory=dict)

    @property
    def whole(self) -> bool:
        """True if every record was counted."""
        return self.looked == self.total

    @property
    def candidates(self) -> set[str]:
        """Row digests of all records in `fates`."""
        return {place.row_digest for places in self.fates.values() for place in places}

    def drop(self, row_digests: Collection[str]) -> None:
        """Take duplicates out of `fates`."""
        for fate, places in self.fates.items():
            self.fates[fate] = [place for place in places if place.row_digest not in row_digests]


def tally(lake: Lake, shards: Sequence[ShardRef]) -> Tally:
    """Count what the records of some shards hold, without reading their media, 256 rows at a time."""
    filled = [ref for ref in shards if ref.rows]
    counted = Tally(total=sum(ref.rows for ref in filled))
    scored = Smallest[tuple[str, dict[str, float]]](SCORED)
    fates: dict[str, Smallest[Place]] = defaultdict(lambda: Smallest(CANDIDATES))
    samples: dict[Kind, Smallest[Mapping[str, str]]] = defaultdict(lambda: Smallest(CHANGES_PER_KIND))
    # addresses are digests, so shards by address are in random order
    for ref in filled[:: -(-len(filled) // MAX_SHARDS) or 1]:
        for batch in iter_shard(lake, ref, _COLUMNS, batch_rows=256):
            for row in batch.to_pylist():
                _count(counted, row)
                scored.offer(row["key"], (row["source"], dict(row["scores"])))
                place = Place(ref.path, *(row[name] for name in Place._fields[1:]))
                for fate in _fates(row):
                    fates[fate].offer(row["key"], place)
                for change in row["changes"]:
                    kind = _kind(change)
                    if (kind in samples or len(samples) < MAX_NAMES) and samples[kind].wants(row["key"]):
                        samples[kind].offer(row["key"], change)
    for source, scores in scored.items():
        for name, value in scores.items():
            counted.scores.setdefault(name, []).append((source, value))
    counted.fates = {fate: kept.items() for fate, kept in fates.items()}
    counted.change_samples = {kind: kept.items() for kind, kept in samples.items()}
    return counted


def modalities_of(row: Mapping[str, Any]) -> str:
    """Return what a record has, for example 'text + image'. Its scores show which media it has."""
    measured = {name.partition("_")[0] for name, _ in row["scores"]}
    present = ["text"] if row["text"] is not None else []
    return " + ".join([*present, *(name for name in ("image", "audio") if name in measured)]) or "nothing"


def _count(counted: Tally, row: Mapping[str, Any]) -> None:
    counted.looked += 1
    counted.changed += bool(row["changes"])
    counted.cut += bool(row["parent"])
    counted.aligned += bool(row["segments"])
    counted.captions += len(row["captions"])
    counted.modalities[row["source"], modalities_of(row)] += 1
    _bounded(counted.subsets, (row["source"], row["subset"] or "–"))
    _bounded(counted.languages, dict(row["labels"]).get(LANGUAGE))
    _bounded(counted.licences, _licence(row["meta"]))
    for kind in {_kind(change) for change in row["changes"]}:
        _bounded(counted.changes, kind)


def _bounded(counter: Counter[Any], name: Any) -> None:
    """Count `name`, if there is one, unless `MAX_NAMES` others are counted: records must not fill the memory."""
    if name is not None and (name in counter or len(counter) < MAX_NAMES):
        counter[name] += 1


def _kind(change: Mapping[str, str]) -> Kind:
    return change["op"], change["field"].partition("[")[0]  # captions[0] and captions[1] are one field


def _fates(row: Mapping[str, Any]) -> list[str]:
    named = {"cut": row["parent"], "aligned": row["segments"], "tiles": "image_blur_map" in dict(row["labels"])}
    return ["changed" if row["changes"] else "kept", *(fate for fate, given in named.items() if given)]


def _licence(meta: str) -> str | None:
    if not any(name in meta for name in _LICENCE):
        return None
    try:
        fields = json.loads(meta)
    except ValueError:
        return None
    found = next((fields[name] for name in _LICENCE if isinstance(fields, dict) and fields.get(name)), None)
    return found[:200] if isinstance(found, str) else None
