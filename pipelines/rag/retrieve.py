"""Passages for a question: the records of the published index nearest to it, with their words and pictures.

Vectors of an index have unit length, so cosine c, inner product c and Euclidean distance sqrt(2 - 2c) rank alike: the
metric chooses what a passage's score says, never which passages are found. Hits come from one view of a record, from
several, or from all of them mixed; a record stands once, in its best view.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from index_builders.base import Searcher
from infra.config import View
from infra.errors import ConfigError
from infra.lake.shard import read_shard
from pipelines.search import LiveIndex
from pipelines.splits import read_splits
from pipelines.workspace import Workspace

Metric = Literal["cosine", "l2", "inner_product"]
_WIDER = 4  # how much further a search looks when too few of its hits are of the wanted views


@dataclass(frozen=True, slots=True, kw_only=True)
class Passage:
    """A record that may hold the answer.

    Attributes:
        key: the record's.
        source: name of its source in the project file.
        view: the view of it that was found.
        score: the metric's own value; of `l2` smaller is nearer.
        words: its text and its other captions, a line each; '' where it has none.
        modalities: what the record has, of text, image, audio.
        picture: its picture as JPEG.
        rerank_score: what the reranker gave it, higher fits better; None where none ran.
    """

    key: str
    source: str
    view: str
    score: float
    words: str
    modalities: tuple[str, ...]
    picture: bytes | None = None
    rerank_score: float | None = None

    def told(self) -> dict[str, Any]:
        """JSON-ready, without the picture."""
        return {
            "key": self.key,
            "source": self.source,
            "view": self.view,
            "score": self.score,
            "rerank_score": self.rerank_score,
            "modalities": list(self.modalities),
            "text": self.words,
        }


def metric_value(cosine: float, metric: Metric) -> float:
    """What a metric says of two unit vectors of this cosine."""
    return math.sqrt(max(0.0, 2 - 2 * cosine)) if metric == "l2" else cosine


def nearest(searcher: Searcher, query_1D: np.ndarray, k: int, views: Sequence[View]) -> list[dict[str, Any]]:
    """The k records nearest to one query, each in its best view of `views` (any view if empty), best first.

    Args:
        searcher: an opened index.
        query_1D: float32 (1, D), L2-normalised.
        k: records wanted; fewer where there are not so many.
        views: what a hit may be.

    Returns:
        `key`, `score` (cosine), `view`, `source` of each.
    """
    if not views:
        return searcher.search(query_1D, k).rows()
    width = k
    while True:
        width = min(width, searcher.rows)
        hits = searcher.search(query_1D, max(1, width), collapse=False).rows()
        best: dict[str, dict[str, Any]] = {}
        for hit in hits:
            if hit["view"] in views:
                best.setdefault(hit["key"], hit)
        if len(best) >= k or width >= searcher.rows:
            return list(best.values())[:k]
        width *= _WIDER


def retrieve(
    workspace: Workspace,
    index: LiveIndex,
    query_1D: np.ndarray,
    *,
    k: int,
    views: Sequence[View] = (),
    metric: Metric = "cosine",
    pictures: bool = False,
) -> list[Passage]:
    """The k passages nearest to a query, best first.

    Args:
        workspace: the project on its lake.
        index: the publication to search.
        query_1D: float32 (1, D), L2-normalised, of the index's space.
        k: passages wanted.
        views: as in `nearest`.
        metric: what the scores say.
        pictures: read the records' pictures too.

    Raises:
        ConfigError: the publication has no row of these views.
    """
    hits = nearest(index.searcher, query_1D, k, views)
    if views and not hits:
        raise ConfigError(
            f"Publication {index.publication} holds no {' or '.join(views)} view, which rag.views asks for.\n"
            "Add it to index.views and run `trichord reindex`, or leave rag.views empty."
        )
    records = _records(workspace, index, [hit["key"] for hit in hits], pictures=pictures)
    return [
        Passage(
            key=hit["key"],
            source=hit["source"],
            view=hit["view"],
            score=metric_value(hit["score"], metric),
            words=_words(records[hit["key"]]),
            modalities=tuple(name for name in ("text", "image", "audio") if records[hit["key"]][f"has_{name}"]),
            picture=records[hit["key"]].get("image"),
        )
        for hit in hits
    ]


def _words(record: Mapping[str, Any]) -> str:
    lines: Iterable[str] = [record["text"] or "", *record["captions"]]
    return "\n".join(dict.fromkeys(line for line in lines if line))


def _records(
    workspace: Workspace, index: LiveIndex, keys: Sequence[str], *, pictures: bool
) -> dict[str, dict[str, Any]]:
    splits = index.searcher.splits_of(keys)
    paths = read_splits(workspace, index.manifest)
    found: dict[str, dict[str, Any]] = {}
    for split in sorted(set(splits.values())):
        wanted = pa.array([key for key in keys if splits[key] == split], pa.string())
        rows = read_shard(
            workspace.storage, workspace.lake, paths[split], ["key", "text", "captions", "image", "audio"]
        )
        rows = rows.filter(pc.is_in(rows["key"], value_set=wanted))
        for name in ("text", "image", "audio"):
            rows = rows.append_column(f"has_{name}", pc.is_valid(rows[name]))
        rows = rows.drop_columns(["audio"] if pictures else ["audio", "image"])
        found |= {row["key"]: row for row in rows.to_pylist()}
    return found
