"""Cut silence off the start and end of a sound, and move all times along."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from trichord.transforms.batch import Batch, Change, Row, Waveform
from trichord.transforms.clean.level import FRAME_S, frame_levels
from trichord.transforms.clean.speech import spans_of, with_spans
from trichord.transforms.op import Op

SPEECH_SHARE = 0.5  # of what is not silent; from here on a sound is a recording of speech


def bounds_s(wave: Waveform, speech: tuple[tuple[float, float], ...], silence_db: float) -> tuple[float, float] | None:
    """Return where the sound starts and ends, seconds; None if all of it is silent.

    A recording of speech (half of what is not silent, or more) starts and ends with speech, whatever noise surrounds
    it. Any other sound starts and ends where its level leaves and returns to silence.
    """
    loud = np.flatnonzero(frame_levels(wave) >= silence_db)
    if not len(loud):
        return None
    frame_s = max(1, round(FRAME_S * wave.rate_hz)) / wave.rate_hz
    start_s, end_s = float(loud[0]) * frame_s, min(wave.duration_s, float(loud[-1] + 1) * frame_s)
    spoken_s = sum((end - start for start, end in speech), 0.0)
    if speech and spoken_s >= SPEECH_SHARE * (end_s - start_s):
        return max(start_s, speech[0][0]), min(end_s, speech[-1][1])
    return start_s, end_s


@dataclass(frozen=True, slots=True, kw_only=True)
class AudioTrim(Op):
    """Cuts off leading and trailing silence except for a margin, never below `least_s`; segments and span move along.

    Measures `audio_trimmed_s`, the seconds cut off. Segments outside the rest are dropped, those across its border
    clipped. `audio_duration_s` remains the file's.
    """

    version: ClassVar[int] = 1

    margin_s: float
    silence_db: float
    least_s: float

    @property
    def name(self) -> str:
        """The op's name."""
        return "audio_trim"

    def __call__(self, batch: Batch) -> Batch:
        """Apply the op."""
        rows, waves, measured = list(batch.rows), list(batch.waves), [dict[str, float]() for _ in batch.rows]
        for i, wave in enumerate(batch.waves):
            if wave is None:
                continue
            first, last = self._find_bounds(rows[i], wave)
            measured[i] = {"audio_trimmed_s": (len(wave.samples) - (last - first)) / wave.rate_hz}
            if last - first == len(wave.samples):
                continue
            waves[i] = Waveform(wave.samples[first:last].copy(), wave.rate_hz)
            rows[i] = self._move(rows[i], first / wave.rate_hz, last / wave.rate_hz, wave.duration_s)
        return replace(batch, rows=tuple(rows), waves=tuple(waves)).with_scores(measured)

    def _find_bounds(self, row: Row, wave: Waveform) -> tuple[int, int]:
        """Return the first sample that is kept and the first after them."""
        total = len(wave.samples)
        found = bounds_s(wave, spans_of(row), self.silence_db)
        if found is None:
            return 0, total
        first = max(0, round((found[0] - self.margin_s) * wave.rate_hz))
        last = min(total, round((found[1] + self.margin_s) * wave.rate_hz))
        return (0, total) if last - first < self.least_s * wave.rate_hz or last <= first else (first, last)

    def _move(self, row: Row, start_s: float, end_s: float, total_s: float) -> Row:
        length_s = end_s - start_s
        segments = tuple(
            replace(one, start_s=max(0.0, one.start_s - start_s), end_s=min(length_s, one.end_s - start_s))
            for one in row.segments
            if one.end_s > start_s and one.start_s < end_s
        )
        speech = [
            (max(0.0, start - start_s), min(length_s, end - start_s))
            for start, end in spans_of(row)
            if end > start_s and start < end_s
        ]
        span = None if row.span is None else (row.span[0] + start_s, row.span[0] + end_s)
        change = Change(
            op=self.name, field="audio", before=f"0.000-{total_s:.3f} s", after=f"{start_s:.3f}-{end_s:.3f} s"
        )
        return with_spans(replace(row, segments=segments, span=span, changes=(*row.changes, change)), speech)
