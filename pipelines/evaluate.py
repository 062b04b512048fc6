"""evaluate: held-out records of a publication, measured as its users will feel it (DESIGN section 7)."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from encoders.views import Features
from infra import digest
from infra.config import Project, TrainConfig
from infra.engines import open_engine
from infra.engines.base import Done, Engine
from infra.errors import ConfigError, PartialRun, told
from infra.lake.shard import ShardRef, find_finished
from infra.lake.storage import Storage
from pipelines.dedup import dropped_rows
from pipelines.evaluation.held_out import FORMS, MODALITIES, HeldOut
from pipelines.evaluation.retrieval import evaluate as measure
from pipelines.features import FEATURES, features_address, featurised, read_features
from pipelines.splits import read_splits
from pipelines.workspace import LONG_S, Workspace

if TYPE_CHECKING:
    from encoders.model import FusionModel

K = 10  # depth of every measure, in the names of the figures too


def is_held_out(subset: str, group: str, config: TrainConfig) -> bool:
    """Whether a record is kept from training: by the source's own mark, else by the digest of its group."""
    if subset:
        return subset in config.held_out_subsets
    return digest.hash64(f"held-out/{config.seed}/{group}") < config.held_out * 2**64


def held_out_mask(rows: pa.Table, config: TrainConfig) -> np.ndarray:
    """`is_held_out` of every row, bool (N,)."""
    marks = zip(rows["subset"].to_pylist(), rows["group"].to_pylist(), strict=True)
    return np.array([is_held_out(subset, group, config) for subset, group in marks], dtype=bool)


