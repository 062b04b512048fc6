"""agreement: find records whose modalities do not belong together, with the run's model and shuffled pairs.

Every modality of a record is compared with the fusion of its others, with all wordings of its text. The cosine is
normalised as in speaker verification (`symmetric_norm`), because the same cosine proves less for a picture that is near
every text, or for a text that says little. Pairs from two groups of the shard are wrong pairs and get the same score;
the threshold is the score that only `false_accept_rate` of them reach. A bare cosine means something different in each
space and for each pair of modalities; a false-accept rate does not.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from trichord.encoders.base import Modality
from trichord.encoders.views import MODALITIES, Features
from trichord.infra import digest
from trichord.infra.config import ModelConfig
from trichord.infra.engines.base import Engine
from trichord.infra.lake import schema
from trichord.infra.lake.lake import Lake
from trichord.infra.lake.publication import Pinned
from trichord.infra.lake.shard import ShardRef, ShardWriter, find_finished, read_shard
from trichord.pipelines.core.exclusions import Excluded, Exclusions
from trichord.pipelines.core.materialise import Singly, at_its_place, make_missing
from trichord.pipelines.core.model_store import TrainedModel, load_model
from trichord.pipelines.core.timings import Timings
from trichord.pipelines.core.workspace import Workspace
from trichord.pipelines.evaluation.parts import Parts
from trichord.pipelines.model.feature_cache import read_features
from trichord.pipelines.model.train import Fold, train

if TYPE_CHECKING:
    from trichord.encoders.model import FusionModel

AGREEMENT_FORMAT = 3
ROW = ("key", "source", "partition", "row_digest")
LOWEST, HIGHEST, BINS = -5.0, 15.0, 400  # of the normalised cosine; values outside count at the ends
COHORT = 20  # records of other groups in the shard; fewer give no reliable mean and spread


@dataclass(frozen=True, slots=True, kw_only=True)
class AgreementItem:
    """A features shard to judge, and which of its rows are left out."""

    address: str
    partition: str
    features: ShardRef
    excluded: Excluded

    @property
    def rows(self) -> int:
        """Rows that go in."""
        return self.features.rows


@dataclass(frozen=True, slots=True)
class AgreementActor:
    """Features shard → agreement shard; its counts hold the histogram of the wrong pairs' scores."""

    lake: Lake
    models: tuple[FusionModel, ...]  # one a fold

    @at_its_place
    def __call__(self, item: AgreementItem) -> ShardRef:
        counts = Counter[str]()
        with ShardWriter(self.lake, "agreement", item.address, schema.AGREEMENT) as writer:
            for rows, features in self._rows(item):
                groups = np.unique(rows["group"].to_pylist(), return_inverse=True)[1]
                found: list[list[tuple[str, float]]] = [[] for _ in groups]
                folds = np.zeros(len(groups), np.int64)
                for number, model in enumerate(self.models):
                    judged = Fold(number=number, folds=len(self.models)).of(rows)
                    folds[judged] = number
                    for measure, places, own, wrong in _score(model, features, groups, judged):
                        for place, score in zip(places.tolist(), own.tolist(), strict=True):
                            found[place].append((measure, score))
                        pairs = np.bincount(_bin(wrong), minlength=BINS)
                        counts.update({f"{measure}/{place}": int(pairs[place]) for place in np.flatnonzero(pairs)})
                kept = [place for place, scores in enumerate(found) if scores]
                columns = {name: rows[name].take(pa.array(kept, pa.int64())) for name in ROW}
                columns["fold"] = pa.array(folds[kept])
                columns["cosines"] = pa.array([found[i] for i in kept], schema.AGREEMENT.field("cosines").type)
                writer.write(pa.table(columns, schema=schema.AGREEMENT))
            return writer.finish(dict(counts))

    def _rows(self, item: AgreementItem) -> Iterator[tuple[pa.Table, Features]]:
        mask = item.excluded.mask(self.lake)
        widths = self.models[0].input_dimensions
        for rows, features in read_features(self.lake, item.features, widths):
            keep = np.flatnonzero(mask.keeps(rows))
            yield rows.take(pa.array(keep)), features.take(keep)


