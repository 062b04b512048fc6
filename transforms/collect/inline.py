"""Batches of bounded size from rows whose media are bytes in the same file."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from trichord.infra import digest
from trichord.infra.config import PrepareConfig
from trichord.infra.redaction import redact
from trichord.transforms.batch import Batch, Row, reject_of
from trichord.transforms.collect.drafts import MAX_TEXT_BYTES, Draft, media_limits
from trichord.transforms.collect.line import row_of
from trichord.transforms.collect.partitions import Partition
from trichord.transforms.collect.read import Known, Reading, group_rows


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A row with its media: "image", "audio", or attachments ("segments", "image:0"). `payload` says where it is."""

    draft: Draft
    media: Mapping[str, bytes] = field(default_factory=dict)
    payload: Mapping[str, object] = field(default_factory=dict)


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


def readings(rows: Iterable[Found], partition: Partition, known: Known) -> Iterator[Reading]:
    """Yield every row once, as a row or a reject, as many at a time as a batch may hold; known ones without media."""
    seen: set[str] = set()
    for group in group_rows((_Held.of(found, partition, seen, known) for found in rows), _Held.sizes):
        read = [held for held in group if held.media is not None and held.refused is None]
        others = [{n: data for n, data in (held.media or {}).items() if n not in ("image", "audio")} for held in read]
        yield Reading(
            order=tuple(held.row.input_digest for held in group if held.refused is None),
            known=tuple(held.row for held in group if held.media is None),
            batch=Batch(
                rows=tuple(held.row for held in read),
                raw_images=tuple((held.media or {}).get("image") for held in read),
                raw_audios=tuple((held.media or {}).get("audio") for held in read),
                attachments=tuple(other or None for other in others),
                rejects=tuple(reject_of(held.row, "read", *held.refused) for held in group if held.refused),
            ),
        )


@dataclass(frozen=True, slots=True)
class _Held:
    """A row, its media (None: it is known), and why it is rejected."""

    row: Row
    media: Mapping[str, bytes] | None
    refused: tuple[str, str] | None

    @classmethod
    def of(cls, found: Found, partition: Partition, seen: set[str], known: Known) -> _Held:
        draft, refused = found.draft, rejection(found, seen)
        row = row_of(draft.key, draft.line, partition.source, partition.id, found.payload)
        if refused is not None:
            return cls(row, {}, refused)
        media = {name: digest.sha256_hex(data) for name, data in sorted(found.media.items())}
        row = replace(row, input_digest=digest.address("input", draft.key, draft.line, media))
        return cls(row, None if known(row.input_digest) else found.media, None)

    def sizes(self) -> dict[str, int] | None:
        return None if self.media is None else {name: len(data) for name, data in self.media.items()}
