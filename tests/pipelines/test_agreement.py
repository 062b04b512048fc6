"""Agreement: records whose picture was exchanged are found, left out on demand, and explained."""

from __future__ import annotations

import numpy as np
import pytest

from infra.lake.shard import ShardRef
from pipelines.agreement import BINS, Calibration, calibrate
from pipelines.demo.corpus import read_labels
from pipelines.explain import explain
from pipelines.maintain import verify
from pipelines.reindex import reindex
from tests.pipelines.lakes import SETTINGS, workspace_of, write_project

AGREEMENT = {"check": "drop", "folds": 2, "min_pairs": 50, "modalities": ["image"], "false_accept_rate": 0.3}


@pytest.fixture(scope="module")
def judged(tmp_path_factory):
    folder = tmp_path_factory.mktemp("agreement")
    settings = {
        **SETTINGS,
        "prepare": {"rows_per_split": 200, "audio": {"vad": False}},
        "train": {"epochs": 12, "batch_size": 64, "held_out": 0.1},
        "index": {"rows_per_shard": 200},
        "agreement": AGREEMENT,
    }
    project = write_project(folder, records=500, settings=settings, defects={"swapped_pair": 0.06})
    return project, reindex(workspace_of(project))


def test_exchanged_pictures_are_found_by_models_that_never_saw_them(judged):
    project, summary = judged
    swapped = {label["key"] for label in read_labels(project.parent / "corpus") if label["defects"]}
    workspace = workspace_of(project)
    found = {key for key in swapped if explain(workspace, key)["outcome"] == "disagrees"}
    assert len(swapped) >= 10
    # few records and few epochs: by chance less than a tenth of the 500 would be among them
    assert len(found) / len(swapped) > 0.5
    assert summary["disagreements"] < 100


def test_what_is_left_out_is_counted_and_explained(judged):
    project, summary = judged
    assert summary["publication"]
    assert summary["rows_disagreeing"] == summary["disagreements"] > 0
    assert (
        summary["rows_in"]
        == summary["rows_kept"] + summary["rows_rejected"] + summary["rows_duplicate"] + summary["rows_disagreeing"]
    )
    assert verify(workspace_of(project))["publications"] == 1
    again = reindex(workspace_of(project))
    assert again["unchanged"]


def test_another_rate_is_another_answer_and_costs_no_training(judged):
    project, summary = judged
    stricter = reindex(workspace_of(project, "agreement.false_accept_rate=0.6"))
    assert stricter["disagreements"] < summary["disagreements"]
    made = {touched["table"]: touched["made"] for touched in stricter["touched"]}
    assert made["agreement"] == ()


def test_the_rate_of_a_cosine_is_the_share_of_wrong_pairs_that_reach_it():
    counts = np.zeros(BINS, np.int64)
    counts[BINS // 2] = 75  # cosine 0
    counts[int(0.75 * BINS)] = 25  # cosine 0.5
    calibration = Calibration(histograms={"0/image|text": counts}, min_pairs=100)
    assert calibration.false_accept_rate("0/image|text", -0.5) == 1
    assert calibration.false_accept_rate("0/image|text", 0.25) == 0.25
    assert calibration.false_accept_rate("0/image|text", 0.75) == 0
    assert calibration.false_accept_rate("1/image|text", 0.75) is None
    few = Calibration(histograms={"0/image|text": counts}, min_pairs=101)
    assert few.false_accept_rate("0/image|text", 0.75) is None


def test_histograms_of_shards_add_up():
    def shard(counts: dict[str, int]) -> ShardRef:
        return ShardRef(address="a", table="agreement", path="p", rows=1, bytes=1, sha256="s", counts=counts)

    both = calibrate([shard({"0/image|text/3": 2}), shard({"0/image|text/3": 1, "0/text|audio/7": 4})], 1)
    assert both.histograms["0/image|text"][3] == 3
    assert both.histograms["0/text|audio"][7] == 4