def _score(
    model: FusionModel, features: Features, groups_N: np.ndarray, judged_N: np.ndarray
) -> Iterator[tuple[str, np.ndarray, np.ndarray, np.ndarray]]:
    """Compare every modality with every set of others that occurs: (measure, rows, scores, scores of wrong pairs).

    A row's cohort are the rows with the same modalities, trained on or not. Only judged rows get scores.
    """
    for m, name in enumerate(MODALITIES):
        others = [o for o in range(len(MODALITIES)) if o != m]
        for chosen in ((others[0],), (others[1],), tuple(others)):
            exactly = features.present[:, others] == [o in chosen for o in others]
            at = np.flatnonzero(features.present[:, m] & exactly.all(axis=1))
            wrong_NN = groups_N[at][:, None] != groups_N[at]
            asked_N = judged_N[at] & (wrong_NN.sum(axis=1) >= COHORT)
            if asked_N.any():
                part, rest = features.take(at), [MODALITIES[o] for o in chosen]
                # not BLAS, whose sums may depend on its threads
                cosines_NN = np.einsum("nd,md->nm", model.embed(part, [name])[0], fuse(model, part, rest))
                scores_NN = symmetric_norm(cosines_NN, wrong_NN)
                wrong = scores_NN[wrong_NN & asked_N & asked_N[:, None]]
                yield f"{name}|{'+'.join(rest)}", at[asked_N], np.diagonal(scores_NN)[asked_N], wrong


def fuse(model: FusionModel, features: Features, names: Sequence[Modality]) -> np.ndarray:
    """Fuse these modalities, float32 (N, D); with text, the mean over all its wordings.

    Some captions omit what distinguishes their picture from another; all captions together rarely do.
    """
    vectors = model.embed(features, names)[0]
    if "text" not in names or not len(features.captions):
        return vectors
    owner = np.repeat(np.arange(len(features)), np.diff(features.offsets))
    worded = Features(
        values={name: values[owner] for name, values in features.values.items()} | {"text": features.captions},
        present=features.present[owner],
        captions=features.captions[:0],
        offsets=np.zeros(len(owner) + 1, np.int64),
    )
    np.add.at(vectors, owner, model.embed(worded, names)[0])
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True).clip(min=1e-9))


def symmetric_norm(cosines_NN: np.ndarray, wrong_NN: np.ndarray) -> np.ndarray:
    """Return cosines in standard deviations above the wrong pairs of their row and of their column, averaged.

    S-norm of speaker verification (Shum et al., Odyssey 2010; its adaptive form: Matejka et al., Interspeech 2017).

    Args:
        cosines_NN: of row i's one side with row j's other side.
        wrong_NN: bool, symmetric: the pairs known to be wrong.
    """

    def by_row(values_NN: np.ndarray) -> np.ndarray:
        pairs_N1 = np.maximum(wrong_NN.sum(axis=1, keepdims=True), 1)
        centred_NN = values_NN - (values_NN * wrong_NN).sum(axis=1, keepdims=True) / pairs_N1
        spread_N1 = np.sqrt((np.square(centred_NN) * wrong_NN).sum(axis=1, keepdims=True) / pairs_N1)
        return np.asarray(centred_NN / np.maximum(spread_N1, 1e-6))

    exact_NN = cosines_NN.astype(np.float64)
    return (by_row(exact_NN) + by_row(exact_NN.T).T) / 2


