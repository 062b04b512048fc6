"""What all verbs share: common options, opening the project, and printing the result."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from trichord.infra import log
from trichord.infra.errors import ConfigError
from trichord.infra.printable import printable_values
from trichord.infra.redaction import redact_values
from trichord.infra.regular_file import read_regular
from trichord.pipelines.cli.process import refuse_output
from trichord.pipelines.core.result import Result

if TYPE_CHECKING:
    from trichord.pipelines.api import Workspace

ProjectFile = Annotated[Path, typer.Option("--project", "-p", help="The project file.")]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Override a setting, such as engine.workers=2; repeatable."),
]
EngineName = Annotated[
    str | None, typer.Option("--engine", help="local, ray or beam. (default: engine.kind of the project file)")
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON line on stdout and JSON events on stderr.")]
Accepted = Annotated[
    list[str] | None,
    typer.Option("--accept", metavar="CHECK", help="Publish although this check of the gate fails; repeatable."),
]
_MAX_LIST_BYTES = 256 << 20
DEFAULT_PROJECT = Path("trichord.yaml")


def open_project(project: Path, overrides: list[str] | None, as_json: bool, engine: str | None = None) -> Workspace:
    """Open the project with its overrides, and set the form of log events."""
    from trichord.pipelines.api import open_workspace

    log.configure(as_json=as_json)
    changes = list(overrides or []) + ([f"engine.kind={engine}"] if engine else [])
    return open_workspace(project, *changes)


def read_lines(path: Path) -> list[str]:
    """Return the lines of a UTF-8 file, without empty ones.

    Raises:
        ConfigError: it cannot be read, or is not UTF-8.
    """
    try:
        text = read_regular(path, _MAX_LIST_BYTES).decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise ConfigError(f"{path} cannot be read: {why}") from error
    return [line for line in text.replace("\r", "\n").split("\n") if line]


def print_result(result: Any, as_json: bool, human: Callable[[Any], None]) -> None:
    """Print the result's plain values without credentials: as one JSON line on stdout, or for people by `human`.

    The JSON is ASCII: control characters, bidi controls and all others outside it are escapes.

    Raises:
        BrokenPipeError: nobody reads stdout any more.
        StorageError: stdout cannot be written.
    """
    if isinstance(result, Result):
        result = result.to_dict()
    result = redact_values(result)
    try:
        if as_json:
            sys.stdout.write(json.dumps(result, sort_keys=True) + "\n")
        else:
            human(printable_values(result, keep="\n"))
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        raise refuse_output(error) from error
