"""Keys of rows that are made from other rows: `<key of the parent>#<mark><number>`, written and read here alone.

| mark | made by | number |
|---|---|---|
| `#t0000` | `cut_time`: a segment | place in the source's list, at least four digits |
| `#p0000` | `cut_time`: a picture that no segment takes | the same |
| `#r0000` | `cut_regions`: a region | the same |
| `#aug1` | a variant of a record | which copy, counted from 1 |

A source may use such a key for a row of its own. So a decoded key says what a row may have been made from; whether it
was, the row's `parent` says.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum


class Mark(StrEnum):
    """What a row is to its parent."""

    SEGMENT = "t"
    PICTURE = "p"
    REGION = "r"
    VARIANT = "aug"


_NAME = re.compile(r"([tpr])([0-9]{4}|[1-9][0-9]{4,})|(aug)([1-9][0-9]*)")
CUT_BY = {Mark.SEGMENT: "cut_time", Mark.PICTURE: "cut_time", Mark.REGION: "cut_regions"}


@dataclass(frozen=True, slots=True, kw_only=True)
class PartKey:
    """The key of a row that is made from the row `parent`."""

    parent: str
    mark: Mark
    number: int

    def encode(self) -> str:
        """Return the key as it is stored."""
        digits = f"{self.number}" if self.mark is Mark.VARIANT else f"{self.number:04d}"
        return f"{self.parent}#{self.mark}{digits}"

    @classmethod
    def decode(cls, key: str) -> PartKey | None:
        """Return what `encode` made `key` of; None if it cannot have made it."""
        parent, hash_sign, name = key.rpartition("#")
        found = _NAME.fullmatch(name)
        if not hash_sign or found is None:
            return None
        cut, number, variant, copy = found.groups()
        return cls(parent=parent, mark=Mark(cut or variant), number=int(number or copy))


def cut_from(key: str) -> Iterator[str]:
    """Yield the keys of rows that a row may have been cut from: its parent, the parent's parent, and so on."""
    while (part := PartKey.decode(key)) is not None and part.mark in CUT_BY:
        key = part.parent
        yield key
