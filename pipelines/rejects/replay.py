"""rejects replay: after a fix, run only what was rejected, and reach the state that a whole `prepare` would reach.

What may be copied is proven by addresses: a shard's address is the digest of its partition and recipe, so a recipe that
the lake remembers and a partition that is planned name the older shard, whoever made it and when.

A row that ended its worker is the one reject that no address explains: memory and time of a worker are no part of it.
Such a row is tried again wherever its partition gets a new address. Where it does not, it is tried alone; if it passes
now, nothing is written, for one address cannot have two contents, and the message says how to take the row in.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from trichord.infra import log
from trichord.infra.engines import open_engine
from trichord.infra.engines.base import Done, Engine
from trichord.infra.errors import ConfigError
from trichord.infra.lake.shard import read_shard
from trichord.infra.web import Fetcher
from trichord.pipelines.core.recipes import current_recipe, known_recipes, loosened, shard_address
from trichord.pipelines.core.workspace import Workspace
from trichord.pipelines.prepare.job import Preparation, prepare_lake
from trichord.pipelines.prepare.plan import Plan, WantedShard, make_plan
from trichord.pipelines.prepare.records import Prepared, PrepareItem, PrepareTask, finished, prepare_task
from trichord.pipelines.rejects.merge_partition import Merged, MergeItem, MergeTask, old_partition
from trichord.pipelines.rejects.query import Choice, chosen_rejects
from trichord.transforms.collect.partitions import Partition

_OLD_PLANS = 4  # plan files, newest first, in which a changed partition is looked for
_SHOWN = 20

_NO_BASE = "no older shard of it is known"
_OTHER_CHANGE = "more has changed than thresholds that let more through"


def replay(workspace: Workspace, choice: Choice) -> dict[str, Any]:
    """Bring the lake to the state of a whole `prepare` under the project file as it is now, running only what must run.

    Where thresholds were loosened, the rows that these rejected run again; where rows of a source changed (files
    mended, downloads that work now), these run. All else is copied. `choice` says what the fix was meant for: the
    summary counts its rows, and downloads that failed are asked for again.

    Returns:
        The run's summary, JSON-ready (docs/cli.md).

    Raises:
        ConfigError: no reject is of that choice; or rows that ended their worker pass now, at an unchanged address.
        PartialRun: some partitions failed; a rerun resumes.
    """
    started = time.monotonic()
    rejected = chosen_rejects(workspace, choice, live=False)
    downloads = {row["reason"] for row in rejected if row["reason"].startswith("download_")}
    if downloads:
        with Fetcher(workspace.project.web, workspace.lake) as fetcher:
            fetcher.forget(reasons=downloads)
    plan = make_plan(workspace)
    ready = finished(workspace, plan.shards)
    present = workspace.table("records").shards()
    with open_engine(workspace.project.engine) as engine:
        if present.keys() == plan.wanted and not plan.wanted - ready.keys():
            _refuse_survivors(workspace, engine, plan, rejected)
            return _nothing(rejected, time.monotonic() - started)
        task = prepare_task(workspace)
        missing = [shard for shard in plan.shards if shard.address not in ready]
        items, whys = find_bases(workspace, missing, task)
        merged = _merge(engine, task, items, whys)
        done = prepare_lake(workspace, engine, plan)
    changed = [item for item in done.prepared if item.address not in present]
    return {
        "nothing_to_replay": False,
        "rows_replayed": sum(item.run for item in merged),
        "rows_copied": sum(item.copied for item in merged),
        **_fates(workspace, rejected, changed, done),
        "partitions_merged": len(merged),
        "partitions_remade": len(whys),
        "rows_remade": sum(shard.partition.rows for shard in missing if shard.partition.id in whys),
        "remade_because": dict(sorted(Counter(whys.values()).items())),
        "remade": sorted(whys)[:_SHOWN],
        "manifest_digest": done.digest,
        **done.counts,
        "touched": [asdict(item) for item in done.commit.touched],
        "seconds": round(time.monotonic() - started, 3),
    }


def find_bases(
    workspace: Workspace, missing: Sequence[WantedShard], task: PrepareTask
) -> tuple[list[MergeItem], dict[str, str]]:
    """What each missing shard can be made from; and why the others, by partition, must be prepared as a whole."""
    old = known_recipes(workspace)
    wider: dict[str, dict[str, frozenset[str] | None]] = {}
    for source in {shard.source.name: shard.source for shard in missing}.values():
        _, now = current_recipe(workspace, source, task.aligner)
        wider[source.name] = {name: loosened(recipe, now) for name, recipe in old.items()}
    tried = [_Try(shard, None, name) for shard in missing for name in old]
    bases = _best(workspace, tried, wider)
    others = [shard for shard in missing if shard.partition.id not in bases and shard.partition.part is None]
    if others:
        plans = _old_plans(workspace, {shard.partition.locator for shard in missing})
        befores = [
            (shard, partition)
            for shard in others
            for locator in plans
            if (partition := old_partition(shard.partition, locator, task.lake)) is not None
        ]
        bases |= _best(workspace, [_Try(shard, partition, name) for shard, partition in befores for name in old], wider)
    items, whys = [], {}
    for shard in missing:
        base = bases.get(shard.partition.id)
        if base is None:
            whys[shard.partition.id] = _NO_BASE
        elif isinstance(base, str):
            whys[shard.partition.id] = base
        else:
            items.append(base)
    return items, whys


@dataclass(frozen=True, slots=True)
class _Try:
    """A shard that may exist: of a wanted shard's partition, or of that partition before, under an older recipe."""

    shard: WantedShard
    before: Partition | None
    recipe: str

    @property
    def wanted(self) -> WantedShard:
        return replace(self.shard, address=shard_address(self.before or self.shard.partition, self.recipe))


