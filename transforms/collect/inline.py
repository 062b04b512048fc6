"""Batches of bounded size from rows whose media are bytes in the same file."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from trichord.infra.config import PrepareConfig
from trichord.infra.redaction import redact
from trichord.transforms.batch import Batch, Row, reject_of
from trichord.transforms.collect.drafts import MAX_TEXT_BYTES, Draft, media_limits
from trichord.transforms.collect.line import row_of
from trichord.transforms.collect.partitions import Partition
from trichord.transforms.collect.read import group_rows


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A row with its media: "image", "audio", or attachments ("segments", "image:0"). `payload` says where it is."""

    draft: Draft
    media: Mapping[str, bytes] = field(default_factory=dict)
    payload: Mapping[str, object] = field(default_factory=dict)


_Held = tuple[Found, tuple[str, str] | None]  # and why it is rejected


def limit_of(name: str, config: PrepareConfig) -> int:
    """Return how many bytes a medium may have."""
    return media_limits(config).get(name.partition(":")[0], MAX_TEXT_BYTES)


def rejection(found: Found, seen: set[str]) -> tuple[str, str] | None:
    """Return why a row is rejected, in a manifest's words; `seen` holds the keys of earlier rows."""
    draft = found.draft
    if draft.reason is not None:
        return draft.reason, redact(draft.detail)
    if not found.media and not draft.line.get("text") and not draft.line.get("captions"):
        return "row_empty", "no text, no image, no audio"
    if draft.key in seen:
        return "key_repeated", "another row of this source has this key"
    seen.add(draft.key)
    return None


def batches(rows: Iterable[Found], partition: Partition) -> Iterator[Batch]:
    """Yield every row once, as a row or a reject, as many at a time as a batch may hold."""
    seen: set[str] = set()
    for held in group_rows(((found, rejection(found, seen)) for found in rows), _sizes):
        yield _batch(held, partition)


def _sizes(held: _Held) -> dict[str, int]:
    found, refused = held
    return {} if refused is not None else {name: len(data) for name, data in found.media.items()}


def _batch(held: list[_Held], partition: Partition) -> Batch:
    kept = [found for found, refused in held if refused is None]
    others = [{n: data for n, data in found.media.items() if n not in ("image", "audio")} for found in kept]
    return Batch(
        rows=tuple(_row(found, partition) for found in kept),
        raw_images=tuple(found.media.get("image") for found in kept),
        raw_audios=tuple(found.media.get("audio") for found in kept),
        attachments=tuple(other or None for other in others),
        rejects=tuple(reject_of(_row(found, partition), "read", *refused) for found, refused in held if refused),
    )


def _row(found: Found, partition: Partition) -> Row:
    return row_of(found.draft.key, found.draft.line, partition.source, partition.id, found.payload)