def text_ids(rows: pa.Table) -> np.ndarray:
    """Equal for rows of the same words, which stand for each other in retrieval; -1 without text. int64 (N,)."""
    return np.array(
        [digest.hash64(text.casefold()) >> 1 if text else -1 for text in rows["text"].to_pylist()], dtype=np.int64
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldOutRows:
    """Held-out records as features, ready to be embedded by any model of the same encoders."""

    keys: tuple[str, ...]
    text_ids: np.ndarray
    features: Features

    @classmethod
    def gather(cls, parts: Iterator[tuple[pa.Table, Features]], limit: int) -> HeldOutRows | None:
        """The first `limit` rows of the parts; None where there are none."""
        keys: list[str] = []
        ids: list[np.ndarray] = []
        found: list[Features] = []
        for rows, features in parts:
            room = np.arange(min(rows.num_rows, limit - len(keys)))
            keys += rows["key"].to_pylist()[: len(room)]
            ids.append(text_ids(rows)[room])
            found.append(features.take(room))
            if len(keys) == limit:
                break
        if not keys:
            return None
        # small numbers, because the measures count by them
        _, numbers = np.unique(np.concatenate(ids), return_inverse=True)
        numbers = np.where(np.concatenate(ids) < 0, -1, numbers)
        return cls(keys=tuple(keys), text_ids=numbers, features=Features.concat(found))

    def views(self, model: FusionModel) -> HeldOut:
        """Embed the rows: queries by one modality (text: by another caption where there is one), galleries by form."""
        features = self.features
        gallery = {form: model.embed(features, form.split("+"))[0] for form in FORMS}
        queries = {name: gallery[name].copy() for name in MODALITIES}
        starts, counts = features.offsets[:-1], np.diff(features.offsets)
        other = (counts > 0) & features.present[:, MODALITIES.index("text")]
        captions = model.embed_captions(features)
        queries["text"][other] = captions[starts[other]]
        further = np.ones(len(captions), dtype=bool)
        further[starts[counts > 0]] = False  # the first is the query
        return HeldOut(
            keys=self.keys,
            text_ids=self.text_ids,
            present=features.present,
            queries=queries,
            other_caption=other,
            gallery=gallery,
            captions=captions[further],
            caption_rows=np.repeat(np.arange(len(self.keys)), counts)[further],
        )


@dataclass(frozen=True, slots=True)
class EvaluateTask:
    """Runs in a worker: takes held-out rows split by split in an order that no change of the lake disturbs."""

    storage: Storage
    lake: str
    project: Project
    model: str
    fingerprint: str

    def __call__(self, shards: tuple[Mapping[str, ShardRef], Mapping[str, Sequence[str]]]) -> dict[str, Any] | None:
        from pipelines.train import load_model

        model = load_model(self.storage, self.storage.join(self.lake, self.model), self.fingerprint)
        config = self.project.evaluate
        rows = HeldOutRows.gather(self._held_out(model, *shards), config.max_records)
        return None if rows is None else measure(rows.views(model), K, self.project.train.seed)

    def _held_out(
        self, model: FusionModel, records: Mapping[str, ShardRef], dropped: Mapping[str, Sequence[str]]
    ) -> Iterator[tuple[pa.Table, Features]]:
        encoders = model.encoders.fingerprint
        for split in sorted(records, key=digest.hash64):
            ref, gone = records[split], set(dropped.get(split, ()))
            address = features_address(encoders, ref.address)
            found = find_finished(self.storage, self.lake, FEATURES, [address]).get(address)
            if found is not None:
                parts = read_features(self.storage, self.lake, found, model.input_dimensions)
            else:
                parts = featurised(self.storage, self.lake, ref, model.featurise, keep=self._kept(gone))
            for rows, features in parts:
                chosen = np.flatnonzero(self._kept(gone)(rows))
                yield rows.take(pa.array(chosen)), features.take(chosen)

    def _kept(self, gone: set[str]) -> Callable[[pa.Table], np.ndarray]:
        def keep(rows: pa.Table) -> np.ndarray:
            standing = np.array([row not in gone for row in rows["row_digest"].to_pylist()], dtype=bool)
            return held_out_mask(rows, self.project.train) & standing

        return keep


def evaluate_publication(workspace: Workspace, engine: Engine, pinned: Mapping[str, Any]) -> dict[str, Any]:
    """Measure the held-out records of a candidate or publication (a row of it, or what a row would hold)."""
    versions = pinned["table_versions"]
    versions = json.loads(versions) if isinstance(versions, str) else versions
    by_path = {ref.path: ref for ref in workspace.table("records").shards(versions["records"]).values()}
    records = {split: by_path[path] for split, path in read_splits(workspace, pinned["manifest"]).items()}
    duplicates = list(workspace.table("duplicates").shards(versions["duplicates"]).values())
    task = EvaluateTask(workspace.storage, workspace.lake, workspace.project, pinned["model"], pinned["fingerprint"])
    [outcome] = engine.map(task, [(records, dropped_rows(workspace, duplicates))], timeout_s=LONG_S)
    if not isinstance(outcome, Done):
        raise told(
            outcome.detail,
            PartialRun(f"The held-out records could not be measured: {outcome.detail}\nRun `trichord reindex` again."),
        )
    return outcome.result if outcome.result is not None else nothing_held_out()


def nothing_held_out() -> dict[str, Any]:
    """The evaluation of a lake with no held-out record: every figure is unknown."""
    mixed: dict[str, Any] = {"recall_at_10": None, "ndcg_at_10": None, "retention": {}}
    return {"k": K, "records": 0, "recall_at_10": {}, "chance": {}, "mixed": mixed}


def evaluate_live(workspace: Workspace) -> dict[str, Any]:
    """Measure the live publication anew.

    Raises:
        ConfigError: nothing is published.
    """
    live = workspace.publications.live()
    if live is None:
        raise ConfigError("Nothing is published yet. Run `trichord reindex` first.")
    if json.loads(live["recipe"])["model"] != workspace.model_settings():
        raise ConfigError(
            "The settings of model, train or evaluate are not those of the live model: what it saw is not known.\n"
            "Run `trichord reindex`, or take the changed settings back."
        )
    with open_engine(workspace.project.engine) as engine:
        return {"publication": live["publication"]} | evaluate_publication(workspace, engine, live)
