"""Media behind http(s) URIs: fetched once, kept by content in the lake, asked for again by conditional requests."""

from __future__ import annotations

from trichord.infra.web.errors import DownloadError
from trichord.infra.web.fetch import Content, Fetcher
from trichord.infra.web.http_cache import is_web, receipt_contents

__all__ = [
    "Content",
    "DownloadError",
    "Fetcher",
    "is_web",
    "receipt_contents",
]
