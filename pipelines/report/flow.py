"""The funnel of a preparation: what went into every op, what it cut from its rows, what it rejected."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from trichord.pipelines.report.prepared import Chain, PreparedLake

READ, WORKER = "read", "worker"  # what rejects a row before the first op of the chain


@dataclass(frozen=True, slots=True, kw_only=True)
class OpFlow:
    """rows_in + added = rows_kept + rejected."""

    op: str
    rows_in: int
    added: int
    rejected: int

    @property
    def kept(self) -> int:
        """Rows behind the op."""
        return self.rows_in + self.added - self.rejected

    @property
    def quiet(self) -> bool:
        """Whether every row passed as it was in number."""
        return not self.added and not self.rejected


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceFlow:
    """What became of a source's rows; `ops` in the order of its chain. `listed`: the project file names the source."""

    source: str
    kind: str
    recipe: str
    partitions: int
    rows_in: int
    added: int
    rejected: int
    duplicate: int
    kept: int
    ops: tuple[OpFlow, ...]
    listed: bool

    @property
    def share_rejected(self) -> float:
        """Rejected rows over all rows, those cut from others included."""
        return self.rejected / max(1, self.rows_in + self.added)


def source_flows(lake: PreparedLake) -> list[SourceFlow]:
    """The flow of every source, in the order of the project file; sources that it no longer names come last."""
    chains: dict[str, Chain | None] = {chain.source.name: chain for chain in lake.chains}
    chains |= dict.fromkeys(name for name in sorted({*lake.counts, *lake.rejects_of}) if name not in chains)
    flows = []
    for name, chain in chains.items():
        counts = lake.counts.get(name, {})
        rejected = {op: 0 for op, _ in lake.rejects_of.get(name, {})}
        for (op, _), rows in lake.rejects_of.get(name, {}).items():
            rejected[op] += rows
        duplicate = lake.duplicates_of.get(name, 0)
        flows.append(
            SourceFlow(
                source=name,
                kind=chain.source.kind if chain else "–",
                recipe=chain.recipe if chain else "",
                partitions=counts.get("shards", 0),
                rows_in=counts.get("rows_in", 0),
                added=counts.get("fan_out", 0),
                rejected=counts.get("rows_rejected", 0),
                duplicate=duplicate,
                kept=counts.get("rows_kept", 0) - duplicate,
                ops=_ops(chain, counts, rejected),
                listed=chain is not None,
            )
        )
    return flows


def _ops(chain: Chain | None, counts: Mapping[str, int], rejected: Mapping[str, int]) -> tuple[OpFlow, ...]:
    """The flow through a chain, by the footers' counts of every op; without them, by the rejects, which are whole.

    Without counts of the ops, what was cut is told of the last op that cuts.
    """
    before = [op for op in (READ, WORKER) if rejected.get(op)]
    known = [op.name for op in chain.ops] if chain is not None else []
    others = sorted(op for op in rejected if op not in known and op not in (READ, WORKER))
    names = [*before, *known, *others]
    cutting = [op.name for op in chain.ops if op.fan_out] if chain is not None else []
    told = any(name.endswith("/in") for name in counts)
    left = counts.get("rows_in", 0)
    flows = []
    for place, name in enumerate(names):
        gone = rejected.get(name, 0)
        added = counts.get("fan_out", 0) if cutting and name == cutting[-1] else 0
        if told and name in known:
            follower = next((counts[f"{op}/in"] for op in names[place + 1 :] if f"{op}/in" in counts), None)
            added = 0 if follower is None or name not in cutting else max(0, follower + gone - left)
        flows.append(OpFlow(op=name, rows_in=left, added=added, rejected=gone))
        left = flows[-1].kept
    return tuple(flows)


def all_ops(flows: Sequence[SourceFlow]) -> list[OpFlow]:
    """The flows of all sources added up op by op, in the order in which the ops first stand in a chain."""
    total: dict[str, OpFlow] = {}
    order = [step.op for flow in flows for step in flow.ops]
    chain = [op for op in (READ, WORKER) if op in order]
    chain += [op for op in dict.fromkeys(order) if op not in chain]
    for op in chain:
        steps = [step for flow in flows for step in flow.ops if step.op == op]
        total[op] = OpFlow(
            op=op,
            rows_in=sum(step.rows_in for step in steps),
            added=sum(step.added for step in steps),
            rejected=sum(step.rejected for step in steps),
        )
    return list(total.values())
