"""Drafts: rows from a source's reader, before their media are looked up."""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from types import MappingProxyType

from trichord.infra.config import PrepareConfig, VersionBy
from trichord.infra.lake.listing import Listing
from trichord.infra.lake.storage import Stat, Storage, VersionCache
from trichord.infra.redaction import redact
from trichord.infra.web import DownloadError, Fetcher, is_web
from trichord.transforms.bounded_text import normal_form
from trichord.transforms.collect.line import Line
from trichord.transforms.collect.media_root import MediaRoot
from trichord.transforms.collect.partitions import Medium, PlannedRow
from trichord.transforms.media import MediaError

MAX_TEXT_BYTES = 4 << 20
NOTHING: Mapping[str, Stat | None] = MappingProxyType({})


def media_limits(config: PrepareConfig) -> dict[str, int]:
    """Return how many bytes a medium may have, by the first part of its name (`image:0` is an image)."""
    return {
        "image": config.image.max_bytes,
        "audio": config.audio.max_bytes,
        "text": MAX_TEXT_BYTES,
        "segments": MAX_TEXT_BYTES,  # a subtitle file; timed pictures are named image:0, image:1 ...
    }


class InvalidRow(Exception):
    """A row that breaks its source's format; the message says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """A row with the media it names: a path or URI, or the file itself if a listing found it.

    `at` is the byte where the line of a bad row begins; a plan does not hold it, as it depends on no row's position.
    """

    key: str
    line: Line
    media: Mapping[str, str | Stat] = field(default_factory=dict)
    reason: str | None = None
    detail: str = ""
    at: int | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Lookup:
    """Looks up the place, size and version of drafts' media; those on the web need a fetcher."""

    storage: Storage
    root: MediaRoot
    by: VersionBy
    cache: VersionCache | None
    fetcher: Fetcher | None = None
    config: PrepareConfig = field(default_factory=PrepareConfig)  # limits of a download
    listing: Listing | None = None  # of the root, where its store asks a price for each request

    def __call__(self, drafts: list[Draft], listed: Mapping[str, Stat | None] = NOTHING) -> list[PlannedRow]:
        """Return the drafts with their media looked up, those on the web concurrently.

        Args:
            drafts: the rows.
            listed: what `list_media` said of them.
        """
        look_up = partial(self._look_up, listed=listed)
        if self.fetcher is not None and any(map(on_web, drafts)):
            return self.fetcher.map(look_up, drafts)
        return [look_up(draft) for draft in drafts]

    def list_media(self, drafts: Iterable[Draft]) -> Mapping[str, Stat | None]:
        """Return what is known of media by their URI from listings; None where there is none. Not thread-safe."""
        if self.listing is None:
            return NOTHING
        uris = list[str]()
        for draft in drafts:
            for named in draft.media.values():
                if isinstance(named, str) and not is_web(named):
                    with suppress(MediaError):
                        uris.append(self.root.locate(self.root.relative(named)))
        return self.listing.look_up(uris)

    def _look_up(self, draft: Draft, listed: Mapping[str, Stat | None]) -> PlannedRow:
        media: dict[str, Medium] = {}
        reason, detail = draft.reason, draft.detail
        for name, named in sorted(draft.media.items()):
            try:
                media[name] = self._medium(name, named, listed)
            except MediaError as error:
                path = redact(named) if isinstance(named, str) else posixpath.basename(named.uri)
                media[name] = Medium(path=path, size=0, version=error.reason)
                reason, detail = reason or error.reason, detail or f"{name}: {redact(error.detail)}"
        if reason is None and not media and not draft.line["text"] and not draft.line["captions"]:
            reason, detail = "row_empty", "no text, no image, no audio"
        return PlannedRow(key=draft.key, line=draft.line, media=media, reason=reason, detail=detail)

    def _medium(self, name: str, named: str | Stat, listed: Mapping[str, Stat | None]) -> Medium:
        if self.fetcher is not None and isinstance(named, str) and is_web(named):
            limit = media_limits(self.config)[name.partition(":")[0]]
            try:
                content = self.fetcher.fetch(named, limit)
            except DownloadError as error:
                raise MediaError(error.reason, error.detail) from error
            return Medium(path=redact(named), size=content.size, version=content.version)
        relative = self.root.relative(named.uri if isinstance(named, Stat) else named)
        uri = self.root.locate(relative, linked=not isinstance(named, Stat) or named.linked)
        try:
            stat = named if isinstance(named, Stat) else listed.get(uri)
            if stat is None and uri not in listed:
                stat = self._stat(uri)
            if stat is None:
                relative, stat = self._other_form(relative)
            limit = media_limits(self.config)[name.partition(":")[0]]
            if stat.size > limit:  # before it is hashed
                raise MediaError("media_too_large", f"{stat.size} bytes; the limit is {limit}")
            return Medium(path=relative, size=stat.size, version=self.storage.version(stat, self.by, self.cache))
        except FileNotFoundError:
            raise MediaError("media_missing", f"no file {relative[:200]!r}") from None

    def _stat(self, uri: str) -> Stat | None:
        try:
            return self.storage.stat(uri)
        except FileNotFoundError:
            return None

    def _other_form(self, relative: str) -> tuple[str, Stat]:
        """Return the path of a missing file in Unicode's other normal form, in which macOS may have written it.

        Raises:
            FileNotFoundError: there is no such file either.
        """
        for form in ("NFC", "NFD") if not relative.isascii() else ():
            other = normal_form(form, relative)
            if other != relative and (stat := self._stat(self.root.locate(other))) is not None:
                return other, stat
        raise FileNotFoundError(relative)


def names_media(draft: Draft) -> bool:
    """Return whether a draft names a medium that no listing has found yet."""
    return any(isinstance(named, str) for named in draft.media.values())


def on_web(draft: Draft) -> bool:
    """Return whether a draft names a medium on the web."""
    return any(isinstance(named, str) and is_web(named) for named in draft.media.values())
