"""prepare: sources → records, rejects, signatures, duplicates and matches, all committed."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from trichord.infra import digest
from trichord.infra.engines.base import Engine
from trichord.infra.errors import GateFailed
from trichord.infra.lake import schema
from trichord.infra.lake.footers import Footers
from trichord.infra.lake.publication import JsonDict, RowCounts
from trichord.infra.lake.shard import ShardRef, read_shard
from trichord.infra.lazy import arrow_compute as pc
from trichord.pipelines.core.commits import Commits, Touched
from trichord.pipelines.core.protection import under_lease
from trichord.pipelines.core.result import Result
from trichord.pipelines.core.workspace import Workspace
from trichord.pipelines.prepare.aligner import open_aligner
from trichord.pipelines.prepare.exact_duplicates import deduplicate
from trichord.pipelines.prepare.plan import Plan, make_plan
from trichord.pipelines.prepare.prepared import Prepared, keep_prepared
from trichord.pipelines.prepare.records import prepare
from trichord.transforms.chain import prepare_chain

REJECT_COUNTS = "rejects_counted"  # name of the file of these counts


@dataclass(frozen=True, slots=True, kw_only=True)
class Preparation:
    """The committed result of a preparation."""

    prepared: Sequence[Prepared]
    duplicates: Sequence[ShardRef]
    matches: Sequence[ShardRef]
    commit: Commits

    @property
    def counts(self) -> RowCounts:
        """Row counts: rows in, kept, rejected, duplicate, added."""
        totals = [item.records.counts for item in self.prepared]
        duplicate = sum(ref.rows for ref in self.duplicates)
        return RowCounts(
            rows_in=sum(counts["rows_in"] for counts in totals),
            rows_added=sum(counts["fan_out"] for counts in totals),
            rows_kept=sum(counts["rows_kept"] for counts in totals) - duplicate,
            rows_rejected=sum(counts["rows_rejected"] for counts in totals),
            rows_duplicate=duplicate,
        )

    def funnel(self, workspace: Workspace) -> tuple[OpCount, ...]:
        """Return the rows that went into each op and those it rejected, in the order of the chain."""
        total = Counter[str]()
        for item in self.prepared:
            total.update(item.records.counts)
        config = workspace.project.prepare
        aligner = open_aligner(config.align)
        chains = (prepare_chain(config, source, aligner) for source in workspace.project.sources)
        ops = dict.fromkeys(op.name for chain in chains for op in chain)
        return tuple(OpCount(op=op, rows_in=total[f"{op}/in"], rows_rejected=total[f"{op}/rejected"]) for op in ops)

    @property
    def digest(self) -> str:
        """Return the digest of every shard's address and bytes; it is the same on every engine."""
        refs = [ref for item in self.prepared for ref in (item.records, item.signatures, item.rejects) if ref]
        refs += [*self.duplicates, *self.matches]
        return digest.address("prepared", sorted([ref.table, ref.address, ref.sha256] for ref in refs))


def prepare_records(workspace: Workspace, engine: Engine, plan: Plan, commit: Commits) -> list[Prepared]:
    """Make and commit the missing records, rejects and signatures.

    Raises:
        PartialRun: some partitions failed; a rerun resumes.
        CommitConflict: another run committed in the meantime.
    """
    prepared = prepare(workspace, engine, plan.shards)
    commit("records", [item.records for item in prepared], schema.RECORDS)
    commit("rejects", [item.rejects for item in prepared if item.rejects], schema.REJECTS)
    commit("signatures", [item.signatures for item in prepared], schema.SIGNATURES)
    if commit.visible:  # else these are not what the next night's rows are copied from
        keep_prepared(workspace, plan.shards)
    return prepared


def drop_duplicates(workspace: Workspace, engine: Engine, prepared: Sequence[Prepared], commit: Commits) -> Preparation:
    """Find and commit duplicates and matches. Raises as `prepare_records`."""
    found = deduplicate(workspace, engine, prepared)
    commit("duplicates", found.duplicates, schema.DUPLICATES)
    commit("matches", found.matches, schema.MATCHES)
    return Preparation(prepared=prepared, duplicates=found.duplicates, matches=found.matches, commit=commit)


def prepare_lake(workspace: Workspace, engine: Engine, plan: Plan) -> Preparation:
    """Make and commit the missing records, rejects, signatures, duplicates and matches.

    Raises as `prepare_records`.
    """
    commit = Commits(workspace, plan.recipe)
    return drop_duplicates(workspace, engine, prepare_records(workspace, engine, plan, commit), commit)


@dataclass(frozen=True, slots=True, kw_only=True)
class OpCount(Result):
    """Rows that went into an op, and rows that it rejected."""

    op: str
    rows_in: int
    rows_rejected: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PrepareSummary(Result):
    """What a preparation did.

    Attributes:
        manifest_digest: digest of every shard's address and bytes; the same on every engine.
        counts: what became of all rows.
        funnel: the ops in the order of the chain.
        touched: what changed in each table.
        ignored_endings: files that are not read, by their ending.
        seconds: duration.
    """

    manifest_digest: str
    counts: RowCounts
    funnel: tuple[OpCount, ...]
    touched: tuple[Touched, ...]
    ignored_endings: Mapping[str, int]
    seconds: float

    def to_dict(self) -> JsonDict:
        """Return JSON-ready values; the counts are at the top level."""
        rest = Result.to_dict(self)
        return rest | rest.pop("counts")


