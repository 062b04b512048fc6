"""Files of every kind of format, made by construction, and what must become of each: read, refused or counted."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Read:
    """The file is read, and what was read passes the check."""

    check: Callable[[Any], bool]


@dataclass(frozen=True)
class Refused:
    """The file is refused, and the reason says this."""

    says: str


@dataclass(frozen=True)
class Counted:
    """The file's ending is not read: it is counted where files are collected."""


Expected = Read | Refused | Counted


@dataclass(frozen=True)
class Variant:
    """One kind of a format.

    Attributes:
        kind: picture, sound, subtitle, table or archive.
        format: its common name.
        variant: what distinguishes it.
        files: name -> content; the first is the one that is read.
        expected: what must become of it. For a picture `check` is given the decoded uint8 RGB array (H, W, 3).
    """

    kind: str
    format: str
    variant: str
    files: Mapping[str, bytes]
    expected: Expected
