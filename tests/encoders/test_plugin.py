"""An encoder of the user's own: found, checked when it is named and each time it encodes."""

from __future__ import annotations

import importlib
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from trichord.encoders.base import Encoder
from trichord.encoders.frozen import load_encoders
from trichord.infra.config import ModelConfig
from trichord.infra.errors import ConfigError
from trichord.transforms.batch import Batch
from trichord.transforms.media import decode_audio, decode_image, resample

TFLITE = importlib.import_module("examples.encoders.tflite")  # as a plug-in is


def plugged(name: str, modality: str = "text", **options: Any) -> Encoder:
    given = {"kind": "plugin", "plugin": name, "options": options}
    return load_encoders(ModelConfig.model_validate({modality: given})).by_modality[modality]  # type: ignore[index]


def test_a_plug_in_is_given_its_options_and_stands_among_the_encoders():
    settings = {"text": {"kind": "plugin", "plugin": "tests.encoders.plugins:Lengths", "options": {"dimension": 4}}}
    encoders = load_encoders(ModelConfig.model_validate(settings))
    assert encoders.dimensions["text"] == 4
    assert encoders.fingerprint != load_encoders(ModelConfig()).fingerprint
    features = encoders.featurise(Batch.of(texts=["four", None], images=[None, None], waves=[None, None]))
    assert features.values["text"].tolist() == [[4, 4, 4, 4], [0, 0, 0, 0]]


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("", {}, "Name a class as module:Class"),
        ("tests.encoders.plugins", {}, "Name a class as module:Class"),
        ("tests.encoders.nowhere:Lengths", {}, "cannot be imported: No module named 'tests.encoders.nowhere'"),
        ("tests.encoders.plugins:Nothing", {}, "has no class 'Nothing'"),
        ("tests.encoders.plugins:not_a_class", {}, "has no class 'not_a_class'"),
        ("tests.encoders.plugins:Lengths", {"size": 3}, "refused its options {'size': 3}: TypeError"),
        ("tests.encoders.plugins:Pixels", {}, "reads 'image', but is set as model.text"),
        ("tests.encoders.plugins:Wide", {}, "has the dimension 2.0, which must be an int"),
        ("tests.encoders.plugins:Lengths", {"tokens": 0}, "has the tokens 0, which must be an int"),
        ("tests.encoders.plugins:Lengths", {"dimension": 5, "tokens": 2}, "5 values, which 2 tokens cannot share"),
        ("tests.encoders.plugins:Nameless", {}, "has no `fingerprint`"),
    ],
)
def test_a_plug_in_that_cannot_work_is_a_configuration_error(name, options, said):
    with pytest.raises(ConfigError) as caught:
        plugged(name, **options)
    assert said in str(caught.value)
    assert "model.text" in str(caught.value) or name in str(caught.value)


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("dtype", "gave float64 (2, 2) for 2 inputs, and not float32 (2, 2)"),
        ("shape", "gave float32 (2, 1)"),
        ("list", "gave list"),
        ("nan", "gave NaN or infinity"),
    ],
)
def test_features_of_another_type_or_shape_or_not_finite_are_refused(fault, said):
    encoder = plugged("tests.encoders.plugins:Lengths", fault=fault)
    with pytest.raises(ConfigError) as caught:
        encoder.encode(["a", "bc"])
    assert said in str(caught.value)


def test_the_patches_of_a_clip_follow_the_published_recipe():
    """YAMNet: a first patch of 0.96 s and one more each 0.48 s begun; a tone peaks in the mel band of its pitch."""
    for samples, patches in ((1, 1), (15_600, 1), (15_601, 2), (23_280, 2), (80_000, 10)):
        assert TFLITE.log_mel_patches(np.zeros(samples, np.float32)).shape == (patches, 96, 64)
    np.testing.assert_allclose(TFLITE.log_mel_patches(np.zeros(9, np.float32)), np.log(0.001), atol=1e-6)
    mel = 1127 * np.log(1 + np.array([125.0, 7_500.0]) / 700)
    centres = 700 * (np.exp(np.linspace(mel[0], mel[1], 66)[1:-1] / 1127) - 1)
    for band in (10, 30, 50):
        tone = np.sin(2 * np.pi * centres[band] * np.arange(16_000) / 16_000).astype(np.float32)
        assert TFLITE.log_mel_patches(tone)[0, 10:80].mean(axis=0).argmax() == band


def sample_rows(start: str) -> tuple[Path, list[dict[str, Any]]]:
    sample = Path(os.environ["TRICHORD_SAMPLE"])
    lines = (sample / "manifest.jsonl").read_text(encoding="utf-8").splitlines()
    return sample, [row for row in map(json.loads, lines) if row["id"].startswith(start)]


def weights(sample: Path, begin: str) -> str:
    return str(next((sample.parent / "weights").glob(f"{begin}*.tflite")))


@pytest.mark.sample
@pytest.mark.skipif("TRICHORD_SAMPLE" not in os.environ, reason="TRICHORD_SAMPLE names no folder")
def test_the_picture_model_of_a_user_reads_real_pictures():
    sample, rows = sample_rows("coco")
    path = weights(sample, "mobilenet")
    pictures = [
        decode_image((sample / row["image"]).read_bytes(), max_pixels=10**8, max_bytes=10**8) for row in rows[:12]
    ]
    encoder = plugged("examples.encoders.tflite:Pictures", "image", path=path)
    vectors = encoder.encode(pictures)
    assert (encoder.dimension, vectors.shape) == (1_024, (12, 1_024))
    assert vectors.std(axis=0).mean() > 0.1
    assert np.array_equal(encoder.encode(pictures[::-1])[::-1], vectors)
    assert np.array_equal(encoder.encode(pictures[3:4])[0], vectors[3])
    assert encoder.fingerprint == TFLITE.Pictures(path).fingerprint != TFLITE.Sounds(path).fingerprint


@pytest.mark.sample
@pytest.mark.skipif("TRICHORD_SAMPLE" not in os.environ, reason="TRICHORD_SAMPLE names no folder")
def test_the_sound_model_of_a_user_puts_real_sounds_of_one_class_together():
    sample, rows = sample_rows("esc")
    encoder = plugged("examples.encoders.tflite:Sounds", "audio", path=weights(sample, "yamnet"))
    waves = [decode_audio((sample / row["audio"]).read_bytes(), max_bytes=10**8, max_duration_s=60) for row in rows]
    clips = [resample(wave, 16_000).samples for wave in waves]
    vectors = encoder.encode(clips)
    assert vectors.shape == (len(rows), 521)
    assert np.array_equal(encoder.encode(clips[7:9]), vectors[7:9])
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    labels, folds = np.array([row["label"] for row in rows]), np.array([row["fold"] for row in rows])
    same, other_fold = labels[:, None] == labels, folds[:, None] != folds
    similarity = unit @ unit.T
    assert similarity[same & other_fold].mean() > similarity[~same & other_fold].mean() + 0.3
    nearest = np.where(other_fold, similarity, -1).argmax(axis=1)
    assert (labels[nearest] == labels).mean() > 0.7  # ten classes
