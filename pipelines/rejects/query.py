"""rejects: the rows that were left out, listed, looked at, and written out to be mended."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from trichord.infra.errors import ConfigError
from trichord.infra.lake.shard import read_shard
from trichord.pipelines.core.workspace import Workspace


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """Which rejects are meant; None means any."""

    reason: str | None = None
    op: str | None = None
    source: str | None = None

    def filter(self, table: pa.Table) -> pa.Table:
        """The rows of a REJECTS table that are meant."""
        for name in ("reason", "op", "source"):
            wanted = getattr(self, name)
            if wanted is not None:
                table = table.filter(pc.equal(table[name], wanted))
        return table


def list_rejects(
    workspace: Workspace, *, reason: str | None = None, op: str | None = None, source: str | None = None, limit: int
) -> dict[str, Any]:
    """Counts of rejects by op and reason, and the first `limit` rows in order of key.

    Raises:
        ConfigError: no reject has that reason, op or source.
    """
    choice = Choice(reason=reason, op=op, source=source)
    counts: Counter[tuple[str, str]] = Counter()
    rows: list[dict[str, Any]] = []
    for table in reject_tables(workspace, choice, live=True):
        counts.update(zip(table["op"].to_pylist(), table["reason"].to_pylist(), strict=True))
        rows = sorted(rows + table.to_pylist(), key=lambda row: row["key"])[:limit]
    by_reason = [{"op": op, "reason": code, "rows": n} for (op, code), n in sorted(counts.items())]
    for row in rows:
        row["payload"] = json.loads(row["payload"])
    return {"total": counts.total(), "by_reason": by_reason, "rows": rows}


def show_reject(workspace: Workspace, key: str) -> dict[str, Any]:
    """Everything known about the rejected rows of one key.

    Raises:
        ConfigError: no reject has this key.
    """
    found: list[dict[str, Any]] = []
    for table in _tables(workspace, live=True):
        found += table.filter(pc.equal(table["key"], key)).to_pylist()
    if not found:
        raise ConfigError(f"No reject has the key {key!r}. List them: `trichord rejects ls`.")
    for row in found:
        row["payload"] = json.loads(row["payload"])
    return {"key": key, "rejects": found}


def reject_tables(workspace: Workspace, choice: Choice, *, live: bool) -> Iterator[pa.Table]:
    """The rejects that are meant, shard by shard in order of address.

    Args:
        workspace: the project on its lake.
        choice: which of them.
        live: those of the live publication, where there is one; else of the last run.

    Raises:
        ConfigError: there are rejects, but none of that choice.
    """
    total = 0
    for table in _tables(workspace, live=live):
        if len(some := choice.filter(table)):
            total += len(some)
            yield some
    if not total:
        _refuse_unknown(workspace, choice, live=live)


def chosen_rejects(workspace: Workspace, choice: Choice, *, live: bool) -> list[dict[str, Any]]:
    """The rejects that are meant, without details and payloads. Raises as `reject_tables`."""
    columns = ["key", "source", "partition", "op", "reason"]
    tables = reject_tables(workspace, choice, live=live)
    return [row for table in tables for row in table.select(columns).to_pylist()]


def _tables(workspace: Workspace, *, live: bool) -> Iterator[pa.Table]:
    table = workspace.table("rejects")
    if table.version() is None:
        return
    row = workspace.publications.live() if live else None
    version = json.loads(row["table_versions"])["rejects"] if row else None
    for _, ref in sorted(table.shards(version).items()):
        yield read_shard(workspace.lake, ref)


def _refuse_unknown(workspace: Workspace, choice: Choice, *, live: bool) -> None:
    for name in ("reason", "op", "source"):
        wanted = getattr(choice, name)
        if wanted is None:
            continue
        counts: Counter[str] = Counter()
        for table in _tables(workspace, live=live):
            counts.update(table[name].to_pylist())
        if wanted not in counts:
            raise ConfigError(f"No reject has the {name} {wanted!r}. {_known(name, counts)}")
    if choice != Choice():
        meant = ", ".join(f"{n} {getattr(choice, n)!r}" for n in ("reason", "op", "source") if getattr(choice, n))
        raise ConfigError(f"No reject has {meant} together. List them: `trichord rejects ls`.")


def _known(name: str, counts: Counter[str]) -> str:
    if not counts:
        return "Nothing was rejected in the last run."
    shown = ", ".join(f"{value} ({n:,})" for value, n in sorted(counts.items()))
    return f"Known {name}s, with their rows: {shown}."
