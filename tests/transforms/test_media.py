"""The one decoder: decoded media are right, truncated ones are found, equal media give equal bytes."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from contextlib import suppress
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image as Pillow
from PIL import ImageOps

from tests.transforms.samples import AUDIO_FORMATS, picture, saved, sound, tone
from trichord.infra import digest
from trichord.transforms import containers, media
from trichord.transforms.batch import Image, Waveform
from trichord.transforms.media import (
    MediaError,
    decode_audio,
    decode_image,
    encode_audio,
    encode_image,
    resample,
    shrink_image,
)

MAX = 1 << 28


def decoded(data: bytes) -> Image:
    return decode_image(data, max_pixels=MAX, max_bytes=MAX)


def heard(data: bytes) -> Waveform:
    return decode_audio(data, max_bytes=MAX, max_duration_s=60)


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "WEBP", "GIF", "JPEG", "AVIF"])
def test_every_allowed_format_decodes_to_the_picture_that_was_saved(kind: str) -> None:
    rgb = picture()
    options: dict[str, dict[str, Any]] = {"WEBP": {"lossless": True}, "JPEG": {"quality": 98, "subsampling": 0}}
    options["AVIF"] = {"quality": 100, "subsampling": "4:4:4", "speed": 10}
    found = decoded(saved(rgb, kind, **options.get(kind, {}))).astype(int)
    assert found.shape == rgb.shape
    assert np.abs(found - rgb).mean() < (8 if kind == "GIF" else 2 if kind in ("JPEG", "AVIF") else 1e-9)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied_once(orientation: int, kind: str) -> None:
    exif = Pillow.Exif()
    exif[0x0112] = orientation
    data = saved(picture(), kind, exif=exif)
    expected = np.asarray(ImageOps.exif_transpose(Pillow.open(io.BytesIO(data))).convert("RGB"))
    assert np.array_equal(decoded(data), expected)
    assert decoded(data).shape[:2] == ((160, 120) if orientation > 4 else (120, 160))


def test_unreadable_exif_counts_as_upright() -> None:
    data = saved(picture(), "JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\xff" + b"\xff" * 40)
    assert decoded(data).shape == (120, 160, 3)


def test_modes_are_converted_in_one_way() -> None:
    ramp = np.arange(256, dtype=np.uint8)[None, :].repeat(20, 0)
    grey = np.repeat(ramp[:, :, None], 3, 2)
    assert np.array_equal(decoded(saved(Pillow.fromarray(ramp), "PNG")), grey)
    deep = Pillow.fromarray(ramp.astype(np.uint16) * 256 + 77)
    rounded = np.rint((grey * 256.0 + 77) / 257)
    assert np.array_equal(decoded(saved(deep, "PNG")), rounded), "16 bits are scaled to 8"
    assert np.array_equal(decoded(saved(deep, "TIFF")), rounded)
    clear = Pillow.fromarray(np.dstack([grey, 255 - ramp]))
    over_white = np.round(grey * (1 - grey / 255.0) + 255 * (grey / 255.0))
    assert np.abs(decoded(saved(clear, "PNG")) - over_white).max() <= 1, "transparency lies over white"
    palette = Pillow.fromarray(picture()).quantize(32)
    for kind in ("PNG", "GIF", "BMP", "TIFF"):
        assert np.array_equal(decoded(saved(palette, kind)), np.asarray(palette.convert("RGB")))
    keyed = saved(Pillow.fromarray(ramp), "PNG", transparency=0)
    assert decoded(keyed)[0, 0].tolist() == [255, 255, 255]
    bilevel = Pillow.fromarray(ramp > 127)
    assert set(np.unique(decoded(saved(bilevel, "PNG")))) == {0, 255}
    ink = Pillow.fromarray(picture()).convert("CMYK")
    expected = np.asarray(ink.convert("RGB")).astype(int)
    assert np.abs(decoded(saved(ink, "TIFF")) - expected).max() == 0
    assert np.abs(decoded(saved(ink, "JPEG", quality=95)) - expected).mean() < 4


def test_an_animation_counts_as_its_first_frame() -> None:
    frames = [Pillow.fromarray(picture(seed=seed)) for seed in range(3)]
    for kind in ("GIF", "WEBP", "PNG"):
        options = {"save_all": True, "append_images": frames[1:], "duration": 50}
        found = decoded(saved(frames[0], kind, **options, **({"lossless": True} if kind == "WEBP" else {})))
        assert np.abs(found.astype(int) - picture()).mean() < 8


def test_shrinking_keeps_the_shape_and_never_enlarges() -> None:
    for width, height in ((640, 480), (480, 640), (257, 3), (256, 256), (31, 7)):
        found = shrink_image(picture(width, height), 256)
        assert max(found.shape[:2]) == min(256, max(width, height))
        assert (
            abs(found.shape[1] / found.shape[0] - width / height) / (width / height) < 0.5 / min(found.shape[:2]) + 1e-9
        )
    flat = np.full((400, 300, 3), 77, np.uint8)
    assert np.all(shrink_image(flat, 100) == 77)


@settings(max_examples=60, deadline=None)
@given(
    kind=st.sampled_from(["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF"]), share=st.floats(0, 1, exclude_max=True)
)
def test_an_image_cut_anywhere_is_refused(kind: str, share: float) -> None:
    data = saved(picture(64, 48), kind)
    with pytest.raises(MediaError):
        decoded(data[: int(share * len(data))])


@settings(max_examples=150, deadline=None)
@given(kind=st.sampled_from(["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF"]), damage=st.integers(0, 10**9))
def test_damaged_images_raise_media_errors_only(kind: str, damage: int) -> None:
    rng = digest.generator("damage", kind, damage)
    data = bytearray(saved(picture(64, 48), kind))
    for at in rng.integers(0, min(len(data), 200 if damage % 2 else len(data)), 1 + damage % 5):
        data[at] ^= 1 << int(rng.integers(8))
    with suppress(MediaError):
        assert decoded(bytes(data)).dtype == np.uint8


JPEGS = [
    saved(picture(64, 48), "JPEG", quality=95),
    saved(picture(64, 48), "JPEG", quality=30, optimize=True, subsampling=0),
    saved(picture(64, 48), "JPEG", subsampling=1, restart_marker_rows=1),
    saved(picture(64, 48), "JPEG", progressive=True),
    saved(picture(64, 48), "JPEG", exif=b"Exif\0\0" + saved(picture(16, 16), "JPEG")),
    saved(picture(64, 48)[:, :, 0], "JPEG"),
    saved(picture(64, 48), "JPEG", icc_profile=bytes(300)),
]


@settings(max_examples=300, deadline=None)
@given(data=st.data(), index=st.integers(0, len(JPEGS) - 1), damage=st.integers(0, 10**9))
def test_a_jpeg_decodes_and_fails_as_pillow_alone_would_have_it(data: st.DataObject, index: int, damage: int) -> None:
    rng = digest.generator("jpeg", damage)
    file = bytearray(JPEGS[index])
    for at in rng.integers(2, len(file), data.draw(st.sampled_from([0, 1, 2, 8]))):
        file[at] = int(rng.integers(256))
    tail = data.draw(st.sampled_from([b"", b"\xff\xd9", b"\xff\xda\0\0\xff\xd9", b"more"]))
    cut = len(file) if data.draw(st.booleans()) else int(rng.integers(2, len(file)))
    assert _outcome(bytes(file[:cut]) + tail, ours=True) == _outcome(bytes(file[:cut]) + tail, ours=False)


def _outcome(data: bytes, *, ours: bool) -> tuple[str, str] | tuple[tuple[int, ...], bytes]:
    with pytest.MonkeyPatch.context() as patch:
        if not ours:
            patch.setattr(containers, "plain_jpeg", lambda data: None)
        try:
            rgb = decoded(data)
        except MediaError as error:
            return error.reason, error.detail
    return rgb.shape, rgb.tobytes()


def test_jpegs_without_exif_are_decoded_in_one_go() -> None:
    plain = [containers.plain_jpeg(file) for file in JPEGS]
    assert plain == [(64, 48), (64, 48), (64, 48), None, None, (64, 48), (64, 48)]


def test_a_stored_picture_is_the_jpeg_that_pillow_would_write() -> None:
    for rgb, quality in ((picture(), 90), (picture(33, 17), 75), (np.full((8, 8, 3), 9, np.uint8), 97)):
        assert encode_image(rgb, quality) == saved(rgb, "JPEG", quality=quality)


@pytest.mark.parametrize("kind", AUDIO_FORMATS)
@pytest.mark.parametrize("channels", [1, 2])
def test_every_allowed_sound_decodes_to_its_mono_mix(kind: str, channels: int) -> None:
    rate_hz = 48_000 if kind == "opus" else 44_100
    one = tone(1.0, rate_hz)
    samples = one if channels == 1 else np.stack([one, one / 2], axis=1)
    wave = heard(sound(samples, kind, rate_hz))
    expected = one if channels == 1 else one * 0.75
    assert wave.rate_hz == rate_hz
    assert wave.samples.dtype == np.float32
    assert abs(wave.duration_s - 1) < 0.06
    assert abs(np.std(wave.samples) - np.std(expected)) < 0.02
    if kind in ("wav", "flac"):
        assert np.abs(wave.samples - expected).max() < 1e-4


@pytest.mark.parametrize("kind", AUDIO_FORMATS)
def test_truncated_sound_is_found_at_any_cut(kind: str) -> None:
    data = sound(tone(2.0, 48_000), kind, 48_000)
    cuts = digest.generator("cuts", kind).integers(1, len(data), 200).tolist()
    found = []
    for cut in [*cuts, len(data) - 1, len(data) - 2]:
        with pytest.raises(MediaError) as refusal:
            heard(data[:cut])
        found.append(refusal.value.reason == "audio_truncated")
    assert np.mean(found) >= 0.95


def test_an_mp3_without_a_length_in_its_header_decodes_whole_with_any_tags() -> None:
    data = sound(tone(2.0, 44_100), "mp3", 44_100)
    whole = heard(data)
    first = data.index(data[:2], 4)
    bare = data[first:]
    assert abs(heard(bare).duration_s - whole.duration_s) < 0.1
    tag = b"ID3\x04\0\0\0\0\x02\0" + bytes(256)
    for tagged in (tag + data, data + b"TAG" + bytes(125), tag + data + b"APETAGEX" + bytes(80), data + bytes(400)):
        assert abs(heard(tagged).duration_s - whole.duration_s) < 0.1
    with pytest.raises(MediaError, match="audio_too_long"):
        decode_audio(data, max_bytes=MAX, max_duration_s=0.5)


@settings(max_examples=100, deadline=None)
@given(kind=st.sampled_from(sorted(AUDIO_FORMATS)), damage=st.integers(0, 10**9))
def test_damaged_sounds_raise_media_errors_only(kind: str, damage: int) -> None:
    rng = digest.generator("damage", kind, damage)
    data = bytearray(sound(tone(0.3, 48_000), kind, 48_000))
    for at in rng.integers(0, min(len(data), 100 if damage % 2 else len(data)), 1 + damage % 5):
        data[at] ^= 1 << int(rng.integers(8))
    with suppress(MediaError):
        assert np.isfinite(heard(bytes(data)).samples).all()


def test_values_beyond_full_scale_are_clipped() -> None:
    loud = sound(tone() * 8, "wav", subtype="FLOAT")
    assert np.abs(heard(loud).samples).max() == 1


def test_stored_sound_comes_back_unchanged() -> None:
    wave = heard(sound(tone(), "wav"))
    again = heard(encode_audio(wave))
    assert again.rate_hz == wave.rate_hz
    assert np.array_equal(again.samples, wave.samples)
    assert encode_audio(again) == encode_audio(wave)
    assert encode_image(picture(), 90) == encode_image(picture().copy(), 90)


@pytest.mark.parametrize("rate_hz", [8_000, 11_025, 22_050, 44_100, 44_101, 48_000, 96_000, 16_001])
def test_resampling_keeps_pitch_level_and_length(rate_hz: int) -> None:
    t = np.arange(rate_hz) / rate_hz
    found = resample(Waveform((0.5 * np.sin(2 * np.pi * 1_000 * t)).astype(np.float32), rate_hz), 16_000)
    assert abs(len(found.samples) - 16_000) <= 16
    spectrum = np.abs(np.fft.rfft(found.samples * np.hanning(len(found.samples))))
    assert abs(int(spectrum.argmax()) - 1_000) <= 1
    assert abs(np.abs(found.samples[2_000:-2_000]).max() - 0.5) < 0.01


@pytest.mark.parametrize("rate_hz", [1_000, 8_000, 11_025, 22_050, 44_100, 48_000, 96_000, 192_000])
@pytest.mark.parametrize("length", [1, 2, 17, 441, 20_000])
def test_resampling_is_torchaudios(rate_hz: int, length: int) -> None:
    import torch
    from torchaudio.functional import resample as reference

    samples = digest.generator("resample", length).uniform(-0.9, 0.9, length).astype(np.float32)
    for wanted_hz in (8_000, 16_000, 48_000):
        expected = reference(torch.from_numpy(samples), rate_hz, wanted_hz).clamp(-1, 1).numpy()
        found = resample(Waveform(samples, rate_hz), wanted_hz).samples
        assert found.shape == expected.shape
        # its kernels are computed from positions rounded to float32
        np.testing.assert_allclose(found, expected, atol=1e-4)


def test_resampling_in_blocks_gives_what_one_block_gives(monkeypatch: pytest.MonkeyPatch) -> None:
    for rate_hz in (8_000, 44_100, 48_000):
        wave = Waveform(tone(1.3, rate_hz), rate_hz)
        whole = resample(wave, 16_000).samples
        with monkeypatch.context() as patch:
            patch.setattr(media, "_RESAMPLE_BLOCK", 3_001)
            assert np.allclose(resample(wave, 16_000).samples, whole, atol=1e-6)


_GREEDY = """
import json, sys
from trichord.infra.config import PrepareConfig
from tests.transforms.samples import png, quiet_flac
from trichord.transforms.batch import Batch, Row
from trichord.transforms.chain import prepare_chain
from trichord.transforms.op import run_chain
from trichord.transforms.record import finish

