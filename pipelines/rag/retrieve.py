"""Passages for a question: the nearest records of the published index, with their words, and pictures on demand.

Vectors of an index have unit length, so cosine c, inner product c and Euclidean distance sqrt(2 - 2c) rank alike: the
metric changes a passage's score, never which passages are found. Hits come from one view of a record, from several, or
from all of them mixed; a record appears once, in its best view.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from trichord.infra.config import View
from trichord.infra.errors import ConfigError
from trichord.infra.lake.shard import read_shard, take_rows
from trichord.pipelines.core.workspace import Workspace
from trichord.pipelines.index.partition_map import read_partitions
from trichord.pipelines.search.fusion import RankedHit, by_score, list_hits
from trichord.pipelines.search.nearest import nearest
from trichord.pipelines.search.search import LiveIndex
from trichord.transforms.batch import Batch

Metric = Literal["cosine", "l2", "inner_product"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Passage:
    """A record that may hold the answer.

    Attributes:
        key: of the record.
        source: name of its source in the project file.
        view: the view that was found.
        score: the metric's value; for `l2`, smaller is nearer.
        words: its text and its other captions, one a line; '' where it has none.
        rerank_score: the reranker's, higher is better; None if none ran.
    """

    key: str
    source: str
    view: str
    score: float
    words: str
    rerank_score: float | None = None


def metric_value(cosine: float, metric: Metric) -> float:
    """Return a metric's value for two unit vectors of this cosine."""
    return math.sqrt(max(0.0, 2 - 2 * cosine)) if metric == "l2" else cosine


def retrieve(workspace: Workspace, index: LiveIndex, query: Batch) -> list[Passage]:
    """Return the passages nearest to a query of one row, best first, by the project's sections `rag` and `query`.

    All views together are ranked by `query.ranking`; the views of `rag.views` are ranked by cosine.

    Raises:
        ConfigError: the publication has no row of these views, or the ranking does not suit it.
    """
    config = workspace.project.rag
    if config.views:
        hits = _search_views(index, query, config.views, config.candidates)
    else:
        hits = nearest(index, query, workspace.project.query, config.candidates)
    records = _read_records(workspace, index, [hit.key for hit in hits], ["key", "text", "captions"])
    return [
        Passage(
            key=hit.key,
            source=hit.source or "",
            view=hit.view,
            score=metric_value(hit.cosine, config.metric),
            words=_join_words(records[hit.key]),
        )
        for hit in hits
    ]


def read_pictures(workspace: Workspace, index: LiveIndex, passages: Sequence[Passage]) -> list[bytes | None]:
    """Read the passages' pictures as JPEG; None where a record has none."""
    keys = [passage.key for passage in passages]
    records = _read_records(workspace, index, keys, ["key", "image"])
    return [records[key]["image"] for key in keys]


def _search_views(index: LiveIndex, query: Batch, views: Sequence[View], k: int) -> list[RankedHit]:
    vector_1D, _ = index.model.encode(query, "fused")
    indexed = [view for view in views if view in index.searcher.views]
    hits = by_score([list_hits(index.searcher.search(vector_1D, k, view=view)) for view in indexed], k)
    if not hits:
        raise ConfigError(
            f"Publication {index.publication} holds no {' or '.join(views)} view, which rag.views names.\n"
            "Add it to index.views and run `trichord reindex`, or leave rag.views empty."
        )
    return hits


def _join_words(record: Mapping[str, Any]) -> str:
    lines: Iterable[str] = [record["text"] or "", *record["captions"]]
    return "\n".join(dict.fromkeys(line for line in lines if line))


def _read_records(
    workspace: Workspace, index: LiveIndex, keys: Sequence[str], columns: Sequence[str]
) -> Mapping[str, Mapping[str, Any]]:
    partitions = index.searcher.partitions_of(keys)
    paths = read_partitions(workspace, index.manifest)
    found: dict[str, Mapping[str, Any]] = {}
    for partition in sorted(set(partitions.values())):
        wanted = pa.array([key for key in keys if partitions[key] == partition], pa.string())
        there = read_shard(workspace.lake, paths[partition], ["key"])["key"]
        places = np.flatnonzero(pc.is_in(there, value_set=wanted).to_numpy()).tolist()
        rows = take_rows(workspace.lake, paths[partition], places, columns)
        found |= {row["key"]: row for row in rows.to_pylist()}
    return found
