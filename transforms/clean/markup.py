"""Remove HTML tags and decode entities, if a text really has markup.

Only HTML's own elements count as tags: `a < b`, `<3` and `<unk>` stay. Patterns with bounded repeats find tags, not
`html.parser`: its reading of broken markup changes with Python's patch releases and is quadratic in some.
"""

from __future__ import annotations

import html
import re

_INLINE = "a abbr acronym b bdi bdo big cite code del dfn em font i ins kbd mark q s samp small span strike strong sub "
_INLINE += "sup tt u var wbr"
_BLOCK = (
    "address article aside blockquote body br button caption center dd details div dl dt fieldset figcaption figure "
)
_BLOCK += "footer form h1 h2 h3 h4 h5 h6 head header hr html iframe img input label li link main meta nav ol option "
_BLOCK += "p picture pre section select source summary svg table tbody td textarea tfoot th thead title tr ul video"
_JOINED = frozenset(_INLINE.split())
_NAMES = "|".join(sorted({*_JOINED, *_BLOCK.split()}, key=len, reverse=True))

_COMMENT_CHARS, _SCRIPT_CHARS = 2_000, 5_000  # longer ones stay
_HIDDEN = re.compile(r"<!--|<(script|style|noscript)\b[^<>]{0,500}>|<!doctype\b[^<>]{0,500}>", re.IGNORECASE)
_CLOSERS = re.compile(r"-->|</(script|style|noscript)\s{0,9}>", re.IGNORECASE)
_CLOSED = re.compile(r"</([a-z])")  # names of one letter that are closed somewhere
_TAG = re.compile(rf"<(/?)({_NAMES})((?:\s[^<>]{{0,2000}})?)/?>", re.IGNORECASE)
_ENTITY = re.compile(r"&(?:#[0-9]{1,7}|#[xX][0-9a-fA-F]{1,6}|[a-zA-Z][a-zA-Z0-9]{1,31});")


def strip_markup(text: str) -> str:
    """Return the text a browser would show, on one line; texts without markup are unchanged.

    Comments, scripts and style sheets are dropped, block elements become blanks.
    """
    if "<" in text:
        closed = frozenset(_CLOSED.findall(text.lower()))
        text = _TAG.sub(lambda tag: _shown(tag, closed), _without_hidden(text))
    return _ENTITY.sub(lambda entity: html.unescape(entity[0]), text) if "&" in text else text


def _without_hidden(text: str) -> str:
    """Return the text with a blank for each comment, script, style sheet and document type.

    All ends are found in one pass: looking for each opening's own end would read the text again and again.
    """
    ends: dict[str, list[re.Match[str]]] = {}
    for closer in _CLOSERS.finditer(text):
        ends.setdefault((closer[1] or "").lower(), []).append(closer)
    for found in ends.values():
        found.reverse()  # the next one is last
    kept: list[str] = []
    at = 0
    while (opening := _HIDDEN.search(text, at)) is not None:
        stop = _end_of(opening, ends)
        kept += [text[at : opening.start()], " "] if stop else [text[at : opening.end()]]
        at = stop or opening.end()
    return "".join([*kept, text[at:]])


def _end_of(opening: re.Match[str], ends: dict[str, list[re.Match[str]]]) -> int | None:
    """Return where that which `opening` begins ends; None if it does not end soon enough."""
    if opening[0][:2] == "<!" and opening[0] != "<!--":
        return opening.end()
    name, most = ((opening[1] or "").lower(), _SCRIPT_CHARS if opening[1] else _COMMENT_CHARS)
    found = ends.get(name, [])
    while found and found[-1].start() < opening.end():
        found.pop()
    return found[-1].end() if found and found[-1].start() - opening.end() <= most else None


def _shown(tag: re.Match[str], closed: frozenset[str]) -> str:
    """Return what replaces a tag: nothing, a blank, or the same characters if it is not a tag."""
    closing, name, rest = tag[1], tag[2].lower(), tag[3].strip(" \t\r\n/")
    if rest and (closing or "=" not in rest):
        return tag[0]  # "if a <b and c> d"
    if len(name) == 1 and not closing and not rest and name != "p" and name not in closed:
        return tag[0]  # "<s> is where it starts"
    return "" if name in _JOINED else " "
