"""train: features → a fusion model whose modalities agree. It runs in a worker, so that the driver stays small.

Training records are learned from, validation records choose the epoch and fit the calibration, and test records are not
looked at. The model's address is the digest of what made it. A killed run resumes from its last checkpoint; a finished
model is reused.
"""

from __future__ import annotations

import itertools
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from trichord.encoders import model_file
from trichord.encoders.base import Modality
from trichord.encoders.frozen import load_encoders
from trichord.encoders.views import Features
from trichord.infra import digest, log
from trichord.infra.config import Project
from trichord.infra.engines.base import Engine
from trichord.infra.engines.process_group import Rank, run_process_group
from trichord.infra.errors import ConfigError, SourceError
from trichord.infra.lake import layout
from trichord.infra.lake.lake import Lake
from trichord.infra.lake.shard import ShardRef
from trichord.infra.scratch import scratch_folder
from trichord.pipelines.core.exclusions import NOTHING, Excluded, Exclusions
from trichord.pipelines.core.model_store import SEEN_GROUPS, TrainedModel, finished
from trichord.pipelines.core.workspace import Workspace, run_alone
from trichord.pipelines.evaluation.calibrate import calibrate
from trichord.pipelines.evaluation.holdout import HeldOutRows, K
from trichord.pipelines.evaluation.parts import TRAIN, VALIDATION, Division, Parts, group_ids
from trichord.pipelines.evaluation.retrieval import evaluate, mixed_score
from trichord.pipelines.model.feature_cache import read_features
from trichord.transforms.augment.variants import record_key

if TYPE_CHECKING:
    from trichord.encoders.distributed import ProcessGroup
    from trichord.encoders.model import FusionModel

TRAIN_FORMAT = 6
VALIDATION_RECORDS = 1_000  # measured at most, after each epoch
LEAST_VALIDATION = K  # fewer do not choose an epoch: the first K places hold all of them


@dataclass(frozen=True, slots=True, kw_only=True)
class Fold:
    """One of `folds` shares of all groups. A model that never saw a fold can judge it.

    Such a model is trained and validated on records outside its fold, and like any other never on test records.
    """

    number: int
    folds: int

    def of(self, rows: pa.Table) -> np.ndarray:
        """Which rows lie in the fold, bool (N,)."""
        groups = rows["group"].to_pylist()
        return np.array([digest.hash64(f"fold/{group}") % self.folds == self.number for group in groups], dtype=bool)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainTask:
    """Trains on features shards and stores the model in the lake under `address`."""

    lake: Lake
    project: Project

    def __call__(self, item: TrainItem) -> TrainedModel:
        model = self._run(item, None)
        assert model is not None
        return model

    def together(self, item: TrainItem, rank: Rank) -> None:
        """Train as one of several processes; the model is in the lake when all are done."""
        from trichord.encoders.distributed import join

        with join(rank) as process_group:
            self._run(item, process_group)

    def _run(self, item: TrainItem, process_group: ProcessGroup | None) -> TrainedModel | None:
        from trichord.encoders.data import Part, TrainingData
        from trichord.encoders.device import torch_threads
        from trichord.encoders.model import FusionModel
        from trichord.encoders.train import train as fit

        project = self.project
        encoders = load_encoders(project.model)
        with scratch_folder("train") as folder, _epoch_log(project, item) as log_epoch:
            division = Division.find(self.lake, item.features, item.parts)
            seen: list[np.ndarray] = []
            validating = self._rows(item, encoders.dimensions, division, VALIDATION, seen)
            held = HeldOutRows.gather(validating, VALIDATION_RECORDS)
            parts = (
                Part(features=features, records=record_ids(rows), groups=group_ids(rows))
                for rows, features in self._rows(item, encoders.dimensions, division, TRAIN, seen)
                if len(features)
            )
            first = next(parts, None)
            if first is None:
                raise ConfigError(
                    "No record is left to train on: all are held out, or share a group with a record that is.\n"
                    "Lower train.test and train.validation, or correct the sources' marks (fields.subset, train.marks) "
                    "or groups (fields.group)."
                )
            data = TrainingData.write(
                os.path.join(folder, "data"),
                itertools.chain([first], parts),
            )

            def score(model: FusionModel) -> float:
                assert held is not None
                with torch_threads(1):  # as in embedding: switching for every view takes time
                    return mixed_score(held.views(model), K, project.train.seed)

            checkpoints = self._checkpoints(item.address)
            model, history = fit(
                data,
                encoders,
                project.model,
                project.train,
                score=score if held is not None and len(held.keys) >= LEAST_VALIDATION else None,
                checkpoint=checkpoints,
                log=log_epoch,
                process_group=process_group,
            )
            if process_group is not None and process_group.rank:
                return None  # rank 0 has the same model and writes it
            story = {"history": history, "validation": len(held.keys) if held else 0}
            if held is not None:
                untrained = FusionModel.initial(project.model, encoders, data.stats, project.train.seed)
                story["before"] = evaluate(held.views(untrained), K, project.train.seed).to_dict()
                trained = held.views(model)
                calibration = calibrate(trained)
                if calibration is not None:
                    model = model.calibrated(calibration)
                story["after"] = evaluate(trained, K, project.train.seed).to_dict()
            model.save(os.path.join(folder, "model"))
            path = layout.model_path(item.address)
            self.lake.storage.write(self.lake.uri(path, "training.json"), digest.canonical_json(story))
            seen_groups = np.unique(np.concatenate(seen)).astype("<u8")
            self.lake.storage.write(self.lake.uri(path, SEEN_GROUPS), seen_groups.tobytes())
            for name in sorted(os.listdir(os.path.join(folder, "model")), key=lambda name: name == model_file.NAME):
                # model.json last: where it exists, the model is whole
                with open(os.path.join(folder, "model", name), "rb") as file:
                    self.lake.storage.write(self.lake.uri(path, name), file.read())
            shutil.rmtree(checkpoints, ignore_errors=True)  # the model is stored
            return TrainedModel(path=path, fingerprint=model.fingerprint, dimension=model.dimension)

    def _rows(
        self,
        item: TrainItem,
        dimensions: Mapping[Modality, int],
        division: Division,
        part: int,
        seen: list[np.ndarray],
    ) -> Iterator[tuple[pa.Table, Features]]:
        """Yield the rows of one part, and add their groups to `seen`."""
        for ref in item.features:
            mask = item.excluded.get(ref.address, NOTHING).mask(self.lake)
            for rows, features in read_features(self.lake, ref, dimensions):
                keep = (division.of(rows) == part) & mask.keeps(rows)
                if item.without is not None:
                    keep &= ~item.without.of(rows)
                if part == TRAIN:
                    keep &= _share_mask(rows, item.share)
                chosen = np.flatnonzero(keep)
                rows = rows.take(pa.array(chosen))
                seen.append(np.unique(group_ids(rows)))
                yield rows, features.take(chosen)

    def _checkpoints(self, address: str) -> str:
        root = tempfile.gettempdir() if self.lake.remote else self.lake.uri(layout.CHECKPOINTS)
        return os.path.join(root, layout.checkpoints_name(address))


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainItem:
    """What a model is made of. `excluded` says which rows of a features shard are left out, by its address.

    `share` of the training groups is used: less than all only in comparisons.
    """

    address: str
    features: tuple[ShardRef, ...]
    excluded: Mapping[str, Excluded]
    parts: Parts
    without: Fold | None = None
    share: float = 1.0


