"""prepare: partitions → records, rejects and signatures, one shard of each per partition.

Rows that did not change since the last run are copied from its shards (pipelines/prepare/copying.py).

If a row makes its worker crash, hang or run out of memory, halving the partition finds the row, which is rejected.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any

import pyarrow as pa

from trichord.infra import log
from trichord.infra.config import PrepareConfig, Source
from trichord.infra.engines.base import Done, Engine
from trichord.infra.engines.failure import Failure, partly_failed
from trichord.infra.errors import PartialRun
from trichord.infra.lake import schema
from trichord.infra.lake.lake import Lake
from trichord.infra.lake.shard import ShardWriter
from trichord.pipelines.core.marks import count_marks, footer_counts
from trichord.pipelines.core.materialise import at_its_place
from trichord.pipelines.core.pace import Pace
from trichord.pipelines.core.recipes import remember_recipes
from trichord.pipelines.core.workspace import Workspace
from trichord.pipelines.prepare.aligner import open_aligner
from trichord.pipelines.prepare.copying import NO_BASE, Base, Copier, LostBase
from trichord.pipelines.prepare.plan import WantedShard
from trichord.pipelines.prepare.prepared import Prepared, find_bases, finished
from trichord.transforms.align.words import Aligner
from trichord.transforms.chain import prepare_chain
from trichord.transforms.collect import read_partition, read_unknown
from trichord.transforms.collect.read import Known, Reading, nothing
from trichord.transforms.dedup.signatures import signatures_table
from trichord.transforms.op import Op, OpCounts, run_chain
from trichord.transforms.record import finish, rejects_of

KILLED = "its worker ended while it was at this row"  # details differ between engines and runs; bytes must not


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """Rows of a partition as rows of its tables, and the ops' counts: `fan_out`, `<op>/in`, `<op>/rejected`."""

    records: pa.Table
    signatures: pa.Table
    rejects: Sequence[Mapping[str, Any]]
    counts: Mapping[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class PrepareItem:
    """A partition to prepare or, with `probe`, some of its rows to try without writing anything."""

    shard: WantedShard
    base: Base = NO_BASE
    poison: Mapping[str, str] = field(default_factory=dict)  # key -> how its worker died
    probe: frozenset[str] | None = None
    again: bool = False  # no row was to blame, but a slow or busy machine

    @property
    def partition(self) -> str:
        """Its partition."""
        return self.shard.partition.id

    @property
    def address(self) -> str:
        """The address of its shards."""
        return self.shard.address

    @property
    def rows(self) -> int:
        """Rows that go in."""
        return self.shard.partition.rows


@dataclass(frozen=True, slots=True)
class PrepareTask:
    """The task an engine maps: reads one partition, runs the chain, writes its shards."""

    lake: Lake
    config: PrepareConfig
    aligner: Aligner | None = None

    @at_its_place
    def __call__(self, item: PrepareItem) -> Prepared | None:
        if item.probe is not None:
            chain = self.chain(item.shard.source)
            for reading in self._read(item, nothing):
                run_chain(reading.batch, chain)
            return None
        try:
            return self._prepare(item, item.base)
        except LostBase as error:
            log.event("not_copied", why=str(error))
            return self._prepare(item, NO_BASE)

    def _prepare(self, item: PrepareItem, base: Base) -> Prepared:
        chain = self.chain(item.shard.source)
        ops = [op.name for op in chain]
        copier = Copier(self.lake, base.shards, ops, base.loosened, item.shard.partition.id)
        ran = 0

        def parts() -> Iterator[Made]:
            nonlocal ran
            for reading in self._read(item, copier.knows):
                ran += len(reading.batch)
                yield self._made(reading, chain, copier)

        prepared = write_partition(self.lake, item.shard, parts())
        return replace(prepared, ran=ran, copied=copier.copied)

    def _made(self, reading: Reading, chain: Sequence[Op], copier: Copier) -> Made:
        """Run the rows that are not known through the chain, and return the table rows of all."""
        batch, by_op = run_chain(reading.batch, chain)
        records = finish(batch, self.config)
        signatures = signatures_table(records, batch, self.config.dedup)
        rejects: Sequence[Mapping[str, Any]] = rejects_of(batch)
        counts = op_counts(by_op)
        if reading.known:
            records, signatures, copied, met = copier.copy(reading.known, reading.order, records, signatures)
            rejects = [*rejects, *copied]
            counts.update(met)
        return Made(records=records, signatures=signatures, rejects=rejects, counts=counts)

    def chain(self, source: Source) -> tuple[Op, ...]:
        """Return the ops that every row of a source goes through."""
        return prepare_chain(self.config, source, self.aligner)

    def _read(self, item: PrepareItem, known: Known) -> Iterator[Reading]:
        shard = item.shard
        for reading in read_unknown(shard.source, self.lake, shard.partition, known, config=self.config):
            batch = reading.batch
            if item.probe is not None:
                batch = batch.select([row.key in item.probe for row in batch.rows])
            if item.poison:
                killers = {i: row.key for i, row in enumerate(batch.rows) if row.key in item.poison}
                batch = batch.reject({i: ("worker_died", item.poison[key]) for i, key in killers.items()}, op="worker")
            yield replace(reading, batch=batch)


def op_counts(by_op: Mapping[str, OpCounts]) -> Counter[str]:
    """Return the ops' counts of a batch, as its shard's footer stores them."""
    counts = Counter(fan_out=sum(op.fan_out for op in by_op.values()))
    for name, op in by_op.items():
        counts.update({f"{name}/in": op.rows_in, f"{name}/rejected": op.rows_rejected})
    return counts


def write_partition(lake: Lake, shard: WantedShard, parts: Iterable[Made]) -> Prepared:
    """Write the three shards of a partition; their bytes depend on the rows alone, not on how these are divided.

    Rejects are held in memory and sorted by key.
    """
    counts, marks, refused = Counter[str](), Counter[tuple[str, str]](), list[Mapping[str, Any]]()
    with (  # one after the other: where one cannot be opened, nothing is left of those before it
        ShardWriter(lake, "rejects", shard.address, schema.REJECTS) as rejects,
        ShardWriter(lake, "signatures", shard.address, schema.SIGNATURES) as signatures,
        ShardWriter(lake, "records", shard.address, schema.RECORDS) as records,
    ):
        for part in parts:
            counts.update(part.counts)
            counts.update(rows_kept=len(part.records), rows_rejected=len(part.rejects))
            marks.update(count_marks(part.records))
            records.write(part.records)
            signatures.write(part.signatures)
            refused += part.rejects
        refused.sort(key=lambda reject: [reject[name] for name in schema.REJECTS.names])
        rejects.write(pa.Table.from_pylist(refused, schema=schema.REJECTS))
        total = {"rows_in": shard.partition.rows, "fan_out": 0, "rows_kept": 0, "rows_rejected": 0, **counts}
        total |= footer_counts(marks)
        wanted = (records, signatures, rejects) if total["rows_rejected"] else (records, signatures)
        with ThreadPoolExecutor(len(wanted)) as pool:  # each waits for the disk; `finished` needs all of them
            refs = list(pool.map(lambda writer: writer.finish(total), wanted))
        return Prepared(
            address=shard.address,
            partition=shard.partition.id,
            records=refs[0],
            signatures=refs[1],
            rejects=refs[2] if total["rows_rejected"] else None,
        )


def prepare(workspace: Workspace, engine: Engine, shards: Iterable[WantedShard]) -> list[Prepared]:
    """Make the wanted shards that do not exist yet.

    Returns:
        The prepared partitions, in order of address.

    Raises:
        PartialRun: a partition failed and no row is to blame; what was finished is kept.
    """
    shards = list(shards)
    ready = finished(workspace, shards)
    missing = [shard for shard in shards if shard.address not in ready]
    task = prepare_task(workspace)
    bases = find_bases(workspace, shards, missing, task.aligner)
    todo = [PrepareItem(shard=shard, base=bases.get(shard.address, NO_BASE)) for shard in missing]
    if ready:
        log.event("prepare_resumed", shards_found=len(ready), shards_to_make=len(todo))
    remember_recipes(workspace, task.aligner)
    failures: list[tuple[str, Failure]] = []
    rounds, pace = todo, Pace(sum(item.rows for item in todo))
    while rounds:
        retry: list[PrepareItem] = []
        for outcome in engine.map(task, rounds):
            if isinstance(outcome, Done):
                if outcome.result is not None:
                    ready[outcome.result.address] = outcome.result
                    made = outcome.result
                    pace.add(outcome.item.rows)
                    of = {"partition": made.partition, "address": made.address, "rows": made.records.rows}
                    log.event("prepared", **of, copied=made.copied, **pace.report())
            elif outcome.failure.kind == "error":
                failures.append((outcome.item.shard.partition.id, outcome.failure))
            else:
                poison = dict(outcome.item.poison) | find_killers(engine, task, outcome.item)
                if poison == outcome.item.poison and not outcome.item.again:
                    retry.append(replace(outcome.item, again=True))
                elif poison == outcome.item.poison:
                    blameless = replace(outcome.failure, message="its worker died, but no single row causes that")
                    failures.append((outcome.item.shard.partition.id, blameless))
                else:
                    retry.append(replace(outcome.item, poison=poison))
        rounds = retry
    if failures:
        raise partly_failed(failures, len(shards), len(todo), "partitions could not be prepared")
    lost = {shard.address for shard in shards} - ready.keys()
    if lost:
        raise PartialRun(f"{len(lost)} partitions returned no result. Run the command again; it resumes.")
    return [ready[address] for address in sorted(ready)]


def prepare_task(workspace: Workspace) -> PrepareTask:
    """Return the task that prepares a project's partitions."""
    config = workspace.project.prepare
    return PrepareTask(workspace.lake, config, aligner=open_aligner(config.align))


def find_killers(engine: Engine, task: PrepareTask, item: PrepareItem) -> dict[str, str]:
    """Halve a partition whose worker died until single rows are to blame; return {key: how its worker died}."""
    keys = sorted(
        row.key
        for batch in read_partition(item.shard.source, task.lake, item.shard.partition, config=task.config)
        for row in batch.rows
        if row.key not in item.poison
    )
    killers: dict[str, str] = {}
    suspects = [keys]
    while suspects:
        halves = [half for part in suspects for half in (part[: len(part) // 2], part[len(part) // 2 :]) if half]
        if all(len(part) == 1 for part in suspects):
            halves = suspects
        probes = [PrepareItem(shard=item.shard, probe=frozenset(half)) for half in halves]
        suspects = []
        for outcome in engine.map(task, probes):
            if isinstance(outcome, Done) or outcome.failure.kind == "error" or outcome.item.probe is None:
                continue
            if len(outcome.item.probe) == 1:
                killers[next(iter(outcome.item.probe))] = KILLED
            else:
                suspects.append(sorted(outcome.item.probe))
    log.event("killers_found", partition=item.shard.partition.id, keys=sorted(killers))
    return killers
