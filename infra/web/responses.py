"""What the status and headers of an answer mean (RFC 9110)."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

from trichord.infra.web.errors import DownloadError, refused

if TYPE_CHECKING:
    from trichord.infra.web.transport import Answer

AGAIN = frozenset({408, 425, 429, *range(500, 600)})
_GONE = (404, 410)
_REDIRECTS = (301, 302, 303, 307, 308)
_NOAI = frozenset({"noai", "noimageai"})
_SETTLED_S = 2.0
_ETAG = re.compile(r'(?:W/)?"[\x21\x23-\x7e]{0,512}"')


def location(answer: Answer) -> str | None:
    """Return where a redirect leads; None for content (200, 203) and 304.

    Raises:
        DownloadError: any other status.
    """
    status = answer.status
    if status in (200, 203, 304):
        return None
    if status in _REDIRECTS:
        if not answer.one("Location"):
            raise refused("a redirect to nowhere")
        return answer.one("Location")
    if status in _GONE:
        raise DownloadError("download_missing", f"HTTP {status}", permanent=True)
    again = status in AGAIN
    raise DownloadError("download_failed", f"HTTP {status}", permanent=not again, again=again)


def says_noai(answer: Answer) -> bool:
    """Return True if X-Robots-Tag forbids use for training, to anyone: `noai`, `mybot: noimageai`, in any case."""
    pieces = (piece for value in answer.all("X-Robots-Tag") for piece in value.lower().replace(";", ",").split(","))
    return any(not _NOAI.isdisjoint(piece.rpartition(":")[2].split()) for piece in pieces)


def retry_after_s(answer: Answer, now: float) -> float:
    """Return seconds that the server asks to wait; 0 where it does not, or not in a way that can be read."""
    value = answer.one("Retry-After").strip()
    if value.isascii() and value.isdigit():
        return float(value[:12])
    at = _time(value)
    return max(0.0, at - now) if at is not None else 0.0


def etag(answer: Answer) -> str:
    """Return the ETag as it may be sent back; '' where there is none or it is malformed."""
    value = answer.one("ETag")
    return value if _ETAG.fullmatch(value) else ""


def trusted_time(answer: Answer) -> str:
    """Return Last-Modified if the content was old enough when it was sent: a change within a second would not show."""
    modified, sent = _time(answer.one("Last-Modified")), _time(answer.one("Date"))
    if modified is None or sent is None or sent - modified < _SETTLED_S:
        return ""
    return datetime.fromtimestamp(modified, UTC).strftime("%a, %d %b %Y %H:%M:%S GMT")


def check_plain(answer: Answer) -> None:
    """Refuse a body that is not the content as it is: a compressed one could grow without bounds.

    Raises:
        DownloadError: it has a Content-Encoding or an odd Transfer-Encoding.
    """
    encodings = [value.strip().lower() for value in ",".join(answer.all("Content-Encoding")).split(",")]
    transfers = [value.strip().lower() for value in ",".join(answer.all("Transfer-Encoding")).split(",")]
    if any(value not in ("", "identity") for value in encodings):
        raise DownloadError("download_failed", "a compressed body (Content-Encoding)", permanent=True)
    if any(value not in ("", "identity", "chunked") for value in transfers) or transfers.count("chunked") > 1:
        raise DownloadError("download_failed", "an odd Transfer-Encoding", permanent=True)


def _time(value: str) -> float | None:
    try:
        at = parsedate_to_datetime(value)
        return (at if at.tzinfo is not None else at.replace(tzinfo=UTC)).timestamp()
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
