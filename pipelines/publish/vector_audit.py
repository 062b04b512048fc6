"""content: check that the vectors to index are those that the candidate's model makes of the records today.

A fingerprint says which model should have made a vector. This check asks the model: it reads a few records of every
vectors shard, encodes them again from their media with all towers (never from the features cache), and compares. It
finds an encoder whose code changed without a new version, and cached features or vectors of another model under this
one's fingerprint.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from trichord.encoders.base import AUDIO_RATE_HZ
from trichord.encoders.views import MODALITIES, Features
from trichord.infra import digest
from trichord.infra.config import ModelConfig
from trichord.infra.engines.base import Done, Engine
from trichord.infra.lake import layout
from trichord.infra.lake.lake import Lake
from trichord.infra.lake.publication import Pinned
from trichord.infra.lake.shard import ShardRef, find_finished, parse_shard_path, read_shard, take_rows
from trichord.infra.lazy import arrow_compute as pc
from trichord.pipelines.core.model_store import load_model
from trichord.pipelines.core.workspace import Workspace
from trichord.pipelines.index.partition_map import read_partitions
from trichord.pipelines.model.feature_cache import features_address, read_features
from trichord.transforms.record import batch_of

if TYPE_CHECKING:
    from trichord.encoders.model import FusionModel

MOST_RECORDS = 300  # encoded again in all
TOGETHER = 32  # records that share passes: a pass of strict numerics is filled up, however few there are
LEAST_COSINE = {
    "strict": 0.99999,
    "fast": 0.999,
}  # strict is bit-equal on equal hardware; other machines round differently
ENCODED = ("key", "row_digest", "text", "captions", "image", "audio")  # what encoders read of a record, and its name
SHOWN = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """The result for some shards: vectors compared, those equal to the last bit, the lowest cosine, and misfits."""

    records: int = 0
    vectors: int = 0
    equal: int = 0
    lowest: float = 1.0
    least: float = 1.0  # cosine that a vector must reach
    misfits: tuple[str, ...] = ()

    def __add__(self, other: Content) -> Content:
        return Content(
            records=self.records + other.records,
            vectors=self.vectors + other.vectors,
            equal=self.equal + other.equal,
            lowest=min(self.lowest, other.lowest),
            least=other.least,
            misfits=self.misfits + other.misfits,
        )

    @property
    def evidence(self) -> str:
        """Return the evidence in words."""
        seen = (
            f"{self.equal} of {self.vectors} vectors of {self.records} records encoded again are equal to the last bit"
        )
        if not self.misfits:
            return seen
        more = f"; and {len(self.misfits) - SHOWN} more" if len(self.misfits) > SHOWN else ""
        return f"{seen}; {'; '.join(self.misfits[:SHOWN])}{more}"


def check_content(workspace: Workspace, engine: Engine, pinned: Pinned, inputs: Sequence[str], rows: int) -> Content:
    """Encode rows of the vectors shards again, from as many shards as `MOST_RECORDS` allows.

    Args:
        workspace: the project on its lake.
        engine: runs the model.
        pinned: what the candidate's publication would pin: `model`, `fingerprint`, `manifest`, `manifest_digest`,
            `table_versions`.
        inputs: addresses of the index's vectors shards.
        rows: records to draw from each shard; its address seeds the draw.

    Raises:
        TrichordError: what a worker raised; PartialRun for any other failure.
    """
    shards = workspace.pinned_shards("vectors", pinned)
    found = [shards[address] for address in sorted(set(inputs)) if shards[address].rows]
    if len(found) > (most := max(1, MOST_RECORDS // rows)):
        drawn = digest.generator("content", pinned.manifest_digest).choice(len(found), most, replace=False)
        found = [found[place] for place in sorted(drawn.tolist())]
    factory = ContentActors(
        lake=workspace.lake,
        model=pinned.model,
        fingerprint=pinned.fingerprint,
        partitions=read_partitions(workspace, pinned.manifest),
        rows=rows,
        config=workspace.project.model,
    )
    step, every = max(1, TOGETHER // rows), Content()
    groups = [tuple(found[first : first + step]) for first in range(0, len(found), step)]
    for outcome in engine.map_actors(factory, groups, accelerator=True) if found else ():
        if not isinstance(outcome, Done):
            failure = outcome.failure
            raise failure.error(
                f"The content check failed ({failure.kind}): {failure}\nRun the command again; it resumes."
            )
        every += outcome.result
    return every


@dataclass(frozen=True, slots=True, kw_only=True)
class ContentActors:
    """Makes an actor inside its worker, where the model is loaded once."""

    lake: Lake
    model: str
    fingerprint: str
    partitions: Mapping[str, str]
    rows: int
    config: ModelConfig

    def __call__(self) -> Callable[[Sequence[ShardRef]], Content]:
        model = load_model(self.lake, self.model, self.fingerprint, self.config)
        return ContentActor(lake=self.lake, model=model, partitions=self.partitions, rows=self.rows)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Drawn:
    """Vectors that were drawn of one partition in one shard, and their records, the first of which is row `start`."""

    shard: ShardRef
    partition: str
    stored: pa.Table
    records: pa.Table
    start: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ContentActor:
    """Compares a few records' vectors of some shards with what the model makes of them."""

    lake: Lake
    model: FusionModel
    partitions: Mapping[str, str]  # lake-relative path of each partition's records shard
    rows: int

    def __call__(self, shards: Sequence[ShardRef]) -> Content:
        drawn = list(self._draw(shards))
        rows = sum(one.records.num_rows for one in drawn)
        least, misfits = LEAST_COSINE[self.model.config.numerics], list[str]()
        records, compared, equal, lowest = 0, 0, 0, 1.0
        if rows:
            features = self.model.featurise(batch_of(pa.concat_tables([one.records for one in drawn]), AUDIO_RATE_HZ))
            views = sorted({view for one in drawn for view in one.stored["view"].to_pylist()})
            fresh_of = {view: self.model.embed(features, view)[0] for view in views}
        for one in drawn:
            records += (present := len(pc.unique(one.stored["row_digest"])))
            for row, view, vector in _pairs(one):
                fresh = fresh_of[view][one.start + row]
                cosine = _cosine(vector, fresh)
                compared, lowest = compared + 1, min(lowest, cosine)
                equal += np.array_equal(vector, fresh.astype(vector.dtype))
                if not cosine >= least:
                    key = one.records["key"][row].as_py()
                    features_1 = features.take(np.array([one.start + row]))
                    cause = self._cause(self.partitions[one.partition], one.records.slice(row, 1), features_1)
                    misfits.append(f"{one.shard.path}: {key!r}, view {view}: cosine {cosine:.4f}{cause}")
            if gone := present - one.records.num_rows:
                path = self.partitions[one.partition]
                misfits.append(f"{one.shard.path}: {gone} of its records are missing from {path}")
        return Content(
            records=records,
            vectors=compared,
            equal=equal,
            lowest=lowest,
            least=least,
            misfits=tuple(misfits),
        )

    def _draw(self, shards: Sequence[ShardRef]) -> Iterator[_Drawn]:
        start = 0
        for shard in shards:
            stored = self._stored(shard)
            for partition in pc.unique(stored["partition"]).to_pylist():
                ours = stored.filter(pc.equal(stored["partition"], partition))
                records = self._records(partition, ours["row_digest"])
                yield _Drawn(shard=shard, partition=partition, stored=ours, records=records, start=start)
                start += records.num_rows

    def _stored(self, shard: ShardRef) -> pa.Table:
        """Return all vectors of the drawn records."""
        digests = read_shard(self.lake, shard, ["row_digest"])["row_digest"]
        records = pc.unique(digests)
        drawn = digest.generator("content", shard.address).permutation(len(records))[: self.rows]
        places = np.flatnonzero(pc.is_in(digests, value_set=records.take(pa.array(drawn))))
        columns = ("partition", "view", "row_digest", "vector")
        return take_rows(self.lake, shard, places.tolist(), columns)

    def _records(self, partition: str, wanted: pa.ChunkedArray) -> pa.Table:
        path = self.partitions[partition]
        digests = read_shard(self.lake, path, ["row_digest"])["row_digest"]
        places = np.flatnonzero(pc.is_in(digests, value_set=wanted.combine_chunks()))
        return take_rows(self.lake, path, places.tolist(), ENCODED)

    def _cause(self, records: str, row: pa.Table, features: Features) -> str:
        """Return which tower differs, if the features that the vectors were made from are still cached."""
        address = (parse_shard_path(records) or ("", ""))[0]
        wanted = features_address(self.model.encoders.fingerprint, address)
        cache = find_finished(self.lake, layout.FEATURES, [wanted]).get(wanted)
        if cache is None:
            return ""
        for rows, cached in read_features(self.lake, cache, self.model.input_dimensions):
            places = np.flatnonzero(pc.is_in(rows["row_digest"], value_set=row["row_digest"].combine_chunks()))
            for place in places:
                other = {
                    name: _cosine(cached.values[name][place], features.values[name][0])
                    for m, name in enumerate(MODALITIES)
                    if features.present[0, m]
                }
                swapped = [
                    f"{name} {cosine:.4f}" for name, cosine in other.items() if not cosine >= LEAST_COSINE["fast"]
                ]
                return (
                    f" (features in the cache: {', '.join(swapped)})" if swapped else " (the cached features are right)"
                )
        return ""


def _pairs(drawn: _Drawn) -> Iterator[tuple[int, str, np.ndarray]]:
    """Yield (record's row, view, stored vector) for every stored vector whose record exists."""
    row_of = {row_digest: row for row, row_digest in enumerate(drawn.records["row_digest"].to_pylist())}
    stored, vectors = drawn.stored, drawn.stored["vector"].combine_chunks()
    labels = zip(stored["row_digest"].to_pylist(), stored["view"].to_pylist(), strict=True)
    for place, (row_digest, view) in enumerate(labels):
        if row_digest in row_of:
            yield row_of[row_digest], view, vectors[place].values.to_numpy(zero_copy_only=False)


def _cosine(one: np.ndarray, other: np.ndarray) -> float:
    """Return the cosine in float64; 0 if either vector is all zeros, NaN if either holds NaN."""
    one, other = one.astype(np.float64), other.astype(np.float64)
    lengths = np.linalg.norm(one) * np.linalg.norm(other)
    return float(one @ other / lengths) if lengths != 0 else float(np.array_equal(one, other))
