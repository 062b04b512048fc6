"""Build a batch whose rows are cut into parts, each under its parent's key and a number."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace

from trichord.infra.json_values import JsonObject, parse_object
from trichord.transforms.batch import Batch, Image, Reject, Row, Waveform, reject_of
from trichord.transforms.part_keys import Mark, PartKey

MAX_PARTS = 5_000  # of one row


@dataclass(slots=True, kw_only=True)
class Parts:
    """Rows with their raw media in order, and the rejects."""

    op: str
    rows: list[Row] = field(default_factory=list)
    raw_images: list[bytes | None] = field(default_factory=list)
    raw_audios: list[bytes | None] = field(default_factory=list)
    images: list[Image | None] = field(default_factory=list)
    waves: list[Waveform | None] = field(default_factory=list)
    scores: list[Mapping[str, float]] = field(default_factory=list)
    attachments: list[Mapping[str, bytes] | None] = field(default_factory=list)
    rejects: list[Reject] = field(default_factory=list)

    def keep(self, batch: Batch, at: int, row: Row | None = None) -> None:
        """Add a row of the batch, unchanged or with other fields."""
        self.rows.append(batch.rows[at] if row is None else row)
        self.raw_images.append(batch.raw_images[at])
        self.raw_audios.append(batch.raw_audios[at])
        self.images.append(batch.images[at])
        self.waves.append(batch.waves[at])
        self.scores.append(batch.scores[at])
        self.attachments.append(batch.attachments[at])

    def add(self, row: Row, image: bytes | None, audio: bytes | None) -> None:
        """Add a new row."""
        self.rows.append(row)
        self.raw_images.append(image)
        self.raw_audios.append(audio)
        self.images.append(None)
        self.waves.append(None)
        self.scores.append({})
        self.attachments.append(None)

    def refuse(self, row: Row, reason: str, detail: str) -> None:
        """Reject a row."""
        self.rejects.append(reject_of(row, self.op, reason, detail))

    def batch(self, before: Batch) -> Batch:
        """Return everything as a batch; new rejects follow those of `before`."""
        return Batch(
            rows=tuple(self.rows),
            raw_images=tuple(self.raw_images),
            raw_audios=tuple(self.raw_audios),
            images=tuple(self.images),
            waves=tuple(self.waves),
            scores=tuple(self.scores),
            attachments=tuple(self.attachments),
            rejects=before.rejects + tuple(self.rejects),
        )


def part_of(parent: Row, mark: Mark, number: int, text: str) -> Row:
    """Return a new row with the parent's source, partition, group, subset, meta and payload, without what ops wrote."""
    stripped = text.strip()
    return replace(
        parent,
        key=PartKey(parent=parent.key, mark=mark, number=number).encode(),
        group=parent.group or parent.key,
        text=stripped or None,
        captions=(),
        alignment="{}",
        parent=parent.key,
        segments=(),
        labels=(),
        changes=(),
    )


def alignment_of(row: Row) -> JsonObject:
    """Return a row's alignment, unchecked; empty if it is not a JSON object."""
    try:
        return {} if row.alignment == "{}" else parse_object(row.alignment)
    except ValueError:
        return {}


def clash(taken: Collection[tuple[str, str]], parent: Row, parts: Iterable[tuple[Mark, int]]) -> str | None:
    """Return the key of a part that another row already has; `taken` holds the (source, key) of all rows."""
    made = (PartKey(parent=parent.key, mark=mark, number=number).encode() for mark, number in parts)
    return next((key for key in made if (parent.source, key) in taken), None)
