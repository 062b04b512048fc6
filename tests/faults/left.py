"""What a run leaves behind that it should not."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from trichord.infra.lake import layout
from trichord.infra.lake.stores import TEMPORARY_PREFIX


def leftovers(lake: Path, temporary: Path) -> list[str]:
    """Temporary files and notes in a lake, and everything in the folder for temporary files."""
    found = [*lake.rglob(f"{TEMPORARY_PREFIX}*"), *lake.glob(f"{layout.PRESENCE}/*"), *temporary.iterdir()]
    return sorted(path.name for path in found if not path.name.startswith("torchinductor"))  # torch's cache: any run's


def message_of(stderr: str) -> dict[str, Any]:
    """The one error event of a command that ran with --json; {} if there is none."""
    events = [json.loads(line) for line in stderr.splitlines() if line.startswith("{")]
    errors = [event for event in events if event["event"] == "error"]
    assert len(errors) <= 1, errors
    return errors[0] if errors else {}


def is_clean(stderr: str) -> bool:
    """Whether a command showed no traceback and nothing of Python's inside."""
    return not re.search(r"Traceback|Exception ignored|File \"", stderr)
