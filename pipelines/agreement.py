"""agreement: do the modalities of a record belong together? Judged by the run's model, calibrated by shuffled pairs.

Every modality of a record is compared with the fusion of its others, and with that of a record of another group in the
same shard. The second gives the distribution of cosines that
a wrong pair reaches; the cosine to reach is the one that only `false_accept_rate` of the wrong pairs reach. A bare
cosine means something else in every space and for every pair of modalities; a false-accept rate does not.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from encoders.views import MODALITIES, Features
from infra import digest
from infra.engines.base import Engine
from infra.lake import schema
from infra.lake.shard import ShardRef, ShardWriter, find_finished, read_shard
from infra.lake.storage import Storage
from pipelines.features import read_features
from pipelines.missing import make_missing
from pipelines.train import Fold, TrainedModel, load_model, train
from pipelines.workspace import Workspace

if TYPE_CHECKING:
    from encoders.model import FusionModel

AGREEMENT_FORMAT = 2
ROW = ("key", "source", "split", "row_digest")
BINS = 2_000  # of the cosine, over [-1, 1]


@dataclass(frozen=True, slots=True, kw_only=True)
class AgreementItem:
    """A features shard to judge, and the row digests that duplicates drop."""

    address: str
    split: str
    features: ShardRef
    dropped: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class AgreementActor:
    """Features shard → agreement shard; its counts hold the histogram of what shuffled pairs reach."""

    storage: Storage
    lake: str
    models: tuple[FusionModel, ...]  # one a fold

    def __call__(self, item: AgreementItem) -> ShardRef:
        counts = Counter[str]()
        with ShardWriter(self.storage, self.lake, "agreement", item.address, schema.AGREEMENT) as writer:
            for all_rows, all_features in self._rows(item):
                for number, model in enumerate(self.models):
                    at = np.flatnonzero(Fold(number=number, folds=len(self.models)).of(all_rows))
                    rows, features = all_rows.take(pa.array(at)), all_features.take(at)
                    found: list[list[tuple[str, float]]] = [[] for _ in at]
                    groups = np.array(rows["group"].to_pylist(), dtype=object)
                    for measure, places, own, shuffled in _cosines(model, features, groups):
                        for place, cosine in zip(places.tolist(), own.tolist(), strict=True):
                            found[place].append((measure, cosine))
                        counts.update(f"{number}/{measure}/{place}" for place in _bin(shuffled).tolist())
                    judged = [place for place, cosines in enumerate(found) if cosines]
                    columns = {name: rows[name].take(pa.array(judged, pa.int64())) for name in ROW}
                    columns["fold"] = pa.array([number] * len(judged), pa.int64())
                    columns["cosines"] = pa.array([found[i] for i in judged], schema.AGREEMENT.field("cosines").type)
                    writer.write(pa.table(columns, schema=schema.AGREEMENT))
            return writer.finish(dict(counts))

    def _rows(self, item: AgreementItem) -> Iterator[tuple[pa.Table, Features]]:
        gone = set(item.dropped)
        widths = self.models[0].input_dimensions
        for rows, features in read_features(self.storage, self.lake, item.features, widths):
            keep = np.flatnonzero([row not in gone for row in rows["row_digest"].to_pylist()])
            yield rows.take(pa.array(keep)), features.take(keep)


def _cosines(
    model: FusionModel, features: Features, groups: np.ndarray
) -> Iterator[tuple[str, np.ndarray, np.ndarray, np.ndarray]]:
    """Every modality against every set of others that occurs: (measure, rows, cosine, cosine of wrong pairs).

    Wrong pairs are of rows half the shard apart, and of two groups: parts of one row share what they were cut from.
    """
    for m, name in enumerate(MODALITIES):
        others = [o for o in range(len(MODALITIES)) if o != m]
        for chosen in ((others[0],), (others[1],), tuple(others)):
            exactly = features.present[:, others] == [o in chosen for o in others]
            at = np.flatnonzero(features.present[:, m] & exactly.all(axis=1))
            if len(at):
                part, rest = features.take(at), [MODALITIES[o] for o in chosen]
                mine, theirs = model.embed(part, [name])[0], model.embed(part, rest)[0]
                own = np.einsum("nd,nd->n", mine, theirs)
                other = np.roll(np.arange(len(at)), len(at) // 2)
                wrong = np.flatnonzero(groups[at] != groups[at][other])
                shuffled = np.einsum("nd,nd->n", mine[wrong], theirs[other[wrong]])
                yield f"{name}|{'+'.join(rest)}", at, own, shuffled


def _bin(cosines_N: np.ndarray) -> np.ndarray:
    return np.clip(((cosines_N + 1) / 2 * BINS).astype(int), 0, BINS - 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Factory:
    storage: Storage
    lake: str
    models: tuple[TrainedModel, ...]

    def __call__(self) -> Callable[[AgreementItem], ShardRef]:
        places = ((self.storage.join(self.lake, model.path), model.fingerprint) for model in self.models)
        loaded = tuple(load_model(self.storage, folder, fingerprint) for folder, fingerprint in places)
        return AgreementActor(self.storage, self.lake, loaded)


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """Of one source: shuffled pairs in each bin of the cosine, by fold and measure (`0/image|text+audio`)."""

    histograms: Mapping[str, np.ndarray]
    min_pairs: int

    def false_accept_rate(self, measure: str, cosine: float) -> float | None:
        """Share of shuffled pairs that reach this cosine; None where there are too few to tell."""
        counts = self.histograms.get(measure)
        if counts is None or counts.sum() < self.min_pairs:
            return None
        return float(counts[int(_bin(np.array([cosine]))[0]) :].sum() / counts.sum())


@dataclass(frozen=True, slots=True, kw_only=True)
class Disagreement:
    """A record one of whose modalities does not belong: a wrong pair would reach its cosine too often."""

    key: str
    source: str
    split: str
    row_digest: str
    modality: str
    against: str
    cosine: float
    false_accept_rate: float


def judge(
    workspace: Workspace,
    engine: Engine,
    features: Mapping[str, ShardRef],
    dropped: Mapping[str, Sequence[str]],
    model: TrainedModel | None = None,
) -> tuple[list[ShardRef], list[Disagreement]]:
    """Agreement shards of all features shards (those that stand are reused), and the records that disagree.

    Args:
        workspace: the project on its lake.
        engine: where shards are judged.
        features: by split.
        dropped: row digests of duplicates, by split.
        model: the run's own, which judges where `agreement.folds` is 0.

    Raises:
        PartialRun: some shard could not be judged; a rerun resumes.
    """
    folds = workspace.project.agreement.folds
    parts = [Fold(number=number, folds=folds) for number in range(folds)]
    models = tuple(train(workspace, engine, features, dropped, part) for part in parts)
    if not models:
        if model is None:
            raise ValueError("agreement.folds is 0, and no model was given")
        models = (model,)
    items = []
    for split, ref in sorted(features.items()):
        if split.startswith("augmented/"):
            continue  # variants are trained on, not judged
        gone = tuple(dropped.get(split, ()))
        judges = [judge.fingerprint for judge in models]
        address = digest.address("agreement", AGREEMENT_FORMAT, ref.address, judges, list(gone))
        items.append(AgreementItem(address=address, split=split, features=ref, dropped=gone))
    factory = _Factory(storage=workspace.storage, lake=workspace.lake, models=models)
    made = make_missing(workspace, engine, "agreement", items, factory, "shards could not be judged")
    refs = [made[item.address] for item in items]
    return refs, disagreements(workspace, refs)


def disagreements(workspace: Workspace, refs: Sequence[ShardRef]) -> list[Disagreement]:
    """The records whose worst modality has a false-accept rate above the project's, in order of key."""
    settings = workspace.project.agreement
    by_source: dict[str, list[ShardRef]] = {}
    for ref in refs:
        if ref.rows:
            table = read_shard(workspace.storage, workspace.lake, ref, ["source"])
            by_source.setdefault(table["source"][0].as_py(), []).append(ref)
    found: list[Disagreement] = []
    for source, shards in by_source.items():
        calibration = calibrate(shards, settings.min_pairs)
        for ref in shards:
            for row in read_shard(workspace.storage, workspace.lake, ref).to_pylist():
                worst = _worst(row, calibration, settings.modalities)
                if worst is not None and worst[0] > settings.false_accept_rate:
                    rate, measure, cosine = worst
                    modality, _, against = measure.partition("|")
                    found.append(
                        Disagreement(
                            key=row["key"],
                            source=source,
                            split=row["split"],
                            row_digest=row["row_digest"],
                            modality=modality,
                            against=against,
                            cosine=cosine,
                            false_accept_rate=rate,
                        )
                    )
    return sorted(found, key=lambda row: (row.key, row.source))


def pinned_disagreements(workspace: Workspace, version: int) -> list[Disagreement]:
    """The same of one version of the table, by the limits of today."""
    addresses = set(workspace.table("agreement").shards(version))
    found = find_finished(workspace.storage, workspace.lake, "agreement", addresses)  # with their counts
    return disagreements(workspace, list(found.values()))


def calibrate(shards: Sequence[ShardRef], min_pairs: int) -> Calibration:
    """Sum the shards' histograms of shuffled pairs."""
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
        (calibration.false_accept_rate(f"{row['fold']}/{measure}", cosine), measure, cosine)
        for measure, cosine in row["cosines"]
        if measure.partition("|")[0] in modalities
    ]
    return max(((rate, measure, cosine) for rate, measure, cosine in rated if rate is not None), default=None)


def with_rows(dropped: Mapping[str, Sequence[str]], found: Sequence[Disagreement]) -> dict[str, list[str]]:
    """Row digests by split: those dropped already, and those of the records that disagree."""
    rows = {split: set(digests) for split, digests in dropped.items()}
    for row in found:
        rows.setdefault(row.split, set()).add(row.row_digest)
    return {split: sorted(digests) for split, digests in rows.items()}
