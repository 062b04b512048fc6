"""One pass over the records: what they hold, counted, and a few of each kind by smallest key digest."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from trichord.infra.lake.shard import ShardRef, iter_shard
from trichord.pipelines.report.prepared import PreparedLake
from trichord.pipelines.report.smallest import Smallest
from trichord.transforms.clean.language import LABEL as LANGUAGE

LOOKED_SHARDS = 200  # a larger lake is judged by so many of its shards, evenly spaced in order of address
SCORED, FATES, CHANGED, KINDS = 2_000, 12, 3, 64
COLUMNS = ("key", "source", "partition", "subset", "row_digest", "captions", "meta", "scores", "labels", "changes",
           "segments", "parent", "text")  # fmt: skip
MODALITIES = ("text", "image", "audio")
LICENCE = ("license", "licence")

Place = tuple[str, str, str, str]  # path of the shard, key, partition, row digest


@dataclass(slots=True, kw_only=True)
class Tally:
    """What was counted. All counts are of the `looked` records; `records` is how many there are.

    `scores` are (source, value) by name, of the `SCORED` records with the smallest key digests.
    """

    records: int = 0
    looked: int = 0
    languages: Counter[str] = field(default_factory=Counter)
    modalities: Counter[tuple[str, str]] = field(default_factory=Counter)  # (source, 'text + image')
    subsets: Counter[tuple[str, str]] = field(default_factory=Counter)
    licences: Counter[str] = field(default_factory=Counter)
    changes: Counter[tuple[str, str]] = field(default_factory=Counter)  # (op, field) -> records
    changed: int = 0
    cut: int = 0
    aligned: int = 0
    captions: int = 0
    scores: Mapping[str, Sequence[tuple[str, float]]] = field(default_factory=dict)
    places: Mapping[str, Sequence[Place]] = field(default_factory=dict)  # fate -> rows of it
    change_samples: Mapping[tuple[str, str], Sequence[Mapping[str, str]]] = field(default_factory=dict)

    @property
    def whole(self) -> bool:
        """Whether every record was looked at."""
        return self.looked == self.records


def tally(lake: PreparedLake) -> Tally:
    """Count what the records hold. Media are not read; one batch of rows is in memory at a time.

    A shard's address is a digest, so shards in order of address are in random order.
    """
    shards = [ref for ref in lake.shards("records") if ref.rows]
    counted = Tally(records=sum(ref.rows for ref in shards))
    scored: Smallest[tuple[str, dict[str, float]]] = Smallest(SCORED)
    fates: dict[str, Smallest[Place]] = defaultdict(lambda: Smallest(FATES))
    samples: dict[tuple[str, str], Smallest[Mapping[str, str]]] = defaultdict(lambda: Smallest(CHANGED))
    for ref in shards[:: -(-len(shards) // LOOKED_SHARDS)] if shards else ():
        for batch in iter_shard(lake.workspace.lake, ref, COLUMNS, batch_rows=256):
            for row in batch.to_pylist():
                _count(counted, row)
                scored.offer(row["key"], (row["source"], dict(row["scores"])))
                _sample(fates, samples, ref, row)
    values: dict[str, list[tuple[str, float]]] = defaultdict(list)
    for source, scores in scored.items():
        for name, value in scores.items():
            values[name].append((source, value))
    counted.scores = dict(sorted(values.items()))
    counted.places = {fate: kept.items() for fate, kept in fates.items()}
    counted.change_samples = {name: kept.items() for name, kept in sorted(samples.items())}
    return counted


def modalities_of(row: Mapping[str, Any]) -> str:
    """What a record has, for example 'text + image'. Media are told by what was measured of them: they stay unread."""
    measured = {name.partition("_")[0] for name, _ in row["scores"]}
    present = [name for name in MODALITIES if (row["text"] is not None if name == "text" else name in measured)]
    return " + ".join(present) or "nothing"


def _count(counted: Tally, row: Mapping[str, Any]) -> None:
    counted.looked += 1
    counted.modalities[row["source"], modalities_of(row)] += 1
    _bounded(counted.subsets, (row["source"], row["subset"] or "–"))
    counted.captions += len(row["captions"])
    counted.cut += bool(row["parent"])
    counted.aligned += bool(row["segments"])
    language = dict(row["labels"]).get(LANGUAGE)
    if language is not None:
        _bounded(counted.languages, language)
    counted.changed += bool(row["changes"])
    for kind in {_kind(change) for change in row["changes"]}:
        _bounded(counted.changes, kind)
    licence = _licence(row["meta"])
    if licence is not None:
        _bounded(counted.licences, licence[:200])


def _kind(change: Mapping[str, str]) -> tuple[str, str]:
    """Op and field of a change; one caption is as good as another."""
    return change["op"], change["field"].partition("[")[0]


def _bounded(counter: Counter[Any], name: Any) -> None:
    """Count `name` unless there are `KINDS` others already: what records say must not fill the memory."""
    if name in counter or len(counter) < KINDS:
        counter[name] += 1


def _licence(meta: str) -> str | None:
    if not any(name in meta for name in LICENCE):
        return None
    try:
        told = json.loads(meta)
    except ValueError:
        return None
    found = next((told[name] for name in LICENCE if isinstance(told, dict) and told.get(name)), None)
    return found if isinstance(found, str) else None


def _sample(
    fates: Mapping[str, Smallest[Place]],
    samples: dict[tuple[str, str], Smallest[Mapping[str, str]]],
    ref: ShardRef,
    row: Mapping[str, Any],
) -> None:
    name, place = row["key"], (ref.path, row["key"], row["partition"], row["row_digest"])
    fates["changed" if row["changes"] else "kept"].offer(name, place)
    if row["parent"]:
        fates["cut"].offer(name, place)
    if row["segments"]:
        fates["aligned"].offer(name, place)
    if "image_blur_map" in dict(row["labels"]):
        fates["blurred tiles"].offer(name, place)
    for change in row["changes"]:
        kind = _kind(change)
        if (kind in samples or len(samples) < KINDS) and samples[kind].wants(name):
            samples[kind].offer(name, {"key": row["key"], "source": row["source"], **change})
