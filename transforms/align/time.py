"""Cut rows by time: long sounds at segment borders, joined with the text and pictures that overlap."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import numpy as np

from trichord.infra.config import SourceBase
from trichord.transforms.align.cue import Cue, SegmentsError
from trichord.transforms.align.cut_rows import MAX_PARTS, Parts, alignment_of, clash, part_of
from trichord.transforms.align.subtitles import cues_of, number, parse_segments
from trichord.transforms.batch import Batch, Row, Segment
from trichord.transforms.clean.annotate import set_label
from trichord.transforms.op import Op
from trichord.transforms.part_keys import Mark


@dataclass(frozen=True, slots=True)
class _Picture:
    """A picture with its times and its bytes; None if the source has no such file."""

    cue: Cue
    raw: bytes | None


@dataclass(frozen=True, slots=True, kw_only=True)
class CutTime(Op):
    """Cuts rows with segments or timed pictures into one row each.

    A segment becomes `<key>#t0000`, numbered in the source's order: its text, its `span` of the same raw sound, and the
    timed picture that overlaps it most (the earlier of equals), else the row's own picture. A timed picture without a
    segment becomes `<key>#p0000` with its `span` of the sound. A part with wrong times is rejected, not skipped. A row
    without sound and timed pictures is not cut, and labelled `segments_skipped`. Rows that are kept have the
    segments in `Row.segments`.
    """

    version: ClassVar[int] = 4
    fan_out: ClassVar[bool] = True

    parents: Literal["keep", "drop"]
    max_parts: int = MAX_PARTS
    max_total_s: float = 14_400.0  # of all parts together: a batch holds them at once, 0.9 GB

    @property
    def name(self) -> str:
        """The op's name."""
        return "cut_time"

    def __call__(self, batch: Batch) -> Batch:
        """Apply the op."""
        if all(row.alignment == "{}" for row in batch.rows):
            return batch
        parts, taken = Parts(op=self.name), {(row.source, row.key) for row in batch.rows}
        for i, row in enumerate(batch.rows):
            try:
                cues, pictures = _read_times(row, batch.attachments[i] or {})
            except SegmentsError as error:
                parts.refuse(row, "segments_invalid", str(error))
                continue
            if not (cues or pictures) or (batch.raw_audios[i] is None and not pictures):
                parts.keep(batch, i, set_label(row, "segments_skipped", "no sound") if cues else row)
                continue
            self._cut(batch, i, cues, pictures, parts, taken)
        return parts.batch(batch)

    def _cut(
        self,
        batch: Batch,
        at: int,
        cues: Sequence[Cue],
        pictures: Sequence[_Picture],
        parts: Parts,
        taken: set[tuple[str, str]],
    ) -> None:
        row = batch.rows[at]
        if max(len(cues), len(pictures)) > self.max_parts:
            detail = f"{len(cues)} segments and {len(pictures)} pictures; the limit is {self.max_parts} parts"
            parts.refuse(row, "too_many_parts", detail)
            return
        total_s = sum(cue.end_s - cue.start_s for cue in cues)
        if total_s > self.max_total_s:
            parts.refuse(row, "too_many_parts", f"{total_s:.0f} s in all; the limit is {self.max_total_s:.0f} s")
            return
        partners = [_partner(cue, pictures) for cue in cues]
        alone = [i for i in range(len(pictures)) if i not in set(partners)]
        if len(cues) + len(alone) > self.max_parts:
            detail = f"{len(cues)} segments and {len(alone)} pictures; the limit is {self.max_parts} parts"
            parts.refuse(row, "too_many_parts", detail)
            return
        made = [(Mark.SEGMENT, i) for i in range(len(cues))] + [(Mark.PICTURE, i) for i in alone]
        bearer = clash(taken, row, made)
        if bearer is not None:
            parts.refuse(row, "segments_invalid", f"another row already has the key {bearer!r} of a part")
            return
        self._keep_parent(batch, at, cues, parts)
        audio = batch.raw_audios[at]
        for i, (cue, partner) in enumerate(zip(cues, partners, strict=True)):
            image = batch.raw_images[at] if partner is None else pictures[partner].raw
            part = replace(part_of(row, Mark.SEGMENT, i, cue.text), box=None if partner is not None else row.box)
            _add(parts, part, cue, image, audio)
        for i in alone:
            part = part_of(row, Mark.PICTURE, i, "")
            if pictures[i].raw is None:
                parts.refuse(part, "picture_missing", "the source has no file for this picture")
            else:
                _add(parts, replace(part, box=None), pictures[i].cue, pictures[i].raw, audio)

    def _keep_parent(self, batch: Batch, at: int, cues: Sequence[Cue], parts: Parts) -> None:
        row = batch.rows[at]
        # a dropped row with regions is dropped when they are cut
        if self.parents == "drop" and not (alignment_of(row).get("regions") and batch.raw_images[at] is not None):
            parts.refuse(row, "replaced_by_parts", "its parts replace it")
            return
        said = tuple(Segment(start_s=cue.start_s, end_s=cue.end_s, text=cue.text) for cue in cues if not cue.fault)
        parts.keep(batch, at, replace(row, segments=said))
        parts.attachments[-1] = None  # read; no later op needs the files


