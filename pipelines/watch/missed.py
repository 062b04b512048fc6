"""Rows that a sweep found changed and no event had named: the share of changes that events report."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from trichord.infra.lake.publication import Publication
from trichord.infra.lake.shard import ShardRef, read_shard
from trichord.pipelines.core.workspace import Workspace
from trichord.pipelines.watch.places import Look

Name = tuple[str, str]  # source and key


def count_missed(workspace: Workspace, before: Publication, looks: Collection[Look]) -> int:
    """Return how many rows changed between a publication and the live one without a look that holds them.

    A look at a data file holds all rows of its source, as its rows are known by other names.
    """
    live = workspace.publications.live()
    if live is None or live.id == before.id:
        return 0
    loose = {source.name for source in workspace.project.sources if source.kind == "folder"}
    whole = {look.source for look in looks if look.kind == "whole" or look.source not in loose}
    keys = {(look.source, look.place) for look in looks if look.kind == "key"}
    prefixes = [(look.source, look.place) for look in looks if look.kind == "prefix"]
    return sum(
        source not in whole
        and (source, key) not in keys
        and not any(source == other and key.startswith(prefix) for other, prefix in prefixes)
        for source, key in _changed(workspace, before, live)
    )


def _changed(workspace: Workspace, older: Publication, newer: Publication) -> set[Name]:
    """Return the rows whose fate or content differs between two publications, rejects included."""
    found: set[Name] = set()
    for table, content in (("records", "row_digest"), ("rejects", "input_digest")):
        was, now = (_rows_apart(workspace, *pair, table, content) for pair in ((older, newer), (newer, older)))
        found |= {name for name in was.keys() | now.keys() if was.get(name) != now.get(name)}
    return found


def _rows_apart(workspace: Workspace, of: Publication, other: Publication, table: str, content: str) -> dict[Name, str]:
    """Return the content of rows whose shards the other publication lacks; equal shards hold equal rows."""
    mine, known = (workspace.pinned_shards(table, one) for one in (of, other))
    apart = (ref for address, ref in mine.items() if address not in known)
    return dict(row for ref in apart for row in _rows(workspace, ref, content))


def _rows(workspace: Workspace, ref: ShardRef, content: str) -> Iterator[tuple[Name, str]]:
    rows = read_shard(workspace.lake, ref, ["source", "key", content])
    for source, key, found in zip(*(rows[name].to_pylist() for name in rows.column_names), strict=True):
        yield (source, key), found
