"""Training: it learns what was planted, resumes bit for bit, and its memory does not grow with the rows."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.encoders.planted import ENCODERS, MODEL, planted, without
from trichord.encoders.adamw import AdamW
from trichord.encoders.checkpoint import NAME
from trichord.encoders.data import Part, TrainingData
from trichord.encoders.disk_matrix import DiskMatrix
from trichord.encoders.model import FusionModel
from trichord.encoders.train import train
from trichord.encoders.views import Features
from trichord.infra.config import TrainConfig
from trichord.infra.digest import generator

CONFIG = TrainConfig(epochs=6, batch_size=64, learning_rate=5e-3, threads=1)
KILLED = """
import os, signal, sys
from tests.encoders.test_train import fitted
def kill(entry):
    if entry["epoch"] == 3:
        os.kill(os.getpid(), signal.SIGKILL)
fitted(sys.argv[1], sys.argv[2], log=kill)
"""


class KilledError(Exception):
    """Stands for a death between two epochs."""


def recall_at_1(model: FusionModel, features: Features, query: str, gallery: str) -> float:
    queries, items = model.embed(features, query)[0], model.embed(features, gallery)[0]
    return float(((queries @ items.T).argmax(axis=1) == np.arange(len(items))).mean())


def held_out_score(model: FusionModel) -> float:
    return recall_at_1(model, planted(60, 99), "text", "image")


def write(folder: Path | str) -> TrainingData:
    return TrainingData.write(str(folder), [Part(features=planted(100, seed)) for seed in (1, 2)])


def fitted(data: str, checkpoint: str | None, config: TrainConfig = CONFIG, log=lambda entry: None, **settings: Any):
    given: dict[str, Any] = {"score": held_out_score, "checkpoint_s": 0} | settings
    return train(TrainingData(data), ENCODERS, MODEL, config, checkpoint=checkpoint, log=log, **given)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> str:
    return write(tmp_path_factory.mktemp("training") / "data").folder


@pytest.mark.parametrize("loss", ["mixed_gallery_infonce", "infonce"])
def test_training_finds_what_was_planted_in_all_six_directions(data, loss):
    model, history = fitted(data, None, CONFIG.model_copy(update={"loss": loss, "epochs": 40, "patience": 40}))
    unseen = planted(100, 7)
    for query in ("text", "image", "audio"):
        for gallery in {"text", "image", "audio"} - {query}:
            assert recall_at_1(model, unseen, query, gallery) > 0.6
    assert max(entry["score"] for entry in history) > 5 * history[0]["score"]
    assert history[0]["records"] == 200


def test_the_best_epoch_is_kept_and_training_stops_when_it_no_longer_improves(data):
    scores = iter([0.1, 0.2, 0.9, 0.3, 0.9, 0.2, 0.1, 0.1, 0.1])
    seen: list[str] = []

    def score(model: FusionModel) -> float:
        seen.append(model.fingerprint)
        return next(scores)

    config = CONFIG.model_copy(update={"epochs": 9, "patience": 3})
    model, history = fitted(data, None, config, score=score)
    assert [entry["epoch"] for entry in history] == [0, 1, 2, 3, 4, 5]
    assert model.fingerprint == seen[2]


def test_a_run_killed_after_any_epoch_resumes_bit_for_bit(data, tmp_path):
    whole, history = fitted(data, None)
    checkpoint = str(tmp_path / "resumed")
    for death in (1, 2, 5):

        def die(entry, death=death):
            if entry["epoch"] == death:
                raise KilledError

        with pytest.raises(KilledError):
            fitted(data, checkpoint, log=die)
        assert [name for name in os.listdir(checkpoint) if name != NAME] == []
    logged: list[int] = []
    resumed, story = fitted(data, checkpoint, log=lambda entry: logged.append(entry["epoch"]))
    assert resumed.fingerprint == whole.fingerprint
    assert json.dumps(story) == json.dumps(history)
    assert logged == list(range(7))


def test_checkpoints_are_written_by_time_and_a_run_killed_between_two_resumes_from_the_earlier(
    data, tmp_path, monkeypatch
):
    whole, history = fitted(data, None)
    checkpoint, clock = tmp_path / "timed", [0.0]
    monkeypatch.setattr("trichord.encoders.train.monotonic", lambda: clock[0])
    written: list[int] = []

    def log(entry, death=4):
        clock[0] += 20  # an epoch
        written.append((checkpoint / NAME).stat().st_mtime_ns if checkpoint.exists() else 0)
        if entry["epoch"] == death:
            raise KilledError

    with pytest.raises(KilledError):
        fitted(data, str(checkpoint), log=log, checkpoint_s=30)
    assert written[:2] == [0, 0]
    assert len(set(written)) - 1 == 2  # checkpoints of 80 s
    resumed, story = fitted(data, str(checkpoint), log=lambda entry: None, checkpoint_s=30)
    assert resumed.fingerprint == whole.fingerprint
    assert json.dumps(story) == json.dumps(history)


def test_an_epoch_is_scored_while_the_next_is_trained_and_dropped_if_its_score_ends_the_run(data):
    trained: list[int] = []
    drawn = TrainingData.locate

    class Watched(TrainingData):
        def locate(self, positions, rng):
            trained.append(len(positions))
            return drawn(self, positions, rng)

    scores = iter([0.5, 0.1, 0.2, 0.3, 0.4])
    seen: list[int] = []

    def score(model: FusionModel) -> float:
        seen.append(len(trained))
        return next(scores)

    config = CONFIG.model_copy(update={"patience": 2})
    steps = round(200 / CONFIG.batch_size)
    model, history = train(Watched(data), ENCODERS, MODEL, config, score=score, checkpoint=None, log=lambda entry: None)
    assert [entry["score"] for entry in history] == [0.5, 0.1, 0.2]
    assert len(trained) == 3 * steps
    assert len(seen) == 3
    alone = fitted(data, None, config.model_copy(update={"epochs": 0}))[0]
    assert model.fingerprint == alone.fingerprint


def test_steps_are_those_of_torch_s_adamw_bit_for_bit():
    rng = generator("adamw")
    start = [rng.normal(size=shape).astype(np.float32) for shape in ((7, 5), (5,), (3, 3))]
    ours, theirs = ([torch.nn.Parameter(torch.from_numpy(one.copy())) for one in start] for _ in range(2))
    mine = AdamW([(ours[:1], 0.1), (ours[1:], 0.0)])
    groups = [{"params": theirs[:1], "weight_decay": 0.1}, {"params": theirs[1:], "weight_decay": 0.0}]
    torchs = torch.optim.AdamW(groups, fused=True)
    for step in range(1, 5):
        for pair in list(zip(ours, theirs, strict=True))[: 2 if step < 3 else 3]:  # the third has no gradient at first
            slope = torch.from_numpy(rng.normal(size=tuple(pair[0].shape)).astype(np.float32))
            for parameter in pair:
                parameter.grad = slope.clone()
        for group in torchs.param_groups:
            group["lr"] = 0.1 / step
        torchs.step()
        torchs.zero_grad()
        mine.step(0.1 / step)
        assert all(map(torch.equal, ours, theirs))
        assert all(parameter.grad is None for parameter in ours)


def test_training_imports_no_compiler(data):
    code = (
        "import sys; from tests.encoders.test_train import fitted; fitted(sys.argv[1], None); "
        "assert 'torch' in sys.modules; assert 'torch._dynamo' not in sys.modules"
    )
    run = subprocess.run([sys.executable, "-c", code, data], check=False, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr


def test_a_run_ended_by_sigkill_resumes_bit_for_bit_in_another_process(data, tmp_path):
    checkpoint = str(tmp_path / "killed")
    run = subprocess.run([sys.executable, "-c", KILLED, data, checkpoint], check=False, capture_output=True)
    assert run.returncode == -signal.SIGKILL
    done: list[int] = []

    def count(model: FusionModel) -> float:
        done.append(1)
        return held_out_score(model)

    resumed, _ = fitted(data, checkpoint, score=count)
    assert len(done) == 1 + 3  # the untrained model and epochs 4 to 6
    assert resumed.fingerprint == fitted(data, None)[0].fingerprint


def test_a_damaged_checkpoint_or_one_of_another_run_is_not_resumed(data, tmp_path):
    checkpoint = str(tmp_path / "other")
    short = CONFIG.model_copy(update={"epochs": 2})
    fitted(data, checkpoint, short.model_copy(update={"seed": 5}))
    expected = fitted(data, None, short)[0].fingerprint
    assert fitted(data, checkpoint, short)[0].fingerprint == expected
    path = Path(checkpoint, NAME)
    stored = path.read_bytes()
    for damaged in (stored[:-7], stored[:-40] + bytes(40), b""):
        path.write_bytes(damaged)
        assert fitted(data, checkpoint, short)[0].fingerprint == expected
    assert fitted(data, None, short.model_copy(update={"seed": 5}))[0].fingerprint != expected


def test_records_train_with_whatever_they_have_and_those_of_one_view_are_counted(tmp_path):
    gone = np.zeros((120, 3), bool)
    gone[:40, 1:] = True  # text with captions: caption finds caption
    gone[40:80, 0] = True
    gone[80:100, 2] = True
    gone[110:, 1:] = True
    parts = [
        without(planted(120, 3).take(np.arange(110)), gone[:110]),
        without(planted(10, 4), gone[110:], captions=False),
    ]
    parts[0] = Features(
        values=parts[0].values,
        present=parts[0].present,
        captions=parts[0].captions[: 2 * 40],
        offsets=np.minimum(parts[0].offsets, 80),
    )
    TrainingData.write(str(tmp_path / "data"), [Part(features=part) for part in parts])
    skipped = {}
    for loss in ("mixed_gallery_infonce", "infonce"):
        model, history = fitted(str(tmp_path / "data"), None, CONFIG.model_copy(update={"loss": loss, "epochs": 2}))
        skipped[loss] = history[0]["records_skipped"]
        assert np.isfinite([entry["loss"] for entry in history[1:]]).all()
        assert np.isfinite(model.embed(planted(5, 0), "fused")[0]).all()
    assert skipped == {"mixed_gallery_infonce": 10, "infonce": 50}


def test_with_nothing_to_pair_the_untrained_model_comes_back(tmp_path):
    lonely = without(planted(5, 0), np.tile([True, True, False], (5, 1)), captions=False)
    TrainingData.write(str(tmp_path / "data"), [Part(features=lonely)])
    model, history = fitted(str(tmp_path / "data"), None)
    assert [entry["records"] for entry in history] == [0]
    assert np.isfinite(model.embed(lonely, "fused")[0]).all()
    with pytest.raises(ValueError, match="nothing to train on"):
        TrainingData.write(str(tmp_path / "empty"), [])


def test_records_that_share_a_wording_a_picture_or_a_sound_are_no_negatives(tmp_path):
    features = planted(6, 5)
    features.captions[2 * 2] = features.values["text"][0]  # a caption of record 2 is the text of record 0
    features.values["image"][4] = features.values["image"][3]
    data = TrainingData.write(
        str(tmp_path / "data"), [Part(features=features.take(np.arange(at, at + 3))) for at in (0, 3)]
    )
    order = np.array([5, 4, 3, 2, 1, 0])
    expected = np.eye(6, dtype=bool)
    for left, right in ((0, 2), (3, 4)):
        expected[left, right] = expected[right, left] = True
    rows = data.locate(order, generator("fetch"))
    assert np.array_equal(rows.same, expected[np.ix_(order, order)])
    assert (rows.places["text"] != rows.rewording).all()  # two different wordings
    sounds = data.read("audio", rows.places["audio"])
    np.testing.assert_allclose(sounds, features.values["audio"][order], atol=2e-3)


def test_a_row_file_gives_back_the_rows_that_were_written(tmp_path):
    rows = generator("rows").normal(size=(50, 7)).astype(np.float32)
    file = DiskMatrix(str(tmp_path / "rows"), np.dtype(np.float32), 7)
    file.append(rows[:20])
    file.append(rows[20:])
    order = np.array([49, 0, 7, 7])
    assert len(file) == 50
    assert np.array_equal(file.gather(order), rows[order])
    runs = file.runs(np.array([3, 9, 48]), np.array([2, 0, 2]))
    assert np.array_equal(runs, rows[[3, 4, 48, 49]])
    with pytest.raises(IndexError):
        file.runs(np.array([49]), np.array([2]))
    for outside in (50, -1):
        with pytest.raises(IndexError):
            file.gather(np.array([outside]))


def test_the_trainer_s_memory_does_not_grow_with_the_rows(tmp_path):
    peaks = []
    for parts in (2, 80):
        folder = str(tmp_path / f"data{parts}")
        data = TrainingData.write(folder, (Part(features=planted(250, seed)) for seed in range(parts)))
        rng = generator("memory")
        tracemalloc.start()
        usable = data.usable(across=False)
        for _ in range(5):
            rows = data.locate(rng.choice(usable, 64), rng)
            data.read("text", rows.places["text"])
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert folder not in Path("/proc/self/maps").read_text(encoding="utf-8")
    assert len(usable) == 20_000
    # of each row its position alone is kept
    assert peaks[1] - peaks[0] < 19_500 * 30, peaks


def test_variants_of_one_record_are_never_each_other_s_negatives(tmp_path):
    parts = [
        Part(features=planted(4, 5), records=np.array([7, 8, 9, 10], np.uint64)),
        Part(features=planted(2, 6), records=np.array([9, 7], np.uint64)),
    ]
    data = TrainingData.write(str(tmp_path / "data"), parts)
    same = data.locate(np.arange(6), generator("fetch")).same
    expected = np.eye(6, dtype=bool)
    for left, right in ((2, 4), (0, 5)):
        expected[left, right] = expected[right, left] = True
    assert np.array_equal(same, expected)
