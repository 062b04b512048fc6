"""Facts about prepared rows: every table is read once, and only counts and small samples stay in memory."""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Generic, TypeVar

from trichord.infra import digest
from trichord.infra.config import Project, Source
from trichord.infra.endings import tell_unread
from trichord.infra.errors import TrichordError
from trichord.infra.lake import layout
from trichord.infra.lake.publication import RowCounts
from trichord.infra.lake.shard import ShardRef, find_finished, iter_shard, read_shard
from trichord.pipelines.core.recipes import RECORD_FORMAT
from trichord.pipelines.core.workspace import Workspace
from trichord.pipelines.prepare.aligner import open_aligner
from trichord.pipelines.report.smallest import Smallest
from trichord.pipelines.report.tally import Tally, tally
from trichord.transforms.chain import prepare_chain
from trichord.transforms.collect.last_plan import last_endings
from trichord.transforms.dedup.clusters import NOT_COMPARED
from trichord.transforms.op import Op
from trichord.transforms.record import record_recipe

PREPARED_TABLES = ("records", "rejects", "signatures", "duplicates", "matches")
REJECTS_PER_REASON, PAIRS_PER_KIND, VALUES_PER_SCORE = 3, 4, 500
_BATCH_ROWS = 4_096  # a shard may hold all duplicates of a lake
_BEYOND = re.compile(r"^(\S+) (-?[0-9.]+(?:e[+-]?[0-9]+)?) is (?:below|above) ")  # transforms/op.py, Threshold

K = TypeVar("K")
Row = Mapping[str, Any]


def _kind_of_match(row: Row) -> str:
    uncertain = (row.get("why") or "") not in NOT_COMPARED
    return f"uncertain {row['modality']}" if uncertain else str(row["modality"])


class Kinds(Generic[K]):
    """Rows of one table: how many of each kind, by source, and a few of each kind."""

    def __init__(self, kind: Callable[[Row], K], size: int) -> None:
        self.counts: Counter[tuple[str, K]] = Counter()  # (source, kind) -> rows
        self._kind = kind
        self._samples: dict[K, Smallest[Row]] = defaultdict(lambda: Smallest(size))

    def add(self, row: Row) -> None:
        """Count a row, and keep it if it belongs to the sample of its kind."""
        kind = self._kind(row)
        self.counts[row["source"], kind] += 1
        self._samples[kind].offer(row["key"], row)

    def totals(self, order: Callable[[K], Any] = lambda kind: kind) -> dict[K, int]:
        """Return rows by kind, over all sources."""
        total: Counter[K] = Counter()
        for (_, kind), rows in self.counts.items():
            total[kind] += rows
        return {kind: total[kind] for kind in sorted(total, key=order)}

    def of(self, source: str) -> dict[K, int]:
        """Return the rows of a source, by kind."""
        return {kind: rows for (name, kind), rows in self.counts.items() if name == source}

    def sample(self, kind: K) -> list[Row]:
        """Return a few rows of a kind."""
        return self._samples[kind].items()


@dataclass(frozen=True, slots=True, kw_only=True)
class Chain:
    """The ops of a source, and the digest of all that shapes its records."""

    source: Source
    ops: tuple[Op, ...]
    recipe: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """A preparation at one version of its tables.

    Attributes:
        workspace: the project on its lake.
        versions: Delta version of every table that exists.
        shards: the shards of every table, by address.
        chains: one for each source of the project file.
        footers: sums of the counts in the records' footers, and `shards`, by source.
        rejects: by (op, reason).
        duplicates: by kind of evidence.
        matches: by modality; 'uncertain' ones, whose media nearly agree, by themselves.
        records: what the records hold.
        beyond: score -> values of rows that a threshold rejected.
        commit: `timestamp` (milliseconds) and `recipe` of the records' version, if Delta's log still has them.
    """

    workspace: Workspace
    versions: Mapping[str, int]
    shards: Mapping[str, Sequence[ShardRef]]
    chains: tuple[Chain, ...]
    footers: Mapping[str, Mapping[str, int]]
    rejects: Kinds[tuple[str, str]]
    duplicates: Kinds[str]
    matches: Kinds[str]
    records: Tally
    beyond: Mapping[str, Sequence[float]]
    commit: Mapping[str, Any]

    @property
    def unread(self) -> str:
        """A line about the files of all sources that are not read; empty if there are none."""
        endings = Counter[str]()
        for chain in self.chains:
            endings.update(last_endings(self.workspace.lake, chain.source))
        return tell_unread(endings)

    @property
    def reasons(self) -> dict[tuple[str, str], int]:
        """Rejected rows by (op, reason), in the order of the ops; what is not an op of a chain comes first."""
        ops = list(dict.fromkeys(op.name for chain in self.chains for op in chain.ops))
        order = {name: place for place, name in enumerate(ops)}
        return self.rejects.totals(lambda reason: (order.get(reason[0], -1), reason))

    @property
    def sources(self) -> list[str]:
        """The sources of the project file, then those of the tables that it no longer names."""
        named = [chain.source.name for chain in self.chains]
        return [*named, *sorted({*self.footers, *(source for source, _ in self.rejects.counts)} - set(named))]

    @property
    def totals(self) -> RowCounts:
        """What became of all rows."""
        counts = [self.counts_of(source).to_dict() for source in self.sources]
        return RowCounts.from_dict(sum(map(Counter, counts), Counter()))

    def counts_of(self, source: str) -> RowCounts:
        """Return what became of the rows of a source."""
        footer, dropped = self.footers.get(source, {}), sum(self.duplicates.of(source).values())
        return RowCounts(
            rows_in=footer.get("rows_in", 0),
            rows_added=footer.get("fan_out", 0),
            rows_kept=footer.get("rows_kept", 0) - dropped,
            rows_rejected=footer.get("rows_rejected", 0),
            rows_duplicate=dropped,
        )

    @property
    def changed_since(self) -> bool:
        """True if the project file or an op changed after the records were made."""
        recipe = digest.address("recipes", [chain.recipe for chain in self.chains])
        return bool(self.commit.get("recipe")) and self.commit["recipe"] != recipe

    @property
    def made_at(self) -> str | None:
        """When the records were committed (UTC, to the second); None if the log does not say."""
        stamp = self.commit.get("timestamp")
        return None if stamp is None else f"{datetime.fromtimestamp(stamp // 1_000, UTC):%Y-%m-%d %H:%M:%S} UTC"


