"""adapt: an encoder learns from the lake's own records and is saved as a model folder, for the project file to name.

It is a step of its own, not of a night: another encoder means another space, and every record encoded again.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from encoders.adapt import Sample
from encoders.base import AUDIO_RATE_HZ, Modality
from encoders.frozen import Encoders, load_encoders
from encoders.views import MODALITIES
from infra import digest
from infra.config import AdaptConfig, AugmentConfig, Project
from infra.engines import open_engine
from infra.errors import ConfigError
from infra.lake.shard import ShardRef, iter_shard
from infra.lake.storage import Storage
from pipelines.dedup import dropped_rows
from pipelines.heldout import held_out_mask
from pipelines.variants import open_chain
from pipelines.workspace import Workspace, run_alone
from transforms.augment.variants import copy_of
from transforms.batch import Batch, Waveform
from transforms.media import resample
from transforms.op import run_chain
from transforms.record import batch_of

HELD_OUT = 1_024  # held-out records measured at most
ROWS = 256  # rows decoded at a time


@dataclass(frozen=True, slots=True, kw_only=True)
class LakeSamples:
    """Samples from the lake's records, shard by shard, so that memory does not grow with them."""

    storage: Storage
    lake: str
    project: Project
    modality: Modality
    records: Sequence[ShardRef]
    dropped: frozenset[str]  # row digests that duplicates take out
    others: Encoders | None  # where the record's other modalities are looked at

    @property
    def config(self) -> AdaptConfig:
        """What the project file says."""
        found: AdaptConfig = getattr(self.project.model, self.modality).adapt
        return found

    @property
    def steps(self) -> int:
        """See `encoders.adapt.Samples`."""
        rows = min(sum(ref.rows for ref in self.records), self.config.max_records)
        return -(-rows // self.config.batch_size)

    def epoch(self, number: int) -> Iterator[Sequence[Sample]]:
        """See `encoders.adapt.Samples`; a batch holds records of one shard, in an order of their own each epoch."""
        rng = digest.generator(self.config.seed, "adapt", self.modality, number)
        order = [self.records[i] for i in rng.permutation(len(self.records))]
        yield from self._batches(order, rng, False, self.config.max_records)

    def held_out(self) -> Iterator[Sequence[Sample]]:
        """See `encoders.adapt.Samples`."""
        rng = digest.generator(self.config.seed, "adapt", self.modality, "held out")
        yield from self._batches(self.records, rng, True, HELD_OUT)

    def _batches(
        self, records: Sequence[ShardRef], rng: np.random.Generator, held_out: bool, limit: int
    ) -> Iterator[Sequence[Sample]]:
        seen, size = 0, self.config.batch_size
        for ref in records:
            for part in iter_shard(self.storage, self.lake, ref, batch_rows=ROWS):
                rows = pa.Table.from_batches([part])
                keep = held_out_mask(rows, self.project.train) == held_out
                keep &= np.array([row not in self.dropped for row in rows["row_digest"].to_pylist()], dtype=bool)
                samples = self._samples(batch_of(rows.filter(pa.array(keep)), AUDIO_RATE_HZ), rng)
                shuffled = [samples[i] for i in rng.permutation(len(samples))][: limit - seen]
                for start in range(0, len(shuffled), size):
                    batch = shuffled[start : start + size]
                    if len(batch) > 1:
                        yield batch
                seen += len(shuffled)
                if seen >= limit:
                    return

    def _samples(self, batch: Batch, rng: np.random.Generator) -> list[Sample]:
        """Of the rows that have the modality. What is drawn follows from the shard's rows and the epoch alone."""
        has = [bool(self._input(batch, i)) for i in range(len(batch))]
        batch = batch.select(has)
        if not len(batch):
            return []
        seed = int(rng.integers(1 << 62))
        first, second = self._views(batch, seed)
        others = self._others(batch)
        return [
            Sample(given=one, view=two, others=found) for one, two, found in zip(first, second, others, strict=True)
        ]

    def _input(self, batch: Batch, i: int) -> bool:
        if self.modality == "text":
            return bool(batch.rows[i].text)
        return (batch.images if self.modality == "image" else batch.waves)[i] is not None

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
        by_copy: dict[int, dict[str, Any]] = {1: {}, 2: {}}
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


def _plain(batch: Batch, i: int, modality: Modality) -> Any:
    if modality == "image":
        return batch.images[i]
    wave = batch.waves[i]
    assert isinstance(wave, Waveform)
    return resample(wave, AUDIO_RATE_HZ).samples


@dataclass(frozen=True, slots=True)
class AdaptTask:
    """Adapts the encoder of one modality in a worker; leaves the model folder."""

    samples: LakeSamples
    folder: str

    def __call__(self, modality: Modality) -> dict[str, Any]:
        from encoders.adapt import adapt as fit
        from encoders.huggingface import HuggingFaceEncoder

        project = self.samples.project
        given = getattr(project.model, modality)
        exact = given.model_copy(update={"precision": "float32"})  # what is trained is kept in full
        encoders = load_encoders(project.model.model_copy(update={modality: exact}))
        encoder = encoders.by_modality[modality]
        assert isinstance(encoder, HuggingFaceEncoder)
        samples = self.samples
        if given.adapt.objective == "paired":
            samples = replace(samples, others=encoders)
        widths = {name: width for name, width in encoders.dimensions.items() if name != modality}
        found = fit(encoder, given.adapt, samples, widths, self.folder, project.train.threads)
        story = {"base": encoder.fingerprint, "settings": given.adapt.model_dump(mode="json"), **found}
        Path(self.folder, "adapt.json").write_bytes(digest.canonical_json(story))
        return story


def adapt(workspace: Workspace, modality: Modality, out: Path) -> dict[str, Any]:
    """Adapt one modality's encoder to the records of the lake, by `model.<modality>.adapt`.

    Returns:
        JSON-ready: `path`, `loss` by epoch, `held_out_before`, `held_out_after`.

    Raises:
        ConfigError: no objective is named, the folder stands already, or nothing was prepared yet.
        PartialRun: the worker failed; nothing was written.
    """
    config = getattr(workspace.project.model, modality)
    if config.adapt.objective == "none":
        raise ConfigError(
            f"model.{modality}.adapt.objective is none: nothing says how to adapt it.\n"
            "Set it to paired, views or masked_language."
        )
    if out.exists():
        raise ConfigError(f"{out} exists already. Name another folder: a model is never overwritten.")
    records = workspace.table("records")
    if records.version() is None:
        raise ConfigError("The lake holds no records yet. Run `trichord prepare` first.")
    shards = sorted(records.shards().values(), key=lambda ref: digest.hash64(ref.address))
    gone = dropped_rows(workspace, list(workspace.table("duplicates").shards().values()))
    samples = LakeSamples(
        storage=workspace.storage,
        lake=workspace.lake,
        project=workspace.project,
        modality=modality,
        records=shards,
        dropped=frozenset(row for rows in gone.values() for row in rows),
        others=None,
    )
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{out.name}-", dir=out.parent) as folder:
        made = os.path.join(folder, "model")
        os.makedirs(made)
        with open_engine(workspace.project.engine) as engine:
            story = run_alone(engine, AdaptTask(samples, made), modality)
        os.rename(made, out)
    return {"path": str(out), "modality": modality, **story}
