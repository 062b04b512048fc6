"""Fix transcripts whose times are all off by the same amount."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from trichord.transforms.align.words import GOOD, Word
from trichord.transforms.batch import Segment

_LEAST_S = 0.25  # smaller offsets are within the habits of subtitling
_SPREAD_S = 0.35  # median distance from the offset above which it is not constant


def estimate_shift(
    segments: Sequence[Segment], counts: Sequence[int], words: Sequence[Word], max_shift_s: float
) -> float:
    """Return by how many seconds the segments are late (positive) or early; 0 if little, not constant or unknown.

    Args:
        segments: as the source gives them.
        counts: the number of words in each.
        words: all their words in order, aligned with the sound.
        max_shift_s: larger offsets are taken for errors.
    """
    late, at = [], 0
    for segment, count in zip(segments, counts, strict=True):
        mine = words[at : at + count]
        at += count
        spans = [word.span for word in mine if word.span is not None]
        if spans and sum(word.score >= GOOD for word in mine) * 2 > len(mine):
            late.append(segment.start_s - spans[0][0])  # subtitles linger: their ends say little
    if not late:
        return 0.0
    offset = float(np.median(late))
    spread = float(np.median(np.abs(np.array(late) - offset)))
    if not _LEAST_S <= abs(offset) <= max_shift_s or spread > _SPREAD_S:
        return 0.0
    return round(offset, 2)


def shift_segments(
    segments: Sequence[Segment], counts: Sequence[int], words: Sequence[Word], offset_s: float, duration_s: float
) -> tuple[Segment, ...]:
    """Return the segments moved earlier by the offset, within the sound, each with the mean score of its words."""
    made, at = [], 0
    for segment, count in zip(segments, counts, strict=True):
        mine = words[at : at + count]
        at += count
        score = float(np.mean([word.score for word in mine])) if mine else segment.score
        start_s, end_s = segment.start_s, segment.end_s
        if offset_s:
            start_s = round(min(max(0.0, start_s - offset_s), duration_s), 3)
            end_s = round(min(max(0.0, end_s - offset_s), duration_s), 3)
        made.append(replace(segment, start_s=start_s, end_s=end_s, score=round(score, 4)))
    return tuple(made)
