"""Files as the world writes them, made by construction: each is read right, refused with a true reason, or counted."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Read:
    """The file is read, and what it holds passes the check."""

    check: Callable[[object], bool]


@dataclass(frozen=True)
class Refused:
    """The file is refused; reason and detail hold these words."""

    says: str


@dataclass(frozen=True)
class Counted:
    """The file is not read, and is counted aloud by its ending."""


Expected = Read | Refused | Counted


@dataclass(frozen=True)
class Variant:
    """A file, or several that belong together, by name."""

    kind: str  # picture, sound, subtitle, table, archive
    format: str
    variant: str
    files: Mapping[str, bytes]
    expected: Expected
