"""Weight-free features: known answers, equal bits everywhere, and an answer to every odd input."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tracemalloc

import numpy as np
import pytest

from trichord.encoders.features import HashedNgrams, ImageStatistics, LogMelStatistics
from trichord.encoders.frozen import load_encoders
from trichord.encoders.spectrum import log_mel
from trichord.infra.config import ModelConfig
from trichord.infra.digest import generator
from trichord.transforms.batch import Batch, Waveform

RATE = 16_000
DIGEST = """
import hashlib, sys
import cv2
from trichord.encoders.features import HashedNgrams, ImageStatistics, LogMelStatistics
from trichord.infra.digest import generator
cv2.setNumThreads(int(sys.argv[1]))
rng = generator("features")
pictures = [rng.integers(0, 256, (90, 140, 3), dtype="uint8") for _ in range(3)]
clips = [(rng.normal(size=9000) * 0.1).astype("float32") for _ in range(3)]
parts = HashedNgrams().encode(["Two red circles", "ein Hund", "红色的圆形"]), ImageStatistics().encode(pictures)
parts += (LogMelStatistics().encode(clips),)
assert "torch" not in sys.modules
print(hashlib.sha256(b"".join(part.tobytes() for part in parts)).hexdigest())
"""


def tone(hertz: float, seconds: float = 1.0, loudness: float = 0.3) -> np.ndarray:
    return (loudness * np.sin(2 * np.pi * hertz * np.arange(int(seconds * RATE)) / RATE)).astype(np.float32)


def patch(row: int, column: int, colour: tuple[int, int, int] = (220, 30, 30)) -> np.ndarray:
    picture = np.full((120, 120, 3), 240, np.uint8)
    picture[row * 40 + 8 : row * 40 + 32, column * 40 + 8 : column * 40 + 32] = colour
    return picture


def cosine(left: np.ndarray, right: np.ndarray) -> float:
    return float(left @ right / (np.linalg.norm(left) * np.linalg.norm(right)))


def test_features_have_equal_bits_in_every_process_and_with_any_number_of_threads():
    found = set()
    for threads in ("1", "2"):
        environment = {"OMP_NUM_THREADS": threads, "OPENBLAS_NUM_THREADS": threads, "PYTHONHASHSEED": threads}
        command = [sys.executable, "-c", DIGEST, threads]
        run = subprocess.run(command, capture_output=True, text=True, check=True, env=environment | {"PATH": ""})
        found.add(run.stdout)
    rng = generator("features")
    pictures = [rng.integers(0, 256, (90, 140, 3), dtype=np.uint8) for _ in range(3)]
    clips = [(rng.normal(size=9_000) * 0.1).astype(np.float32) for _ in range(3)]
    alone = [HashedNgrams().encode([text]) for text in ("Two red circles", "ein Hund", "红色的圆形")]
    alone += [ImageStatistics().encode([picture]) for picture in pictures]
    alone += [LogMelStatistics().encode([clip]) for clip in clips]  # one by one: neighbours do not matter either
    found.add(hashlib.sha256(b"".join(part.tobytes() for part in alone)).hexdigest() + "\n")
    assert len(found) == 1


def test_words_count_and_their_order_but_not_case_or_punctuation():
    texts = ["A red circle on a blue square", "a RED circle -- on a blue, square!", "a blue circle on a red square"]
    plain, loud, swapped, other = HashedNgrams().encode([*texts, "Katze"])
    assert np.array_equal(plain, loud)
    assert 0.5 < cosine(plain, swapped) < 0.99
    assert cosine(plain, other) < 0.2
    np.testing.assert_allclose(np.linalg.norm(plain.reshape(2, -1), axis=1), 1, atol=1e-6)
    assert not HashedNgrams().encode(["", "?!"]).any()


@pytest.mark.parametrize("letter", ["a", "я"])
def test_texts_without_blanks_are_not_kept(letter: str) -> None:
    encoder = HashedNgrams()
    encoder.encode([letter])
    tracemalloc.start()
    for number in range(5):
        encoder.encode([letter * (10_000 + number)])
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert kept < 100_000


def test_a_patch_is_found_in_its_place_and_in_its_colour():
    start = 8 * 8 * 3 + 30  # after the thumbnail and the whole picture's colours
    for place in range(9):
        vector = ImageStatistics().encode([patch(place // 3, place % 3)])[0]
        shares = vector[start : start + 9 * 30].reshape(9, 30) ** 2
        np.testing.assert_allclose(shares.sum(axis=1), 1, atol=1e-5)
        assert shares[:, 0:2].sum(axis=1).argmax() == place  # red is the first hue, dark and light
    red, again, blue = ImageStatistics().encode([patch(0, 0), patch(0, 0, (214, 36, 30)), patch(0, 0, (30, 30, 220))])
    assert cosine(red, again) > cosine(red, blue)


def test_a_tone_peaks_in_the_band_of_its_pitch_and_in_its_part_of_time():
    peaks = [int(log_mel(tone(hertz), 2_048, 1_024, 96).mean(axis=1).argmax()) for hertz in (110, 220, 440, 880, 1_760)]
    assert peaks == sorted(set(peaks))
    for part in (0, 11, 23):
        clip = np.full(24 * 1_600, 1e-5, np.float32)
        clip[part * 1_600 : (part + 1) * 1_600] = tone(1_000, 0.1)
        by_part = LogMelStatistics().encode([clip])[0, -33 * 24 :].reshape(33, 24)
        assert by_part[:32].max(axis=0).argmax() == part


def test_loudness_changes_nothing_but_the_loudness_value():
    quiet, loud = LogMelStatistics().encode([tone(500, loudness=0.05), tone(500, loudness=0.5)])
    loudness = 3 * 64 + 96
    assert loud[loudness] - quiet[loudness] == pytest.approx(np.log(10), abs=0.02)
    np.testing.assert_allclose(np.delete(quiet, loudness), np.delete(loud, loudness), atol=1e-3)


def test_the_smallest_and_emptiest_inputs_have_finite_features():
    pictures = [np.zeros((1, 1, 3), np.uint8), np.full((3, 900, 3), 255, np.uint8)]
    clips = [np.zeros(1, np.float32), np.zeros(5_000, np.float32), tone(50, 0.01)]
    assert np.isfinite(ImageStatistics().encode(pictures)).all()
    assert np.isfinite(LogMelStatistics().encode(clips)).all()
    for encoder in (HashedNgrams(), ImageStatistics(), LogMelStatistics()):
        assert encoder.encode([]).shape == (0, encoder.dimension)


def test_inputs_of_another_type_are_refused():
    for picture in (np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3), np.float32), np.zeros((0, 4, 3), np.uint8)):
        with pytest.raises(ValueError, match="picture"):
            ImageStatistics().encode([picture])
    for clip in (np.zeros(9), np.zeros((2, 9), np.float32), np.zeros(0, np.float32), np.full(9, np.nan, np.float32)):
        with pytest.raises(ValueError, match="clip"):
            LogMelStatistics().encode([clip])
    with pytest.raises(ValueError, match="even"):
        HashedNgrams(7)


def test_a_batch_becomes_features_with_what_is_missing_marked():
    encoders = load_encoders(ModelConfig())
    batch = Batch.of(
        texts=["red", None, ""],
        images=[None, patch(1, 1), None],
        waves=[Waveform(tone(440), RATE), Waveform(np.repeat(tone(440), 2), 2 * RATE), None],
    )
    features = encoders.featurise(batch)
    assert features.present.tolist() == [[True, False, True], [False, True, True], [False, False, False]]
    assert {name: values.shape for name, values in features.values.items()} == {
        name: (3, width) for name, width in encoders.dimensions.items()
    }
    mean_bands = features.values["audio"][:2, :20]  # resampled to 16 kHz: the same tone
    np.testing.assert_allclose(mean_bands[0], mean_bands[1], atol=0.5)
