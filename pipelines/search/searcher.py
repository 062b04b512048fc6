"""Searcher: the published index, verified and opened once; it follows the live publication on request."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from trichord.index_builders.base import Scalar
from trichord.infra import log
from trichord.infra.config import RANKINGS, QueryConfig
from trichord.infra.errors import ConfigError, TrichordError
from trichord.pipelines.core.result import Result
from trichord.pipelines.core.workspace import Workspace
from trichord.pipelines.search.fusion import RankedHit
from trichord.pipelines.search.nearest import nearest_many
from trichord.pipelines.search.query import Query, read_queries
from trichord.pipelines.search.records import Record, RecordReader
from trichord.pipelines.search.search import LiveIndex, open_live, open_publication

QUERIES_AT_ONCE = 256  # in one batch; fewer with pictures or sounds, which are held decoded
MEDIA_AT_ONCE = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Hit(Result):
    """A record that a search found.

    Attributes:
        key: the record's key.
        score: cosine of query and record, in [-1, 1].
        view: the view of the record that matched.
        source: name of the record's source.
        text: the record's text.
        metadata: the record's other fields in its source.
        media: `image` and `audio` -> URI of the file that the record was made from; empty if a data file holds it.
        rank_score: what the ranking sorted by; the cosine with a plain ranking.
    """

    key: str
    score: float
    view: str
    source: str | None
    text: str | None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    media: Mapping[str, str] = field(default_factory=dict)
    rank_score: float


@dataclass(frozen=True, slots=True, kw_only=True)
class _Open:
    index: LiveIndex
    records: RecordReader


class Searcher:
    """Answers queries from the published index. Thread-safe; opened and verified once.

    Args:
        workspace: the project on its lake.
        follow: look for a newer live publication at most every `poll_s` seconds, and switch to it. A query that has
            started finishes on the index that it started with. If a publication cannot be opened, the log reports it
            and the open one keeps answering.
        backend: faiss, milvus or annoy; by default the first in the publication.
        model: folder of another model to encode queries with, of the same space.
        poll_s: seconds between checks for a newer publication.

    Raises:
        ConfigError: nothing is published, or the backend does not hold the publication.
        FingerprintMismatch: `model` is of another space than the index.
        StorageError: a file is missing or damaged.
    """

    def __init__(
        self,
        workspace: Workspace,
        *,
        follow: bool = False,
        backend: str | None = None,
        model: str | os.PathLike[str] | None = None,
        poll_s: float = 1.0,
    ) -> None:
        self._workspace, self._follow, self._poll_s = workspace, follow, poll_s
        self._backend, self._model = backend, None if model is None else Path(model)
        self._encoding = threading.Lock()  # torch's number of threads belongs to the whole process
        self._switching = threading.Lock()
        self._looked_s = time.monotonic()
        self._open = self._with_records(open_live(workspace, self._model, backend))

    @property
    def publication(self) -> str:
        """Id of the publication that answers now."""
        return self._open.index.publication

    def search(
        self,
        text: str | None = None,
        *,
        image: Any = None,
        audio: Any = None,
        k: int = 10,
        source: str | None = None,
        where: Mapping[str, Scalar] | None = None,
        ranking: str | None = None,
    ) -> list[Hit]:
        """Find the k records nearest to a query of one part or several, best first, each record once.

        Args:
            text: words.
            image: a file's path, its bytes, a Pillow image, or uint8 (H, W, 3).
            audio: a file's path, its bytes, or (samples, rate in Hz).
            k: number of records to return.
            source: search only the records of this source.
            where: search only the records with these values in fields of `index.metadata`.
            ranking: plain, calibrated, rank_fusion or quota; the project's `query.ranking` if None.

        Raises:
            ConfigError: there is no query, a part of it cannot be read, or the index has no such field or ranking.
        """
        query = Query(text=text, image=image, audio=audio)
        return self.search_many([query], k=k, source=source, where=where, ranking=ranking)[0]

    def search_many(
        self,
        queries: Sequence[Query | str | Mapping[str, Any]],
        *,
        k: int = 10,
        source: str | None = None,
        where: Mapping[str, Scalar] | None = None,
        ranking: str | None = None,
    ) -> list[list[Hit]]:
        """Answer several queries in batches; each is a string, a mapping of parts, or a `Query`.

        Takes the other arguments of `search`, and raises the same errors. One publication answers all queries.
        """
        _check(queries, k, source, where)
        asked = [Query.of(query) for query in queries]
        opened = self._current()
        index = opened.index.only(source, where)
        config, k = self._ranking(ranking), min(k, max(index.searcher.rows, 1))
        found: list[list[Hit]] = []
        while len(found) < len(asked):
            part, before = _part(asked[len(found) :]), len(found)
            batch = read_queries(
                self._workspace.project.prepare, part, before=before, behind=len(asked) - before - len(part)
            )
            with self._encoding:
                ranked = nearest_many(index, batch, config, k)
            records = iter(opened.records.read([hit.key for hits in ranked for hit in hits]))
            found += [[_hit(hit, next(records)) for hit in hits] for hits in ranked]
        return found

    def _ranking(self, ranking: str | None) -> QueryConfig:
        config = self._workspace.project.query
        if ranking is None or ranking == config.ranking:
            return config
        if ranking not in RANKINGS:
            raise ConfigError(f"There is no ranking {ranking!r}. Known: {', '.join(RANKINGS)}.")
        return config.model_copy(update={"ranking": ranking})

    def _current(self) -> _Open:
        """Return the index that answers now; if it follows and `poll_s` has passed, check for a newer publication."""
        if (
            self._follow
            and time.monotonic() - self._looked_s >= self._poll_s
            and self._switching.acquire(blocking=False)
        ):
            try:
                live = self._workspace.publications.live()
                if live is not None and live.id != self.publication:
                    index = open_publication(self._workspace, live, self._model, self._backend)
                    before, self._open = self.publication, self._with_records(index)
                    log.event("searcher_switched", before=before, now=self.publication)
            except (
                TrichordError,
                FileNotFoundError,
            ) as error:  # what is open goes on answering; the next look tries again
                log.event("searcher_not_switched", publication=self.publication, error=str(error).splitlines()[0])
            finally:
                self._looked_s = time.monotonic()
                self._switching.release()
        return self._open

    def _with_records(self, index: LiveIndex) -> _Open:
        return _Open(index=index, records=RecordReader(self._workspace, index.searcher, index.manifest))


def _check(queries: object, k: object, source: object, where: object) -> None:
    """Raises ConfigError where an argument is of another type than `search_many` takes, or k is too small."""
    if isinstance(queries, str | bytes | Mapping | Query):
        raise ConfigError("search_many takes a list of queries. Use `search` for one query, or put it in a list.")
    if not isinstance(k, int | np.integer) or isinstance(k, bool):
        raise ConfigError(f"k is a whole number, not {k!r:.200}.")
    if k < 1:
        raise ConfigError(f"k is {k}, but must be at least 1.")
    if source is not None and not isinstance(source, str):
        raise ConfigError(f"source is the name of a source, not {source!r:.200}.")
    if where is not None and not isinstance(where, Mapping):
        raise ConfigError(f"where is a mapping of fields to values, as {{'year': 2020}}, not {where!r:.200}.")


def _hit(found: RankedHit, record: Record) -> Hit:
    return Hit(
        key=found.key,
        score=round(found.cosine, 6),
        view=found.view,
        source=found.source,
        text=record.text,
        metadata=record.metadata,
        media=record.media,
        rank_score=round(found.score, 6),
    )


def _part(queries: Sequence[Query]) -> Sequence[Query]:
    """Return the first queries, as many as go through the model together."""
    words = [query.image is None and query.audio is None for query in queries[:QUERIES_AT_ONCE]]
    return queries[: len(words) if all(words) else max(words.index(False), MEDIA_AT_ONCE)]
