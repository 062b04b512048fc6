"""What must never run: importing this module, or calling what it defines, leaves a file that a test looks for."""

from __future__ import annotations

import os
from pathlib import Path

WIRE = "TRICHORD_TRIPWIRE"  # environment: the file


def trip() -> None:
    """Leave the file."""
    if place := os.environ.get(WIRE):
        Path(place).touch()


class Tripwire:
    """Leaves the file when it is constructed."""

    def __init__(self, *_: object, **__: object) -> None:
        trip()


trip()