def train(
    workspace: Workspace,
    engine: Engine,
    features: Mapping[str, ShardRef],
    exclusions: Exclusions,
    parts: Parts,
    without: Fold | None = None,
    *,
    instead_of: str = "",
) -> TrainedModel:
    """Train on the features of all partitions (except one fold), or reuse the model that an earlier run made of them.

    `instead_of` is the fingerprint of a model whose files are lost: training writes to another folder than its own,
    which readers use.

    Raises:
        PartialRun: the training worker failed; a rerun resumes from the last checkpoint.
    """
    item = describe_model(workspace, features, exclusions, parts, without, instead_of=instead_of)
    found = finished(workspace, layout.model_path(item.address))
    if found is not None:
        return found
    if sum(ref.rows for ref in item.features) == sum(excluded.rows for excluded in item.excluded.values()):
        raise SourceError("No record is left to train on. See why: `trichord rejects ls`, `trichord plan`.")
    project = workspace.project
    task = TrainTask(lake=workspace.lake, project=project)
    if project.train.workers == 1:
        return run_alone(engine, task, item)
    run_process_group(project.engine, task.together, item, project.train.workers)
    found = finished(workspace, layout.model_path(item.address))
    assert found is not None
    return found


def describe_model(
    workspace: Workspace,
    features: Mapping[str, ShardRef],
    exclusions: Exclusions,
    parts: Parts,
    without: Fold | None = None,
    share: float = 1.0,
    instead_of: str = "",
) -> TrainItem:
    """Describe a model of these features under the workspace's settings, with its address."""
    refs = tuple(features[partition] for partition in sorted(features, key=digest.hash64))
    excluded = {ref.address: exclusions.of(partition) for partition, ref in features.items()}
    made_of = [[ref.address, excluded[ref.address].digest] for ref in refs]
    held_out = [parts.digest, sorted(ref.address for ref in parts.matches)]
    part: list[Any] = [] if without is None else [["outside", without.number, without.folds]]
    part += [] if share == 1 else [share]
    part += [["instead of", instead_of]] if instead_of else []
    address = digest.address("model", TRAIN_FORMAT, workspace.model_settings(), made_of, held_out, *part)
    return TrainItem(
        address=address,
        features=refs,
        excluded={name: one for name, one in excluded.items() if one.rows},
        parts=parts,
        without=without,
        share=share,
    )


def _share_mask(rows: pa.Table, share: float) -> np.ndarray:
    """Select the rows of a share of all groups, bool (N,); a larger share includes the smaller ones."""
    groups = rows["group"].to_pylist()
    return np.array([digest.hash64(f"share/{group}") < share * 2**64 for group in groups], dtype=bool)


def record_ids(rows: pa.Table) -> np.ndarray:
    """Return numbers that are equal for a record and its variants, uint64 (N,)."""
    keys = zip(rows["source"].to_pylist(), rows["key"].to_pylist(), strict=True)
    return np.array([digest.hash64(f"record/{source}/{record_key(key)}") for source, key in keys], dtype=np.uint64)


@contextmanager
def _epoch_log(project: Project, item: TrainItem) -> Iterator[Callable[[Mapping[str, Any]], None]]:
    """Yield a function that writes history entries to the log, and to TensorBoard if a folder is named."""
    with ExitStack() as stack:
        boards = []
        if project.train.tensorboard is not None:
            from trichord.encoders.tensorboard import tensorboard_log

            boards.append(stack.enter_context(tensorboard_log(project.train.tensorboard, item.address)))

        def log_epoch(entry: Mapping[str, Any]) -> None:
            log.event("epoch", **entry)
            for board in boards:
                board(entry)

        yield log_epoch
