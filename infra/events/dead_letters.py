"""Dead letters: messages that mean nothing here, kept with the reason, in a folder of bounded size."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from trichord.infra import digest, log
from trichord.infra.redaction import redact

MOST_FILES = 10_000
MOST_CHARS = 256 << 10  # kept of a message


class DeadLetters(Protocol):
    """Where poison goes."""

    def put(self, channel: str, body: str, reason: str) -> bool:
        """Keep a message; return False if that failed, and it must stay where it is."""


class DeadLetterFolder:
    """A folder with a JSON file for each message; the same message again is the same file."""

    def __init__(self, folder: str) -> None:
        self._folder = Path(folder)

    def put(self, channel: str, body: str, reason: str) -> bool:
        """Keep a message as a file. Beyond 10,000 files only the log names it."""
        log.event("event_refused", channel=channel, reason=reason)
        letter = {"at": datetime.now(UTC).isoformat(timespec="seconds"), "channel": channel, "reason": reason,
                  "chars": len(body), "body": redact(body[:MOST_CHARS])}  # fmt: skip
        path = self._folder / f"{digest.address('dead-letter', channel, reason, body)[:24]}.json"
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            if len(os.listdir(self._folder)) < MOST_FILES:
                path.write_text(json.dumps(letter) + "\n", encoding="utf-8")
        except OSError as error:
            log.event("dead_letter_not_kept", folder=str(self._folder), detail=error.strerror)
            return False
        return True
