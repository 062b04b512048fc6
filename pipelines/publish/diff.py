"""diff: what changed between two publications: records by key, the model, counts and figures."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from trichord.infra.errors import ConfigError
from trichord.infra.lake.publication import Publication, RowCounts
from trichord.infra.lake.shard import ShardRef, read_shard
from trichord.pipelines.core.result import Result
from trichord.pipelines.core.workspace import Workspace
from trichord.pipelines.evaluation.figures import figures

EXAMPLES = 10
Name = tuple[str, str]  # source and key


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes(Result):
    """Keys that changed: how many, and the first ones as `source/key`."""

    count: int
    first: tuple[str, ...]

    @classmethod
    def of(cls, names: set[Name]) -> Changes:
        """Return the changes of these records."""
        return cls(count=len(names), first=tuple(f"{source}/{key}" for source, key in sorted(names)[:EXAMPLES]))


@dataclass(frozen=True, slots=True, kw_only=True)
class Diff(Result):
    """The differences between two publications.

    Attributes:
        before, after: their ids.
        added, changed, removed: records by key; a changed record has other content under the same key.
        model_changed: True if the vectors come from another model.
        counts: field -> (before, after), if they differ.
        figures: path of a figure -> (before, after), if they differ; None if a figure was not measured.
    """

    before: str
    after: str
    added: Changes
    changed: Changes
    removed: Changes
    model_changed: bool
    counts: Mapping[str, tuple[int, int]]
    figures: Mapping[str, tuple[float | None, float | None]]


def diff(workspace: Workspace, before: str | None = None, after: str | None = None) -> Diff:
    """Compare two publications, by default the live one and the one before it.

    Raises:
        ConfigError: the publication does not exist, or there is no earlier one to compare with.
    """
    history = workspace.publications.rows()
    newer = _named(history, after) if after is not None else (history[-1] if history else None)
    if newer is None:
        raise ConfigError("Nothing is published yet. Run `trichord reindex` first.")
    earlier = [one for one in history if one.sequence < newer.sequence]
    older = _named(history, before) if before is not None else (earlier[-1] if earlier else None)
    if older is None:
        raise ConfigError(f"{newer.id} is the first publication; there is no earlier one to compare it with.")
    was, now = _contents(workspace, older, newer), _contents(workspace, newer, older)
    return Diff(
        before=older.id,
        after=newer.id,
        added=Changes.of(now.keys() - was.keys()),
        changed=Changes.of({name for name in now.keys() & was.keys() if now[name] != was[name]}),
        removed=Changes.of(was.keys() - now.keys()),
        model_changed=older.fingerprint != newer.fingerprint,
        counts=_differing(_numbers(older.counts), _numbers(newer.counts)),
        figures=_differing(dict(figures(older.verdict.evaluation)), dict(figures(newer.verdict.evaluation))),
    )


def changed_names(workspace: Workspace, older: Publication, newer: Publication) -> set[Name]:
    """Return source and key of every row whose fate or content differs between two publications, rejects included."""
    found: set[Name] = set()
    for table, content in (("records", "row_digest"), ("rejects", "input_digest")):
        was, now = (
            _rows_apart(workspace, older, newer, table, content),
            _rows_apart(workspace, newer, older, table, content),
        )
        found |= {name for name in was.keys() | now.keys() if was.get(name) != now.get(name)}
    return found


def _named(history: list[Publication], wanted: str) -> Publication:
    for one in history:
        if one.id == wanted:
            return one
    raise ConfigError(f"There is no publication {wanted}. Known: {', '.join(one.id for one in history) or 'none'}.")


def _contents(workspace: Workspace, of: Publication, other: Publication) -> dict[Name, str]:
    """Return the content of records whose shards the other publication lacks; equal shards hold equal records."""
    return _rows_apart(workspace, of, other, "records", "row_digest")


def _rows_apart(workspace: Workspace, of: Publication, other: Publication, table: str, content: str) -> dict[Name, str]:
    mine, known = (workspace.pinned_shards(table, one) for one in (of, other))
    apart = (ref for address, ref in mine.items() if address not in known)
    return dict(row for ref in apart for row in _rows(workspace, ref, content))


def _rows(workspace: Workspace, ref: ShardRef, content: str) -> Iterator[tuple[Name, str]]:
    rows = read_shard(workspace.lake, ref, ["source", "key", content])
    for source, key, found in zip(*(rows[name].to_pylist() for name in rows.column_names), strict=True):
        yield (source, key), found


def _numbers(counts: RowCounts) -> dict[str, int]:
    return counts.to_dict()


def _differing(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    return {
        name: (before.get(name), after.get(name))
        for name in sorted({*before, *after})
        if before.get(name) != after.get(name)
    }
