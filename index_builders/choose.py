"""Which index, how it is divided into shards, and how many cells are searched: pure arithmetic."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

from index_builders.base import Hits
from index_builders.exact import recall_at_k
from infra.config import IndexConfig
from infra.digest import hash64
from infra.errors import ConfigError

POINTS_PER_CELL = 39  # FAISS warns about k-means with fewer training points a centroid
SAMPLE_PER_CELL = 128
MAX_DEPTH = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexPlan:
    """The index to build. `nlist` is None for flat; `reason` says why, for the report."""

    kind: Literal["flat", "ivf_flat"]
    nlist: int | None
    reason: str

    @property
    def sample_rows(self) -> int:
        """Training rows that the quantiser wants; 0 where there is none."""
        return SAMPLE_PER_CELL * (self.nlist or 0)


def choose(rows: int, dimension: int, config: IndexConfig) -> IndexPlan:
    """Choose the index for so many vectors.

    Flat is exact and fastest to build; above `ivf_min_rows` its time a query grows too long. The number of cells is
    4 * sqrt(rows) (FAISS wiki, "Guidelines to choose an index") as a power of two, so that it seldom changes, and at
    least 39 rows a cell.

    Raises:
        ConfigError: `nlist` is more than the rows, or `nprobe` more than the cells.
    """
    size = f"{rows} vectors of {dimension} values, {rows * dimension * 4 / 2**20:.1f} MB"
    kind = config.kind
    if kind == "auto":
        kind = "flat" if rows < config.ivf_min_rows else "ivf_flat"
        reason = f"{size}: {'below' if kind == 'flat' else 'from'} index.ivf_min_rows = {config.ivf_min_rows}"
    else:
        reason = f"{size}: index.kind = {kind}"
    if kind == "flat" or rows == 0:
        return IndexPlan(kind="flat", nlist=None, reason=reason)
    nlist = config.nlist
    if nlist is None:
        nlist = min(2 ** round(math.log2(4 * math.sqrt(rows))), 2 ** int(math.log2(max(1, rows // POINTS_PER_CELL))))
    if nlist > rows:
        raise ConfigError(
            f"index.nlist = {nlist} cells cannot be trained on {rows} vectors. Leave it unset, or lower it."
        )
    if config.nprobe is not None and config.nprobe > nlist:
        raise ConfigError(f"index.nprobe = {config.nprobe} is more than the {nlist} cells there are. Lower it.")
    return IndexPlan(kind="ivf_flat", nlist=nlist, reason=f"{reason}; {nlist} cells")


def group_shards(refs: Iterable[tuple[str, int, str]], rows_per_shard: int) -> dict[str, list[str]]:
    """Divide vector shards among index shards so that a changed split touches one of them.

    The groups are the leaves of a binary trie over a hash of the split's id: a leaf with too many rows is divided by
    the next bit. Where one split comes or goes, only its own leaf changes (or is divided, or joined again).

    Args:
        refs: (split id, rows, address of the vector shard), in any order.
        rows_per_shard: most rows of a group, unless a single split has more.

    Returns:
        Group id (`g` and the leaf's bits) -> addresses, ascending.

    Raises:
        ValueError: `rows_per_shard` is below 1.
    """
    if rows_per_shard < 1:
        raise ValueError(f"rows_per_shard is {rows_per_shard}")
    leaves = [("", [(hash64(split), rows, address) for split, rows, address in refs])]
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


@dataclass(frozen=True, slots=True, kw_only=True)
class NprobeChoice:
    """The cells to search, and the recall that was measured with them."""

    nprobe: int
    recall: float


def choose_nprobe(search: Callable[[int], Hits], truth: Hits, *, nlist: int, target: float) -> NprobeChoice:
    """The smallest nprobe whose recall on sample queries reaches a target.

    Found by bisection: the cells searched with n are among those searched with n + 1, and IVF-Flat scores exactly,
    so recall never falls with nprobe; with all cells the search is exact.

    Args:
        search: nprobe -> hits of the sample queries.
        truth: their exact hits.
        nlist: cells there are.
        target: recall wanted, at most 1.
    """
    low, high, recall = 1, nlist, 1.0
    while low < high:
        middle = (low + high) // 2
        measured = recall_at_k(search(middle), truth)
        if measured >= target:
            high, recall = middle, measured
        else:
            low = middle + 1
    if high == nlist:
        recall = recall_at_k(search(nlist), truth)
    return NprobeChoice(nprobe=high, recall=recall)
