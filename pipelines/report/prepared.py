"""What a preparation left in the lake: its tables at one version, and what became of the rows by source and op."""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol

from trichord.infra import digest
from trichord.infra.config import Project, Source
from trichord.infra.errors import TrichordError
from trichord.infra.lake import layout
from trichord.infra.lake.shard import ShardRef, find_finished, iter_shard, read_shard
from trichord.pipelines.core.recipes import RECORD_FORMAT
from trichord.pipelines.core.workspace import Workspace
from trichord.pipelines.prepare.aligner import open_aligner
from trichord.pipelines.report.smallest import Smallest
from trichord.transforms.chain import prepare_chain
from trichord.transforms.op import Op, OpRecipe, recipe_of
from trichord.transforms.record import record_recipe

PREPARED_TABLES = ("records", "rejects", "signatures", "duplicates", "matches")
VALUES_A_SCORE = 500  # of rejected rows
BATCH_ROWS = 4_096
_BEYOND = re.compile(r"^(\S+) (-?[0-9.]+(?:e[+-]?[0-9]+)?) is (?:below|above) ")  # transforms/op.py, Threshold


class Tables(Protocol):
    """The lake's tables at one version, however that is pinned."""

    @property
    def workspace(self) -> Workspace:
        """The project on its lake."""

    @property
    def rejects(self) -> Mapping[tuple[str, str], int]:
        """(op, reason) -> rows, in the order in which the ops stand in the chain."""

    def read(self, table: str, columns: Sequence[str] | None = None) -> Iterator[tuple[ShardRef, list[dict[str, Any]]]]:
        """The rows of a table, some thousands at a time, with the shard they are of."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Chain:
    """The ops of a source, and the digest of all that shapes its records."""

    source: Source
    ops: tuple[Op, ...]
    recipe: str

    @property
    def described(self) -> list[OpRecipe]:
        """Name, version and settings of every op."""
        return recipe_of(self.ops)


@dataclass(frozen=True, slots=True, kw_only=True)
class PreparedLake:
    """A preparation opened for reading.

    `counts` are the footers' sums by source; `refused` holds values of rejected rows by score; `commit` is what Delta's
    log says of the records' version.
    """

    workspace: Workspace
    versions: Mapping[str, int]
    chains: tuple[Chain, ...]
    counts: Mapping[str, Mapping[str, int]]
    rejects: Mapping[tuple[str, str], int]
    rejects_of: Mapping[str, Mapping[tuple[str, str], int]]
    refused: Mapping[str, Sequence[float]]
    duplicates: Mapping[str, int]  # kind of evidence -> rows
    duplicates_of: Mapping[str, int]  # source -> rows dropped
    commit: Mapping[str, Any]

    def shards(self, table: str) -> list[ShardRef]:
        """The shards of a table, by address; none for a table that was never committed to."""
        return _shards(self.workspace, self.versions, table)

    def read(self, table: str, columns: Sequence[str] | None = None) -> Iterator[tuple[ShardRef, list[dict[str, Any]]]]:
        """The rows of a table, some thousands at a time. Not for media."""
        yield from read_rows(self.workspace, self.shards(table), columns)

    def digest_of(self, table: str) -> str:
        """Digest of the table's shards by address and content: equal wherever the same rows were made the same way."""
        return digest.address(table, [[ref.address, ref.sha256] for ref in self.shards(table)])

    @property
    def totals(self) -> dict[str, int]:
        """rows_in + rows_added = rows_kept + rows_rejected + rows_duplicate."""
        total = {name: sum(counts.get(name, 0) for counts in self.counts.values())
                 for name in ("rows_in", "fan_out", "rows_kept", "rows_rejected")}  # fmt: skip
        dropped = sum(self.duplicates.values())
        return {
            "rows_in": total["rows_in"],
            "rows_added": total["fan_out"],
            "rows_kept": total["rows_kept"] - dropped,
            "rows_rejected": total["rows_rejected"],
            "rows_duplicate": dropped,
        }

    @property
    def recipe(self) -> str:
        """Digest of the recipes of all sources, as a run of this project file would commit it."""
        return digest.address("recipes", [chain.recipe for chain in self.chains])

    @property
    def changed_since(self) -> bool:
        """Whether the project file or an op changed since the records were made."""
        return bool(self.commit.get("recipe")) and self.commit["recipe"] != self.recipe

    @property
    def made_at(self) -> str | None:
        """When the records were committed, ISO 8601 to the second, UTC; None where the log does not say."""
        stamp = self.commit.get("timestamp")
        return None if stamp is None else f"{datetime.fromtimestamp(stamp // 1_000, UTC):%Y-%m-%d %H:%M:%S} UTC"


