"""Scope: which rows of a source are planned again, while the last plan still says what the others are."""

from __future__ import annotations

import posixpath
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from trichord.infra.errors import ConfigError
from trichord.infra.printable import MAX_NAME_CHARS
from trichord.transforms.bounded_text import normal_form

UNNAMED = ("line:", "row:")  # how the keys begin that are made of what a row holds, or of its place


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """Rows of one source by key: those that begin with `prefix`, or those of `keys`; all if neither is given.

    Where media are in data files (tars, Parquet with bytes), the paths of these below the source serve as keys. Rows
    that could not be read have no key of their own: with `unnamed`, they are planned again in any case.
    """

    source: str
    prefix: str | None = None
    keys: frozenset[str] | None = None
    unnamed: bool = False

    @property
    def whole(self) -> bool:
        """Return True if it is all of the source."""
        return self.prefix is None and self.keys is None

    def holds(self, key: str) -> bool:
        """Return True if a row is planned again."""
        if self.unnamed and key.startswith(UNNAMED):
            return True
        forms = {key} if key.isascii() else {key, normal_form("NFC", key), normal_form("NFD", key)}
        if self.keys is not None:
            return not forms.isdisjoint(self.keys)
        return self.prefix is None or any(form.startswith(self.prefix) for form in forms)

    def beginnings(self, after: str) -> list[str] | None:
        """Return beginnings of the paths of all files that may make a row; None if that may be any.

        Args:
            after: what follows a key in a path.
        """
        if self.whole:
            return None
        found = (
            [_literal(self.prefix, "")] if self.prefix is not None else [_literal(k, after) for k in self.keys or ()]
        )
        return None if "" in found else outermost(found)


def scope_of(source: str | None, *, prefix: str | None = None, keys: Collection[str] | None = None) -> Scope | None:
    """Return the scope that a user means; None if everything is meant.

    Raises:
        ConfigError: a prefix or keys without a source, or both.
    """
    if source is None and (prefix is not None or keys is not None):
        raise ConfigError("A prefix and keys are of one source. Name it: `--source NAME`")
    if prefix is not None and keys is not None:
        raise ConfigError("Give a prefix or keys, not both")
    if source is None:
        return None
    return Scope(source=source, prefix=prefix or None, keys=None if keys is None else frozenset(keys))


def by_source(scopes: Scope | Iterable[Scope] | None) -> Mapping[str, Scope] | None:
    """Return scopes by the names of their sources; None if everything is meant.

    Raises:
        ConfigError: two are of one source.
    """
    if scopes is None:
        return None
    listed = [scopes] if isinstance(scopes, Scope) else list(scopes)
    found = {scope.source: scope for scope in listed}
    if len(found) < len(listed):
        raise ConfigError("Two scopes are of one source. Give one scope for each")
    return found


def outermost(beginnings: Iterable[str]) -> list[str]:
    """Return beginnings of paths, sorted, without those that begin with another."""
    kept: list[str] = []
    for one in sorted(beginnings):
        if not kept or not one.startswith(kept[-1]):
            kept.append(one)
    return kept


def _literal(key: str, after: str) -> str:
    """Return how the path of a key begins: a name with unseen characters is shown with escapes, a long one is cut.

    A file's name may be in NFC or in NFD: of such a key, what both begin with.
    """
    if not key.isascii():
        common = posixpath.commonprefix([key, normal_form("NFC", key), normal_form("NFD", key)])
        if common != key:
            return common.partition("\\")[0]
    shown, escape, _ = key.partition("\\")
    return shown if escape or len(key) >= MAX_NAME_CHARS else key + after
