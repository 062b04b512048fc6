"""Plan and apply: a plan in a file, and whether what it rests on is still so."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, cast

from trichord.infra import digest
from trichord.infra.errors import ConfigError
from trichord.infra.json_values import parse_json
from trichord.infra.lake.publication import Publication
from trichord.infra.lake.schema import TABLES
from trichord.infra.project import project_digest
from trichord.infra.regular_file import read_regular
from trichord.pipelines.core.result import Result
from trichord.pipelines.core.workspace import Workspace

FORMAT = 1
_MOST_BYTES = 64 << 20
_WHAT = {
    "inputs": "the sources or the settings have changed",
    "live": "another publication is live",
    "tables": "another run has committed to the lake",
    "project": "the project's settings have changed",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Basis(Result):
    """What a plan rests on.

    Attributes:
        project: digest of the settings that shape a result.
        inputs: digest of everything that is wanted, the sources' rows included.
        live: id of the live publication; None before the first.
        tables: version of each table of the lake.
    """

    project: str
    inputs: str
    live: str | None
    tables: Mapping[str, int]

    @classmethod
    def of(cls, workspace: Workspace, live: Publication | None, inputs: str) -> Basis:
        """Return the basis of a plan that is made now."""
        versions = {name: workspace.table(name).version() for name in TABLES}
        return cls(
            project=project_digest(workspace.project),
            inputs=inputs,
            live=live.id if live is not None else None,
            tables={name: version for name, version in versions.items() if version is not None},
        )

    def require_same(self, now: Basis) -> None:
        """Raise ConfigError if the lake, the sources or the settings have moved on; nothing was touched."""
        moved = [name for name in _WHAT if getattr(self, name) != getattr(now, name)]
        if moved:
            reasons = "; ".join(_WHAT[name] for name in moved)
            raise ConfigError(
                f"The plan no longer holds: {reasons}. Nothing was made.\n"
                "Next: `trichord plan --out FILE`, look at it, and `trichord reindex --plan FILE`."
            )


def write_plan(path: Path, plan: Mapping[str, Any]) -> None:
    """Write a plan to a file, as `read_basis` reads it."""
    try:
        path.write_bytes(digest.canonical_json({"format": FORMAT, "plan": plan}) + b"\n")
    except OSError as error:
        raise ConfigError(f"The plan cannot be written to {path}: {error.strerror}.") from error


def read_basis(path: Path) -> Basis:
    """Return what a plan in a file rests on.

    Raises:
        ConfigError: it cannot be read, or is not a plan of this version of trichord.
    """
    try:
        stored = cast(Any, parse_json(read_regular(path, _MOST_BYTES)))
        if stored["format"] == FORMAT:
            basis = stored["plan"]["basis"]
            return Basis(**{one.name: basis[one.name] for one in fields(Basis)})
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from error
    except (ValueError, KeyError, TypeError):
        pass
    raise ConfigError(f"{path} is not a plan of this version of trichord. Make one: `trichord plan --out {path}`")