config = PrepareConfig.model_validate({"audio": {"max_silence": None}})
times = int(sys.argv[1])
sounds = [quiet_flac(599, 48_000), quiet_flac(599, 8_000, 8)] + [quiet_flac(599)] * times + [quiet_flac(7_200)]
bombs = ([png(7_000, 7_000, 6, 8), png(20_000, 20_000, 0, 1)] * (times // 2) + [None] * 9)[: len(sounds)]
rows = tuple(Row(key=str(i), text="words") for i in range(len(sounds)))
after, _ = run_chain(Batch(rows=rows, raw_images=tuple(bombs)), prepare_chain(config))
finish(after, config)
after, _ = run_chain(Batch(rows=rows, raw_audios=tuple(sounds)), prepare_chain(config))
kept = finish(after, config).num_rows
peak = next(line for line in open("/proc/self/status") if line.startswith("VmHWM"))  # ru_maxrss counts the parent's
print(json.dumps({"kept": kept, "bytes": int(peak.split()[1]) * 1024}))
"""


@pytest.mark.parametrize("times", [2, pytest.param(5, marks=pytest.mark.full)])
def test_memory_stays_bounded_whatever_a_batch_declares(times: int) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _GREEDY, str(times)], capture_output=True, text=True, check=True, timeout=300
    )
    found = json.loads(done.stdout)
    assert found["kept"] == times + 2
    assert found["bytes"] < 1.5e9