def read_facts(workspace: Workspace, versions: Mapping[str, int] | None = None) -> Facts:
    """Read the newest version of every prepared table, or the versions that a publication pins.

    Raises:
        StorageError: a shard is missing or damaged.
    """
    if versions is None:
        heads = {name: workspace.table(name).version() for name in PREPARED_TABLES}
        versions = {name: version for name, version in heads.items() if version is not None}
    shards: dict[str, list[ShardRef]] = {name: [] for name in PREPARED_TABLES}
    for name in shards.keys() & versions.keys():
        shards[name] = sorted(workspace.table(name).shards(versions[name]).values(), key=lambda ref: ref.address)
    chains = _chains(workspace.project)
    scores = {op.score for chain in chains for op in chain.ops if hasattr(op, "score")}

    rejects = Kinds[tuple[str, str]](lambda row: (row["op"], row["reason"]), REJECTS_PER_REASON)
    beyond: dict[str, Smallest[float]] = defaultdict(lambda: Smallest(VALUES_PER_SCORE))
    sources: dict[str, str] = {}  # address -> source: a shard holds rows of one partition
    for ref, row in _rows(workspace, shards["rejects"]):
        rejects.add(row)
        sources[ref.address] = row["source"]
        found = _BEYOND.match(row["detail"]) if row["op"].startswith("threshold:") else None
        if found and found[1] in scores:
            beyond[found[1]].offer(row["key"], float(found[2]))

    records = tally(workspace.lake, shards["records"])
    candidates, dropped = records.candidates, set[str]()
    duplicates = Kinds[str](lambda row: row["evidence"].partition(":")[0], PAIRS_PER_KIND)
    for _, row in _rows(workspace, shards["duplicates"]):
        duplicates.add(row)
        dropped |= candidates & {row["row_digest"]}
    records.drop(dropped)
    matches = Kinds[str](_kind_of_match, PAIRS_PER_KIND)
    for _, row in _rows(workspace, shards["matches"]):
        matches.add(row)
    return Facts(
        workspace=workspace,
        versions=versions,
        shards=shards,
        chains=chains,
        footers=_footers(workspace, shards["records"], sources),
        rejects=rejects,
        duplicates=duplicates,
        matches=matches,
        records=records,
        beyond={score: values.items() for score, values in sorted(beyond.items())},
        commit=_commit(workspace, versions.get("records")),
    )


def _rows(workspace: Workspace, shards: Sequence[ShardRef]) -> Iterator[tuple[ShardRef, Row]]:
    for ref in shards:
        for batch in iter_shard(workspace.lake, ref, batch_rows=_BATCH_ROWS):
            yield from ((ref, row) for row in batch.to_pylist())


def _chains(project: Project) -> tuple[Chain, ...]:
    """Return the chain of every source. An aligner that cannot be opened here is left out, which changes the recipe."""
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


def _footers(
    workspace: Workspace, shards: Sequence[ShardRef], sources: Mapping[str, str]
) -> dict[str, Mapping[str, int]]:
    """Add up the records' footers by source; a footer without counts counts as its rows."""
    found = find_finished(workspace.lake, "records", [ref.address for ref in shards])
    totals: dict[str, Counter[str]] = defaultdict(Counter)
    for ref in shards:
        source = sources.get(ref.address)
        if source is None:
            if not ref.rows:
                continue  # an empty partition
            source = read_shard(workspace.lake, ref, ["source"])["source"][0].as_py()
        counts = found[ref.address].counts if ref.address in found else {}
        totals[source].update(counts or {"rows_in": ref.rows, "rows_kept": ref.rows})
        totals[source]["shards"] += 1
    return dict(sorted(totals.items()))


def _commit(workspace: Workspace, version: int | None) -> dict[str, Any]:
    if version is None or not workspace.lake.exists(layout.commit_path("records", version)):
        return {}
    log = workspace.lake.read(layout.commit_path("records", version))
    entries = [json.loads(line) for line in log.splitlines() if line.strip()]
    info: dict[str, Any] = next((entry["commitInfo"] for entry in entries if "commitInfo" in entry), {})
    return {name: info[name] for name in ("timestamp", "recipe") if name in info}
