"""Words, picture and sound of a demo scene each carry its content."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trichord.infra.digest import generator, hash64
from trichord.pipelines.demo.captions import CAPTIONS, write_captions
from trichord.pipelines.demo.render import SIDES, render
from trichord.pipelines.demo.scenes import BACKGROUNDS, COLOURS, GRID, SHAPES, SIZES, Scene, draw_scene
from trichord.pipelines.demo.sonify import DURATION_S, PEAK, RATES_HZ, sonify

PROBED = 0.25  # difficulty of the scenes that the linear probes read
LEAST_SHARP = 80.0  # four times ImageConfig.min_sharpness
OTHERS = {
    "shape": SHAPES,
    "colour": tuple(COLOURS),
    "size": SIZES,
    "count": (1, 2, 3, 4),
    "position": tuple(range(GRID * GRID)),
}


def _scene(index: int, difficulty: float) -> Scene:
    return draw_scene(generator("test", index, "scene"), difficulty)


def _rng(index: int) -> np.random.Generator:
    return generator("test", index, "draw")


def _laplacian_variance(rgb: np.ndarray) -> float:
    """At canonical size: the longer side 256 px."""
    scale = 256 / max(rgb.shape[:2])
    size = (round(rgb.shape[1] * scale), round(rgb.shape[0] * scale))
    grey = cv2.cvtColor(cv2.resize(rgb, size, interpolation=cv2.INTER_AREA), cv2.COLOR_RGB2GRAY)
    return float(cv2.Laplacian(grey, cv2.CV_64F).var())


@settings(max_examples=60, deadline=None, derandomize=True)
@given(index=st.integers(0, 10_000), name=st.sampled_from([*OTHERS, "background"]), data=st.data())
def test_every_attribute_changes_words_picture_and_sound(index: int, name: str, data: st.DataObject) -> None:
    scene = _scene(index, 0.0)
    main = scene.groups[0]
    if name == "background":
        other = replace(scene, background=data.draw(st.sampled_from([b for b in BACKGROUNDS if b != scene.background])))
    else:
        value = data.draw(st.sampled_from([v for v in OTHERS[name] if v != getattr(main, name)]))
        changed: dict[str, Any] = {name: value}
        other = replace(scene, groups=(replace(main, **changed), *scene.groups[1:]))
    pairs = zip(write_captions(scene, _rng(index), 0.0), write_captions(other, _rng(index), 0.0), strict=True)
    assert all(ours != theirs for ours, theirs in pairs)
    shown, seen = render(scene, _rng(index), 0.0), render(other, _rng(index), 0.0)
    assert shown.shape == seen.shape
    assert (np.abs(shown.astype(int) - seen).max(axis=2) > 40).sum() > 50
    (played, rate), (heard, _) = sonify(scene, _rng(index), 0.0), sonify(other, _rng(index), 0.0)
    ours, theirs = (np.abs(np.fft.rfft(x.reshape(9, -1), axis=1)) for x in (_cut(played), _cut(heard)))
    assert (np.abs(ours - theirs).sum(axis=1) / ours.sum(axis=1)).max() > 0.1, rate


def _cut(samples: np.ndarray) -> np.ndarray:
    return samples[: len(samples) // 9 * 9]


@settings(max_examples=60, deadline=None, derandomize=True)
@given(index=st.integers(0, 10_000), difficulty=st.floats(0, 1))
def test_a_scene_is_within_bounds_in_every_modality(index: int, difficulty: float) -> None:
    scene = _scene(index, difficulty)
    assert 1 <= len(scene.groups) <= 4
    for attribute in ("shape", "colour", "position"):
        assert len({getattr(group, attribute) for group in scene.groups}) == len(scene.groups)
    assert len(set(write_captions(scene, _rng(index), difficulty))) == CAPTIONS
    image = render(scene, _rng(index), difficulty)
    assert image.dtype == np.uint8
    assert image.shape[2] == 3
    assert SIDES[0] <= min(image.shape[:2]) <= max(image.shape[:2]) <= SIDES[1]
    assert _laplacian_variance(image) > LEAST_SHARP
    samples, rate = sonify(scene, _rng(index), difficulty)
    assert samples.dtype == np.float32
    assert rate in RATES_HZ
    assert DURATION_S[0] - 0.001 <= len(samples) / rate <= DURATION_S[1]
    assert 0.4 < np.abs(samples).max() <= PEAK + 1e-6


def test_the_plain_captions_name_every_attribute() -> None:
    for index in range(50):
        scene = _scene(index, 0.0)
        for caption in write_captions(scene, _rng(index), 0.0):
            said = caption.lower()
            for group in scene.groups:
                assert group.colour in said
                assert group.shape in said
                assert group.size in said
            assert scene.background in said


def test_hard_captions_say_less_in_other_words() -> None:
    plain, hard = (
        [
            word
            for i in range(100)
            for text in write_captions(_scene(i, 0.5), _rng(i), difficulty)
            for word in text.split()
        ]
        for difficulty in (0.0, 1.0)
    )
    assert len(set(hard)) > 1.3 * len(set(plain))
    assert len(hard) < 0.8 * len(plain)


@pytest.fixture(scope="module", params=[600, pytest.param(1_200, marks=pytest.mark.full)])
def features(request: pytest.FixtureRequest) -> tuple[list[Scene], dict[str, np.ndarray]]:
    """Scenes and one simple generic feature vector of each in every modality."""
    scenes = [_scene(i, PROBED) for i in range(request.param)]
    words, pictures, sounds = [], [], []
    for i, scene in enumerate(scenes):
        words.append(_word_features(write_captions(scene, _rng(i), PROBED)[0]))
        pictures.append(_picture_features(render(scene, _rng(i), PROBED)))
        sounds.append(_sound_features(*sonify(scene, _rng(i), PROBED)))
    return scenes, {"text": np.array(words), "image": np.array(pictures), "audio": np.array(sounds)}


@pytest.mark.parametrize("modality", ["text", "image", "audio"])
@pytest.mark.parametrize(("attribute", "times_chance"), [("colour", 3.0), ("shape", 2.0), ("position", 2.0)])
def test_a_linear_probe_reads_the_main_group_from_each_modality(
    features: tuple[list[Scene], dict[str, np.ndarray]], modality: str, attribute: str, times_chance: float
) -> None:
    scenes, by_modality = features
    truth = np.array([str(getattr(scene.groups[0], attribute)) for scene in scenes])
    x, split = by_modality[modality], len(scenes) * 3 // 4
    x = (x - x[:split].mean(0)) / (x[:split].std(0) + 1e-3)
    classes, y = np.unique(truth, return_inverse=True)
    kernel = x[:split] @ x[:split].T + 300 * np.eye(split)
    weights = x[:split].T @ np.linalg.solve(kernel, np.eye(len(classes))[y[:split]] - 1 / len(classes))
    accuracy = float(np.mean(np.argmax(x[split:] @ weights, axis=1) == y[split:]))
    chance = max(np.mean(y[split:] == c) for c in range(len(classes)))
    assert accuracy > times_chance * chance, (accuracy, chance)


def _word_features(text: str) -> np.ndarray:
    words = text.lower().replace(",", " ").replace(".", " ").replace(";", " ").split()
    counts = np.zeros(512)
    for token in [*words, *map("_".join, pairwise(words))]:
        counts[hash64(token) % len(counts)] += 1
    return counts


def _picture_features(rgb: np.ndarray) -> np.ndarray:
    """Colours on a 4 x 4 grid, gradient directions of the whole and on a 3 x 3 grid."""
    hsv = cv2.cvtColor(cv2.resize(rgb, (96, 96), interpolation=cv2.INTER_AREA), cv2.COLOR_RGB2HSV)
    cells = hsv.reshape(4, 24, 4, 24, 3).swapaxes(1, 2).reshape(16, 24, 24, 3)
    bins, ranges = [12, 2, 3], [0, 180, 0, 256, 0, 256]
    colours = np.array([cv2.calcHist([cell], [0, 1, 2], None, bins, ranges).ravel() for cell in cells])
    grey = cv2.GaussianBlur(cv2.cvtColor(cv2.resize(rgb, (192, 192)), cv2.COLOR_RGB2GRAY), (0, 0), 1.5)
    x, y = cv2.Sobel(grey, cv2.CV_32F, 1, 0), cv2.Sobel(grey, cv2.CV_32F, 0, 1)
    length, turn = np.hypot(x, y), np.arctan2(y, x) % (2 * np.pi)
    length[length < 30] = 0
    edges = [
        np.histogram(turn[r : r + 64, c : c + 64], 24, (0, 2 * np.pi), weights=length[r : r + 64, c : c + 64])[0]
        for r in (0, 64, 128)
        for c in (0, 64, 128)
    ]
    return np.sqrt(np.concatenate([*colours, colours.sum(0), *edges, np.sum(edges, axis=0)]))


def _sound_features(samples: np.ndarray, rate_hz: int) -> np.ndarray:
    """Log energies of 48 bands (100 to 7,800 Hz, geometric) over 12 segments, and their mean."""
    edges = np.geomspace(100, 7_800, 49)
    segments = []
    for part in np.array_split(samples, 12):
        power = np.abs(np.fft.rfft(part * np.hanning(len(part)))) ** 2
        hz = np.fft.rfftfreq(len(part), 1 / rate_hz)
        bands = np.searchsorted(edges, hz) - 1
        inside = (bands >= 0) & (bands < 48)
        segments.append(np.log(np.bincount(bands[inside], power[inside], 48) + 1e-1))
    return np.concatenate([*segments, np.mean(segments, axis=0)])
