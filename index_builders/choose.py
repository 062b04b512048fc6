"""Which index, and how it is divided into shards: pure arithmetic on measured costs (`costs.py`)."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from trichord.index_builders.costs import predict
from trichord.index_builders.index_kinds import KINDS, IndexPlan
from trichord.infra.config import IndexConfig, IndexKind, Refine
from trichord.infra.digest import hash64
from trichord.infra.errors import ConfigError

POINTS_PER_CELL = 39  # FAISS warns about k-means with fewer training points a centroid
MAX_DEPTH = 64
QUERIES_A_BUILD = 100_000  # an index is worth building longer if this many queries gain as much
RABITQ_BITS = (1, 2, 3, 4, 5, 6, 7, 8, 9)
REFINES: tuple[Refine | None, ...] = (None, "flat", "fp16", "sq8")


def choose(
    rows: int,
    dimension: int,
    config: IndexConfig,
    *,
    cores: int = 1,
    recall: float | None = None,
    missed: Sequence[IndexPlan] = (),
) -> IndexPlan:
    """Choose the index for this many vectors.

    Below `flat_max_rows` it is Flat, which is exact and fastest to build, where the memory allows. Otherwise it is
    the plan of least build time plus time of 100,000 queries among those that keep the memory and the latency and
    are predicted to reach the recall. A kind that the project names is taken at its best parameters; only what was
    asked for in figures can refuse it.

    Args:
        rows: vectors.
        dimension: values of each.
        config: section `index`.
        cores: workers that build and threads that search.
        recall: recall@10 to reach instead of the section's.
        missed: what was built of these vectors and did not reach it: no plan of such codes is taken.

    Raises:
        ConfigError: no index keeps all targets (the message says which to relax, and to what), or `nlist` is more
            than the rows, or `nprobe` more than the cells.
    """
    target = config.recall if recall is None else recall
    _check_cells(rows, config)
    wanted = f"{rows} vectors of {dimension} values"
    if rows == 0:
        return IndexPlan(kind="flat", reason=f"{wanted}: there is nothing to search")
    plans = [
        replace(
            plan,
            predicted=predict(plan, rows, dimension, cores=cores, rows_per_shard=_shard(rows, config), recall=target),
        )
        for plan in _candidates(rows, dimension, config)
        if not any(plan.is_no_finer(one) for one in missed)
    ]
    named = config.kind != "auto"
    fit = [plan for plan in plans if _fits(plan, config, None if named else target)]
    if not fit:
        raise ConfigError(_refusal(wanted, plans, config, target))
    flat = next((plan for plan in fit if plan.kind == "flat"), None)
    if not named and flat is not None and rows < config.flat_max_rows:
        return replace(flat, reason=f"{wanted}: below index.flat_max_rows = {config.flat_max_rows}")
    best = min(
        fit, key=lambda plan: (named and plan.predicted is not None and plan.predicted.recall < target, _price(plan))
    )
    given = [f"recall {target}"]
    given += [f"{config.memory_bytes} bytes"] if config.memory_bytes else []
    given += [f"{config.latency_ms} ms a query"] if config.latency_ms else []
    reason = f"index.kind = {config.kind}" if named else f"cheapest of {len(fit)} that keep {', '.join(given)}"
    return replace(best, reason=f"{wanted}: {reason}")


def cells(rows: int) -> int:
    """Cells of an IVF index: 4 * sqrt(rows) (FAISS wiki, "Guidelines to choose an index") as a power of two, so that
    it seldom changes, and at least 39 rows a cell.
    """
    return min(2 ** round(math.log2(4 * math.sqrt(rows))), 2 ** int(math.log2(max(1, rows // POINTS_PER_CELL))))


def _candidates(rows: int, dimension: int, config: IndexConfig) -> Iterator[IndexPlan]:
    named = config.kind != "auto"
    kinds: tuple[IndexKind, ...] = (config.kind,) if config.kind != "auto" else KINDS
    nlist = config.nlist or cells(rows)
    for kind in kinds:
        code = kind.removeprefix("ivf_")
        if not named and kind.startswith("ivf_") and rows < config.flat_max_rows:
            continue
        bits = ([config.bits] if config.bits else RABITQ_BITS) if code == "rabitq" else (None,)
        parts = _parts(dimension, code, config)
        if code in ("flat", "flat_fp16", "fp16", "hnsw"):
            refines: tuple[Refine | None, ...] = (None,)
        else:
            refines = REFINES if config.refine == "auto" else (None if config.refine == "none" else config.refine,)
        for bit in bits:
            for part in parts:
                for refine in refines:
                    yield IndexPlan(
                        kind=kind,
                        nlist=nlist if kind.startswith("ivf_") else None,
                        bits=bit,
                        parts=part,
                        refine=refine,
                        device=config.device if kind.startswith("ivf_") else "cpu",
                    )


def _parts(dimension: int, code: str, config: IndexConfig) -> tuple[int | None, ...]:
    if code not in ("pq", "pq_fast"):
        return (None,)
    if config.parts is not None:
        if dimension % config.parts:
            raise ConfigError(f"index.parts = {config.parts} does not divide the {dimension} values of a vector.")
        return (config.parts,)
    values = (1, 2, 4) if code == "pq_fast" else (2, 4)
    return tuple(dimension // each for each in values if dimension % each == 0)


def _shard(rows: int, config: IndexConfig) -> int:
    return min(rows, config.rows_per_shard)


def _fits(plan: IndexPlan, config: IndexConfig, recall: float | None) -> bool:
    made = plan.predicted
    assert made is not None
    return (
        (config.memory_bytes is None or made.index_bytes <= config.memory_bytes)
        and (config.latency_ms is None or made.query_ms <= config.latency_ms)
        and (recall is None or made.recall >= recall)
    )


def _price(plan: IndexPlan) -> tuple[float, int]:
    assert plan.predicted is not None
    return plan.predicted.build_s + plan.predicted.query_ms / 1e3 * QUERIES_A_BUILD, KINDS.index(plan.kind)


def _refusal(wanted: str, plans: list[IndexPlan], config: IndexConfig, recall: float) -> str:
    """Return which target to relax, and to what: the best each could be while the others are kept."""
    lines = []
    asked: float | None = None if config.kind != "auto" else recall
    free = {"memory_bytes": None, "latency_ms": None}
    for name in ("memory_bytes", "latency_ms", "recall"):
        relaxed = config if name == "recall" else config.model_copy(update={name: free[name]})
        left = [p.predicted for p in plans if p.predicted and _fits(p, relaxed, None if name == "recall" else asked)]
        if not left or (name == "recall" and asked is None) or (name != "recall" and getattr(config, name) is None):
            continue
        if name == "memory_bytes":
            lines.append(f"index.memory_bytes from {config.memory_bytes} to {min(p.index_bytes for p in left)}")
        elif name == "latency_ms":
            lines.append(f"index.latency_ms from {config.latency_ms} to {min(p.query_ms for p in left)}")
        else:
            lines.append(f"index.recall from {recall} to {max(p.recall for p in left)}")
    choices = "\n".join(f"  {line}, or" for line in lines)[: -len(", or")] or "  more than one of them"
    return (
        f"No index of {wanted} keeps index.memory_bytes = {config.memory_bytes}, index.latency_ms = "
        f"{config.latency_ms} and recall {recall} together.\nRelax one of these in the project file:\n{choices}"
    )


def _check_cells(rows: int, config: IndexConfig) -> None:
    if config.nlist is not None and config.nlist > rows and rows:
        raise ConfigError(
            f"index.nlist = {config.nlist} cells cannot be trained on {rows} vectors. Leave it unset, or lower it."
        )
    nlist = config.nlist or (cells(rows) if rows else 1)
    if config.kind.startswith("ivf_") and config.nprobe is not None and config.nprobe > nlist:
        raise ConfigError(f"index.nprobe = {config.nprobe} is more than the {nlist} cells there are. Lower it.")


def group_shards(refs: Iterable[tuple[str, int, str]], rows_per_shard: int) -> dict[str, list[str]]:
    """Divide vector shards among index shards so that a changed partition touches one of them.

    The groups are the leaves of a binary trie over a hash of the partition's id: a leaf with too many rows is divided
    by the next bit. Where one partition comes or goes, only its own leaf changes (or is divided, or joined again).

    Args:
        refs: (partition id, rows, address of the vector shard), in any order.
        rows_per_shard: most rows of a group, unless a single partition has more.

    Returns:
        Group id (`g` and the leaf's bits) -> addresses, ascending.

    Raises:
        ValueError: `rows_per_shard` is below 1.
    """
    if rows_per_shard < 1:
        raise ValueError(f"rows_per_shard is {rows_per_shard}")
    leaves = [("", [(hash64(partition), rows, address) for partition, rows, address in refs])]
    groups: dict[str, list[str]] = {}
    while leaves:
        prefix, members = leaves.pop()
        divisible = len({hashed for hashed, _, _ in members}) > 1 and len(prefix) < MAX_DEPTH
        if divisible and sum(rows for _, rows, _ in members) > rows_per_shard:
            bit = MAX_DEPTH - 1 - len(prefix)
            leaves += [(f"{prefix}{side}", [m for m in members if m[0] >> bit & 1 == side]) for side in (0, 1)]
        elif members:
            groups[f"g{prefix}"] = sorted(address for _, _, address in members)
    return dict(sorted(groups.items()))
