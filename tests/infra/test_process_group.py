"""Process groups: all processes run at once and can talk; one that fails ends them all."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import pytest

from tests.infra.engine_tasks import TwoArguments
from tests.infra.process_group_tasks import add_up, die_at_one, fail_at_one
from trichord.infra.config import EngineConfig
from trichord.infra.engines.process_group import run_process_group
from trichord.infra.errors import ConfigError, PartialRun


@pytest.fixture(params=["local", pytest.param("ray", marks=[pytest.mark.xdist_group("ray"), pytest.mark.full])])
def kind(request: pytest.FixtureRequest):
    """Engines that run process groups."""
    if request.param == "ray":
        request.getfixturevalue("ray_cluster")
    return request.param


def test_all_run_at_once_and_talk(kind: Literal["local", "ray"], tmp_path: Path) -> None:
    run_process_group(EngineConfig(kind=kind, workers=2), add_up, str(tmp_path), 2)
    assert {file.name: file.read_text() for file in tmp_path.iterdir()} == dict.fromkeys(
        "01", '1 b"the first one\'s word"'
    )


def test_an_error_of_ours_in_one_ends_all_and_is_told(kind: Literal["local", "ray"], tmp_path: Path) -> None:
    with pytest.raises(TwoArguments) as caught:
        run_process_group(EngineConfig(kind=kind, workers=2), fail_at_one, str(tmp_path), 2)
    assert str(caught.value) == "train.loss: this one: will\nnot"
    assert caught.value.exit_code == 42


def test_a_death_of_one_ends_all(tmp_path: Path) -> None:
    with pytest.raises(PartialRun, match="resumes"):
        run_process_group(EngineConfig(workers=2), die_at_one, str(tmp_path), 2)


def test_a_group_that_the_engine_cannot_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"engine\.workers is 2"):
        run_process_group(EngineConfig(workers=2), add_up, str(tmp_path), 3)
    with pytest.raises(ConfigError, match="Beam"):
        run_process_group(EngineConfig(kind="beam", workers=2), add_up, str(tmp_path), 2)
