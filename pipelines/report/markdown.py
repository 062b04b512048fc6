"""Write text as Markdown and YAML so that it stays text."""

from __future__ import annotations

import re
from collections.abc import Sequence

import yaml

from trichord.pipelines.report.render import shown

_SPECIAL = re.compile(r"([\\`*_{}\[\]()<>#+\-.!|~$:@/&^=\"'])")


def literal(value: object, chars: int = 240) -> str:
    """Return text on one line that no parser reads as markup, HTML, a link, a table cell or a mention.

    Every character that a Markdown dialect may interpret is written as a character reference.
    """
    return _SPECIAL.sub(lambda found: f"&#{ord(found[0])};", shown(value, chars))


def code(value: object, chars: int = 240) -> str:
    """Return text as a code span; characters that could end the span or the table cell are replaced."""
    plain = shown(value, chars).replace("`", "'").replace("|", "¦").strip() or " "
    return f"`{plain}`"


def yaml_text(value: object, chars: int = 120) -> str:
    """Return a double-quoted YAML scalar on one line; non-ASCII characters are escaped."""
    return yaml.safe_dump(shown(value, chars), default_style='"', width=10_000).strip()


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table of Markdown cells. Columns whose header begins with '#' are right-aligned."""
    lines = [
        [name.removeprefix("#") for name in header],
        ["---:" if name.startswith("#") else "---" for name in header],
    ]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in [*lines, *rows]) + "\n"
