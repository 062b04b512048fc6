"""Many looks as one run: the least that has to be planned again, a scope for each source."""

from __future__ import annotations

import posixpath
from collections.abc import Iterable

from trichord.pipelines.watch.places import Look
from trichord.transforms.collect import Scope

MOST_KEYS = 5_000  # of a source in a run: a bucket is asked once for each, and a thousand objects a request for all


def coalesce(looks: Iterable[Look]) -> list[Scope]:
    """Return a scope for each source, sorted by name; together they hold every row of every look.

    Keys are looked at by themselves: a prefix would have all media below it hashed again. A source with a look at the
    whole, or with more than `MOST_KEYS` keys, is planned as a whole, which hashes only what has changed.
    """
    by_source: dict[str, list[Look]] = {}
    for look in looks:
        by_source.setdefault(look.source, []).append(look)
    return [_scope_of(name, found) for name, found in sorted(by_source.items())]


def _scope_of(source: str, looks: list[Look]) -> Scope:
    keys = frozenset(look.place for look in looks if look.kind == "key")
    prefixes = {look.place for look in looks if look.kind == "prefix"}
    if any(look.kind == "whole" for look in looks) or len(keys) > MOST_KEYS:
        return Scope(source=source)
    if not prefixes:
        return Scope(source=source, keys=keys)
    shared = posixpath.commonprefix([*keys, *prefixes])
    prefix = shared if shared in prefixes else shared[: shared.rfind("/") + 1]
    return Scope(source=source, prefix=prefix or None)
