"""rejects replay: after a fix, run only the rejected rows and reach the same state as a whole `prepare`.

Preparation itself copies the rows whose result cannot have changed (pipelines/prepare/copying.py). Replaying forgets
failed downloads before, and says what became of the rejects.

A row that ended its worker is the one reject that no address explains: a worker's memory and time are not part of the
address. Such a row is tried again if its partition gets a new address. If not, it is tried alone; if it passes now,
nothing is written, because one address has one content, and the message says how to include the row.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from trichord.infra.engines.base import Done, Engine
from trichord.infra.errors import ConfigError
from trichord.infra.lake.publication import RowCounts
from trichord.infra.lake.shard import read_shard
from trichord.infra.web import Fetcher
from trichord.pipelines.core.bases import load_bases
from trichord.pipelines.core.commits import Touched
from trichord.pipelines.core.protection import under_lease
from trichord.pipelines.core.result import Result, plain
from trichord.pipelines.core.workspace import Workspace
from trichord.pipelines.prepare.aligner import open_aligner
from trichord.pipelines.prepare.job import Preparation, prepare_lake
from trichord.pipelines.prepare.plan import Plan, WantedShard, make_plan
from trichord.pipelines.prepare.prepared import Prepared, find_bases, finished
from trichord.pipelines.prepare.records import PrepareItem, prepare_task
from trichord.pipelines.rejects.query import Choice, RejectKey, select_keys

_SHOWN = 20

ADVICE = (
    "The project file and the sources have not changed since these rows were rejected: loosen a threshold or fix the "
    "files. `trichord rejects export` writes the rows out."
)
_NO_BASE = "no older shard exists"
_OTHER_CHANGE = "more changed than loosened thresholds"
_NOTHING_KNOWN = "no row of it is in the older shards"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fates:
    """What the chosen rejects became: recovered + still rejected + gone from their source = all of them."""

    rows_recovered: int
    rows_recovered_by_reason: Mapping[str, int]
    rows_still_rejected: Mapping[str, int]
    rows_gone: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Replayed:
    """The state that a replay reached: the committed tables, as `prepare` reports them."""

    manifest_digest: str
    counts: RowCounts
    touched: Sequence[Touched]


@dataclass(frozen=True, slots=True, kw_only=True)
class Replay(Result):
    """What a replay did.

    Attributes:
        rows_replayed: source rows that ran.
        rows_copied: source rows copied from an older shard.
        fates: what the chosen rejects became.
        partitions_merged: partitions made from an older shard.
        partitions_remade: partitions prepared as a whole.
        rows_remade: their rows.
        remade_because: why, with the number of partitions.
        remade: the first of these partitions.
        state: None where nothing had changed, so nothing was replayed.
        seconds: duration.
    """

    rows_replayed: int = 0
    rows_copied: int = 0
    fates: Fates
    partitions_merged: int = 0
    partitions_remade: int = 0
    rows_remade: int = 0
    remade_because: Mapping[str, int] = field(default_factory=dict)
    remade: Sequence[str] = ()
    state: Replayed | None
    seconds: float

    def to_dict(self) -> dict[str, Any]:
        """Return one flat object (docs/cli.md); `advice` where there was nothing to replay."""
        values = {field.name: plain(getattr(self, field.name)) for field in fields(self)}
        state = values.pop("state")
        counts = state.pop("counts") if state else {}
        rest = {**state, **counts} if state else {"advice": ADVICE}
        return {"nothing_to_replay": self.state is None, **values.pop("fates"), **values, **rest}


@under_lease("replay")
def replay(workspace: Workspace, choice: Choice) -> Replay:
    """Bring the lake to the state of a whole `prepare` under today's project file, running only the rows that must run.

    If thresholds were loosened, the rows they rejected run again; so do rows whose source changed (fixed files,
    downloads that work now). Everything else is copied. `choice` names the rejects that the fix was for: the summary
    counts them, and their failed downloads are tried again.

    Raises:
        ConfigError: no reject matches, or rows that killed their worker now pass but their address is unchanged.
        PartialRun: some partitions failed; a rerun resumes.
    """
    started = time.monotonic()
    rejected = select_keys(workspace, choice, live=False)
    downloads = {row.reason for row in rejected if row.reason.startswith("download_")}
    if downloads:
        with Fetcher(workspace.project.web, workspace.lake) as fetcher:
            fetcher.forget(reasons=downloads)
    plan = make_plan(workspace)
    ready = finished(workspace, plan.shards)
    present = workspace.table("records").shards()
    with workspace.open_engine() as engine:
        if present.keys() == plan.wanted and not plan.wanted - ready.keys():
            _refuse_survivors(workspace, engine, plan, rejected)
            still = dict(sorted(Counter(row.reason for row in rejected).items()))
            fates = Fates(rows_recovered=0, rows_recovered_by_reason={}, rows_still_rejected=still, rows_gone=0)
            return Replay(fates=fates, state=None, seconds=round(time.monotonic() - started, 3))
        missing = [shard for shard in plan.shards if shard.address not in ready]
        bases = find_bases(workspace, plan.shards, missing, open_aligner(workspace.project.prepare.align))
        why = _why_remade(workspace, missing, bases)
        done = prepare_lake(workspace, engine, plan)
    changed = [item for item in done.prepared if item.address not in present]
    merged = [item for item in done.prepared if item.copied]
    whys = {item.partition: why[item.partition] for item in done.prepared if item.ran and not item.copied}
    return Replay(
        rows_replayed=sum(item.ran for item in merged),
        rows_copied=sum(item.copied for item in merged),
        fates=_count_fates(workspace, rejected, changed, done),
        partitions_merged=len(merged),
        partitions_remade=len(whys),
        rows_remade=sum(shard.partition.rows for shard in missing if shard.partition.id in whys),
        remade_because=dict(sorted(Counter(whys.values()).items())),
        remade=sorted(whys)[:_SHOWN],
        state=Replayed(manifest_digest=done.digest, counts=done.counts, touched=done.commit.touched),
        seconds=round(time.monotonic() - started, 3),
    )


def _why_remade(workspace: Workspace, shards: Sequence[WantedShard], bases: Container[str]) -> dict[str, str]:
    """Return, by partition, the reason if none of its rows is copied; `bases`: addresses with shards to copy from."""
    names = {shard.source.name for shard in shards}
    known = {name for name in names if load_bases(workspace.lake, "records", name) is not None}
    return {
        shard.partition.id: _NOTHING_KNOWN
        if shard.address in bases
        else _OTHER_CHANGE
        if shard.source.name in known
        else _NO_BASE
        for shard in shards
    }


def _count_fates(
    workspace: Workspace, rejected: Sequence[RejectKey], changed: Sequence[Prepared], done: Preparation
) -> Fates:
    before = {(row.source, row.key): row.reason for row in rejected}
    kept, refused = set(), dict[tuple[str, str], str]()
    for item in changed:
        rows = read_shard(workspace.lake, item.records, ["source", "key"])
        kept |= before.keys() & set(zip(rows["source"].to_pylist(), rows["key"].to_pylist(), strict=True))
    for ref in (item.rejects for item in done.prepared if item.rejects is not None):
        for row in read_shard(workspace.lake, ref, ["source", "key", "reason"]).to_pylist():
            name = (row["source"], row["key"])
            if name in before and refused.get(name) != before[name]:
                refused[name] = row["reason"]
    recovered = kept - refused.keys()
    return Fates(
        rows_recovered=len(recovered),
        rows_recovered_by_reason=dict(sorted(Counter(before[name] for name in recovered).items())),
        rows_still_rejected=dict(sorted(Counter(refused.values()).items())),
        rows_gone=len(before) - len(recovered) - len(refused),
    )


def _refuse_survivors(workspace: Workspace, engine: Engine, plan: Plan, rejected: Sequence[RejectKey]) -> None:
    """Try each row that ended its worker alone, and refuse if one passes: its address already has a content.

    Raises:
        ConfigError: some pass.
    """
    keys = {(row.partition, row.key) for row in rejected if row.reason == "worker_died"}
    shards = {shard.partition.id: shard for shard in plan.shards}
    probes = [PrepareItem(shard=shards[partition], probe=frozenset([key])) for partition, key in sorted(keys)]
    passing = [
        f"{outcome.item.shard.source.name} {next(iter(outcome.item.probe or ()))}"
        for outcome in engine.map(prepare_task(workspace), probes)
        if isinstance(outcome, Done)
    ]
    if passing:
        raise ConfigError(
            f"{len(passing)} of {len(keys)} rows that killed their worker now pass, but no setting and no file has "
            "changed, so their shard's address is the same; an address has one content.\n"
            + "\n".join(f"  {name}" for name in sorted(passing)[:5])
            + "\nAdd them as a source of their own: `trichord rejects export --reason worker_died --media FOLDER "
            "--out FILE`, then name FILE as a manifest source. Or change their files at the source."
        )
