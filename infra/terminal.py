"""The consoles of the command line: whatever is printed on one holds no character that commands a terminal."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from trichord.infra import stderr
from trichord.infra.printable import printable


class CleanConsole(Console):
    """A console that escapes what text holds beside visible characters; its own colours stay.

    Tables escape their cells before, so that their columns have the right width; this is for everything else.
    """

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Yield the segments of a renderable, their text escaped."""
        for segment in super().render(renderable, options):
            clean = segment.text if segment.control else printable(segment.text, keep="\n")
            yield segment if clean == segment.text else Segment(clean, segment.style)

    def on_broken_pipe(self) -> None:
        """Let the command line end quietly: the reader of stdout has gone."""
        raise BrokenPipeError


def stdout_console() -> CleanConsole:
    """Return a console on stdout."""
    return CleanConsole(highlight=False, emoji=False)  # in keys, `:b:` is not an emoji


def stderr_console(**options: Any) -> CleanConsole:
    """Return a console on the stream of events."""
    return CleanConsole(file=stderr.stream(), highlight=False, emoji=False, **options)
