"""The two sides of a comparison: publications, or versions of the lake's tables."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from trichord.infra.errors import ConfigError
from trichord.infra.lake.publication import Publication
from trichord.infra.lake.shard import ShardRef
from trichord.pipelines.core.workspace import Workspace

_VERSION = re.compile(r"(publications|records)@(\d{1,9})")
TABLES = ("records", "rejects", "duplicates")  # that say what became of a row
SYNTAX = "Name a publication by its id, the one that was live by publications@VERSION, or tables by records@VERSION."


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """One side: the versions of the tables, and the publication that pins them, if it is one.

    Attributes:
        name: the publication's id, or `records@VERSION`.
        versions: Delta version of each table.
        publication: None for `records@VERSION`, which has neither an index nor figures.
    """

    name: str
    versions: Mapping[str, int]
    publication: Publication | None = None

    @property
    def fingerprint(self) -> str | None:
        """Fingerprint of the space of its vectors; None if it is not a publication."""
        return None if self.publication is None else self.publication.fingerprint

    def shards(self, workspace: Workspace, table: str) -> dict[str, ShardRef]:
        """Return a table's shards by address, in its order; none if the side has no such table."""
        version = self.versions.get(table)
        return {} if version is None else dict(sorted(workspace.table(table).shards(version).items()))


def find_sides(workspace: Workspace, before: str | None, after: str | None) -> tuple[Side, Side]:
    """Return what is compared: by default the live publication, and the one before `after`.

    Raises:
        ConfigError: a name means nothing in this lake, or there is no earlier publication.
    """
    history = workspace.publications.rows()
    if after is not None:
        newer = _find(workspace, history, after)
    elif history:
        newer = _of(history[-1])
    else:
        raise ConfigError("Nothing is published yet. Run `trichord reindex` first.")
    if before is not None:
        return _find(workspace, history, before), newer
    if newer.publication is None:
        raise ConfigError(f"{newer.name} has no default earlier side. Name both: `trichord diff BEFORE {newer.name}`.")
    earlier = [one for one in history if one.sequence < newer.publication.sequence]
    if not earlier:
        raise ConfigError(f"{newer.name} is the first publication; there is no earlier one to compare it with.")
    return _of(earlier[-1]), newer


def _of(publication: Publication) -> Side:
    return Side(name=publication.id, versions=publication.table_versions, publication=publication)


def _find(workspace: Workspace, history: Sequence[Publication], wanted: str) -> Side:
    for one in history:
        if one.id == wanted:
            return _of(one)
    named = _VERSION.fullmatch(wanted)
    if named is None:
        raise ConfigError(
            f"There is no publication {wanted}. Known: {', '.join(one.id for one in history) or 'none'}.\n{SYNTAX}"
        )
    table, version = named[1], int(named[2])
    newest = workspace.table(table).version()
    if newest is None or version > newest:
        known = "has no version yet" if newest is None else f"has the versions 0 to {newest}"
        raise ConfigError(f"There is no {wanted}: the table {table} {known}.\n{SYNTAX}")
    if table == "publications":
        return _of(workspace.publications.rows(version)[-1])
    return Side(name=wanted, versions={"records": version} | _beside(workspace, version))


def _beside(workspace: Workspace, version: int) -> dict[str, int]:
    """Return the versions that the other tables had once the run that committed this version of `records` had ended.

    A run commits a table only where it changes, so this is the commit of that run, or else the last one before it.
    """
    run, when = _commit(workspace, "records", version)
    found: dict[str, int] = {}
    for name in TABLES[1:]:
        newest = workspace.table(name).version()
        for candidate in range(-1 if newest is None else newest, -1, -1):
            of_run, at = _commit(workspace, name, candidate)
            if at <= when or (run is not None and of_run == run):
                found[name] = candidate
                break
    return found


def _commit(workspace: Workspace, table: str, version: int) -> tuple[str | None, int]:
    """Return the run that committed a version, and when, in milliseconds.

    Raises:
        ConfigError: the log does not hold the commit any more.
    """
    for action in workspace.table(table).log.actions(version) or ():
        info = action.get("commitInfo")
        if info:
            return info.get("run"), int(info.get("timestamp", 0))
    raise ConfigError(f"The commit of {table}@{version} is no longer in the log, so what belongs to it is unknown.")
