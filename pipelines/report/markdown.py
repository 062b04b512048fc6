"""Text as Markdown and YAML that cannot become anything but text."""

from __future__ import annotations

import re
from collections.abc import Sequence

import yaml

from trichord.pipelines.report.render import shown

_SPECIAL = re.compile(r"([\\`*_{}\[\]()<>#+\-.!|~$:@/&^=\"'])")


def literal(value: object, chars: int = 240) -> str:
    """Text on one line in which no character has a meaning: no markup, no HTML, no link, no table cell, no mention.

    Every mark that Markdown dialects know is written as a character reference, which no parser reads as markup.
    """
    return _SPECIAL.sub(lambda found: f"&#{ord(found[0])};", shown(value, chars))


def code(value: object, chars: int = 240) -> str:
    """Text in a code span; what could end the span or the table cell is replaced."""
    plain = shown(value, chars).replace("`", "'").replace("|", "¦").strip() or " "
    return f"`{plain}`"


def yaml_text(value: object, chars: int = 120) -> str:
    """A double-quoted YAML scalar on one line, all but ASCII escaped."""
    return yaml.safe_dump(shown(value, chars), default_style='"', width=10_000).strip()


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table; its cells are Markdown already. Columns whose header begins with '#' are numbers."""
    lines = [
        [name.removeprefix("#") for name in header],
        ["---:" if name.startswith("#") else "---" for name in header],
    ]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in [*lines, *rows]) + "\n"
