"""The values that flow through a chain: rows with their media beside them, decoded once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from itertools import compress

import numpy as np
import numpy.typing as npt

Image = npt.NDArray[np.uint8]  # (H, W, 3), RGB
Samples = npt.NDArray[np.float32]  # (T,), mono, in [-1, 1]


@dataclass(frozen=True, slots=True, eq=False)
class Waveform:
    """Mono sound: float32 samples (T,) in [-1, 1] and their rate."""

    samples: Samples
    rate_hz: int

    @property
    def duration_s(self) -> float:
        """Length in seconds."""
        return len(self.samples) / self.rate_hz


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """A stretch of the sound and the words spoken in it: a word or a sentence."""

    start_s: float
    end_s: float
    text: str
    score: float = 1.0  # how well text and sound agree, in [0, 1]


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What an op changed in a row: the field, and its value before and after."""

    op: str
    field: str
    before: str
    after: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A record without its media. `meta`, `payload` and `alignment` are canonical JSON.

    `alignment` is what the source says of times and boxes: {"segments": [{start_s, end_s, text}], "pictures":
    [{start_s, end_s, attachment}], "regions": [{box: [x, y, w, h], text}]}; empty lists are left out.
    `span` (seconds) and `box` (x, y, w, h in pixels) say which part of the parent's medium a cut row is; decoding cuts
    it out.
    """

    key: str
    source: str = ""
    partition: str = ""
    group: str = ""
    subset: str = ""
    text: str | None = None
    captions: tuple[str, ...] = ()
    meta: str = "{}"
    payload: str = "{}"
    alignment: str = "{}"
    parent: str = ""
    span: tuple[float, float] | None = None
    box: tuple[float, float, float, float] | None = None
    segments: tuple[Segment, ...] = ()
    labels: tuple[tuple[str, str], ...] = ()  # what ops found besides numbers, sorted by name
    changes: tuple[Change, ...] = ()
    input_digest: str = ""  # of the source's row and its media; parts have their parent's


@dataclass(frozen=True, slots=True, kw_only=True)
class Reject:
    """A rejected row: the op that rejected it, a reason code, the evidence, and where its bytes are."""

    key: str
    source: str
    partition: str
    op: str
    reason: str
    detail: str
    payload: str
    input_digest: str = ""


def reject_of(row: Row, op: str, reason: str, detail: str) -> Reject:
    """Return the reject of a row."""
    return Reject(
        key=row.key,
        source=row.source,
        partition=row.partition,
        op=op,
        reason=reason,
        detail=detail,
        payload=row.payload,
        input_digest=row.input_digest,
    )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Batch:
    """N rows with N of each medium, and the rejects so far.

    A medium is raw (bytes as read), then decoded; None if the row has none. Media fields left out are all None.
    """

    rows: tuple[Row, ...] = ()
    raw_images: tuple[bytes | None, ...] = ()
    raw_audios: tuple[bytes | None, ...] = ()
    images: tuple[Image | None, ...] = ()
    waves: tuple[Waveform | None, ...] = ()
    scores: tuple[Mapping[str, float], ...] = ()
    details: tuple[bytes | None, ...] = ()  # of drawn pictures, for dedup (dedup/detail.py)
    attachments: tuple[Mapping[str, bytes] | None, ...] = ()  # other raw files of a row: subtitles, pictures with times
    rejects: tuple[Reject, ...] = ()

    def __post_init__(self) -> None:
        for name in _COLUMNS[1:]:
            column = getattr(self, name)
            if not column and self.rows:
                object.__setattr__(self, name, (({} if name == "scores" else None),) * len(self.rows))
            elif len(column) != len(self.rows):
                raise ValueError(f"{name} has {len(column)} values for {len(self.rows)} rows")

    def __len__(self) -> int:
        return len(self.rows)

    @classmethod
    def of(
        cls,
        *,
        texts: Sequence[str | None] | None = None,
        images: Sequence[Image | None] | None = None,
        waves: Sequence[Waveform | None] | None = None,
    ) -> Batch:
        """Make a batch of queries; their keys are their positions.

        Raises:
            ValueError: the modalities given have different lengths, or none is given.
        """
        given = [values for values in (texts, images, waves) if values is not None]
        if not given:
            raise ValueError("a batch of queries needs texts, images or waves")
        size = len(given[0])
        rows = tuple(Row(key=str(i), text=text) for i, text in enumerate(texts if texts is not None else [None] * size))
        return cls(rows=rows, images=tuple(images or ()), waves=tuple(waves or ()))

    def select(self, mask: Sequence[bool]) -> Batch:
        """Return the rows where `mask` is true, with all rejects.

        Raises:
            ValueError: the mask has another length.
        """
        if len(mask) != len(self.rows):
            raise ValueError(f"a mask of {len(mask)} values for {len(self.rows)} rows")
        if all(mask):
            return self
        return replace(self, **{name: tuple(compress(getattr(self, name), mask)) for name in _COLUMNS})

    def slice(self, start: int, stop: int) -> Batch:
        """Return rows start … stop-1 without the rejects."""
        return replace(self, rejects=(), **{name: getattr(self, name)[start:stop] for name in _COLUMNS})

    def reject(self, reasons: Mapping[int, tuple[str, str]], op: str) -> Batch:
        """Move rows to the rejects. `reasons` maps a row's position to (reason code, detail)."""
        if not reasons:
            return self
        refused = tuple(reject_of(self.rows[i], op, *reasons[i]) for i in sorted(reasons))
        kept = self.select([i not in reasons for i in range(len(self.rows))])
        return replace(kept, rejects=self.rejects + refused)

    def with_scores(self, measured: Sequence[Mapping[str, float]]) -> Batch:
        """Add an op's scores: one mapping, possibly empty, for each row."""
        scores = tuple({**old, **new} for old, new in zip(self.scores, measured, strict=True))
        return replace(self, scores=scores)


_COLUMNS = tuple(field.name for field in fields(Batch) if field.name != "rejects")


def join(batches: Iterable[Batch]) -> Batch:
    """Join the rows and rejects of several batches in order."""
    parts = list(batches)
    return Batch(**{name: sum((getattr(part, name) for part in parts), ()) for name in (*_COLUMNS, "rejects")})
