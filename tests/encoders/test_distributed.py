"""Training by two workers is training by one, up to the order of sums."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tests.encoders.short_run import ShortRun
from trichord.infra.choices import Loss
from trichord.infra.config import EngineConfig, TrainConfig
from trichord.infra.engines.process_group import run_process_group
from trichord.infra.errors import ConfigError

TOLERANCE = 2e-4  # of any weight, after three epochs


@pytest.mark.parametrize("loss", ["mixed_gallery_infonce", pytest.param("infonce", marks=pytest.mark.full)])
def test_two_workers_train_as_one_within_tolerance_and_are_equal_to_each_other(tmp_path: Path, loss: Loss) -> None:
    config = TrainConfig(loss=loss, epochs=3, batch_size=32, patience=9, threads=1)
    alone = tmp_path / "alone"
    alone.mkdir()
    ShortRun(str(alone), config).fit("one", None)
    run_process_group(EngineConfig(workers=2), ShortRun(str(tmp_path), config), "two", 2)
    one, first, second = (np.load(path) for path in (alone / "one.npz", tmp_path / "two-0.npz", tmp_path / "two-1.npz"))
    for name in one.files:
        np.testing.assert_array_equal(first[name], second[name])
        np.testing.assert_allclose(first[name], one[name], atol=TOLERANCE, rtol=0)
    told = [json.loads(path.read_text()) for path in (alone / "one.json", tmp_path / "two-0.json")]
    mine, theirs = ([entry.get("loss", 0.0) for entry in history] for history in told)
    np.testing.assert_allclose(theirs, mine, rtol=1e-3)


@pytest.mark.full
def test_a_process_group_that_was_stopped_resumes_bit_for_bit(tmp_path: Path) -> None:
    config = TrainConfig(epochs=3, batch_size=32, patience=9, threads=1)
    (tmp_path / "whole").mkdir()
    run_process_group(EngineConfig(workers=2), ShortRun(str(tmp_path / "whole"), config), "run", 2)
    with pytest.raises(ConfigError, match="stopped"):
        run_process_group(EngineConfig(workers=2), ShortRun(str(tmp_path), config, stop_at=2), "first", 2)
    run_process_group(EngineConfig(workers=2), ShortRun(str(tmp_path), config), "run", 2)
    whole, resumed = (np.load(folder / "run-1.npz") for folder in (tmp_path / "whole", tmp_path))
    assert all(np.array_equal(whole[name], resumed[name]) for name in whole.files)
