"""adapt: train an encoder on the lake's own records and save it as a model folder that the project file can name.

This is a separate step, not part of reindex: another encoder means another space, so every record is encoded again.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from trichord.encoders.adapt import Sample
from trichord.encoders.base import AUDIO_RATE_HZ, Modality
from trichord.encoders.frozen import Encoders, load_encoders
from trichord.encoders.views import MODALITIES
from trichord.infra import digest
from trichord.infra.config import AdaptConfig, AugmentConfig, Project
from trichord.infra.errors import ConfigError
from trichord.infra.lake.lake import Lake
from trichord.infra.lake.shard import ShardRef, find_finished, iter_shard
from trichord.infra.lazy import arrow_compute as pc
from trichord.pipelines.core.exclusions import Exclusions
from trichord.pipelines.core.protection import protected_from_gc
from trichord.pipelines.core.result import Result
from trichord.pipelines.core.workspace import Workspace, run_alone
from trichord.pipelines.evaluation.parts import LABELS, TRAIN, VALIDATION, Division, Parts, parts_of
from trichord.pipelines.model.augment_chain import open_chain
from trichord.transforms.augment.variants import copy_of
from trichord.transforms.batch import Batch, Waveform
from trichord.transforms.media import resample
from trichord.transforms.op import run_chain
from trichord.transforms.record import batch_of

HELD_OUT = 1_024  # validation records measured at most
ROWS = 256  # rows decoded at a time


@dataclass(frozen=True, slots=True, kw_only=True)
class LakeSamples:
    """Samples from the lake's records, read shard by shard, so that memory does not grow with the lake.

    Those of training records are trained on, those of validation records measured; test records are not looked at.
    `divide` comes first.
    """

    lake: Lake
    project: Project
    modality: Modality
    records: Sequence[ShardRef]
    exclusions: Exclusions
    parts: Parts
    others: Encoders | None  # where the record's other modalities are needed
    division: Division | None = None

    def divide(self) -> LakeSamples:
        """Return samples that know each record's part."""
        return replace(self, division=Division.find(self.lake, self.records, self.parts))

    @property
    def config(self) -> AdaptConfig:
        """The project's settings."""
        found: AdaptConfig = getattr(self.project.model, self.modality).adapt
        return found

    @property
    def steps(self) -> int:
        """See `trichord.encoders.adapt.Samples`; counted without decoding anything."""
        columns = ("partition", *LABELS, "row_digest", *self._needed_modalities)
        rows = 0
        for ref in self.records:
            for part in iter_shard(self.lake, ref, columns, ROWS):
                rows += int(self._usable(pa.Table.from_batches([part]), held_out=False).sum())
        whole, rest = divmod(min(rows, self.config.max_records), self.config.batch_size)
        return whole + (rest > 1)

    def epoch(self, number: int) -> Iterator[Sequence[Sample]]:
        """See `trichord.encoders.adapt.Samples`; each epoch has its own order of shards."""
        rng = digest.generator(self.config.seed, "adapt", self.modality, number)
        order = [self.records[i] for i in rng.permutation(len(self.records))]
        yield from self._batches(order, rng, False, self.config.max_records)

    def held_out(self) -> Iterator[Sequence[Sample]]:
        """See `trichord.encoders.adapt.Samples`."""
        rng = digest.generator(self.config.seed, "adapt", self.modality, "held out")
        yield from self._batches(self.records, rng, True, HELD_OUT)

    def _batches(
        self, records: Sequence[ShardRef], rng: np.random.Generator, held_out: bool, limit: int
    ) -> Iterator[Sequence[Sample]]:
        """Yield full batches across shards, then the rest if it is more than one sample."""
        size, waiting = self.config.batch_size, list[Sample]()
        for samples in self._samples(records, rng, held_out, limit):
            waiting += samples
            while len(waiting) >= size:
                yield waiting[:size]
                del waiting[:size]
        if len(waiting) > 1:
            yield waiting

    def _samples(
        self, records: Sequence[ShardRef], rng: np.random.Generator, held_out: bool, limit: int
    ) -> Iterator[list[Sample]]:
        """Yield up to `limit` samples, part by part. The draw depends on the records and the epoch alone."""
        for ref in records:
            for part in iter_shard(self.lake, ref, batch_rows=ROWS):
                rows = pa.Table.from_batches([part])
                rows = rows.filter(pa.array(self._usable(rows, held_out=held_out)))
                if not rows.num_rows:
                    continue
                for name in {"image", "audio"}.difference(self._needed_modalities):  # do not decode what is not needed
                    at = rows.schema.get_field_index(name)
                    rows = rows.set_column(
                        at, rows.schema.field(at), pa.nulls(rows.num_rows, rows.schema.field(at).type)
                    )
                batch, seed = batch_of(rows, AUDIO_RATE_HZ), int(rng.integers(1 << 62))
                first, second = self._views(batch, seed)
                samples = [
                    Sample(given=one, view=two, others=found)
                    for one, two, found in zip(first, second, self._others(batch), strict=True)
                ]
                chosen = rng.permutation(len(samples))[:limit]
                yield [samples[i] for i in chosen]
                limit -= len(chosen)
                if not limit:
                    return

    @property
    def _needed_modalities(self) -> Sequence[Modality]:
        return MODALITIES if self.config.objective == "paired" else (self.modality,)

    def _usable(self, rows: pa.Table, *, held_out: bool) -> np.ndarray:
        """Return which rows can be samples, bool (N,): they have the modality and, for pairs, another."""
        has = {name: np.asarray(_is_present(rows[name])) for name in self._needed_modalities}
        if self.division is None:
            raise ValueError("the samples are not divided")
        keep = (self.division.of(rows) == (VALIDATION if held_out else TRAIN)) & has.pop(self.modality)
        if has:
            keep &= np.logical_or.reduce(list(has.values()))
        if rows.num_rows:  # all of one shard, and so of one partition
            keep &= self.exclusions.of(rows["partition"][0].as_py()).mask(self.lake).keeps(rows)
        return np.asarray(keep)

    def _views(self, batch: Batch, seed: int) -> tuple[list[Any], list[Any]]:
        if self.modality == "text":  # one of its wordings; dropout makes the second view
            draws = digest.generator(seed, "wordings").random(len(batch))
            wordings = [(row.text or "", *filter(None, row.captions)) for row in batch.rows]
            texts = [several[int(draw * len(several))] for several, draw in zip(wordings, draws, strict=True)]
            return texts, texts
        if self.config.objective != "views":
            plain = [_plain(batch, i, self.modality) for i in range(len(batch))]
            return plain, plain
        bare = replace(batch, rows=tuple(replace(row, text=None, captions=()) for row in batch.rows))
        chain = open_chain(
            AugmentConfig(copies=2, seed=seed, image=self.project.augment.image, audio=self.project.augment.audio)
        )
        made, _ = run_chain(bare, chain)
        by_copy: Mapping[int, dict[str, object]] = {1: {}, 2: {}}
        for i, row in enumerate(made.rows):
            if (copy := copy_of(row)) is not None:
                by_copy[copy][row.parent] = _plain(made, i, self.modality)
        whole = {row.key: _plain(batch, i, self.modality) for i, row in enumerate(batch.rows)}
        first, second = ([by_copy[n].get(key, given) for key, given in whole.items()] for n in (1, 2))
        return first, second

    def _others(self, batch: Batch) -> list[dict[Modality, np.ndarray]]:
        found: list[dict[Modality, np.ndarray]] = [{} for _ in batch.rows]
        if self.others is None:
            return found
        kept = {name: name != self.modality for name in MODALITIES}
        absent = (None,) * len(batch)
        shown = replace(
            batch,
            rows=tuple(replace(row, captions=(), text=row.text if kept["text"] else None) for row in batch.rows),
            images=batch.images if kept["image"] else absent,
            waves=batch.waves if kept["audio"] else absent,
        )
        features = self.others.featurise(shown)
        for m, name in enumerate(MODALITIES):
            for i in np.flatnonzero(features.present[:, m]):
                found[i][name] = features.values[name][i]
        return found


