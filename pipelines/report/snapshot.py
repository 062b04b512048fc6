"""The live publication as its readers see it: its row, the shards it pins, and what they say of the run."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from trichord.index_builders.manifest import IndexManifest, read_manifest
from trichord.infra.errors import ConfigError
from trichord.infra.lake.schema import TABLES
from trichord.infra.lake.shard import ShardRef, read_shard
from trichord.pipelines.core.workspace import Workspace
from trichord.pipelines.report.prepared import kind_of, read_rows
from trichord.transforms.chain import prepare_chain


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """A publication opened for reading. Rows have their JSON fields parsed; `previous` was live before it."""

    workspace: Workspace
    row: Mapping[str, Any]
    previous: Mapping[str, Any] | None
    manifest: IndexManifest
    rejects: Mapping[tuple[str, str], int]  # (op, reason) -> rows, in the order in which the ops stand in the chain

    def shards(self, table: str) -> list[ShardRef]:
        """The shards of a table in the version that the publication pins, by address; none where it pins none."""
        return _pinned(self.workspace, self.row, table)

    def read(self, table: str, columns: Sequence[str] | None = None) -> Iterator[tuple[ShardRef, list[dict[str, Any]]]]:
        """The rows of a pinned table, some thousands at a time. Not for media: see `samples`."""
        yield from read_rows(self.workspace, self.shards(table), columns)


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A step of the funnel: `rows` leave (or arrive, or stay), of `before` that were still there."""

    kind: str  # 'in', 'reject', 'duplicate' or 'indexed'
    label: str
    note: str
    rows: int
    before: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Touched:
    """A table, or the index, as it is pinned, and its shards against the publication before."""

    name: str
    version: int | None
    shards: int
    rows: int
    bytes: int
    made: int
    kept: int
    removed: int


def open_snapshot(workspace: Workspace) -> Snapshot:
    """Open the live publication.

    Raises:
        ConfigError: nothing is published.
        StorageError: the manifest or a shard is missing or damaged.
    """
    history = workspace.publications.rows()
    if not history:
        raise ConfigError("Nothing is published yet, so there is nothing to show. Run `trichord reindex` first.")
    rows = [publication.to_dict() for publication in history[-2:]]
    live = rows[-1]
    rejects: Counter[tuple[str, str]] = Counter()
    for ref in _pinned(workspace, live, "rejects"):
        table = read_shard(workspace.lake, ref, ["op", "reason"])
        rejects.update(zip(table["op"].to_pylist(), table["reason"].to_pylist(), strict=True))
    order = {op.name: place for place, op in enumerate(prepare_chain(workspace.project.prepare))}
    return Snapshot(
        workspace=workspace,
        row=live,
        previous=rows[0] if len(rows) > 1 else None,
        manifest=read_manifest(workspace.lake, live["manifest"], live["manifest_digest"]),
        rejects=dict(sorted(rejects.items(), key=lambda item: (order.get(item[0][0], -1), item[0]))),
    )


def funnel(snapshot: Snapshot) -> list[Step]:
    """From the rows of the sources to the records of the index, in the order in which rows leave."""
    counts = snapshot.row["counts"]
    left = counts["rows_in"]
    steps = [Step(kind="in", label="rows in", note="all sources", rows=left, before=left)]
    if counts.get("rows_added"):
        left += counts["rows_added"]
        steps.append(
            Step(kind="in", label="cut from them", note="by time or region", rows=counts["rows_added"], before=left)
        )
    for (op, reason), rows in snapshot.rejects.items():
        steps.append(Step(kind="reject", label=reason, note=op, rows=rows, before=left))
        left -= rows
    evidence: Counter[str] = Counter()
    for _, rows_of in snapshot.read("duplicates", ["evidence"]):
        evidence.update(kind_of(row["evidence"]) for row in rows_of)
    for name, rows in sorted(evidence.items()):
        steps.append(Step(kind="duplicate", label=name, note="a survivor stands for it", rows=rows, before=left))
        left -= rows
    if counts.get("rows_disagreeing"):
        rows = counts["rows_disagreeing"]
        steps.append(
            Step(kind="reject", label="disagreeing", note="its modalities do not agree", rows=rows, before=left)
        )
    kept = counts["rows_kept"]
    vectors = ", ".join(f"{rows:,} {name.removeprefix('view:')}" for name, rows in snapshot.manifest.counts.items()
                        if name.startswith("view:"))  # fmt: skip
    return [*steps, Step(kind="indexed", label="indexed", note=f"vectors: {vectors or 'none'}", rows=kept, before=kept)]


def touched(snapshot: Snapshot) -> list[Touched]:
    """Every pinned table and the index, compared with the publication before."""
    found = []
    for name in TABLES:
        if name not in snapshot.row["table_versions"]:
            continue
        now = {ref.address: ref for ref in snapshot.shards(name)}
        before = set()
        if snapshot.previous is not None:
            before = {ref.address for ref in _pinned(snapshot.workspace, snapshot.previous, name)}
        found.append(_compared(name, snapshot.row["table_versions"][name], now, before))
    index = {
        shard.address: ShardRef(address=shard.address, table="index", path=shard.index.path, rows=shard.rows,
                                bytes=shard.index.bytes + shard.keys.bytes, sha256=shard.index.sha256)
        for shard in snapshot.manifest.shards
    }  # fmt: skip
    return [*found, _compared("index", None, index, _index_before(snapshot))]


def training_story(snapshot: Snapshot) -> Mapping[str, Any]:
    """How the model was trained: `history`, `before`, `after`; empty where the model tells none."""
    workspace = snapshot.workspace
    uri = workspace.lake.uri(snapshot.row["model"], "training.json")
    if not workspace.storage.exists(uri):
        return {}
    story: Mapping[str, Any] = json.loads(workspace.storage.read(uri))
    return story


def _pinned(workspace: Workspace, row: Mapping[str, Any], table: str) -> list[ShardRef]:
    version = row["table_versions"].get(table)
    if version is None:
        return []
    return sorted(workspace.table(table).shards(version).values(), key=lambda ref: ref.address)


def _index_before(snapshot: Snapshot) -> set[str]:
    previous, workspace = snapshot.previous, snapshot.workspace
    if previous is None or not workspace.lake.exists(previous["manifest"]):
        return set()  # `gc` has removed what it was made of
    manifest = read_manifest(workspace.lake, previous["manifest"], previous["manifest_digest"])
    return {shard.address for shard in manifest.shards}


def _compared(name: str, version: int | None, now: Mapping[str, ShardRef], before: set[str]) -> Touched:
    return Touched(
        name=name,
        version=version,
        shards=len(now),
        rows=sum(ref.rows for ref in now.values()),
        bytes=sum(ref.bytes for ref in now.values()),
        made=len(now.keys() - before),
        kept=len(now.keys() & before),
        removed=len(before - now.keys()),
    )
