"""evaluate: measure a publication on its test records, which nothing else has seen, as its users search it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from trichord.encoders.views import Features
from trichord.infra import digest
from trichord.infra.config import Project
from trichord.infra.engines.base import Engine
from trichord.infra.errors import ConfigError, StorageError
from trichord.infra.lake import layout
from trichord.infra.lake.lake import Lake
from trichord.infra.lake.publication import JsonDict, Pinned
from trichord.infra.lake.shard import ShardRef, find_finished, iter_shard
from trichord.infra.scratch import scratch_folder
from trichord.pipelines.core.exclusions import Exclusions, Mask
from trichord.pipelines.core.model_store import SEEN_GROUPS, load_model
from trichord.pipelines.core.result import Result
from trichord.pipelines.core.workspace import Workspace, run_alone
from trichord.pipelines.evaluation.galleries import HeldOut
from trichord.pipelines.evaluation.holdout import K, embed_rows
from trichord.pipelines.evaluation.kept_views import keep_views, no_views, read_views
from trichord.pipelines.evaluation.outcomes import Outcomes
from trichord.pipelines.evaluation.parts import (
    ROWS,
    TEST,
    Links,
    Name,
    Parts,
    group_ids,
    is_named,
    parts_of,
    read_labels,
)
from trichord.pipelines.evaluation.retrieval import evaluate
from trichord.pipelines.evaluation.whole import measure
from trichord.pipelines.index.partition_map import read_partitions
from trichord.pipelines.model.feature_cache import LABELS, features_address, featurised, read_features
from trichord.pipelines.model.pair_agreement import pinned_disagreements
from trichord.pipelines.model.prefetch import is_among

if TYPE_CHECKING:
    from trichord.encoders.model import FusionModel


Rows = tuple[Mapping[str, ShardRef], Exclusions]  # the records shard of each partition, and the rows left out


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """Figures of test records, and what each record adds to them.

    Attributes:
        evaluation: the figures, JSON-ready.
        outcomes: of all records measured; None where there is no test record.
        common: the same among the records that were measured before; None where they are few, or not known.
    """

    evaluation: JsonDict
    outcomes: Outcomes | None
    common: Outcomes | None


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluateTask:
    """Evaluates in a worker. Takes test records by partition, in an order that changes of the lake preserve.

    A test record is withheld where the model has seen its group, its picture or its sound: a mark that changed since
    training, or a match, would otherwise make the model measure itself on what it knows.
    """

    lake: Lake
    project: Project
    parts: Parts
    model: str
    fingerprint: str
    limit: int | None  # records at most; None: all
    before: Outcomes | None = None
    keep: bool = False  # what the model makes of the records, for the next gate

    def __call__(self, shards: Rows) -> Figures | None:
        model = load_model(self.lake, self.model, self.fingerprint, self.project.model)
        records, exclusions = shards
        seen = self._seen_groups()
        links = Links.read(self.lake, self.parts.matches)
        known = links.touching(read_labels(self.lake, records.values()), lambda rows: np.isin(group_ids(rows), seen))
        choice = _Choice(parts=self.parts, seen=seen, known=known)
        config, seed = self.project.evaluate, self.project.train.seed
        seen_rows: dict[str, tuple[str, str]] = {}
        kept = (
            read_views(self.lake, model.fingerprint, model.dimension) if _repeats(model) else no_views(model.dimension)
        )
        with scratch_folder("evaluate") as folder:
            found = _note_rows(self._test_records(model, records, exclusions, choice, kept), seen_rows)
            held_out = embed_rows(found, model, folder, self.limit, kept)
            if held_out is None:
                return None
            if self.keep and _repeats(model):
                self._keep(held_out, [seen_rows[key][1] for key in held_out.keys], kept)
            measured = measure(held_out, K, seed, config, model.calibration)
            assert measured.outcomes is not None
            outcomes = replace(measured.outcomes, sources=tuple(seen_rows[key][0] for key in measured.outcomes.keys))
            return Figures(
                evaluation=measured.to_dict() | {"withheld": choice.withheld},
                outcomes=outcomes,
                common=_measure_common(held_out, seed, outcomes, self.before),
            )

    def _seen_groups(self) -> np.ndarray:
        try:
            return np.frombuffer(self.lake.read(self.model, SEEN_GROUPS), "<u8")
        except FileNotFoundError as error:
            raise StorageError(
                f"{self.lake.uri(self.model, SEEN_GROUPS)} is missing, so it is unknown what the model has seen.\n"
                "Run `trichord recover`."
            ) from error

    def _keep(self, held_out: HeldOut, row_digests: list[str], kept: HeldOut) -> None:
        """Keep what is measured at each gate, for the next one."""
        if set(row_digests) != set(kept.keys):
            keep_views(self.lake, self.fingerprint, row_digests, held_out)

    def _test_records(
        self,
        model: FusionModel,
        records: Mapping[str, ShardRef],
        exclusions: Exclusions,
        choice: _Choice,
        kept: HeldOut,
    ) -> Iterator[tuple[pa.Table, Features]]:
        """Yield test records, and the features of those that are not kept."""
        known, left = pa.array(kept.keys, pa.string()), self.limit
        for partition in sorted(records, key=digest.hash64):
            ref, mask = records[partition], exclusions.of(partition).mask(self.lake)
            parts = (pa.Table.from_batches([one]) for one in iter_shard(self.lake, ref, LABELS, batch_rows=ROWS))
            chosen = [rows.filter(pa.array(choice.marks(rows, mask))) for rows in parts]
            rows = pa.concat_tables(chosen).slice(0, left) if chosen else None
            if rows:
                left = None if left is None else left - len(rows)
                new = rows["row_digest"].filter(pa.array(~is_among(known, rows)))
                yield rows, self._features(model, ref, new.combine_chunks())

    def _features(self, model: FusionModel, ref: ShardRef, row_digests: pa.Array) -> Features:
        """Return the features of some records of a shard, from the cache where it has them."""
        parts = [Features.none(model.input_dimensions)]
        if len(row_digests):
            keep = partial(is_among, row_digests)
            address = features_address(model.encoders.fingerprint, ref.address)
            found = find_finished(self.lake, layout.FEATURES, [address]).get(address)
            if found is None:
                parts += [features for _, features in featurised(self.lake, ref, model.featurise, keep=keep)]
            else:
                for rows, features in read_features(self.lake, found, model.input_dimensions):
                    parts.append(features.take(np.flatnonzero(keep(rows))))
        return Features.concat(parts)


def _repeats(model: FusionModel) -> bool:
    """Return True if a model gives a record the same bits again, whatever its company."""
    return model.config.numerics == "strict"


@dataclass(kw_only=True)
class _Choice:
    """Marks the test records that the model has not seen, and counts the others."""

    parts: Parts
    seen: np.ndarray
    known: frozenset[Name]
    withheld: int = 0

    def marks(self, rows: pa.Table, mask: Mask) -> np.ndarray:
        tests = (self.parts.of(rows) == TEST) & mask.keeps(rows)
        chosen = tests & ~np.isin(group_ids(rows), self.seen) & ~is_named(rows, self.known)
        self.withheld += int(tests.sum() - chosen.sum())
        return np.asarray(chosen)


def _note_rows(
    parts: Iterator[tuple[pa.Table, Features]], seen: dict[str, tuple[str, str]]
) -> Iterator[tuple[pa.Table, Features]]:
    """Note source and row digest of each row, by key."""
    for rows, features in parts:
        keys, sources, row_digests = (rows[name].to_pylist() for name in ("key", "source", "row_digest"))
        seen.update(zip(keys, zip(sources, row_digests, strict=True), strict=True))
        yield rows, features


def _measure_common(held_out: HeldOut, seed: int, outcomes: Outcomes, before: Outcomes | None) -> Outcomes | None:
    """Measure again on the records that were measured before, where most of them are still test records.

    A gallery that grew is harder; among the same records, models compare.
    """
    if before is None:
        return None
    known = set(before.keys)
    rows = np.array([row for row, key in enumerate(held_out.keys) if key in known], dtype=np.int64)
    if len(rows) < max(1, len(before.keys) / 2):
        return None
    if len(rows) == len(held_out.keys):
        return outcomes
    return evaluate(held_out.take(rows), K, seed).outcomes


def pinned_records(workspace: Workspace, pinned: Pinned) -> Rows:
    """Return the records shard of each partition of a candidate or publication, and the rows that are left out."""
    by_path = {ref.path: ref for ref in workspace.pinned_shards("records", pinned).values()}
    records = {partition: by_path[path] for partition, path in read_partitions(workspace, pinned.manifest).items()}
    exclusions = Exclusions.gather(workspace.lake, workspace.pinned_shards("duplicates", pinned).values())
    if pinned.counts.rows_disagreeing:
        left_out = pinned_disagreements(workspace, pinned)
        exclusions = exclusions.with_rows((row.partition, row.row_digest) for row in left_out)
    return records, exclusions


def measure_figures(
    workspace: Workspace,
    engine: Engine,
    pinned: Pinned,
    rows: Rows,
    before: Outcomes | None = None,
    *,
    all_records: bool = False,
    keep: bool = False,
) -> Figures:
    """Measure a candidate or publication on its test records, and again on those that were measured `before`.

    `rows` are its `pinned_records`. `evaluate.max_records` of them are measured, or all. With `keep`, what the model
    makes of them is kept in the lake.
    """
    footers = find_finished(workspace.lake, "records", [ref.address for ref in rows[0].values()])
    task = EvaluateTask(
        lake=workspace.lake,
        project=workspace.project,
        parts=parts_of(workspace, footers.values(), workspace.pinned_shards("matches", pinned).values()),
        model=pinned.model,
        fingerprint=pinned.fingerprint,
        limit=None if all_records else workspace.project.evaluate.max_records,
        before=before,
        keep=keep,
    )
    found = run_alone(engine, task, rows)
    return found if found is not None else Figures(evaluation=nothing_held_out(), outcomes=None, common=None)


def nothing_held_out() -> dict[str, Any]:
    """Return the evaluation of a lake without test records: every figure is unknown."""
    mixed: dict[str, Any] = {"recall_at_10": None, "ndcg_at_10": None, "retention": {}}
    return {"k": K, "records": 0, "recall_at_10": {}, "chance": {}, "mixed": mixed, "withheld": 0}


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluated(Result):
    """The figures of a publication, measured again."""

    publication: str
    evaluation: JsonDict

    def to_dict(self) -> JsonDict:
        """Return JSON-ready values: the publication and its figures."""
        return {"publication": self.publication} | self.evaluation


def evaluate_live(workspace: Workspace, *, all_records: bool = False) -> Evaluated:
    """Measure the live publication again, on at most `evaluate.max_records` test records or on all.

    Raises:
        ConfigError: nothing is published, or settings changed since training.
    """
    live = workspace.publications.require_live()
    if live.recipe["model"] != workspace.model_settings():
        raise ConfigError(
            "Settings of model, train or augment changed since training, so the test records may be others.\n"
            "Run `trichord reindex`, or restore the old settings."
        )
    with workspace.open_engine() as engine:
        rows = pinned_records(workspace, live)
        measured = measure_figures(workspace, engine, live, rows, all_records=all_records)
    return Evaluated(publication=live.id, evaluation=measured.evaluation)