def _add(parts: Parts, part: Row, cue: Cue, image: bytes | None, audio: bytes | None) -> None:
    if cue.fault:
        parts.refuse(part, "segments_invalid", cue.fault)
    elif image is None and audio is None and part.text is None:
        parts.refuse(part, "segments_invalid", "neither text, picture nor sound")
    else:
        parts.add(replace(part, span=_within(part.span, cue)), image, audio)


def _within(span: tuple[float, float] | None, cue: Cue) -> tuple[float, float]:
    """Return a cue's times in the whole sound; a part's times count from its own start."""
    start = span[0] if span is not None else 0.0
    return (start + cue.start_s, start + cue.end_s)


def _partner(cue: Cue, pictures: Sequence[_Picture]) -> int | None:
    """Return the picture that overlaps a segment most, the earlier of equals; None if none does."""
    if cue.fault or not pictures:
        return None
    starts = np.array([picture.cue.start_s for picture in pictures])
    usable = np.array([picture.raw is not None and not picture.cue.fault for picture in pictures])
    overlap = np.minimum([picture.cue.end_s for picture in pictures], cue.end_s) - np.maximum(starts, cue.start_s)
    overlap[~usable] = 0
    most = overlap.max()
    if not most > 0:
        return None
    return int(min(np.flatnonzero(overlap == most), key=lambda i: (starts[i], i)))


def _read_times(row: Row, files: Mapping[str, bytes]) -> tuple[tuple[Cue, ...], tuple[_Picture, ...]]:
    """Return a row's segments and timed pictures.

    Raises:
        SegmentsError: they are malformed.
    """
    alignment = alignment_of(row)
    if "segments" in alignment:
        cues = cues_of(alignment["segments"])
    elif "segments" in files:
        cues = parse_segments(files["segments"], str(alignment.get("segments_format", "")))
    else:
        cues = ()
    listed = alignment.get("pictures", [])
    if not isinstance(listed, list) or not all(isinstance(item, dict) for item in listed):
        raise SegmentsError("pictures must be a list of objects")
    pictures = []
    for i, item in enumerate(listed):
        times = [number(item.get(name), f"pictures[{i}].{name}") for name in ("start_s", "end_s")]
        pictures.append(_Picture(Cue(times[0], times[1], ""), files.get(str(item.get("attachment")))))
    return cues, tuple(pictures)


def time_ops(source: SourceBase) -> tuple[Op, ...]:
    """Return the ops that cut a source's rows by time."""
    return (CutTime(parents=source.parents),)
