"""Search an index in several processes: each actor holds some of its shards, and every query asks all actors.

This is for an index that is too large for one machine, or that many cores should search. The results are those of one
process: shards keep their order, and ties go to the earlier one.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from trichord.index_builders.base import Hits, Scalar, check_asked
from trichord.index_builders.manifest import IndexManifest
from trichord.infra.errors import ConfigError, TrichordError
from trichord.infra.lake.lake import Lake
from trichord.pipelines.core.workspace import Workspace
from trichord.pipelines.index.open import open_backend

Question = tuple[str, dict[str, Any]]  # a searcher's method and its arguments; or `exact_scores` and none


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenPart:
    """The factory of an actor: verifies and opens some shards of an index."""

    lake: Lake
    manifest: IndexManifest
    fingerprint: str

    def __call__(self) -> AnswerPart:
        return AnswerPart(open_backend(self.lake, None, self.manifest, self.fingerprint))


@dataclass(frozen=True, slots=True)
class AnswerPart:
    """Answers from the shards of one actor."""

    searcher: Any

    def __call__(self, question: Question) -> Any:
        name, given = question
        return self.searcher.exact_scores if name == "exact_scores" else getattr(self.searcher, name)(**given)


class FanOutSearcher:
    """A `Searcher` over actors that hold the shards. Garbage collection closes it."""

    def __init__(self, workspace: Workspace, manifest: IndexManifest, fingerprint: str, actors: int) -> None:
        """Open an index in this many actors.

        Raises:
            ConfigError: the project's engine is not Ray.
            FingerprintMismatch: the index is of another space.
            StorageError: a file is missing, damaged, or not the index that the manifest describes.
        """
        if workspace.project.engine.kind != "ray":
            raise ConfigError("query.fan_out needs Ray.\nSet engine.kind to ray, or query.fan_out to 0.")
        from trichord.infra.engines.ray_actors import StandingActors  # importing Ray takes seconds

        self.fingerprint, self.dimension = manifest.fingerprint, manifest.dimension
        self.rows, self.views = manifest.rows, manifest.views
        self.metadata = manifest.metadata
        parts = [
            OpenPart(lake=workspace.lake, manifest=part, fingerprint=fingerprint)
            for part in divide_shards(manifest, actors)
        ]
        self._actors: StandingActors[Question, Any] = StandingActors(workspace.project.engine, parts)
        self.close = weakref.finalize(self, self._actors.close)
        try:
            self.exact_scores = all(self._actors.ask(("exact_scores", {})))
        except TrichordError:
            self.close()
            raise

    def search(
        self,
        queries_ND: np.ndarray,
        k: int,
        *,
        collapse: bool = True,
        view: str | None = None,
        source: str | None = None,
        where: Mapping[str, Scalar] | None = None,
        settings: Mapping[str, int] | None = None,
    ) -> Hits:
        """See `Searcher`. Raises PartialRun if an actor cannot be restarted."""
        width = k * len(self.views) if collapse and view is None else k
        given = {"k": width, "collapse": False, "view": view, "source": source, "where": where, "settings": settings}
        check_asked(self, queries_ND, k, view, where, settings)
        merged = Hits.merge(self._actors.ask(("search", given | {"queries_ND": queries_ND})), width)
        return merged.best_per_key(k) if collapse else merged

    def partitions_of(self, keys: Iterable[str]) -> dict[str, str]:
        """See `Searcher`."""
        found: dict[str, str] = {}
        for part in self._actors.ask(("partitions_of", {"keys": sorted(set(keys))})):
            found |= part
        return found


def divide_shards(manifest: IndexManifest, parts: int) -> Sequence[IndexManifest]:
    """Divide an index into at most `parts`, of about equal rows each, in the order of its shards."""
    runs: list[list[Any]] = [[] for _ in range(min(parts, max(1, len(manifest.shards))))]
    before = 0
    for shard in manifest.shards:
        runs[min(len(runs) - 1, before * len(runs) // max(1, manifest.rows))].append(shard)
        before += shard.rows
    return [replace(manifest, shards=tuple(run), also=()) for run in runs if run] or [manifest]