def _bin(scores_N: np.ndarray) -> np.ndarray:
    return np.clip(((scores_N - LOWEST) / (HIGHEST - LOWEST) * BINS).astype(int), 0, BINS - 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Factory:
    lake: Lake
    models: tuple[TrainedModel, ...]
    config: ModelConfig

    def __call__(self) -> Callable[[AgreementItem], ShardRef]:
        loaded = tuple(load_model(self.lake, one.path, one.fingerprint, self.config) for one in self.models)
        return AgreementActor(self.lake, loaded)


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """The wrong pairs of one source in each bin of the score, by measure (`image|text+audio`)."""

    histograms: Mapping[str, np.ndarray]
    min_pairs: int

    def false_accept_rate(self, measure: str, score: float) -> float | None:
        """Return the share of wrong pairs that reach this score; None where there are too few."""
        counts = self.histograms.get(measure)
        if counts is None or counts.sum() < self.min_pairs:
            return None
        return float(counts[int(_bin(np.array([score]))[0]) :].sum() / counts.sum())


@dataclass(frozen=True, slots=True, kw_only=True)
class Disagreement:
    """A record with a modality that does not belong: too many wrong pairs reach its score."""

    key: str
    source: str
    partition: str
    row_digest: str
    modality: str
    against: str
    score: float  # normalised cosine
    false_accept_rate: float


def judge(
    workspace: Workspace,
    engine: Engine,
    features: Mapping[str, ShardRef],
    exclusions: Exclusions,
    parts: Parts,
    model: TrainedModel | None = None,
    timings: Timings | None = None,
) -> tuple[list[ShardRef], list[Disagreement]]:
    """Return agreement shards of all features shards (existing ones are reused), and the records that disagree.

    Args:
        workspace: the project on its lake.
        engine: where shards are judged.
        features: by partition.
        exclusions: rows that are left out.
        parts: of the records.
        model: the run's own, which is used where `agreement.folds` is 0.
        timings: counts the shards that are made.

    Raises:
        PartialRun: some shard could not be judged; a rerun resumes.
    """
    folds = workspace.project.agreement.folds
    outside = [Fold(number=number, folds=folds) for number in range(folds)]
    models = tuple(train(workspace, engine, features, exclusions, parts, fold) for fold in outside)
    if not models:
        if model is None:
            raise ValueError("agreement.folds is 0, and no model was given")
        models = (model,)
    items = []
    for partition, ref in sorted(features.items()):
        if partition.startswith("augmented/"):
            continue  # variants are trained on, not judged
        excluded = exclusions.of(partition)
        judges = [judge.fingerprint for judge in models]
        address = digest.address("agreement", AGREEMENT_FORMAT, ref.address, judges, excluded.digest)
        items.append(AgreementItem(address=address, partition=partition, features=ref, excluded=excluded))
    factory = _Factory(lake=workspace.lake, models=models, config=workspace.project.model)
    otherwise = "shards could not be judged"
    made = make_missing(workspace, engine, "agreement", items, Singly(factory), otherwise, timings=timings)
    refs = [made[item.address] for item in items]
    return refs, disagreements(workspace, refs)


def disagreements(workspace: Workspace, refs: Sequence[ShardRef]) -> list[Disagreement]:
    """Find the records whose worst modality has a false-accept rate above the project's, in order of key."""
    settings = workspace.project.agreement
    by_source: dict[str, list[ShardRef]] = {}
    for ref in refs:
        if ref.rows:
            table = read_shard(workspace.lake, ref, ["source"])
            by_source.setdefault(table["source"][0].as_py(), []).append(ref)
    found: list[Disagreement] = []
    for source, shards in by_source.items():
        calibration = calibrate(shards, settings.min_pairs)
        for ref in shards:
            for row in read_shard(workspace.lake, ref).to_pylist():
                worst = _worst(row, calibration, settings.modalities)
                if worst is not None and worst[0] > settings.false_accept_rate:
                    rate, measure, score = worst
                    modality, _, against = measure.partition("|")
                    found.append(
                        Disagreement(
                            key=row["key"],
                            source=source,
                            partition=row["partition"],
                            row_digest=row["row_digest"],
                            modality=modality,
                            against=against,
                            score=score,
                            false_accept_rate=rate,
                        )
                    )
    return sorted(found, key=lambda row: (row.key, row.source))


def pinned_disagreements(workspace: Workspace, pinned: Pinned) -> list[Disagreement]:
    """Find the same in the shards that a publication pins, by today's limits."""
    addresses = workspace.pinned_shards("agreement", pinned)
    found = find_finished(workspace.lake, "agreement", addresses)  # with their counts
    return disagreements(workspace, list(found.values()))


def calibrate(shards: Sequence[ShardRef], min_pairs: int) -> Calibration:
    """Sum the shards' histograms of wrong pairs."""
    histograms: dict[str, np.ndarray] = {}
    for ref in shards:
        for name, pairs in ref.counts.items():
            measure, _, place = name.rpartition("/")
            if measure:
                histograms.setdefault(measure, np.zeros(BINS, np.int64))[int(place)] += pairs
    return Calibration(histograms=histograms, min_pairs=min_pairs)


def _worst(
    row: Mapping[str, Any], calibration: Calibration, modalities: Sequence[str]
) -> tuple[float, str, float] | None:
    rated = [
        (calibration.false_accept_rate(measure, score), measure, score)
        for measure, score in row["cosines"]
        if measure.partition("|")[0] in modalities
    ]
    return max(((rate, measure, score) for rate, measure, score in rated if rate is not None), default=None)
