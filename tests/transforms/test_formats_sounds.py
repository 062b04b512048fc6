"""No sound is wrong in silence: each variant is read right, refused with a true reason, or counted by its ending."""

from __future__ import annotations

import posixpath
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.transforms.formats import Counted, Read, Refused, Variant
from tests.transforms.formats.matrix import judge
from tests.transforms.formats.sound_parts import (
    chunk,
    flac_frames,
    fmt,
    id3v2,
    mp3,
    pcm,
    riff,
    streamed_flac,
    wave,
    written,
)
from tests.transforms.formats.sounds import sounds
from tests.transforms.samples import quiet_flac
from trichord.infra import digest
from trichord.infra.config import FolderSource, StorageConfig
from trichord.infra.endings import tell_unread
from trichord.infra.lake.lake import Lake
from trichord.infra.lake.storage import Storage
from trichord.transforms.batch import Samples
from trichord.transforms.collect import plan_source
from trichord.transforms.collect.folder import MODALITY_OF_ENDING
from trichord.transforms.media import MediaError, decode_audio
from trichord.transforms.sound_files import MAX_LINKS, find_sounds, flac

VARIANTS = tuple(sounds())
LENGTHS = Counter(type(one.expected) for one in VARIANTS)


def heard(data: bytes, max_duration_s: float = 60) -> tuple[Samples, int]:
    found = decode_audio(data, max_bytes=1 << 28, max_duration_s=max_duration_s)
    return found.samples, found.rate_hz


def of(one: Variant) -> bytes:
    (data,) = one.files.values()
    return data


@pytest.mark.parametrize("form", sorted({one.format for one in VARIANTS}))
def test_a_sound_is_read_right_or_refused_with_a_true_reason(form: str, tmp_path: Path) -> None:
    mine = [one for one in VARIANTS if one.format == form]
    assert not {one.variant: wrong for n, one in enumerate(mine) if (wrong := judge(one, tmp_path / str(n)))}


def test_what_is_not_read_in_a_folder_is_counted_by_its_ending(tmp_path: Path) -> None:
    counted = [one for one in VARIANTS if one.expected == Counted()]
    for number, one in enumerate(counted):
        for name, data in one.files.items():
            (tmp_path / f"{number}-{name}").write_bytes(data)
    (tmp_path / "words.txt").write_text("words")
    lake = Lake(Storage(StorageConfig()), str(tmp_path / "lake"))
    source = FolderSource(kind="folder", name="s", path=str(tmp_path))
    found = plan_source(source, lake, rows_per_partition=9, cache=None)
    endings = Counter(posixpath.splitext(name)[1] for one in counted for name in one.files)
    assert len(endings) > 20
    assert found.rows == 1
    assert found.endings == endings
    assert tell_unread(found.endings).startswith(f"{len(counted)} files with endings that are not read (.aac 1, ")


def test_every_variant_has_its_own_name_and_what_is_read_is_collected() -> None:
    assert len({(one.format, one.variant) for one in VARIANTS}) == len(VARIANTS)
    assert LENGTHS[Read] > 200
    assert LENGTHS[Refused] > 60
    read = {posixpath.splitext(next(iter(one.files)))[1].lower() for one in VARIANTS if isinstance(one.expected, Read)}
    assert {MODALITY_OF_ENDING.get(ending) for ending in read} == {"audio"}


@settings(max_examples=200, deadline=None)
@given(index=st.integers(0, len(VARIANTS) - 1), damage=st.integers(0, 10**9))
def test_a_damaged_file_raises_media_errors_only(index: int, damage: int) -> None:
    rng = digest.generator("damaged format", index, damage)
    data = bytearray(of(VARIANTS[index]))
    if damage % 3 == 0:
        del data[int(rng.integers(1, len(data) + 1)) :]
    for at in rng.integers(0, min(len(data), 100 if damage % 2 else len(data)), damage % 5):
        data[at] = (0, 0xFF, 0x7F, int(rng.integers(256)))[at % 4]
    try:
        samples, _ = heard(bytes(data))
    except MediaError:
        return
    assert np.isfinite(samples).all()


@pytest.mark.parametrize(
    ("form", "subtype", "rate_hz"),
    [("WAV", "PCM_16", 16_000), ("FLAC", "PCM_16", 16_000), ("OGG", "OPUS", 48_000), ("AIFF", "PCM_16", 16_000)],
)
def test_joined_sounds_are_bounded_together_and_in_number(form: str, subtype: str, rate_hz: int) -> None:
    one = written(wave(440, 0.1, rate_hz), form, subtype, rate_hz)
    assert len(heard(one * 9, 1)[0]) == 9 * rate_hz // 10
    with pytest.raises(MediaError, match="audio_too_long"):
        heard(one * 11, 1)
    many = written(wave(440, 0.001, rate_hz), form, subtype, rate_hz) * (MAX_LINKS + 1)
    with pytest.raises(MediaError, match=f"more than {MAX_LINKS:,} joined sounds"):
        heard(many)


def test_nothing_is_decoded_behind_the_longest_duration() -> None:
    one = written(wave(440, 1), "FLAC", "PCM_16")
    found = find_sounds(one * 50, 10)
    assert next(found) == one  # one by one: those behind a refused one are never made
    streamed = streamed_flac(quiet_flac(7_200))
    with pytest.raises(MediaError, match=r"7200\.0 s; the limit is 60 s"):
        heard(streamed)
    long = riff(fmt(), chunk(b"data", bytes(2 * 16_000 * 61), length=0xFFFFFFFF), length=0)
    with pytest.raises(MediaError, match=r"61\.0 s; the limit is 60 s"):
        heard(long)
    with pytest.raises(MediaError, match="audio_too_long"):
        heard(mp3(wave(440, 3)) * 30)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("tags", "audio_format"),
        ("chunks", "audio_format"),
        ("syncs in a tag", "audio_corrupt"),
        ("frames that are none", "audio_truncated"),
        ("headers of frames", "audio_truncated"),
    ],
)
def test_what_is_crafted_to_be_searched_is_refused_after_a_bounded_search(
    name: str, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    head, frames = flac_frames(streamed_flac(written(wave(), "FLAC", "PCM_16")))
    data = {
        "tags": id3v2(20) * 20_000 + mp3(wave()),
        "chunks": riff(fmt(), chunk(b"note", b"") * 20_000, chunk(b"data", pcm(wave()))),
        "syncs in a tag": mp3(wave()) + b"TAG" + b"\xff\xfb\x90\0" * 300_000,
        "frames that are none": head + frames[0] + frames[0][:4] * 300_000,
        "headers of frames": head + frames[0] + frames[0][:7] * 100_000,
    }[name]
    sums, crc16 = Counter[str](), flac.crc16
    monkeypatch.setattr(flac, "crc16", lambda frame: sums.update(bytes=len(frame)) or crc16(frame))
    with pytest.raises(MediaError, match=reason):
        heard(data)
    assert sums["bytes"] <= 8 << 20
