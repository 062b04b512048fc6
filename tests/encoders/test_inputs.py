"""Media handed to a model directly: paths, bytes and decoded media of the same content give the same vector."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
from PIL import Image

from trichord.encoders.heads import FeatureStats
from trichord.encoders.model import FusionModel, load_encoders
from trichord.infra.config import ModelConfig
from trichord.infra.digest import generator
from trichord.transforms.media import MediaError


@pytest.fixture(scope="module")
def model() -> FusionModel:
    config = ModelConfig(dimension=8, hidden=8)
    encoders = load_encoders(config)
    stats = {
        name: FeatureStats(np.zeros(width, np.float32), np.ones(width, np.float32))
        for name, width in encoders.dimensions.items()
    }
    return FusionModel.initial(config, encoders, stats, seed=1)


PIXELS = generator("inputs").integers(0, 256, (48, 64, 3), dtype=np.uint8)
SAMPLES = (0.3 * np.sin(np.arange(24_000) / 7)).astype(np.float32)


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "picture.png"
    Image.fromarray(PIXELS).save(path)
    return path


@pytest.fixture
def sound(tmp_path: Path) -> Path:
    path = tmp_path / "sound.wav"
    soundfile.write(path, SAMPLES, 48_000, subtype="FLOAT")
    return path


def test_one_input_gives_one_vector_and_a_sequence_gives_a_row_each(model, picture, sound):
    for encode, one in ((model.encode_text, "a dog"), (model.encode_image, picture), (model.encode_audio, sound)):
        vector_D, vectors_ND = encode(one), encode([one, one, one])
        assert (vector_D.shape, vectors_ND.shape) == ((8,), (3, 8))
        assert vector_D.dtype == np.float32
        assert np.linalg.norm(vector_D) == pytest.approx(1, abs=1e-5)
        assert (vectors_ND == vector_D).all()
        assert encode([]).shape == (0, 8)


def test_every_form_of_a_picture_gives_its_vector(model, picture):
    expected = model.encode_image(PIXELS)
    with Image.open(picture) as opened:
        forms = [picture, str(picture), picture.read_bytes(), opened, opened.convert("RGBA")]
        vectors = model.encode_image(forms)
    assert (vectors == expected).all()
    assert not np.allclose(model.encode_image(PIXELS[::-1] // 2), expected)


def test_a_pillow_picture_is_turned_and_flattened_as_its_file_is(model, tmp_path):
    turned, clear, ink = tmp_path / "turned.jpg", tmp_path / "clear.png", tmp_path / "ink.tif"
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(PIXELS).save(turned, exif=exif)
    Image.fromarray(np.dstack([PIXELS, PIXELS[:, :, :1]])).save(clear)
    Image.fromarray(PIXELS).convert("CMYK").save(ink)
    for path in (turned, clear, ink):
        with Image.open(path) as opened:
            assert (model.encode_image(opened) == model.encode_image(path)).all(), path


def test_every_form_of_a_sound_gives_its_vector(model, sound):
    expected = model.encode_audio((SAMPLES, 48_000))
    stereo = np.stack([SAMPLES, SAMPLES], axis=1)
    vectors = model.encode_audio([sound, str(sound), sound.read_bytes(), (SAMPLES, 48_000), (stereo, 48_000)])
    assert (vectors == expected).all()
    assert not np.allclose(model.encode_audio((SAMPLES, 16_000)), expected)


def test_what_is_no_input_is_refused_in_words(model, tmp_path):
    for wrong, why in ((" ", "not empty"), (3, "not empty")):
        with pytest.raises(ValueError, match=why):
            model.encode_text([wrong])
    for array in (PIXELS.astype(np.float32), PIXELS[:, :, 0], PIXELS[:0]):
        with pytest.raises(ValueError, match=r"uint8 \(H, W, 3\), not"):
            model.encode_image(array)
    for samples in (np.arange(9), np.zeros((2, 2, 2)), np.zeros(0)):
        with pytest.raises(ValueError, match=r"float32, \(T,\) or"):
            model.encode_audio((samples, 16_000))
    with pytest.raises(ValueError, match="not a sound"):
        model.encode_audio((SAMPLES, -1))
    with pytest.raises(ValueError, match="not of type int"):
        model.encode_image([3])
    with pytest.raises(OSError, match="missing"):
        model.encode_image(tmp_path / "missing.png")
    with pytest.raises(MediaError, match="image_format"):
        model.encode_image(b"no picture")
    with pytest.raises(MediaError, match="audio_nan"):
        model.encode_audio((SAMPLES * np.nan, 16_000))
