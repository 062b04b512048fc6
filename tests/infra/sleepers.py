"""Tasks that take their time."""

from __future__ import annotations

import time
from pathlib import Path


def sleep_and_write(item: int, *, folder: str, seconds: float) -> int:
    """Leave a file at the begin and one at the end."""
    Path(folder, f"{item}.begun").touch()
    time.sleep(seconds)
    Path(folder, f"{item}.ended").touch()
    return item