def _best(
    workspace: Workspace, tried: Sequence[_Try], wider: Mapping[str, Mapping[str, frozenset[str] | None]]
) -> dict[str, MergeItem | str]:
    """By partition, the older shard that keeps most rows, or why none of those that exist will do."""
    found = finished(workspace, {one.wanted.address: one.wanted for one in tried}.values())
    best: dict[str, MergeItem | str] = {}
    for one in tried:
        base = found.get(one.wanted.address)
        if base is None:
            continue
        name = one.shard.partition.id
        thresholds = wider[one.shard.source.name][one.recipe]
        if thresholds is None:
            best.setdefault(name, _OTHER_CHANGE)
            continue
        item = MergeItem(shard=one.shard, base=base, before=one.before, thresholds=thresholds)
        known = best.get(name)
        if not isinstance(known, MergeItem) or known.base.records.rows < base.records.rows:
            best[name] = item
    return best


def _old_plans(workspace: Workspace, current: Iterable[str]) -> list[str]:
    """Lake-relative paths of plan files besides the current ones, newest first."""
    lake = workspace.lake
    found = [(stat.mtime_ns, lake.relative(stat.uri)) for stat in lake.list("_plans")]
    known = {*current, "_plans/versions.parquet"}
    return [path for _, path in sorted(found, reverse=True) if path not in known][:_OLD_PLANS]


def _merge(engine: Engine, task: PrepareTask, items: Sequence[MergeItem], whys: dict[str, str]) -> list[Merged]:
    """Make shards from older ones; a partition that cannot be is left to `prepare`, which finds what is to blame."""
    merged = []
    for outcome in engine.map(MergeTask(task), items):
        partition = outcome.item.shard.partition.id
        if isinstance(outcome, Done):
            merged.append(outcome.result)
            log.event("replayed", partition=partition, rows_run=outcome.result.run, rows_copied=outcome.result.copied)
        else:
            whys[partition] = (
                str(outcome.failure).splitlines()[0][:200]
                if outcome.failure.kind == "error"
                else "a worker ended in it"
            )
            log.event("not_replayed", partition=partition, why=whys[partition])
    return merged


def _fates(
    workspace: Workspace, rejected: Sequence[Mapping[str, Any]], changed: Sequence[Prepared], done: Preparation
) -> dict[str, Any]:
    """What became of the chosen rejects: recovered + still rejected + gone from their source = all of them."""
    before = {(row["source"], row["key"]): row["reason"] for row in rejected}
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
    return {
        "rows_recovered": len(recovered),
        "rows_recovered_by_reason": dict(sorted(Counter(before[name] for name in recovered).items())),
        "rows_still_rejected": dict(sorted(Counter(refused.values()).items())),
        "rows_gone": len(before) - len(recovered) - len(refused),
    }


def _nothing(rejected: Sequence[Mapping[str, Any]], seconds: float) -> dict[str, Any]:
    return {
        "nothing_to_replay": True,
        "advice": "The project file and the sources are what they were when these rows were rejected: loosen a "
        "threshold, or mend the files. `trichord rejects export` writes the rows out.",
        "rows_replayed": 0,
        "rows_copied": 0,
        "rows_recovered": 0,
        "rows_recovered_by_reason": {},
        "rows_still_rejected": dict(sorted(Counter(row["reason"] for row in rejected).items())),
        "rows_gone": 0,
        "partitions_merged": 0,
        "partitions_remade": 0,
        "rows_remade": 0,
        "remade_because": {},
        "remade": [],
        "seconds": round(seconds, 3),
    }


def _refuse_survivors(workspace: Workspace, engine: Engine, plan: Plan, rejected: Sequence[Mapping[str, Any]]) -> None:
    """Try rows that ended their worker, each alone, and refuse where one passes: its address has a content already.

    Raises:
        ConfigError: some pass.
    """
    keys = {(row["partition"], row["key"]) for row in rejected if row["reason"] == "worker_died"}
    shards = {shard.partition.id: shard for shard in plan.shards}
    probes = [PrepareItem(shard=shards[partition], probe=frozenset([key])) for partition, key in sorted(keys)]
    passing = [
        f"{outcome.item.shard.source.name} {next(iter(outcome.item.probe or ()))}"
        for outcome in engine.map(prepare_task(workspace), probes)
        if isinstance(outcome, Done)
    ]
    if passing:
        raise ConfigError(
            f"{len(passing)} of {len(keys)} rows that ended their worker pass now, but cannot be taken in at their "
            "address: no setting and no file that it stands for has changed, and one address has one content.\n"
            + "\n".join(f"  {name}" for name in sorted(passing)[:5])
            + "\nTake them in as a source of their own: `trichord rejects export --reason worker_died --media FOLDER "
            "--out FILE`, then name FILE as a manifest source; or change their files at the source."
        )