@under_lease("prepare")
def prepare_only(workspace: Workspace) -> PrepareSummary:
    """Prepare without training, indexing or publishing; nothing changes for a reader.

    Raises:
        GateFailed: no row was kept, or an op rejected more rows than the project file allows; what was made is kept.
    """
    started = time.monotonic()
    plan = make_plan(workspace)
    with workspace.open_engine() as engine:
        done = prepare_lake(workspace, engine, plan)
    counts = done.counts
    rejected = reject_counts(workspace, done.commit.versions["rejects"]).by_op
    over = find_high_reject_ratios(workspace, rejected, counts)
    if counts.rows_in and not counts.rows_kept:
        by_op = ", ".join(f"{op} {rows}" for op, rows in rejected.most_common(5))
        raise GateFailed(
            f"No row was kept: {counts.rows_rejected} of {counts.rows_in} were rejected ({by_op}).\n"
            "List them with `trichord rejects ls`. Often a source's `media_root` or `require` is wrong."
        )
    if over:
        raise GateFailed(
            "Too many rows were rejected:\n"
            + "\n".join(f"  {op}: {ratio:.1%} of the rows; the limit is {limit:.1%}" for op, ratio, limit in over)
            + "\nList them with `trichord rejects ls`; fix the source, the threshold or `gate.max_reject_ratio`."
        )
    return PrepareSummary(
        manifest_digest=done.digest,
        counts=counts,
        funnel=done.funnel(workspace),
        touched=tuple(done.commit.touched),
        ignored_endings=plan.endings,
        seconds=round(time.monotonic() - started, 3),
    )


class RejectCounts(NamedTuple):
    """Rejected rows: by op, by source, and by op and reason."""

    by_op: Counter[str]
    by_source: Counter[str]
    by_reason: Counter[tuple[str, str]]


def reject_counts(workspace: Workspace, version: int) -> RejectCounts:
    """Return the rejected rows in one version of the table, without rows that parts replaced.

    A shard is read once: its counts are kept in the lake.
    """
    found = _count_rejects(workspace, version)
    Footers.remember(workspace.lake, "rejects", found, REJECT_COUNTS)
    return _total(found)


def count_reasons(workspace: Workspace, version: int) -> Counter[str]:
    """Return the same rows by `reason_name`; nothing is kept in the lake."""
    found = _total(_count_rejects(workspace, version)).by_reason
    total = Counter[str]()
    for (op, reason), rows in found.items():
        total[reason_name(op, reason)] += rows
    return total


def reason_name(op: str, reason: str) -> str:
    """Return why a row was rejected: the reason, after its op where that does not say the same."""
    return reason if op.partition(":")[2] == reason else f"{op}: {reason}"


def _count_rejects(workspace: Workspace, version: int) -> list[ShardRef]:
    """Return the shards of a version of the table, with their rows by source, reason and op."""
    lake = workspace.lake
    known, found = Footers.load(lake, "rejects", REJECT_COUNTS), list[ShardRef]()
    stats = {lake.relative(stat.uri): stat for stat in lake.list("rejects")}
    for ref in workspace.table("rejects").shards(version).values():
        counted = known.find(ref.path, stats[ref.path]) if ref.path in stats else None
        if counted is None:
            table = read_shard(lake, ref, ["op", "reason", "source"])
            refused = table.filter(pc.not_equal(table["reason"], "replaced_by_parts"))
            op, reason, source = (refused[name].to_pylist() for name in ("op", "reason", "source"))
            counts = Counter(f"source:{name}" for name in source)
            counts.update(f"reason:{why}:{name}" for name, why in zip(op, reason, strict=True))
            counted = replace(ref, counts={**counts, "rows": len(table)})
        found.append(counted)
    return found


def _total(shards: Sequence[ShardRef]) -> RejectCounts:
    total = RejectCounts(Counter(), Counter(), Counter())
    for ref in shards:
        for name, rows in ref.counts.items():
            column, _, value = name.partition(":")
            if column == "source":
                total.by_source[value] += rows
            elif column == "reason":
                why, _, op_name = value.partition(":")  # an op's name may have a colon
                total.by_op[op_name] += rows
                total.by_reason[op_name, why] += rows
    return total


def find_high_reject_ratios(
    workspace: Workspace, rejected: Mapping[str, int], counts: RowCounts
) -> list[tuple[str, float, float]]:
    """Return the ops that rejected too much: (op, share of the rows, limit)."""
    rows = max(1, counts.rows)
    limits = workspace.project.gate
    shares = ((op, n / rows, limits.max_reject_ratio_of.get(op, limits.max_reject_ratio)) for op, n in rejected.items())
    return sorted((op, share, limit) for op, share, limit in shares if share > limit)
