"""Log events on stderr: JSON lines with `--json`; else a live line on a terminal, and a plain line per event elsewhere.

Every line says what it is of: `bound` adds fields, such as the run and the job, to all events within a block, and those
of a task's driver travel to its worker (`InContext`). Events and errors hold no credentials (`redaction`), and no
character that commands a terminal (`printable`).
"""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from datetime import UTC, datetime
from types import MappingProxyType
from typing import TYPE_CHECKING

from trichord.infra import stderr
from trichord.infra.printable import one_line, printable
from trichord.infra.redaction import redact, redact_values

if TYPE_CHECKING:
    from rich.status import Status

_LONG = re.compile(r"(\S{1000})\S+")  # an argument that a message repeats

_as_json = os.environ.get(stderr.FORM, "").endswith(":json")  # in a worker, the form of its driver
_status: Status | None = None
_title = ""
_seen: Counter[str] = Counter()
_bound: ContextVar[Mapping[str, object]] = ContextVar("bound", default=MappingProxyType({}))


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


@contextmanager
def bound(**fields: object) -> Iterator[None]:
    """Add fields to every event within the block: `run`, `job`, `stage`, `partition`, `address`.

    They hold in this thread, and in threads that are started by `contextvars.copy_context().run`.
    """
    token = _bound.set({**_bound.get(), **fields})
    try:
        yield
    finally:
        _bound.reset(token)


def context() -> dict[str, object]:
    """Return the fields that are bound here."""
    return dict(_bound.get())


def event(name: str, **fields: object) -> None:
    """Report that something happened; fields that are not JSON are written as their `str`."""
    stderr.bound()
    if not _as_json and stderr.is_terminal():
        _show(name, fields)
        return
    fields = {**fields, **{key: value for key, value in _bound.get().items() if key not in fields}}
    if _as_json:
        plain = redact_values(json.loads(json.dumps(fields, default=str)))
        _write(json.dumps({"at": datetime.now(UTC).isoformat(timespec="milliseconds"), "event": name, **plain}))
    else:
        pairs = "".join(f"  {key}={printable(redact(_plain(value)))}" for key, value in fields.items())
        _write(f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} {name}{pairs}")


def error(problem: BaseException, exit_code: int) -> None:
    """Report the error that ends the command: an event with `--json`, all its lines on a terminal, else one line."""
    kind, message = type(problem).__name__, redact(str(problem))
    message = _LONG.sub(r"\1…", message)
    if _as_json:
        event("error", kind=kind, message=message, exit_code=exit_code, **getattr(problem, "about", {}))
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
    """Show the events of a long job as one live line on a terminal; change nothing elsewhere.

    Where an event says how far its step is (`pipelines/core/pace.py`), the line shows share, rate and time left.
    """
    global _status, _title
    if _as_json or not stderr.is_terminal():
        yield
        return
    from trichord.infra.terminal import stderr_console  # rich is not needed where nobody watches

    _seen.clear()
    _title = title
    with stderr_console().status(f"[bold]{title}[/bold]") as _status:
        try:
            yield
        finally:
            _status = None


def _show(name: str, fields: dict[str, object]) -> None:
    from rich.markup import escape

    from trichord.infra.terminal import stderr_console

    _seen[name] += 1
    if _status is not None:
        _status.update(escape(live_line(_title, name, fields)))
        return
    pairs = "  ".join(f"[dim]{key}[/dim] {escape(printable(_short(value)))}" for key, value in fields.items())
    stderr_console().print(f"[bold]{escape(name)}[/bold]  {pairs}", soft_wrap=True)


def live_line(title: str, name: str, fields: Mapping[str, object]) -> str:
    """Return what a terminal shows of an event while a job is at work.

    Of a step with a pace that is its share, rate and time left; of any other, its fields.
    """
    where = f"{title} · {stage}" if (stage := fields.get("stage", _bound.get().get("stage"))) else title
    done, of, rate, left_s = (fields.get(key) for key in ("done", "of", "rows_per_s", "left_s"))
    if isinstance(done, int) and isinstance(of, int) and isinstance(rate, int | float) and isinstance(left_s, int):
        left = f"{left_s // 3600}:{left_s // 60 % 60:02}:{left_s % 60:02}"
        return f"{where}  {done / max(of, 1):.0%}  {done:,} of {of:,} rows  {rate:,.1f} rows/s  {left} left"
    pairs = "  ".join(f"{key} {printable(_short(value))}" for key, value in fields.items() if key != "stage")
    return f"{where}  {name} ×{_seen[name]}  {pairs}".rstrip()


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
