"""Agreement: records whose picture was exchanged are found, left out on demand, and explained."""

from __future__ import annotations

import numpy as np
import pytest

from tests.encoders.planted import ENCODERS, MODEL, planted, without
from tests.pipelines.lakes import SETTINGS, workspace_of, write_project
from trichord.encoders.heads import FeatureStats
from trichord.encoders.model import FusionModel
from trichord.encoders.views import MODALITIES, Features
from trichord.infra.lake.shard import ShardRef
from trichord.pipelines.demo.corpus import read_labels
from trichord.pipelines.model.pair_agreement import BINS, HIGHEST, LOWEST, Calibration, calibrate, fuse, symmetric_norm
from trichord.pipelines.publish.explain import explain
from trichord.pipelines.publish.verify import verify
from trichord.pipelines.reindex import reindex

pytestmark = pytest.mark.xdist_group("agreement")  # one worker trains for all
AGREEMENT = {"check": "drop", "folds": 2, "min_pairs": 50, "modalities": ["image"], "false_accept_rate": 0.3}


@pytest.fixture(scope="module")
def judged(tmp_path_factory):
    folder = tmp_path_factory.mktemp("agreement")
    settings = {
        **SETTINGS,
        "prepare": {"rows_per_partition": 200, "audio": {"vad": False}},
        "train": {"epochs": 12, "batch_size": 64, "validation": 0.0, "test": 0.05},
        "index": {"rows_per_shard": 200},
        "agreement": AGREEMENT,
    }
    project = write_project(folder, records=500, settings=settings, defects={"swapped_pair": 0.06})
    return project, reindex(workspace_of(project))


@pytest.mark.full
def test_exchanged_pictures_are_found_by_models_that_never_saw_them(judged):
    project, summary = judged
    swapped = {label["key"] for label in read_labels(project.parent / "corpus") if label["defects"]}
    workspace = workspace_of(project)
    found = {key for key in swapped if explain(workspace, key).outcome == "disagrees"}
    assert len(swapped) >= 10
    # few records and few epochs: by chance less than a tenth of the 500 would be among them
    assert len(found) / len(swapped) > 0.5
    assert summary.counts.disagreements < 100


@pytest.mark.full
def test_what_is_left_out_is_counted_and_explained(judged):
    project, summary = judged
    assert summary.publication
    assert summary.counts.rows_disagreeing == summary.counts.disagreements > 0
    assert (
        summary.counts.rows_in
        == summary.counts.rows_kept
        + summary.counts.rows_rejected
        + summary.counts.rows_duplicate
        + summary.counts.rows_disagreeing
    )
    assert verify(workspace_of(project)).publications == 1
    again = reindex(workspace_of(project))
    assert again.unchanged


@pytest.mark.full
def test_another_rate_is_another_answer_and_costs_no_training(judged):
    project, summary = judged
    stricter = reindex(workspace_of(project, "agreement.false_accept_rate=0.6"))
    assert stricter.counts.disagreements < summary.counts.disagreements
    made = {touched.table: touched.made for touched in stricter.touched}
    assert made["agreement"] == ()


def test_the_rate_of_a_score_is_the_share_of_wrong_pairs_that_reach_it():
    counts = np.zeros(BINS, np.int64)
    counts[int((0 - LOWEST) / (HIGHEST - LOWEST) * BINS)] = 75
    counts[int((2 - LOWEST) / (HIGHEST - LOWEST) * BINS)] = 25
    calibration = Calibration(histograms={"image|text": counts}, min_pairs=100)
    assert calibration.false_accept_rate("image|text", -2.0) == 1
    assert calibration.false_accept_rate("image|text", 1.0) == 0.25
    assert calibration.false_accept_rate("image|text", 3.0) == 0
    assert calibration.false_accept_rate("image|text", 99.0) == 0
    assert calibration.false_accept_rate("image|audio", 1.0) is None
    few = Calibration(histograms={"image|text": counts}, min_pairs=101)
    assert few.false_accept_rate("image|text", 1.0) is None


def test_a_score_counts_deviations_from_wrong_pairs_of_either_side():
    wrong = ~np.eye(3, dtype=bool)
    cosines = np.array([[0.9, 0.1, 0.3], [0.2, 0.9, 0.4], [0.6, 0.0, 0.9]])
    scores = symmetric_norm(cosines, wrong)
    # row 0: wrong pairs 0.1 and 0.3, so 0.9 is 7 deviations above; column 0: 0.2 and 0.6, so 2.5 above
    assert scores[0, 0] == pytest.approx((7 + 2.5) / 2)
    # the wrong pair (0, 1) is 1 below its row's mean, and 1 above its column's (0.1 and 0.0)
    assert scores[0, 1] == pytest.approx(0)


def test_what_is_near_everything_gains_nothing_by_it():
    rng = np.random.default_rng(3)
    wrong = ~np.eye(40, dtype=bool)
    cosines = rng.uniform(-0.2, 0.2, (40, 40)) + 0.7 * np.eye(40)
    raised = cosines.copy()
    raised[5] = 0.5 * raised[5] + 0.4
    assert raised[5, 7] > 0.3 > np.delete(raised[:, 7], [5, 7]).max(), "a wrong pair of row 5 stands out by its cosine"
    plain, normalised = symmetric_norm(cosines, wrong), symmetric_norm(raised, wrong)
    assert normalised[5, 5] == pytest.approx(plain[5, 5], abs=0.2)
    assert normalised[5, 7] < 2 < 5 < normalised[7, 7]


def test_pairs_of_one_group_are_no_wrong_pairs():
    wrong = np.array([[False, False, True], [False, False, True], [True, True, False]])
    cosines = np.array([[0.9, 0.8, 0.1], [0.8, 0.9, 0.1], [0.1, 0.1, 0.9]])
    changed = cosines.copy()
    changed[0, 1] = -0.8
    assert symmetric_norm(changed, wrong)[0, 0] == symmetric_norm(cosines, wrong)[0, 0]
    assert np.isfinite(symmetric_norm(cosines, wrong)).all(), "wrong pairs without any spread"


def test_every_wording_of_a_text_says_as_much_as_the_first():
    features = planted(6, 0, captions=1)
    swapped = Features(
        values={**features.values, "text": features.captions},
        present=features.present,
        captions=features.values["text"],
        offsets=features.offsets,
    )
    stats = {name: FeatureStats(np.zeros(24, np.float32), np.ones(24, np.float32)) for name in MODALITIES}
    model = FusionModel.initial(MODEL, ENCODERS, stats, seed=0)
    both = fuse(model, features, ["text", "audio"])
    np.testing.assert_allclose(fuse(model, swapped, ["text", "audio"]), both, atol=1e-6)
    first = model.embed(features, ["text", "audio"])[0]
    assert not np.allclose(first, both, atol=0.01)
    assert np.array_equal(fuse(model, features, ["image", "audio"]), model.embed(features, ["image", "audio"])[0])
    alone = without(features, np.zeros((6, 3), bool), captions=False)
    assert np.array_equal(fuse(model, alone, ["text", "audio"]), first)


def test_histograms_of_shards_add_up():
    def shard(counts: dict[str, int]) -> ShardRef:
        return ShardRef(address="a", table="agreement", path="p", rows=1, bytes=1, sha256="s", counts=counts)

    both = calibrate([shard({"image|text/3": 2}), shard({"image|text/3": 1, "text|audio/7": 4})], 1)
    assert both.histograms["image|text"][3] == 3
    assert both.histograms["text|audio"][7] == 4
