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

_HIDDEN = re.compile(
    r"<!--.{0,2000}?-->|<(script|style|noscript)\b[^<>]{0,500}>.{0,5000}?</\1\s{0,9}>|<!doctype\b[^<>]{0,500}>",
    re.IGNORECASE | re.DOTALL,
)
_TAG = re.compile(rf"<(/?)({_NAMES})((?:\s[^<>]{{0,2000}})?)/?>", re.IGNORECASE)
_ENTITY = re.compile(r"&(?:#[0-9]{1,7}|#[xX][0-9a-fA-F]{1,6}|[a-zA-Z][a-zA-Z0-9]{1,31});")


def strip_markup(text: str) -> str:
    """Return the text a browser would show, on one line; texts without markup are unchanged.

    Comments, scripts and style sheets are dropped, block elements become blanks.
    """
    if "<" in text:
        text = _TAG.sub(lambda tag: _shown(tag, text), _HIDDEN.sub(" ", text))
    return _ENTITY.sub(lambda entity: html.unescape(entity[0]), text) if "&" in text else text


def _shown(tag: re.Match[str], text: str) -> str:
    """Return what replaces a tag: nothing, a blank, or the same characters if it is not a tag."""
    closing, name, rest = tag[1], tag[2].lower(), tag[3].strip(" \t\r\n/")
    if rest and (closing or "=" not in rest):
        return tag[0]  # "if a <b and c> d"
    if len(name) == 1 and not closing and not rest and name != "p" and f"</{name}" not in text.lower():
        return tag[0]  # "<s> is where it starts"
    return "" if name in _JOINED else " "
