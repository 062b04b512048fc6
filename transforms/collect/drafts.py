"""Drafts: rows as a source's reader yields them, before their media are looked up."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from infra.config import VersionBy
from infra.lake.storage import Stat, Storage, VersionCache
from transforms.collect.roots import MediaRoot
from transforms.collect.splits import Medium, PlannedRow
from transforms.media import MediaError


class InvalidRow(Exception):
    """A row that is not what its source promises; the message says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """A row with the media it names: a path or URI, or the file itself where a listing found it."""

    key: str
    line: Mapping[str, Any]  # text, captions, group, subset, meta; or `raw` of a line that is no row
    media: Mapping[str, str | Stat] = field(default_factory=dict)
    reason: str | None = None
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Lookup:
    """Looks up the media of drafts: where they are, how large, which version."""

    storage: Storage
    root: MediaRoot
    by: VersionBy
    cache: VersionCache | None

    def __call__(self, drafts: list[Draft]) -> list[PlannedRow]:
        """The drafts with their media looked up."""
        return [self._planned(draft) for draft in drafts]

    def _planned(self, draft: Draft) -> PlannedRow:
        media: dict[str, Medium] = {}
        reason, detail = draft.reason, draft.detail
        for name, named in sorted(draft.media.items()):
            try:
                media[name] = self._medium(named)
            except MediaError as error:
                path = named if isinstance(named, str) else posixpath.basename(named.uri)
                media[name] = Medium(path=path, size=0, version=error.reason)
                reason, detail = reason or error.reason, detail or f"{name}: {error.detail}"
        if reason is None and not media and not draft.line["text"] and not draft.line["captions"]:
            reason, detail = "row_empty", "no text, no image, no audio"
        return PlannedRow(key=draft.key, line=draft.line, media=media, reason=reason, detail=detail)

    def _medium(self, named: str | Stat) -> Medium:
        relative = self.root.relative(named.uri if isinstance(named, Stat) else named)
        uri = self.root.locate(relative)
        try:
            stat = named if isinstance(named, Stat) else self.storage.stat(uri)
            return Medium(path=relative, size=stat.size, version=self.storage.version(stat, self.by, self.cache))
        except FileNotFoundError:
            raise MediaError("media_missing", f"no file {relative[:200]!r}") from None
