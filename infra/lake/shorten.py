"""Shorten the log of a table: remove the commits that nobody needs, behind a checkpoint that replaces them.

Killed at any point, the log reads as before. First the base is written (`log_base`): from then on it is what the log
begins with, and all that is left of earlier versions counts for nothing. Then these are removed, the first one first,
so that what is left has no gap, and a log whose base is lost before its last earlier version is gone reads as it did.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from trichord.infra.errors import StorageError
from trichord.infra.lake import layout
from trichord.infra.lake.checked_parquet import REMEDY
from trichord.infra.lake.commit_log import CommitLog, version_of
from trichord.infra.lake.lake import Lake
from trichord.infra.lake.log_base import Base, checkpoint_name
from trichord.infra.lake.logged_table import LoggedTables, shards_in
from trichord.infra.lake.storage import Stat

Rows = Callable[[LoggedTables, int], Sequence[Mapping[str, Any]]]


def shorten(
    lake: Lake, table: str, *, needed: int, before_ns: int, rows: Rows | None = None, check: Callable[[], None]
) -> int:
    """Remove the commits of a table before the last checkpoint that no needed version comes before.

    Args:
        lake: the lake; no other run commits to the table meanwhile.
        table: its name.
        needed: the first version that must stay readable, with all that follow.
        before_ns: files that were written later than this time (of the store) stay, and all versions that follow them.
        rows: gives the base's rows at a version; None for a table whose commits hold none.
        check: is called before each removal; raises if this run may no longer change the lake.

    Returns:
        The number of commits that were removed.

    Raises:
        StorageError: the log is damaged: a checkpoint says something else than the commits.
    """
    log, files = CommitLog(lake, table), _list_files(lake, table)
    base = log.base()
    if base is not None and not base.stored:
        raise StorageError(f"{lake.uri(layout.base_path(table, base.version))} is missing or damaged. {REMEDY}")
    young = [version for version, found in files.items() if any(stat.mtime_ns > before_ns for stat in found)]
    earlier = range(min([needed, *young]), -1 if base is None else base.version, -1)
    chosen = next((found for version in earlier if (found := _checkpoint(log, files, version)) is not None), None)
    if chosen is not None:
        tables = LoggedTables(lake)
        if shards_in(table, [chosen.actions()]) != tables.shards(table, chosen.version):
            path = lake.uri(layout.log_folder(table), chosen.name)
            raise StorageError(f"{path} names other shards than the commits up to it. {REMEDY}")
        base = replace(chosen, rows=rows(tables, chosen.version) if rows is not None else (), stored=True)
        check()
        log.write_base(base)
    first = 0 if base is None else base.version
    left = [stat for version, found in sorted(files.items()) if version < first for stat in found]
    for stat in sorted(left, key=lambda stat: not stat.uri.endswith(".base")):
        check()
        lake.storage.delete(stat.uri)
    return sum(stat.uri.endswith(".json") for stat in left)


def _list_files(lake: Lake, table: str) -> dict[int, list[Stat]]:
    """Return the files of each version of a table's log."""
    found: dict[int, list[Stat]] = {}
    for folder in (layout.log_folder(table), f"{table}/{layout.COPIES}"):
        for stat in lake.list(folder):
            version = version_of(stat.uri.rsplit("/", 1)[-1])
            if version >= 0:
                found.setdefault(version, []).append(stat)
    return found


def _checkpoint(log: CommitLog, files: Mapping[int, Sequence[Stat]], version: int) -> Base | None:
    """Return the checkpoint of a version, if it has one."""
    name = f"/{checkpoint_name(version)}"
    return log.checkpoint(version) if any(stat.uri.endswith(name) for stat in files.get(version, ())) else None
