"""Detectors of sounds against known answers."""

from __future__ import annotations

import numpy as np
import pytest

from tests.transforms.samples import sound, tone
from trichord.infra.config import PrepareConfig
from trichord.transforms.batch import Batch, Reject, Row
from trichord.transforms.chain import prepare_chain
from trichord.transforms.clean.audio import clipping
from trichord.transforms.op import run_chain

CHAIN = prepare_chain(PrepareConfig())


def prepared(**media: bytes | str) -> tuple[dict[str, float], Reject | None]:
    """Scores of one row's media, and its reject."""
    row = Row(key="k", text=str(media["text"]) if "text" in media else None)
    raw = {name: media.get(name[4:-1]) for name in ("raw_images", "raw_audios")}
    after, _ = run_chain(Batch(rows=(row,), **{name: (value,) for name, value in raw.items()}), CHAIN)  # type: ignore[arg-type]
    return (dict(after.scores[0]), None) if after.rows else ({}, after.rejects[0])


@pytest.mark.parametrize("gain", [0.5, 0.9, 1.2, 1.5, 2, 4, 10])
@pytest.mark.parametrize("hz", [50.0, 440.0, 2_000.0])
def test_clipping_is_the_share_of_time_at_full_scale(gain: float, hz: float) -> None:
    t = np.arange(44_100) / 44_100
    samples = np.clip(gain * np.sin(2 * np.pi * hz * t), -1, 1).astype(np.float32)
    share = 0 if gain < 1 else 1 - 2 / np.pi * np.arcsin(1 / gain)
    assert clipping(samples) == pytest.approx(share, abs=0.03)


def test_single_peaks_are_not_clipping() -> None:
    samples = np.zeros(1_000, np.float32)
    samples[::10] = 1
    assert clipping(samples) == 0
    samples[1::10] = 1
    assert clipping(samples) == 0
    samples[2::10] = -1
    assert clipping(samples) == pytest.approx(0.3)


@pytest.mark.parametrize("kind", ["wav", "flac", "ogg", "mp3"])
def test_clipped_and_short_sounds_are_refused_and_good_ones_kept(kind: str) -> None:
    def reason(data: bytes) -> str | None:
        reject = prepared(audio=data)[1]
        return None if reject is None else reject.reason

    assert reason(sound(tone(1.0, level=0.7), kind)) is None
    assert reason(sound(np.clip(tone(1.0, level=4), -1, 1), kind)) == "audio_clipped"
    if kind != "mp3":  # whose shortest file is longer
        assert reason(sound(tone(0.08), kind)) == "audio_too_short"
    assert reason(sound(np.zeros(22_050, np.float32), kind)) == "audio_silent"


def test_duration_and_peak_are_those_of_the_file() -> None:
    scores, _ = prepared(audio=sound(np.tile(np.array([0.5, -0.5], np.float32), 5_513)[:11_025], "wav", 44_100))
    assert scores["audio_duration_s"] == 0.25
    assert scores["audio_peak_db"] == pytest.approx(-6.02, abs=0.01)
    assert prepared(audio=sound(tone(0.5, level=1e-2)))[0]["audio_peak_db"] == pytest.approx(-40, abs=1)
