"""Calibrated scores are comparable between pairs of modalities, and part of what a model is."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trichord.encoders.calibration import LEAST_PAIRS, Calibration, Labelled, Line, fit, wrong_cosines
from trichord.encoders.heads import FeatureStats
from trichord.encoders.model import FusionModel, load_encoders
from trichord.infra.config import ModelConfig
from trichord.infra.digest import generator
from trichord.infra.errors import FingerprintMismatch, StorageError

FINITE = st.floats(allow_nan=False, allow_infinity=False)
LINES = st.builds(Line, scale=FINITE.filter(lambda value: value > 0), offset=FINITE)
NAMES = st.sampled_from(["text", "image", "audio", "text+image", "fused"])


def cluster(rows: int, pull: float, *name: str, dimension: int = 32) -> Labelled:
    """Vectors around one direction: the stronger the pull, the higher every cosine."""
    vectors = generator("calibrated", *name).normal(size=(rows, dimension)) + pull * np.eye(dimension)[0]
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return Labelled(vectors=vectors.astype(np.float32), labels=np.arange(rows))


QUERIES = {"text": cluster(300, 6.0, "asking")}
VIEWS = {"text": cluster(300, 6.0, "text"), "image": cluster(300, 0.5, "image"), "audio": cluster(200, -3.0, "audio")}


def test_a_score_of_two_is_reached_by_one_wrong_item_in_a_hundred_in_every_view():
    calibration = fit(QUERIES, VIEWS)
    others = {"text": cluster(600, 6.0, "text2"), "image": cluster(600, 0.5, "image2"),
              "audio": cluster(600, -3.0, "audio2")}  # fmt: skip
    cosines = {view: (QUERIES["text"].vectors @ items.vectors.T).ravel() for view, items in others.items()}
    assert np.median(cosines["text"]) > np.median(cosines["image"]) + 0.3  # by cosine texts come first
    for view, found in cosines.items():
        line = calibration.lines["text", view]
        for score in (1.5, 2.0):
            share = (line.scale * found + line.offset >= score).mean()
            assert share == pytest.approx(10**-score, rel=0.4), (view, score)


def test_a_model_is_named_by_its_calibration_too_and_keeps_it_bit_by_bit(tmp_path):
    config = ModelConfig(dimension=8, hidden=8)
    encoders = load_encoders(config)
    stats = {name: FeatureStats(np.zeros(width, np.float32), np.ones(width, np.float32))
             for name, width in encoders.dimensions.items()}  # fmt: skip
    bare = FusionModel.initial(config, encoders, stats, seed=1)
    model = bare.calibrated(Calibration(lines={("text", "image"): Line(scale=0.1 + 0.2, offset=-1 / 3)}))
    other = bare.calibrated(Calibration(lines={("text", "image"): Line(scale=0.1 + 0.2, offset=-0.333333)}))
    assert len({bare.fingerprint, model.fingerprint, other.fingerprint}) == 3
    model.save(str(tmp_path))
    loaded = FusionModel.load(str(tmp_path))
    assert (loaded.calibration, loaded.fingerprint) == (model.calibration, model.fingerprint)
    stored = json.loads((tmp_path / "model.json").read_bytes())
    assert other.calibration is not None
    for lines, refusal in ((other.calibration.to_json(), FingerprintMismatch), (None, FingerprintMismatch),
                           ({"text": {"image": [0.0, 1.0]}}, StorageError), (["text"], StorageError)):  # fmt: skip
        (tmp_path / "model.json").write_text(json.dumps(stored | {"calibration": lines}), encoding="utf-8")
        with pytest.raises(refusal):
            FusionModel.load(str(tmp_path))


@given(st.dictionaries(st.tuples(NAMES, NAMES), LINES))
def test_a_calibration_comes_back_from_json_bit_by_bit(lines):
    calibration = Calibration(lines=lines)
    assert Calibration.from_json(json.loads(json.dumps(calibration.to_json()))) == calibration


def test_the_same_vectors_give_the_same_bits_and_one_moved_vector_others():
    told = fit(QUERIES, VIEWS).to_json()
    assert fit(dict(QUERIES), dict(reversed(VIEWS.items()))).to_json() == told
    moved = VIEWS["image"].vectors.copy()
    moved[[0, 1]] = moved[[1, 0]]
    other = fit(QUERIES, VIEWS | {"image": Labelled(vectors=moved, labels=VIEWS["image"].labels)}).to_json()
    assert other["text"]["image"] != told["text"]["image"]
    assert other["text"]["text"] == told["text"]["text"]


def test_only_pairs_of_different_labels_are_drawn():
    vectors = np.eye(40, dtype=np.float32)
    alike = Labelled(vectors=vectors, labels=np.arange(40) // 2)
    assert not wrong_cosines(alike, alike, "x").any()  # the only cosines above 0 are of a record with itself
    twins = Labelled(vectors=np.repeat(vectors[:20], 2, axis=0), labels=np.arange(40) // 2)
    assert not wrong_cosines(twins, twins, "x").any()  # or with its twin
    assert wrong_cosines(twins, Labelled(vectors=twins.vectors, labels=np.arange(40)), "x").any()


@pytest.mark.parametrize(("rows", "fitted"), [(0, False), (1, False), (10, False), (11, True)])
def test_too_few_pairs_give_no_line(rows, fitted):
    assert (rows * (rows - 1) >= LEAST_PAIRS) == fitted
    few = cluster(rows, 1.0, "few")
    assert (("text", "image") in fit({"text": few}, {"image": few}).lines) == fitted


def test_a_collapsed_space_gives_no_line():
    same = Labelled(vectors=np.tile(np.eye(8, dtype=np.float32)[:1], (50, 1)), labels=np.arange(50))
    assert not fit({"text": same}, {"image": same}).lines


@pytest.mark.parametrize(("scale", "offset"), [(0.0, 0.0), (-1.0, 0.0), (math.nan, 0.0), (1.0, math.inf)])
def test_a_line_that_would_reorder_a_view_is_refused(scale, offset):
    with pytest.raises(ValueError, match="not a line"):
        Line(scale=scale, offset=offset)
