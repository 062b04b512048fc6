"""Log events on stderr: JSON lines with `--json`; else a live line on a terminal, and a plain line per event elsewhere.

Events and errors hold no credentials (`redaction`), and no character that commands a terminal (`printable`).
"""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from trichord.infra import stderr
from trichord.infra.printable import one_line, printable
from trichord.infra.redaction import redact, redact_values

if TYPE_CHECKING:
    from rich.status import Status

_LONG = re.compile(r"(\S{1000})\S+")  # an argument that a message repeats

_as_json = os.environ.get(stderr.FORM, "").endswith(":json")  # in a worker, the form of its driver
_status: Status | None = None
_seen: Counter[str] = Counter()


def configure(*, as_json: bool) -> None:
    """Choose JSON lines (`--json`)."""
    global _as_json
    _as_json = as_json


def as_json() -> bool:
    """Return True if events are written as JSON lines."""
    return _as_json


def worker_environment() -> dict[str, str]:
    """Return the environment in which a worker process writes events where, and as, this one does."""
    descriptor = stderr.descriptor()
    return {} if descriptor is None else {stderr.FORM: f"{descriptor}:{'json' if _as_json else 'text'}"}


def event(name: str, **fields: object) -> None:
    """Report that something happened; fields that are not JSON are written as their `str`."""
    stderr.bound()
    if _as_json:
        plain = redact_values(json.loads(json.dumps(fields, default=str)))
        _write(json.dumps({"at": datetime.now(UTC).isoformat(timespec="milliseconds"), "event": name, **plain}))
    elif not stderr.is_terminal():
        pairs = "".join(f"  {key}={printable(redact(_plain(value)))}" for key, value in fields.items())
        _write(f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} {name}{pairs}")
    else:
        _show(name, fields)


def error(problem: BaseException, exit_code: int) -> None:
    """Report the error that ends the command: an event with `--json`, all its lines on a terminal, else one line."""
    kind, message = type(problem).__name__, redact(str(problem))
    message = _LONG.sub(r"\1…", message)
    if _as_json:
        event("error", kind=kind, message=message, exit_code=exit_code)
    elif not stderr.is_terminal():
        _write(f"{kind}: {one_line(message)}")
    else:
        from rich.markup import escape

        from trichord.infra.terminal import stderr_console

        first, _, rest = message.partition("\n")
        console = stderr_console()
        console.print(f"[bold red]{kind}[/] {escape(first)}")
        if rest:
            console.print(escape(rest))


@contextmanager
def progress(title: str) -> Iterator[None]:
    """Show the events of a long job as one live line on a terminal; change nothing elsewhere."""
    global _status
    if _as_json or not stderr.is_terminal():
        yield
        return
    from trichord.infra.terminal import stderr_console  # rich is not needed where nobody watches

    _seen.clear()
    with stderr_console().status(f"[bold]{title}[/bold]") as _status:
        try:
            yield
        finally:
            _status = None


def _show(name: str, fields: dict[str, object]) -> None:
    from rich.markup import escape

    from trichord.infra.terminal import stderr_console

    _seen[name] += 1
    pairs = "  ".join(f"[dim]{key}[/dim] {escape(printable(_short(value)))}" for key, value in fields.items())
    if _status is not None:
        _status.update(f"[bold]{escape(name)}[/bold] ×{_seen[name]}  {pairs}")
    else:
        stderr_console().print(f"[bold]{escape(name)}[/bold]  {pairs}", soft_wrap=True)


def _write(line: str) -> None:
    where = stderr.stream()
    with suppress(OSError):  # that nobody reads it, or its disk is full, does not end a run
        where.write(line + "\n")
        where.flush()


def _plain(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _short(value: object) -> str:
    text = redact(_plain(value))
    return text if len(text) <= 60 else text[:57] + "..."
