"""augment: records → training variants, one shard for each records shard. Duplicates and held-out records get none."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace

import pyarrow as pa

from trichord.infra import digest, log
from trichord.infra.config import Project
from trichord.infra.engines.base import Engine
from trichord.infra.lake import schema
from trichord.infra.lake.lake import Lake
from trichord.infra.lake.shard import ShardRef, ShardWriter, iter_shard
from trichord.pipelines.core.exclusions import Excluded, Exclusions
from trichord.pipelines.core.materialise import Singly, at_its_place, make_missing
from trichord.pipelines.core.timings import Timings
from trichord.pipelines.core.workspace import Workspace
from trichord.pipelines.evaluation.parts import TRAIN, Parts
from trichord.pipelines.model.augment_chain import describe_variants, open_chain
from trichord.pipelines.prepare.prepared import Prepared
from trichord.transforms.augment.variants import copy_of, list_changes
from trichord.transforms.batch import Batch, Segment
from trichord.transforms.dedup.signatures import content_digest, row_digest
from trichord.transforms.media import encode_audio, encode_image
from trichord.transforms.op import Op, run_chain
from trichord.transforms.record import batch_of

ROWS = 8  # records in memory at a time, each with all its variants


@dataclass(frozen=True, slots=True, kw_only=True)
class AugmentItem:
    """A records shard to make variants of. `excluded` says which of its rows are left out."""

    address: str
    partition: str
    records: ShardRef
    excluded: Excluded

    @property
    def rows(self) -> int:
        """Rows that go in."""
        return self.records.rows


@dataclass(frozen=True, slots=True, kw_only=True)
class AugmentActor:
    """Turns records shards into augmented shards; loads dictionaries and models once."""

    lake: Lake
    project: Project
    parts: Parts
    chain: tuple[Op, ...]

    @at_its_place
    def __call__(self, item: AugmentItem) -> ShardRef:
        counts, mask = Counter[str](), item.excluded.mask(self.lake)
        with ShardWriter(self.lake, "augmented", item.address, schema.AUGMENTED) as writer:
            for part in iter_shard(self.lake, item.records, batch_rows=ROWS):
                rows = pa.Table.from_batches([part])
                keep = (self.parts.of(rows) == TRAIN) & mask.keeps(rows)
                chosen = rows.filter(pa.array(keep))
                after, by_op = run_chain(records_batch(chosen, self.project.prepare.audio.rate_hz), self.chain)
                counts.update(
                    rows_in=chosen.num_rows,
                    fan_out=sum(op.fan_out for op in by_op.values()),
                    rows_kept=len(after),
                    rows_rejected=len(after.rejects),
                    left_out=rows.num_rows - chosen.num_rows,
                )
                counts.update(f"rejected/{reject.op}/{reject.reason}" for reject in after.rejects)
                for reject in after.rejects[:1]:
                    log.event("augment_rejected", key=reject.key, op=reject.op, detail=reject.detail)
                writer.write(augmented_table(after, chosen, self.project.prepare.image.quality))
            for name in ("rows_in", "fan_out", "rows_kept", "rows_rejected", "left_out"):
                counts[name] += 0
            return writer.finish(counts)


def records_batch(records: pa.Table, rate_hz: int) -> Batch:
    """Read stored records as a batch with everything that variants inherit: segments, span, box and labels."""
    batch = batch_of(records, rate_hz)
    columns = {name: records[name].to_pylist() for name in ("segments", "span", "box", "labels")}
    rows = []
    for i, row in enumerate(batch.rows):
        span, box = columns["span"][i], columns["box"][i]
        rows.append(
            replace(
                row,
                segments=tuple(Segment(**segment) for segment in columns["segments"][i]),
                span=None if span is None else tuple(span),
                box=None if box is None else tuple(box),
                labels=tuple(columns["labels"][i]),
            )
        )
    return replace(batch, rows=tuple(rows))


def augmented_table(batch: Batch, records: pa.Table, quality: int) -> pa.Table:
    """Write the variants of a batch as an AUGMENTED table. A medium that no op changed keeps its stored bytes."""
    keys = {row.key: i for i, row in enumerate(batch.rows)}
    stored = {
        key: media
        for key, *media in zip(*(records[name].to_pylist() for name in ("key", "image", "audio")), strict=True)
    }
    variants = sorted(
        (keys[row.parent], copy, i) for i, row in enumerate(batch.rows) if (copy := copy_of(row)) is not None
    )
    rows = []
    for at, copy, i in variants:
        row, image, wave = batch.rows[i], batch.images[i], batch.waves[i]
        old_image, old_audio = stored[row.parent]
        same_image, same_wave = batch.images[at] is image, batch.waves[at] is wave
        new_image = old_image if image is None or same_image else encode_image(image, quality)
        new_audio = old_audio if wave is None or same_wave else encode_audio(wave)
        content, ops = content_digest(row.text, new_image, new_audio), list_changes(row)
        rows.append(
            {
                **{name: getattr(row, name) for name in ("key", "source", "partition", "group", "subset", "parent")},
                "copy": copy,
                "ops": ops,
                "content_digest": content,
                "row_digest": row_digest(row, content),
                "captions": row.captions,
                "meta": row.meta,
                "labels": row.labels,
                "segments": [asdict(segment) for segment in row.segments],
                "span": row.span,
                "box": row.box,
                "text": row.text,
                "image": new_image,
                "audio": new_audio,
            }
        )
    return pa.Table.from_pylist(rows, schema=schema.AUGMENTED)


def augment(
    workspace: Workspace,
    engine: Engine,
    prepared: Sequence[Prepared],
    exclusions: Exclusions,
    parts: Parts,
    timings: Timings | None = None,
) -> list[ShardRef]:
    """Make augmented shards of all records shards, in order of address; existing ones are reused.

    Those that are made are counted in `timings`. Returns nothing where no copies are wanted.

    Raises:
        ConfigError: a model or dictionary that the settings name is missing.
        PartialRun: some shard failed; what was finished is kept.
    """
    project = workspace.project
    if project.augment.copies == 0:
        return []
    recipe = describe_variants(project)
    items = []
    for shard in prepared:
        excluded = exclusions.of(shard.partition)
        address = digest.address("augmented", shard.address, excluded.digest, recipe, parts.digest)
        items.append(AugmentItem(address=address, partition=shard.partition, records=shard.records, excluded=excluded))
    factory = _Factory(lake=workspace.lake, project=project, parts=parts)
    made = make_missing(
        workspace, engine, "augmented", items, Singly(factory), "shards got no variants", timings=timings
    )
    return [made[address] for address in sorted(made)]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Factory:
    """Opens the chain inside its worker."""

    lake: Lake
    project: Project
    parts: Parts

    def __call__(self) -> Callable[[AugmentItem], ShardRef]:
        chain = open_chain(self.project.augment)
        return AugmentActor(lake=self.lake, project=self.project, parts=self.parts, chain=chain)