def open_prepared(workspace: Workspace, versions: Mapping[str, int] | None = None) -> PreparedLake:
    """Open what was prepared: the newest version of every table, or those that a publication pins.

    Reads footers of records, and all rejects and duplicates but their payloads; nothing that is read stays but counts.

    Raises:
        StorageError: a shard is missing or damaged.
    """
    if versions is None:
        heads = {name: workspace.table(name).version() for name in PREPARED_TABLES}
        versions = {name: version for name, version in heads.items() if version is not None}
    chains = chains_of(workspace.project)
    rejects_of: dict[str, Counter[tuple[str, str]]] = defaultdict(Counter)
    refused: dict[str, Smallest[float]] = defaultdict(lambda: Smallest(VALUES_A_SCORE))
    sources: dict[str, str] = {}  # address -> source: a shard comes of one partition
    known = {op.score for chain in chains for op in chain.ops if hasattr(op, "score")}
    columns = ("key", "source", "op", "reason", "detail")
    for ref, rows in read_rows(workspace, _shards(workspace, versions, "rejects"), columns):
        for row in rows:
            sources[ref.address] = row["source"]
            rejects_of[row["source"]][row["op"], row["reason"]] += 1
            beyond = _BEYOND.match(row["detail"]) if row["op"].startswith("threshold:") else None
            if beyond and beyond[1] in known:
                refused[beyond[1]].offer(row["key"], float(beyond[2]))
    rejects = sum(rejects_of.values(), Counter())
    order = {name: place for place, name in enumerate(dict.fromkeys(op.name for chain in chains for op in chain.ops))}
    duplicates, duplicates_of = Counter[str](), Counter[str]()
    for _, rows in read_rows(workspace, _shards(workspace, versions, "duplicates"), ("evidence", "source")):
        for row in rows:
            duplicates[kind_of(row["evidence"])] += 1
            duplicates_of[row["source"]] += 1
    return PreparedLake(
        workspace=workspace,
        versions=versions,
        chains=chains,
        counts=_counts(workspace, versions, sources),
        rejects=dict(sorted(rejects.items(), key=lambda item: (order.get(item[0][0], -1), item[0]))),
        rejects_of={source: dict(sorted(counted.items())) for source, counted in sorted(rejects_of.items())},
        refused={score: values.items() for score, values in sorted(refused.items())},
        duplicates=dict(sorted(duplicates.items())),
        duplicates_of=dict(sorted(duplicates_of.items())),
        commit=_commit(workspace, versions.get("records")),
    )


def read_rows(
    workspace: Workspace, shards: Sequence[ShardRef], columns: Sequence[str] | None
) -> Iterator[tuple[ShardRef, list[dict[str, Any]]]]:
    """The rows of shards, `BATCH_ROWS` at a time: a shard may hold all duplicates of a lake."""
    for ref in shards:
        for batch in iter_shard(workspace.lake, ref, columns, BATCH_ROWS):
            yield ref, batch.to_pylist()


def kind_of(evidence: str) -> str:
    """What kind of duplicate an evidence tells of: the words before its figures."""
    return evidence.partition(":")[0]


def chains_of(project: Project) -> tuple[Chain, ...]:
    """The chain of every source. An aligner that cannot be opened here is left out, and the recipe is then another."""
    config = project.prepare
    try:
        aligner = open_aligner(config.align)
    except (TrichordError, OSError):
        aligner = None
        config = config.model_copy(update={"align": config.align.model_copy(update={"speech": "off"})})
    return tuple(
        Chain(
            source=source,
            ops=prepare_chain(config, source, aligner),
            recipe=digest.address("recipe", RECORD_FORMAT, record_recipe(config, source, aligner)),
        )
        for source in project.sources
    )


def _shards(workspace: Workspace, versions: Mapping[str, int], table: str) -> list[ShardRef]:
    version = versions.get(table)
    if version is None:
        return []
    return sorted(workspace.table(table).shards(version).values(), key=lambda ref: ref.address)


def _counts(workspace: Workspace, versions: Mapping[str, int], sources: Mapping[str, str]) -> dict[str, dict[str, int]]:
    """The sums of the records' footers by source, and `shards`; a footer without counts tells its rows."""
    refs = {ref.address: ref for ref in _shards(workspace, versions, "records")}
    found = find_finished(workspace.lake, "records", refs)
    totals: dict[str, Counter[str]] = defaultdict(Counter)
    for address, ref in sorted(refs.items()):
        source = sources.get(address)
        if source is None and ref.rows:
            source = read_shard(workspace.lake, ref, ["source"])["source"][0].as_py()
        counts = found[address].counts if address in found else {}
        totals[source or ""].update(counts or {"rows_in": ref.rows, "rows_kept": ref.rows})
        totals[source or ""]["shards"] += 1
    return {source: dict(counted) for source, counted in sorted(totals.items())}


def _commit(workspace: Workspace, version: int | None) -> dict[str, Any]:
    """`timestamp` (milliseconds) and `recipe` of the records' version, as far as Delta's log still has its entry."""
    uri = workspace.lake.uri(layout.commit_path("records", version or 0))
    if version is None or not workspace.storage.exists(uri):
        return {}
    entries = [json.loads(line) for line in workspace.storage.read(uri).splitlines() if line.strip()]
    info: dict[str, Any] = next((entry["commitInfo"] for entry in entries if "commitInfo" in entry), {})
    return {name: info[name] for name in ("timestamp", "recipe") if name in info}
