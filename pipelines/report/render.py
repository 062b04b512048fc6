"""Render a template as one HTML file without scripts or external resources, safe for hostile records.

The template engine escapes all text. The page's content security policy allows only its own style sheet (by hash) and
the pictures and sounds embedded in the page.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from trichord.infra.errors import StorageError
from trichord.infra.printable import printable
from trichord.infra.redaction import redact
from trichord.pipelines.core.workspace import Workspace
from trichord.pipelines.report import plots

MAX_BYTES = 6_000_000
TEXT_CHARS, ROWS = 240, 100
HERE = Path(__file__).parent
_SCRIPTS = (
    ("ja", re.compile("[\u3041-\u3096\u30a1-\u30fa\uff66-\uff9d]")),
    ("ko", re.compile("[\u1100-\u11ff\u3131-\u318e\uac00-\ud7a3]")),
    ("zh", re.compile("[\u3007\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U000323af]")),
)
_SPACES = re.compile(r"[^\S ]\s*| \s+|^ | $")


def write_html(workspace: Workspace, path: Path, template: str, content: Mapping[str, Any]) -> None:
    """Write a page of at most `MAX_BYTES`; an existing file is replaced.

    Raises:
        StorageError: it cannot be written.
    """
    data = render(template, content).encode("utf-8", "replace")
    if len(data) > MAX_BYTES:
        raise AssertionError(f"page of {len(data)} bytes: one of its lists is not bounded")
    write_file(workspace, path, data)


def write_file(workspace: Workspace, path: Path, data: bytes) -> None:
    """Write a file, and create its folder if needed.

    Raises:
        StorageError: it cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(f"Cannot write the page to {path}: {error.strerror}.") from error
    workspace.storage.write(str(path.resolve()), data)


def render(template: str, content: Mapping[str, Any]) -> str:
    """Return the page as text."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_finalize,
    )
    environment.filters |= {
        "shown": shown,
        "said": said,
        "script": script,
        "figure": _figure,
        "percent": percent,
        "size": size,
        "count": count,
        "spaced": spaced,
    }
    environment.globals |= {"bar": plots.bar}
    style = (HERE / "page.css").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policy = (
        f"default-src 'none'; img-src data:; media-src data:; style-src 'sha256-{digest}'; "
        "base-uri 'none'; form-action 'none'"
    )
    return environment.get_template(template).render(**content, style=Markup(style), policy=policy)


def shown(value: object, chars: int = TEXT_CHARS) -> str:
    """Return text on one line, cut to `chars`, without credentials, and with what cannot be seen as escapes."""
    text = redact(str(value))
    line = printable(" ".join(text[: chars + 1].split())[:chars])
    return f"{line}…" if len(text) > chars else line


def said(value: object, chars: int = TEXT_CHARS) -> Markup:
    """Return `shown` text of any direction and script in an element of its own."""
    return Markup("<bdi{}>{}</bdi>").format(script(value), shown(value, chars))


def script(value: object) -> Markup:
    """Return the attribute that lets a browser choose the font: Unicode gives Chinese and Japanese the same characters.

    Kana are Japanese, Hangul is Korean, and Han by itself is taken for Chinese. Other texts need none: ''.
    """
    text = str(value)[: 2 * TEXT_CHARS]
    found = () if text.isascii() else (tag for tag, pattern in _SCRIPTS if pattern.search(text))
    tag = next(iter(found), None)
    return Markup(' lang="{}"').format(tag) if tag else Markup("")


def spaced(text: str) -> str:
    """Return text with white space made visible where a page would show it as one space or not at all."""
    return _SPACES.sub(lambda found: "␣" * len(found[0]), text[: 2 * TEXT_CHARS])


def _finalize(value: object) -> object:
    """Make every text of a template's expressions clean, unless it is markup of ours."""
    return value if isinstance(value, Markup) or not isinstance(value, str) else printable(redact(value), keep="\n\t")


def size(bytes_: int) -> str:
    """Format bytes: 512 B, 1.4 MB."""
    value, unit = float(bytes_), "B"
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if value < 1_000 or unit == "TB":
            break
        value /= 1_000
    return f"{value:.0f} {unit}" if unit == "B" else f"{value:.3g} {unit}"


def count(rows: int) -> str:
    """Format a number of rows: 12,345."""
    return f"{rows:,}"


def _figure(value: object) -> str:
    """Format a measured value of any type."""
    if value is None:
        return "–"
    return plots.figure(value) if isinstance(value, int | float) else shown(value)


def percent(share: float | None) -> str:
    """Format a share: 4.2 %, 37 %."""
    return "–" if share is None else f"{100 * share:.1f} %" if share < 0.0995 else f"{100 * share:.0f} %"
