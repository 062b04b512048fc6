"""`trichord metrics`: what a lake knows of itself, for Prometheus."""

from __future__ import annotations

import re
import sys
import threading
from dataclasses import asdict
from typing import Annotated, Any

import typer

from trichord.infra import log
from trichord.infra.errors import ConfigError, ServiceError
from trichord.pipelines.cli.options import DEFAULT_PROJECT, Json, Overrides, ProjectFile, open_project, print_result

_ADDRESS = re.compile(r"(?:(?P<host>[^\s:/]+|\[[0-9A-Fa-f:]+\]):)?(?P<port>[0-9]{1,5})")


def metrics(
    project: ProjectFile = DEFAULT_PROJECT,
    set_: Overrides = None,
    listen: Annotated[
        str | None,
        typer.Option(metavar="[HOST:]PORT", help="Serve them for scraping, until a signal; on this machine alone if "
                     "no HOST is given."),
    ] = None,
    as_json: Json = False,
) -> None:  # fmt: skip
    """Print metrics of the live publication, the gate, the tables and the last runs in Prometheus's text format."""
    workspace = open_project(project, set_, as_json)
    from trichord.pipelines.observe.observers import require_library

    require_library("prometheus_client", "`trichord metrics`")
    from trichord.pipelines.observe.exposition import LiveMetrics, text_of

    found = LiveMetrics(workspace)
    if listen is not None:
        _serve(found, *_address(listen))
        return
    values = found.samples()

    def show(_: Any) -> None:
        sys.stdout.write(text_of(values).decode())

    print_result({"metrics": [asdict(sample) for sample in values]}, as_json, show)


def _serve(found: Any, host: str, port: int) -> None:
    try:
        stop = found.serve(host, port)
    except OSError as error:
        raise ServiceError(f"Port {port} of {host} cannot be opened: {error.strerror}.\nName another.") from error
    log.event("serving", metrics=f"http://{host}:{port}/metrics")
    try:
        threading.Event().wait()
    finally:
        stop()


def _address(listen: str) -> tuple[str, int]:
    found = _ADDRESS.fullmatch(listen)
    if found is None or not 0 < int(found["port"]) < 1 << 16:
        raise ConfigError(f"--listen {listen}: expected PORT or HOST:PORT, for example 127.0.0.1:9464.")
    return (found["host"] or "127.0.0.1").strip("[]"), int(found["port"])
