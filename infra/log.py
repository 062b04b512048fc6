"""Log events on stderr: a live progress line on a terminal, one JSON line per event everywhere else."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.status import Status

_as_json = False
_status: Status | None = None
_seen: Counter[str] = Counter()


def configure(*, as_json: bool) -> None:
    """Choose JSON lines also on a terminal (`--json`)."""
    global _as_json
    _as_json = as_json


def as_json() -> bool:
    """Return True if events are written as JSON lines: asked for, or nobody watches stderr."""
    return _as_json or not sys.stderr.isatty()


def event(name: str, **fields: object) -> None:
    """Report that something happened; fields that are not JSON are written as their `str`."""
    if as_json():
        line = {"at": datetime.now(UTC).isoformat(timespec="milliseconds"), "event": name, **fields}
        sys.stderr.write(json.dumps(line, default=str) + "\n")
        sys.stderr.flush()
        return
    from rich.console import Console  # not needed where nobody watches
    from rich.markup import escape

    _seen[name] += 1
    pairs = "  ".join(f"[dim]{key}[/dim] {escape(_short(value))}" for key, value in fields.items())
    if _status is not None:
        _status.update(f"[bold]{escape(name)}[/bold] ×{_seen[name]}  {pairs}")
    else:
        Console(stderr=True, highlight=False).print(f"[bold]{escape(name)}[/bold]  {pairs}", soft_wrap=True)


@contextmanager
def progress(title: str) -> Iterator[None]:
    """Show the events of a long job as one live line on a terminal; change nothing elsewhere."""
    global _status
    if as_json():
        yield
        return
    from rich.console import Console

    _seen.clear()
    with Console(stderr=True, highlight=False).status(f"[bold]{title}[/bold]") as _status:
        try:
            yield
        finally:
            _status = None


def _short(value: object) -> str:
    text = f"{value:.4g}" if isinstance(value, float) else str(value)
    return text if len(text) <= 60 else text[:57] + "..."
