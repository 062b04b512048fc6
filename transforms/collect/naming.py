"""Names of columns in messages: shown safely, and which one was meant."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterable, Sequence

from trichord.transforms.bounded_text import normal_form

_SHOWN_NAMES, _SHOWN_CHARS, _FOLDED_CHARS = 20, 80, 1_000
_INVISIBLE = re.compile(r"[\s_\-\u200b-\u200f\u2060\ufeff]+")
_PLAIN = re.compile(r"[^\W_][\w.\- ]*[\w.]|\w")


def show(name: str) -> str:
    """Return a name for a message: as it is if it is plain, else quoted and escaped (JSON, which YAML reads too)."""
    cut = name if len(name) <= _SHOWN_CHARS else f"{name[:_SHOWN_CHARS]}…"
    return cut if name.isprintable() and _PLAIN.fullmatch(cut.rstrip("…")) else json.dumps(cut)


def show_all(names: Sequence[str]) -> str:
    """Return the first names, and how many more there are."""
    more = f" and {len(names) - _SHOWN_NAMES} more" if len(names) > _SHOWN_NAMES else ""
    return ", ".join(map(show, names[:_SHOWN_NAMES])) + more


def guess_meant(name: str, known: Iterable[str]) -> str | None:
    """Return the known name that was probably meant: equal but for case and blanks, else nested, else alike."""
    folded: dict[str, str] = {}
    leaves: dict[str, str] = {}
    for one in known:
        folded.setdefault(_fold(one), one)
        leaves.setdefault(_fold(one.rsplit(".", 1)[-1]), one)
    wanted, leaf = _fold(name), _fold(name.rsplit(".", 1)[-1])
    if wanted in folded:
        return folded[wanted]
    if leaf in leaves:
        return leaves[leaf]
    for choices, one in ((folded, wanted), (leaves, leaf)):
        if close := difflib.get_close_matches(one, choices, 1):
            return choices[close[0]]
    return None


def _fold(name: str) -> str:
    return _INVISIBLE.sub("", normal_form("NFKC", name[:_FOLDED_CHARS])).casefold()
