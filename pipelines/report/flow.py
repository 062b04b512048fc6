"""How many rows each op let through, cut or rejected: by source, in total, and as a funnel from rows to records."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from trichord.infra.lake.publication import RowCounts
from trichord.pipelines.report.facts import Chain, Facts

BEFORE_THE_CHAIN = ("read", "worker")  # what rejects a row before the first op


@dataclass(frozen=True, slots=True, kw_only=True)
class OpFlow:
    """rows_in + added = kept + rejected."""

    op: str
    rows_in: int
    added: int
    rejected: int

    @property
    def kept(self) -> int:
        """Rows that leave the op."""
        return self.rows_in + self.added - self.rejected

    @property
    def quiet(self) -> bool:
        """True if the op neither added nor rejected a row."""
        return not self.added and not self.rejected


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceFlow:
    """What became of a source's rows, in total and at every op of its chain."""

    source: str
    chain: Chain | None  # None: the project file no longer names the source
    partitions: int
    counts: RowCounts
    ops: tuple[OpFlow, ...]

    @property
    def share_rejected(self) -> float:
        """Rejected rows as a share of all rows, including those added by cutting."""
        return self.counts.rows_rejected / max(1, self.counts.rows)


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A step of the funnel: of the `before` rows that were left, `rows` leave (or arrive, or stay)."""

    kind: str  # 'in', 'reject', 'duplicate' or 'indexed'
    label: str
    note: str
    rows: int
    before: int


def source_flows(facts: Facts) -> list[SourceFlow]:
    """Return the flow of every source, in the order of `Facts.sources`."""
    chains = {chain.source.name: chain for chain in facts.chains}
    return [
        SourceFlow(
            source=name,
            chain=chains.get(name),
            partitions=facts.footers.get(name, {}).get("shards", 0),
            counts=facts.counts_of(name),
            ops=_ops(chains.get(name), facts.footers.get(name, {}), facts.rejects.of(name)),
        )
        for name in facts.sources
    ]


def _ops(chain: Chain | None, counts: Mapping[str, int], rejects: Mapping[tuple[str, str], int]) -> tuple[OpFlow, ...]:
    """Return the flow through a chain: rejects from their table, added rows from the footers' counts of every op.

    Where the footers do not count ops, all added rows are attributed to the last op that cuts.
    """
    rejected: Counter[str] = Counter()
    for (op, _), rows in rejects.items():
        rejected[op] += rows
    known = [op.name for op in chain.ops] if chain is not None else []
    cutting = [op.name for op in chain.ops if op.fan_out] if chain is not None else []
    before = [op for op in BEFORE_THE_CHAIN if rejected[op]]
    names = [*before, *known, *sorted(rejected.keys() - {*known, *BEFORE_THE_CHAIN})]
    counted = any(name.endswith("/in") for name in counts)
    left = counts.get("rows_in", 0)
    flows = []
    for place, name in enumerate(names):
        added = 0
        if name in cutting and counted:
            following = next((counts[f"{op}/in"] for op in names[place + 1 :] if f"{op}/in" in counts), None)
            added = 0 if following is None else max(0, following + rejected[name] - left)
        elif cutting and name == cutting[-1]:
            added = counts.get("fan_out", 0)
        flows.append(OpFlow(op=name, rows_in=left, added=added, rejected=rejected[name]))
        left = flows[-1].kept
    return tuple(flows)


def all_ops(flows: Sequence[SourceFlow]) -> list[OpFlow]:
    """Add up the flows of all sources op by op, in the order of the chains."""
    steps: dict[str, list[OpFlow]] = {}
    for step in (step for flow in flows for step in flow.ops):
        steps.setdefault(step.op, []).append(step)
    order = {name: place for place, name in enumerate(BEFORE_THE_CHAIN)}
    return [
        OpFlow(
            op=op,
            rows_in=sum(step.rows_in for step in steps[op]),
            added=sum(step.added for step in steps[op]),
            rejected=sum(step.rejected for step in steps[op]),
        )
        for op in sorted(steps, key=lambda op: order.get(op, len(order)))
    ]


def funnel(facts: Facts, counts: RowCounts, last: str, note: str) -> list[Step]:
    """Return the steps from the rows of the sources to the records that are left, in the order in which rows leave.

    Args:
        facts: rejects and duplicates.
        counts: row counts of the publication or preparation.
        last: what the remaining records are called.
        note: what is said about them.
    """
    left = counts.rows_in
    steps = [Step(kind="in", label="rows in", note="all sources", rows=left, before=left)]
    if added := counts.rows_added:
        left += added
        steps.append(Step(kind="in", label="added by cutting", note="by time or region", rows=added, before=left))
    leaving = [("reject", reason, op, rows) for (op, reason), rows in facts.reasons.items()]
    leaving += [("duplicate", kind, "another record is kept", n) for kind, n in facts.duplicates.totals().items()]
    if counts.rows_disagreeing:
        leaving.append(("reject", "disagreeing", "its modalities do not agree", counts.rows_disagreeing))
    for kind, label, why, rows in leaving:
        steps.append(Step(kind=kind, label=label, note=why, rows=rows, before=left))
        left -= rows
    return [*steps, Step(kind="indexed", label=last, note=note, rows=counts.rows_kept, before=counts.rows_kept)]
