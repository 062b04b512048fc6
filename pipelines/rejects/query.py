"""rejects ls and show: the rows that were left out, and why."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any

import pyarrow as pa

from trichord.infra.errors import ConfigError
from trichord.infra.lake.shard import read_shard
from trichord.infra.lazy import arrow_compute as pc
from trichord.infra.printable import typed_keys
from trichord.pipelines.core.json_objects import stored_object
from trichord.pipelines.core.result import Result
from trichord.pipelines.core.workspace import Workspace


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """Which rejects are meant; None means any."""

    reason: str | None = None
    op: str | None = None
    source: str | None = None

    def filter(self, table: pa.Table) -> pa.Table:
        """Return the matching rows of a REJECTS table."""
        for name in ("reason", "op", "source"):
            wanted = getattr(self, name)
            if wanted is not None:
                table = table.filter(pc.equal(table[name], wanted))
        return table


@dataclass(frozen=True, slots=True, kw_only=True)
class RejectKey:
    """Which row was rejected, where, and by what."""

    key: str
    source: str
    partition: str
    op: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Reject(RejectKey):
    """A rejected row; `payload` holds what was known of it: text (500 characters), media, line."""

    detail: str
    payload: Mapping[str, Any]

    @classmethod
    def of_row(cls, row: Mapping[str, Any]) -> Reject:
        """Read a row of the table.

        Raises:
            StorageError: its payload is damaged.
        """
        payload = stored_object(row["payload"], f"The payload of reject {row['key']!r}")
        return cls(**{field.name: row[field.name] for field in fields(cls)} | {"payload": payload})


@dataclass(frozen=True, slots=True, kw_only=True)
class ReasonCount:
    """How many rows an op rejected for one reason."""

    op: str
    reason: str
    rows: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RejectList(Result):
    """Counts of the matching rejects, and the first rows in order of key."""

    total: int
    by_reason: tuple[ReasonCount, ...]
    rows: tuple[Reject, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class RejectsOfKey(Result):
    """Every reject of one key."""

    key: str
    rejects: tuple[Reject, ...]


def list_rejects(
    workspace: Workspace, *, reason: str | None = None, op: str | None = None, source: str | None = None, limit: int
) -> RejectList:
    """Count rejects by op and reason, and return the first `limit` rows in order of key.

    Raises:
        ConfigError: no reject has that reason, op or source.
    """
    choice = Choice(reason=reason, op=op, source=source)
    counts: Counter[tuple[str, str]] = Counter()
    rows: list[Mapping[str, Any]] = []
    for table in iter_rejects(workspace, choice, live=True):
        counts.update(zip(table["op"].to_pylist(), table["reason"].to_pylist(), strict=True))
        rows = sorted(rows + table.to_pylist(), key=lambda row: row["key"])[:limit]
    return RejectList(
        total=counts.total(),
        by_reason=tuple(ReasonCount(op=op, reason=code, rows=n) for (op, code), n in sorted(counts.items())),
        rows=tuple(Reject.of_row(row) for row in rows),
    )


def show_reject(workspace: Workspace, key: str) -> RejectsOfKey:
    """Return everything known about the rejected rows of one key, which may be given as for `explain`.

    Raises:
        ConfigError: no reject has this key.
    """
    found: list[Reject] = []
    meant = list(typed_keys(key, (source.name for source in workspace.project.sources)))
    forms = pa.array([form for _, form in meant], pa.string())
    for table in _read_tables(workspace, live=True):
        found += [Reject.of_row(row) for row in table.filter(pc.is_in(table["key"], value_set=forms)).to_pylist()]
    found = [row for row in found if (None, row.key) in meant or (row.source, row.key) in meant]
    if not found:
        raise ConfigError(f"No reject has the key {key!r}. List them: `trichord rejects ls`.")
    return RejectsOfKey(key=key, rejects=tuple(found))


def iter_rejects(workspace: Workspace, choice: Choice, *, live: bool) -> Iterator[pa.Table]:
    """Iterate over the matching rejects, shard by shard in order of address.

    Args:
        workspace: the project on its lake.
        choice: which rejects.
        live: read those of the live publication, where there is one; otherwise those of the last run.

    Raises:
        ConfigError: there are rejects, but none matches.
    """
    total = 0
    for table in _read_tables(workspace, live=live):
        if len(some := choice.filter(table)):
            total += len(some)
            yield some
    if not total:
        _refuse_unknown(workspace, choice, live=live)


def select_keys(workspace: Workspace, choice: Choice, *, live: bool) -> list[RejectKey]:
    """Return which rows the matching rejects are. Raises as `iter_rejects`."""
    columns = ["key", "source", "partition", "op", "reason"]
    tables = iter_rejects(workspace, choice, live=live)
    return [RejectKey(**row) for table in tables for row in table.select(columns).to_pylist()]


def _read_tables(workspace: Workspace, *, live: bool) -> Iterator[pa.Table]:
    row = workspace.publications.live() if live else None
    for ref in workspace.pinned_shards("rejects", row).values():
        yield read_shard(workspace.lake, ref)


def _refuse_unknown(workspace: Workspace, choice: Choice, *, live: bool) -> None:
    for name in ("reason", "op", "source"):
        wanted = getattr(choice, name)
        if wanted is None:
            continue
        counts: Counter[str] = Counter()
        for table in _read_tables(workspace, live=live):
            counts.update(table[name].to_pylist())
        if wanted not in counts:
            raise ConfigError(f"No reject has the {name} {wanted!r}. {_list_known(name, counts)}")
    if choice != Choice():
        meant = ", ".join(f"{n} {getattr(choice, n)!r}" for n in ("reason", "op", "source") if getattr(choice, n))
        raise ConfigError(f"No reject has {meant} together. List them: `trichord rejects ls`.")


def _list_known(name: str, counts: Counter[str]) -> str:
    if not counts:
        return "Nothing was rejected in the last run."
    shown = ", ".join(f"{value} ({n:,})" for value, n in sorted(counts.items()))
    return f"Known {name}s, with their rows: {shown}."
