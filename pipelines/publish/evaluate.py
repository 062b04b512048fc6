"""evaluate: measure a publication on its held-out records, as its users search it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from trichord.encoders.views import Features
from trichord.infra import digest
from trichord.infra.config import Project
from trichord.infra.engines import open_engine
from trichord.infra.engines.base import Engine
from trichord.infra.errors import ConfigError
from trichord.infra.lake import layout
from trichord.infra.lake.lake import Lake
from trichord.infra.lake.publication import JsonDict, Pinned
from trichord.infra.lake.shard import ShardRef, find_finished
from trichord.pipelines.core.exclusions import Exclusions, Mask
from trichord.pipelines.core.model_store import load_model
from trichord.pipelines.core.result import Result
from trichord.pipelines.core.workspace import Workspace, run_alone
from trichord.pipelines.evaluation.galleries import HeldOut
from trichord.pipelines.evaluation.holdout import HeldOutRows, K, held_out_mask
from trichord.pipelines.evaluation.outcomes import Outcomes
from trichord.pipelines.evaluation.retrieval import evaluate
from trichord.pipelines.evaluation.whole import measure
from trichord.pipelines.index.partition_map import read_partitions
from trichord.pipelines.model.feature_cache import features_address, featurised, read_features
from trichord.pipelines.model.pair_agreement import pinned_disagreements

if TYPE_CHECKING:
    from trichord.encoders.model import FusionModel


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """Figures of held-out records, and what each record adds to them.

    Attributes:
        evaluation: the figures, JSON-ready.
        outcomes: of all records measured; None where none is held out.
        common: the same among the records that were measured before; None where they are few, or not known.
    """

    evaluation: JsonDict
    outcomes: Outcomes | None
    common: Outcomes | None


@dataclass(frozen=True, slots=True)
class EvaluateTask:
    """Evaluates in a worker. Takes held-out rows by partition, in an order that changes of the lake preserve."""

    lake: Lake
    project: Project
    model: str
    fingerprint: str
    before: Outcomes | None = None

    def __call__(self, shards: tuple[Mapping[str, ShardRef], Exclusions]) -> Figures | None:
        model = load_model(self.lake, self.model, self.fingerprint, self.project.model)
        config, seed = self.project.evaluate, self.project.train.seed
        sources: dict[str, str] = {}
        rows = HeldOutRows.gather(_note_sources(self._held_out(model, *shards), sources), config.max_records)
        if rows is None:
            return None
        held_out = rows.views(model)
        measured = measure(held_out, K, seed, config, model.calibration)
        assert measured.outcomes is not None
        outcomes = replace(measured.outcomes, sources=tuple(sources[key] for key in measured.outcomes.keys))
        return Figures(
            evaluation=measured.to_dict(),
            outcomes=outcomes,
            common=_measure_common(held_out, seed, outcomes, self.before),
        )

    def _held_out(
        self, model: FusionModel, records: Mapping[str, ShardRef], exclusions: Exclusions
    ) -> Iterator[tuple[pa.Table, Features]]:
        encoders = model.encoders.fingerprint
        for partition in sorted(records, key=digest.hash64):
            ref, mask = records[partition], exclusions.of(partition).mask(self.lake)
            address = features_address(encoders, ref.address)
            found = find_finished(self.lake, layout.FEATURES, [address]).get(address)
            if found is not None:
                parts = read_features(self.lake, found, model.input_dimensions)
            else:
                parts = featurised(self.lake, ref, model.featurise, keep=self._kept(mask))
            for rows, features in parts:
                chosen = np.flatnonzero(self._kept(mask)(rows))
                yield rows.take(pa.array(chosen)), features.take(chosen)

    def _kept(self, mask: Mask) -> Callable[[pa.Table], np.ndarray]:
        return lambda rows: held_out_mask(rows, self.project.train) & mask.keeps(rows)


def _note_sources(
    parts: Iterator[tuple[pa.Table, Features]], sources: dict[str, str]
) -> Iterator[tuple[pa.Table, Features]]:
    for rows, features in parts:
        sources.update(zip(rows["key"].to_pylist(), rows["source"].to_pylist(), strict=True))
        yield rows, features


def _measure_common(held_out: HeldOut, seed: int, outcomes: Outcomes, before: Outcomes | None) -> Outcomes | None:
    """Measure again on the records that were measured before, where most of them are still held out.

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


def pinned_records(workspace: Workspace, pinned: Pinned) -> tuple[dict[str, ShardRef], Exclusions]:
    """Return the records shard of each partition of a candidate or publication, and the rows that are left out."""
    versions = pinned.table_versions
    by_path = {ref.path: ref for ref in workspace.table("records").shards(versions["records"]).values()}
    records = {partition: by_path[path] for partition, path in read_partitions(workspace, pinned.manifest).items()}
    duplicates = workspace.table("duplicates").shards(versions["duplicates"]).values()
    exclusions = Exclusions.gather(workspace.lake, duplicates)
    if pinned.counts.rows_disagreeing:
        left_out = pinned_disagreements(workspace, versions["agreement"])
        exclusions = exclusions.with_rows((row.partition, row.row_digest) for row in left_out)
    return records, exclusions


def measure_figures(workspace: Workspace, engine: Engine, pinned: Pinned, before: Outcomes | None = None) -> Figures:
    """Measure the held-out records of a candidate or publication, and again those that were measured `before`."""
    task = EvaluateTask(workspace.lake, workspace.project, pinned.model, pinned.fingerprint, before)
    found = run_alone(engine, task, pinned_records(workspace, pinned))
    return found if found is not None else Figures(evaluation=nothing_held_out(), outcomes=None, common=None)


def evaluate_publication(workspace: Workspace, engine: Engine, pinned: Pinned) -> JsonDict:
    """Measure the held-out records of a candidate or publication."""
    return measure_figures(workspace, engine, pinned).evaluation


def nothing_held_out() -> dict[str, Any]:
    """Return the evaluation of a lake without held-out records: every figure is unknown."""
    mixed: dict[str, Any] = {"recall_at_10": None, "ndcg_at_10": None, "retention": {}}
    return {"k": K, "records": 0, "recall_at_10": {}, "chance": {}, "mixed": mixed}


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluated(Result):
    """The figures of a publication, measured again."""

    publication: str
    evaluation: JsonDict

    def to_dict(self) -> JsonDict:
        """Return JSON-ready values: the publication and its figures."""
        return {"publication": self.publication} | self.evaluation


def evaluate_live(workspace: Workspace) -> Evaluated:
    """Measure the live publication again.

    Raises:
        ConfigError: nothing is published.
    """
    live = workspace.publications.require_live()
    if live.recipe["model"] != workspace.model_settings():
        raise ConfigError(
            "Settings of model, train or evaluate changed since training, so the held-out set is unknown.\n"
            "Run `trichord reindex`, or restore the old settings."
        )
    with open_engine(workspace.project.engine) as engine:
        return Evaluated(publication=live.id, evaluation=evaluate_publication(workspace, engine, live))
