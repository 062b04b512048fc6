"""duplicates ls and show: the records that were dropped for another, those that nearly were, and why."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import pyarrow as pa
import pyarrow.compute as pc

from trichord.infra.errors import ConfigError
from trichord.infra.lake.shard import iter_shard, read_shard
from trichord.infra.printable import typed_keys
from trichord.pipelines.core.result import Result
from trichord.pipelines.core.workspace import Workspace
from trichord.transforms.dedup.clusters import NOT_COMPARED
from trichord.transforms.dedup.same_text import differing_words

Outcome = Literal["dropped", "kept"]


@dataclass(frozen=True, slots=True, kw_only=True)
class DuplicatePair:
    """Two records that are, or may be taken for, the same.

    Attributes:
        outcome: 'dropped' if `other_key` was kept in the place of `key`, 'kept' if both are.
        kind: of the dropped 'exact_content', 'same_key' or 'near'; of the kept 'match', or 'uncertain' if their media
            were compared and nearly agree.
        key, source: the record that was dropped, or the later one.
        other_key, other_source: the survivor, or the earlier one.
        distances: by modality, as in `evidence`.
        why: both were kept, if known.
        evidence: the distances in words.
    """

    outcome: Outcome
    kind: str
    key: str
    source: str
    other_key: str
    other_source: str
    distances: Mapping[str, str]
    why: str
    evidence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class KindCount:
    """How many pairs of one kind there are."""

    outcome: Outcome
    kind: str
    pairs: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DuplicateList(Result):
    """Counts of the pairs, and the first of them: dropped ones first, then by key."""

    total: int
    dropped: int
    by_kind: tuple[KindCount, ...]
    rows: tuple[DuplicatePair, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class DuplicateSides(Result):
    """A pair with the texts of both records, and the words in which these differ."""

    pair: DuplicatePair
    text: str | None
    other_text: str | None
    words: tuple[str, ...]
    other_words: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class DuplicatesOfKey(Result):
    """Every pair that a key is part of."""

    key: str
    pairs: tuple[DuplicateSides, ...]


def list_duplicates(
    workspace: Workspace, *, kind: str | None = None, source: str | None = None, limit: int
) -> DuplicateList:
    """Count the pairs by kind, and return the first `limit`.

    Raises:
        ConfigError: there are pairs, but none of that kind or source.
    """
    counts: Counter[tuple[Outcome, str]] = Counter()
    rows: list[DuplicatePair] = []
    known: dict[str, Counter[str]] = {"kind": Counter(), "source": Counter()}
    for pairs in _read_pairs(workspace):
        known["kind"].update(pair.kind for pair in pairs)
        known["source"].update(name for pair in pairs for name in {pair.source, pair.other_source})
        chosen = [
            pair for pair in pairs
            if kind in (None, pair.kind) and (source is None or source in (pair.source, pair.other_source))
        ]  # fmt: skip
        counts.update((pair.outcome, pair.kind) for pair in chosen)
        rows = sorted(rows + chosen, key=_order)[:limit]
    if not counts and known["kind"]:
        wanted = {"kind": kind, "source": source}
        name = next((name for name, value in wanted.items() if value and value not in known[name]), "kind")
        shown = ", ".join(f"{value} ({n:,})" for value, n in sorted(known[name].items()))
        raise ConfigError(f"No pair has the {name} {wanted[name]!r}. Known {name}s, with their pairs: {shown}.")
    return DuplicateList(
        total=counts.total(),
        dropped=sum(n for (outcome, _), n in counts.items() if outcome == "dropped"),
        by_kind=tuple(KindCount(outcome=outcome, kind=kind, pairs=n) for (outcome, kind), n in sorted(counts.items())),
        rows=tuple(rows),
    )


def show_duplicates(workspace: Workspace, key: str) -> DuplicatesOfKey:
    """Return every pair that a key is part of, with the texts of both sides. It may be given as for `explain`.

    Raises:
        ConfigError: the key is in no pair.
    """
    meant = set(typed_keys(key, (source.name for source in workspace.project.sources)))
    found = [pair for pairs in _read_pairs(workspace) for pair in pairs if not meant.isdisjoint(_names(pair))]
    if not found:
        raise ConfigError(
            f"The key {key!r} is in no pair of duplicates. List them: `trichord duplicates ls`; "
            f"`trichord explain KEY` shows what became of a record."
        )
    found.sort(key=_order)
    texts = _read_texts(workspace, {side for pair in found for side in (pair.key, pair.other_key)})
    return DuplicatesOfKey(key=key, pairs=tuple(_sides(pair, texts) for pair in found))


def _names(pair: DuplicatePair) -> tuple[tuple[str | None, str], ...]:
    sides = (pair.source, pair.key), (pair.other_source, pair.other_key)
    return *sides, *((None, key) for _, key in sides)


def _sides(pair: DuplicatePair, texts: Mapping[tuple[str, str], str | None]) -> DuplicateSides:
    text, other = texts.get((pair.source, pair.key)), texts.get((pair.other_source, pair.other_key))
    words, other_words = differing_words(text or "", other or "")
    return DuplicateSides(pair=pair, text=text, other_text=other, words=tuple(words), other_words=tuple(other_words))


def _order(pair: DuplicatePair) -> tuple[str, str, str, str, str]:
    return pair.outcome, pair.key, pair.other_key, pair.source, pair.evidence


def _read_pairs(workspace: Workspace) -> Iterator[list[DuplicatePair]]:
    """Yield the pairs of the live publication, or of the last run if nothing is published, shard by shard."""
    for table in _read_tables(workspace, "duplicates"):
        yield [_dropped(row) for row in table.to_pylist()]
    for table in _read_tables(workspace, "matches"):
        yield [_kept(row) for row in table.to_pylist()]


def _dropped(row: Mapping[str, Any]) -> DuplicatePair:
    kind, _, rest = row["evidence"].partition(": ")
    return DuplicatePair(
        outcome="dropped", kind=kind, key=row["key"], source=row["source"], other_key=row["survivor_key"],
        other_source=row["survivor_source"], distances=_distances(rest), why="", evidence=row["evidence"],
    )  # fmt: skip


def _kept(row: Mapping[str, Any]) -> DuplicatePair:
    why = row.get("why") or ""
    return DuplicatePair(
        outcome="kept", kind="match" if why in NOT_COMPARED else "uncertain", key=row["key"], source=row["source"],
        other_key=row["other_key"], other_source=row["other_source"], distances=_distances(row["evidence"]), why=why,
        evidence=row["evidence"],
    )  # fmt: skip


def _distances(words: str) -> dict[str, str]:
    """Read for example `image 3/256, text 0.93`."""
    parts = (part.partition(" ") for part in words.split(", ") if " " in part)
    return {name: value for name, _, value in parts}


def _read_tables(workspace: Workspace, name: str) -> Iterator[pa.Table]:
    for ref in workspace.pinned_shards(name, workspace.publications.live()).values():
        yield read_shard(workspace.lake, ref)


def _read_texts(workspace: Workspace, keys: Collection[str]) -> dict[tuple[str, str], str | None]:
    """Return the text of each record with one of the keys, by source and key."""
    wanted = pa.array(sorted(keys), pa.string())
    found: dict[tuple[str, str], str | None] = {}
    for ref in workspace.pinned_shards("records", workspace.publications.live()).values():
        for batch in iter_shard(workspace.lake, ref, ["source", "key", "text"], batch_rows=4_096):
            for row in batch.filter(pc.is_in(batch["key"], value_set=wanted)).to_pylist():
                found.setdefault((row["source"], row["key"]), row["text"])
    return found
