"""Real speech: swapped transcripts are found, other sounds are unchanged, late subtitles are shifted back."""

from __future__ import annotations

import json
import os
from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest

from trichord.infra import digest
from trichord.infra.config import AlignConfig
from trichord.transforms.align.speech import speech_ops
from trichord.transforms.batch import Batch, Row, Segment, Waveform
from trichord.transforms.media import decode_audio, resample
from trichord.transforms.op import run_chain

SAMPLE = Path(os.environ.get("TRICHORD_SAMPLE", ""))
RATE_HZ = 16_000
OPS = speech_ops(AlignConfig(speech="pocketsphinx"))
pytestmark = pytest.mark.sample


def wave_of(path: str) -> Waveform:
    raw = (SAMPLE / path).read_bytes()
    return resample(decode_audio(raw, max_bytes=50_000_000, max_duration_s=600), RATE_HZ)


@lru_cache(maxsize=3)
def sample(start: int = 0, stop: int = 1_000) -> tuple[tuple[Row, Waveform], ...]:
    """Rows start … stop-1 of those that have a sound; a row's source is the folder of its sound."""
    lines = [json.loads(line) for line in (SAMPLE / "manifest.jsonl").read_text().splitlines()]
    return tuple(
        (Row(key=line["id"], source=line["audio"].split("/")[0], text=line["text"]), wave_of(line["audio"]))
        for line in [line for line in lines if line["audio"]][start:stop]
    )


def aligned(rows: list[Row], waves: list[Waveform]) -> Batch:
    return run_chain(Batch(rows=tuple(rows), waves=tuple(waves)), OPS)[0]


def normal(row: Row) -> str:
    return "".join(char for char in (row.text or "").lower() if char.isalnum())


def test_twenty_swapped_transcripts_are_found_with_at_most_two_false_alarms() -> None:
    rows, waves = [row for row, _ in sample()], [wave for _, wave in sample()]
    read = [i for i, row in enumerate(rows) if row.source == "storybook"]
    rng = digest.generator(3, "swapped transcripts")
    swapped: dict[str, str | None] = {}
    pairs = rng.permutation(read).tolist()
    while len(swapped) < 20:
        a, b = pairs.pop(), pairs.pop()
        if normal(rows[a]) != normal(rows[b]):
            swapped |= {rows[a].key: rows[b].text, rows[b].key: rows[a].text}
    given = [Row(key=row.key, source=row.source, text=swapped.get(row.key, row.text)) for row in rows]
    after = aligned(given, waves)
    refused = {reject.key: reject.reason for reject in after.rejects}
    assert set(swapped) <= set(refused)
    assert len(set(refused) - set(swapped)) <= 2
    assert set(refused.values()) <= {"speech_mismatch", "speech_uncovered", "speech_rate"}
    scored = {row.key for row, scores in zip(after.rows, after.scores, strict=True) if "speech_score" in scores}
    assert scored <= {rows[i].key for i in read}  # no environmental sound was judged
    assert len(scored) >= len(read) - 20 - 2 - 2
    for row in after.rows:
        times = [(segment.start_s, segment.end_s) for segment in row.segments]
        assert times == sorted(times)
        assert all(0 <= segment.score <= 1 for segment in row.segments)


def test_the_result_does_not_depend_on_the_neighbours() -> None:
    some = sample(40, 46)
    together = aligned([row for row, _ in some], [wave for _, wave in some])
    turned = aligned([row for row, _ in some[::-1]], [wave for _, wave in some[::-1]])
    alone = [aligned([row], [wave]) for row, wave in some]
    assert together.rows == turned.rows[::-1] == tuple(row for batch in alone for row in batch.rows)
    assert together.scores == turned.scores[::-1] == tuple(scores for batch in alone for scores in batch.scores)


@pytest.mark.parametrize("late_s", [1.7, -1.2])
def test_late_subtitles_of_a_real_reading_are_shifted_back(late_s: float) -> None:
    pages = sample(62, 67)
    start, segments = 2.0, []
    for row, wave in pages:
        speech = row.text or ""
        segments.append(Segment(start_s=start + late_s, end_s=start + wave.duration_s + late_s, text=speech))
        start += wave.duration_s
    sound = np.concatenate([np.zeros(2 * RATE_HZ, np.float32), *(wave.samples for _, wave in pages)])
    row = Row(key="book", text=None, segments=tuple(segments))
    after = aligned([row], [Waveform(sound, RATE_HZ)])
    assert after.rejects == ()
    true_s = [segment.start_s - late_s for segment in segments]
    assert [segment.start_s for segment in after.rows[0].segments] == pytest.approx(true_s, abs=0.5)
    assert [change.field for change in after.rows[0].changes] == ["segments"]