def _is_present(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return which values are neither null nor empty."""
    return pc.fill_null(pc.greater(pc.binary_length(column), 0), False)


def _plain(batch: Batch, i: int, modality: Modality) -> Any:
    if modality == "image":
        return batch.images[i]
    wave = batch.waves[i]
    assert isinstance(wave, Waveform)
    return resample(wave, AUDIO_RATE_HZ).samples


@dataclass(frozen=True, slots=True)
class AdaptTask:
    """Adapts the encoder of one modality in a worker and writes the model folder."""

    samples: LakeSamples
    folder: str

    def __call__(self, modality: Modality) -> Mapping[str, Any]:
        from trichord.encoders.adapt import adapt as fit
        from trichord.encoders.huggingface import HuggingFaceEncoder

        if not os.path.isdir(self.folder):
            raise ConfigError(
                f"The worker cannot see the folder {self.folder}: it runs on another machine than the command.\n"
                "Name an --out that all machines share, or add --engine local."
            )
        project = self.samples.project
        given = getattr(project.model, modality)
        exact = given.model_copy(update={"precision": "float32"})  # weights in training keep full precision
        encoders = load_encoders(project.model.model_copy(update={modality: exact}))
        encoder = encoders.by_modality[modality]
        assert isinstance(encoder, HuggingFaceEncoder)
        samples = self.samples.divide()
        if given.adapt.objective == "paired":
            samples = replace(samples, others=encoders)
        widths = {name: width for name, width in encoders.dimensions.items() if name != modality}
        found = fit(encoder, given.adapt, samples, widths, self.folder, project.train.threads)
        story = {"base": encoder.fingerprint, "settings": given.adapt.model_dump(mode="json"), **found}
        Path(self.folder, "adapt.json").write_bytes(digest.canonical_json(story))
        return story


@dataclass(frozen=True, slots=True, kw_only=True)
class Adaptation(Result):
    """An adapted encoder.

    Attributes:
        path: the model folder.
        modality: whose encoder it is.
        base: fingerprint of the encoder that it started from.
        settings: `model.<modality>.adapt`.
        loss: by epoch.
        held_out_before: loss on validation records before training; None where it has no meaning yet.
        held_out_after: the same after training; None where nothing was held out.
    """

    path: Path
    modality: Modality
    base: str
    settings: Mapping[str, Any]
    loss: Sequence[float]
    held_out_before: float | None
    held_out_after: float | None


@protected_from_gc("adapt")
def adapt(workspace: Workspace, modality: Modality, out: Path) -> Adaptation:
    """Adapt one modality's encoder to the records of the lake, by `model.<modality>.adapt`.

    Raises:
        ConfigError: no objective is named, the folder exists, nothing was prepared yet, a mark means no part, no
            records can teach the objective, or the worker does not reach the folder.
        PartialRun: the worker failed; nothing was written.
    """
    config = getattr(workspace.project.model, modality)
    if config.adapt.objective == "none":
        raise ConfigError(
            f"model.{modality}.adapt.objective is none, so there is nothing to train for.\n"
            "Set it to paired, views or masked_language."
        )
    if out.exists():
        raise ConfigError(f"{out} exists already. Name another folder: a model is never overwritten.")
    records = workspace.table("records")
    if records.version() is None:
        raise ConfigError("The lake holds no records yet. Run `trichord prepare` first.")
    shards = sorted(records.shards().values(), key=lambda ref: digest.hash64(ref.address))
    samples = LakeSamples(
        lake=workspace.lake,
        project=workspace.project,
        modality=modality,
        records=shards,
        exclusions=Exclusions.gather(workspace.lake, workspace.table("duplicates").shards().values()),
        parts=parts_of(
            workspace,
            find_finished(workspace.lake, "records", records.shards()).values(),
            workspace.table("matches").shards().values(),
        ),
        others=None,
    )
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{out.name}-", dir=out.parent) as folder:
        made = os.path.join(folder, "model")
        os.makedirs(made)
        with workspace.open_engine() as engine:
            story = run_alone(engine, AdaptTask(samples, made), modality)
        os.rename(made, out)
    return Adaptation(path=out, modality=modality, **story)
