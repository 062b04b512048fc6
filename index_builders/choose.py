"""Which index, and how it is divided into shards: pure arithmetic on measured costs (`costs.py`).

What must be looked at for a recall is a property of the vectors: `Measured` holds what a sample shows of it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from trichord.index_builders.costs import code_bytes, predict
from trichord.index_builders.index_kinds import KINDS, IndexPlan, Prediction
from trichord.index_builders.measured import Measured, code_name
from trichord.infra.config import IndexConfig, IndexKind, Refine
from trichord.infra.digest import hash64
from trichord.infra.errors import ConfigError

POINTS_PER_CELL = 39  # FAISS warns about k-means with fewer training points a centroid
MAX_DEPTH = 64
QUERIES_A_BUILD = 100_000  # an index is worth building longer if this many queries gain as much; half of them alone
KEPT_UP_TO = 1.25  # times the least price: the live index keeps its kind, lest a few rows change all of it
NEAR = 0.05  # recalls that a sample shows so close are equal
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
    measured: Measured | None = None,
    live: IndexPlan | None = None,
) -> IndexPlan:
    """Choose the index for this many vectors.

    Below `flat_max_rows` it is Flat, which is exact and fastest to build, where the memory allows. Otherwise it is
    the plan of least build time plus time of 100,000 queries, half of them in batches, among those that keep the memory
    and the latency and are predicted to reach the recall. A kind that the project names is taken at its best
    parameters; only what was asked for in figures can refuse it.

    Args:
        rows: vectors.
        dimension: values of each.
        config: section `index`.
        cores: workers that build and threads that search.
        recall: recall@10 to reach instead of the section's.
        missed: what was built of these vectors and did not reach it: no plan of such codes is taken.
        measured: what a sample of the vectors shows, of the codes in `find_codes`; constants if None. Where by it
            nothing reaches the recall, but constants do not exclude it, the plan that comes closest is taken.
        live: the index that exists; kept while it costs at most a quarter more than the best.

    Raises:
        ConfigError: no index keeps all targets (the message says which to relax, and to what), or `nlist` is more
            than the rows, or `nprobe` more than the cells.
    """
    target = config.recall if recall is None else recall
    _check_cells(rows, config)
    wanted = f"{rows} vectors of {dimension} values"
    if rows == 0:
        return IndexPlan(kind="flat", reason=f"{wanted}: there is nothing to search")
    named = config.kind != "auto"
    made = [*_candidates(rows, dimension, config)]
    if live is not None and not named:
        made += _of_other_cells(live, made, rows, config)
    candidates = [plan for plan in made if not any(plan.is_no_finer(one) for one in missed)]

    def predicted(measured: Measured | None) -> list[IndexPlan]:
        limits = {"cores": cores, "rows_per_shard": min(rows, config.rows_per_shard)}
        return [
            replace(plan, predicted=predict(plan, rows, dimension, **limits, recall=target, measured=measured))
            for plan in candidates
            if measured is None or named or code_name(plan, dimension) in (None, *measured.recall)
        ]

    plans = predicted(measured)
    fit = [plan for plan in plans if _fits(plan, config, None if named else target)]
    if not fit:
        left = [plan for plan in plans if _fits(plan, config, None)]
        possible = measured is not None and not missed and any(_fits(p, config, target) for p in predicted(None))
        if not (possible and left):
            raise ConfigError(_refusal(wanted, plans, config, target))
        enough = max(_made(plan).recall for plan in left) - NEAR
        best = min((plan for plan in left if _made(plan).recall >= enough), key=_price)
        return replace(best, reason=f"{wanted}: none is expected to reach recall {target}, this comes closest")
    flat = next((plan for plan in fit if plan.kind == "flat"), None)
    if not named and flat is not None and rows < config.flat_max_rows:
        return replace(flat, reason=f"{wanted}: below index.flat_max_rows = {config.flat_max_rows}")
    best = min(fit, key=lambda plan: (named and _made(plan).recall < target, _price(plan)))
    given = [f"recall {target}"]
    given += [f"{config.memory_bytes} bytes"] if config.memory_bytes else []
    given += [f"{config.latency_ms} ms a query"] if config.latency_ms else []
    reason = f"index.kind = {config.kind}" if named else f"cheapest of {len(fit)} that keep {', '.join(given)}"
    if not named and live is not None:
        same = [plan for plan in fit if (plan.kind, plan.params) == (live.kind, live.params)]
        if same and _price(best)[0] < _price(same[0])[0] <= KEPT_UP_TO * _price(best)[0]:
            best, reason = same[0], f"kept, as it costs little more than the {reason}"
    return replace(best, reason=f"{wanted}: {reason}")


def _of_other_cells(live: IndexPlan, plans: Sequence[IndexPlan], rows: int, config: IndexConfig) -> Iterator[IndexPlan]:
    """Yield the live index's plan if it differs from one of these by half or twice the cells: rows come and go."""
    if live.nlist is None or config.nlist is not None or live.nlist not in (cells(rows) // 2, cells(rows) * 2):
        return
    if any((plan.kind, plan.params | {"nlist": live.nlist}) == (live.kind, live.params) for plan in plans):
        yield replace(live, reason="", predicted=None)


def find_codes(rows: int, dimension: int, config: IndexConfig) -> list[str]:
    """Return which codes a sample must be measured with before one of these plans is chosen (`code_name`).

    Where float16 rows in cells keep the memory, only fast scan can be cheaper: other codes are slower and less exact.
    """
    fit = [plan for plan in _candidates(rows, dimension, config) if _keeps_memory(plan, rows, dimension, config)]
    roomy = any(plan.kind == "ivf_fp16" for plan in fit)
    names = {code_name(plan, dimension) for plan in fit if not roomy or plan.code in ("pq_fast", "sq8")}
    return sorted(name for name in names if name is not None)


def _keeps_memory(plan: IndexPlan, rows: int, dimension: int, config: IndexConfig) -> bool:
    return config.memory_bytes is None or rows * code_bytes(plan, dimension) <= config.memory_bytes


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


def _made(plan: IndexPlan) -> Prediction:
    assert plan.predicted is not None
    return plan.predicted


def _fits(plan: IndexPlan, config: IndexConfig, recall: float | None) -> bool:
    made = _made(plan)
    return (
        (config.memory_bytes is None or made.index_bytes <= config.memory_bytes)
        and (config.latency_ms is None or made.single_ms <= config.latency_ms)
        and (recall is None or made.recall >= recall)
    )


def _price(plan: IndexPlan) -> tuple[float, int]:
    made = _made(plan)
    return made.build_s + (made.query_ms + made.single_ms) / 2e3 * QUERIES_A_BUILD, KINDS.index(plan.kind)


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
            lines.append(f"index.latency_ms from {config.latency_ms} to {min(p.single_ms for p in left)}")
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
