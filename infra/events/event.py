"""An event says where to look, and no more: no value in it is ever taken for data."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

MAX_BODY_BYTES = 1 << 20  # as SQS and Standard Webhooks have it
MAX_EVENTS = 1_000  # of one message
_MAX_PLACE_BYTES = 2_048  # a bucket and a key of S3's 1,024 bytes
_MAX_ID_CHARS = 256
_OUTSIDE = re.compile(r"(?:^|/)\.{1,2}(?:/|$)")


class Poison(ValueError):
    """A message that no later try makes readable; its text is the reason, without content of the message."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """A place that may have changed: an object by its URI, or a path of a source.

    Attributes:
        uri: of a bucket's object, or a local path; a slash at its end means all below it. Empty if `source` is given.
        source: name of a source; empty if `uri` is given.
        path: place below the source's folder; empty for all of the source.
        id: names this change of this place, so that its repetition is known; empty if the sender gives none.
        at_s: when it happened, seconds since 1970; None if unknown.
        deleted: the sender says that the object is gone. What lies there decides; this serves figures alone.
    """

    uri: str = ""
    source: str = ""
    path: str = ""
    id: str = ""
    at_s: float | None = None
    deleted: bool = False

    def __post_init__(self) -> None:
        for name, place in (("uri", self.uri), ("source", self.source), ("path", self.path)):
            if len(place.encode(errors="surrogatepass")) > _MAX_PLACE_BYTES:
                raise Poison(f"{name} is longer than {_MAX_PLACE_BYTES:,} bytes")
            if any(unicodedata.category(char) in ("Cc", "Cs") for char in place):
                raise Poison(f"{name} has control characters")
            if _OUTSIDE.search(place.partition("://")[2] or place):
                raise Poison(f"{name} has `.` or `..` as a folder")
        if self.path.startswith("/"):
            raise Poison("path does not begin below the source")
        if bool(self.uri) == bool(self.source):
            raise Poison("it names neither an object nor a source")
        if len(self.id) > _MAX_ID_CHARS:
            raise Poison(f"id is longer than {_MAX_ID_CHARS} characters")

    @property
    def key(self) -> tuple[str, str, str, str] | None:
        """What is equal for two messages about one change of one place; None without an id."""
        return (self.uri, self.source, self.path, self.id) if self.id else None


class Channel(Protocol):
    """Where messages come from: it brings them to an inbox, and hears what became of them."""

    name: str

    def start(self) -> None:
        """Begin to receive. Raises ConfigError or ServiceError if that cannot be."""

    def stop(self) -> None:
        """Receive no more, and give back what is not acknowledged."""

    def acknowledge(self, receipts: Sequence[str]) -> None:
        """Forget messages whose changes are committed. Raises nothing: a message that stays comes again."""

    def problem(self) -> str | None:
        """Return why nothing is received at present; None if all is well."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """A message of a channel with its events.

    Attributes:
        channel: where it came from, and hears that it is done.
        receipt: the channel's name for it.
        events: places to look at.
        received_s: by `time.time`.
    """

    channel: Channel
    receipt: str
    events: tuple[Event, ...]
    received_s: float
