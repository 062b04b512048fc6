"""The root of a source's media, which no path may leave."""

from __future__ import annotations

import os
import posixpath
import re
from functools import lru_cache
from urllib.parse import unquote, urlsplit

from trichord.infra.bucket_uri import SCHEMES, is_remote
from trichord.infra.redaction import redact
from trichord.transforms.media import MediaError

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://|(data):")


class MediaRoot:
    """Resolves the paths and URIs in rows without leaving the root, not even by a symbolic link. Pickles as its URI.

    Args:
        uri: local folder, or a bucket's folder such as `s3://bucket/prefix`.
    """

    def __init__(self, uri: str) -> None:
        self.uri = uri.rstrip("/") if is_remote(uri) else os.path.normpath(uri)
        self._real = "" if is_remote(uri) else os.path.realpath(self.uri)
        self._is_inside = lru_cache(4_096)(lambda path: self._within(os.path.realpath(path), self._real))

    def __reduce__(self) -> tuple[type[MediaRoot], tuple[str]]:
        return MediaRoot, (self.uri,)

    def relative(self, named: str) -> str:
        """Return the path below the root that a path or URI means.

        Raises:
            MediaError: media_scheme (an unknown kind of URI) or media_outside_root.
        """
        found = _SCHEME.match(named)
        kind = "" if found is None else (found[1] or found[2]).lower()
        if kind not in ("", "file", *SCHEMES):
            raise MediaError("media_scheme", f"{kind}: URIs are not supported")
        if is_remote(self.uri):
            scheme = self.uri.partition("://")[0]
            path = named if kind == scheme else f"{self.uri}/{named}"
            clean = f"{scheme}://{posixpath.normpath(path.removeprefix(f'{scheme}://'))}"
            inside = kind in ("", scheme) and not named.startswith("/") and self._within(clean, self.uri)
        else:
            path = unquote(urlsplit(named).path) if kind == "file" else named
            clean = os.path.normpath(os.path.join(self.uri, path))
            inside = kind in ("", "file") and self._within(clean, self.uri)
        if not inside:
            raise MediaError("media_outside_root", f"{redact(named)[:200]!r} is not below the source's media root")
        return clean[len(self.uri) :].lstrip("/")

    def locate(self, relative: str, *, linked: bool = True) -> str:
        """Return the URI of a path that `relative` returned; `linked` is False if the file is known not to be a link.

        Raises:
            MediaError: media_outside_root (a symbolic link leads out).
        """
        uri = f"{self.uri.rstrip('/')}/{relative}"
        if is_remote(self.uri) or "\0" in relative:  # storage reports that there is no such file
            return uri
        if not self._is_inside(os.path.dirname(uri)) or (linked and os.path.islink(uri) and not self._is_inside(uri)):
            raise MediaError("media_outside_root", f"{relative[:200]!r} leads out of the media root by a link")
        return uri

    @staticmethod
    def _within(path: str, root: str) -> bool:
        return path == root or path.startswith(root.rstrip("/") + "/")
