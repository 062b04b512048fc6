"""Foreign text made harmless to look at: in a terminal, a log, a page or a message.

Keys, captions and file names come from data. Characters that command a terminal (C0, C1, DEL), turn the reading order
(bidi controls), break lines, or cannot be seen at all are shown as escapes: `\\u001b`, `\\u202e`. The sets are written
out here, so that no version of Python's Unicode tables changes which rows are kept.

A name (key, group, subset) may not hold those at all, except the joiners and marks that scripts are written with:
`find_unnameable` is the one rule of every reader, and `typed_forms` and `typed_keys` take what a terminal showed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import partial
from typing import TypeVar

from trichord.infra.json_values import map_strings

MAX_NAME_CHARS = 1_024

_REFUSED = (
    "\x00-\x1f\x7f-\x9f"  # C0, DEL, C1
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # bidi controls
    "\u2028\u2029"  # line and paragraph separators
    "\u200b\u2060-\u2065\u206a-\u206f\ufeff\ufff0-\ufffb"  # of no width: space, joiner, operators, BOM, annotation
    "\ud800-\udfff"  # halves of surrogate pairs: bytes that are not UTF-8
    "\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e00ff"  # controls of shorthand and music, tags
)
_SCRIPT = "\u00ad\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200c\u200d\u3164\uffa0"  # unseen, but spelling needs them
_UNSEEN = re.compile(f"[{_REFUSED}{_SCRIPT}]")
_UNNAMEABLE = re.compile(f"[{_REFUSED}]")
_ESCAPE = re.compile(r"\\u([0-9a-f]{4})|\\U([0-9a-f]{8})")
T = TypeVar("T")
_SHORT = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}


def printable(text: object, *, keep: str = "") -> str:
    """Return text in which every character that is dangerous or cannot be seen is an escape; `keep` excepts some."""
    return _UNSEEN.sub(lambda found: found[0] if found[0] in keep else _escape(found[0]), str(text))


def printable_values(value: T, *, keep: str = "") -> T:
    """Return JSON-like values with every string in them printable; the names of fields too, without exceptions."""
    return map_strings(value, partial(printable, keep=keep), printable)


def one_line(text: str) -> str:
    """Return a message of several lines as one printable line, with `; ` where a line ended without a mark."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    ends = [line if line[-1] in ".:;,!?" else f"{line};" for line in lines[:-1]]
    return printable(" ".join([*ends, *lines[-1:]]))


def find_unnameable(names: Iterable[tuple[str, str]]) -> str | None:
    """Return why one of these (what it is, name) cannot name a record; None if all can.

    A name is at most `MAX_NAME_CHARS` long and holds nothing that cannot be typed or changes how a line looks.
    """
    for what, name in names:
        if len(name) > MAX_NAME_CHARS:
            return f"the {what} has {len(name)} characters; the limit is {MAX_NAME_CHARS}"
        if found := _UNNAMEABLE.search(name):
            return f"the {what} {printable(name)[:200]} holds U+{ord(found[0]):04X}, which no name may hold"
    return None


def typed_forms(name: str) -> tuple[str, ...]:
    """Return the names that a user may mean: what was typed, and what a terminal shows that way."""
    read = _ESCAPE.sub(lambda found: _read(found[0], int(found[1] or found[2], 16)), name)
    forms = dict.fromkeys((name, read))
    return tuple(form for form in forms if not re.search("[\ud800-\udfff]", form))  # no stored name holds one


def typed_keys(key: str, sources: Iterable[str]) -> Iterator[tuple[str | None, str]]:
    """Yield the records that a user may mean by a key, the likeliest first: (source, or None for any, and key).

    `source/key` names a record of one source, as `plan` prints it.
    """
    known = set(sources)
    for form in typed_forms(key):
        yield None, form
        source, _, rest = form.partition("/")
        if rest and source in known:
            yield source, rest


def _escape(char: str) -> str:
    code = ord(char)
    return _SHORT.get(char) or (f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}")


def _read(escape: str, code: int) -> str:
    return chr(code) if code < 0x110000 and _UNSEEN.match(chr(code)) else escape
