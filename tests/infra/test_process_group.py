"""Gangs: all processes run at once and can talk; one that fails ends them all."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import pytest

from trichord.infra.config import EngineConfig
from trichord.infra.engines.process_group import run_gang
from trichord.infra.engines.rank import Seat
from trichord.infra.errors import ConfigError, PartialRun


def add_up(folder: str, seat: Seat) -> None:
    """Every process adds its rank to the others' by a collective call and leaves the sum in a file."""
    import torch
    import torch.distributed as dist

    from trichord.encoders.distributed import join

    with join(seat) as crew:
        total = torch.tensor(float(crew.rank))
        dist.all_reduce(total)
        told = crew.first_says(b"the first one's word" if crew.rank == 0 else b"another's")
        Path(folder, f"{crew.rank}").write_text(f"{int(total)} {told!r}")


def fail_at_one(folder: str, seat: Seat) -> None:
    """One process refuses while the others wait for it, and is slow to say so."""
    import time

    from trichord.encoders.distributed import join

    try:
        with join(seat) as crew:
            if crew.rank == 1:
                raise ConfigError("this one will not")
            crew.first_says(b"")
            crew.first_says(b"")
    except ConfigError:
        time.sleep(0.5)
        raise


def die_at_one(folder: str, seat: Seat) -> None:
    """One process dies while the others wait for it."""
    import os

    from trichord.encoders.distributed import join

    with join(seat) as crew:
        if crew.rank == 1:
            os._exit(9)
        crew.first_says(b"")
        crew.first_says(b"")


@pytest.fixture(params=["local", pytest.param("ray", marks=pytest.mark.xdist_group("ray"))])
def kind(request: pytest.FixtureRequest):
    """Engines that have gangs."""
    if request.param == "ray":
        request.getfixturevalue("ray_cluster")
    return request.param


def test_all_run_at_once_and_talk(kind: Literal["local", "ray"], tmp_path: Path) -> None:
    run_gang(EngineConfig(kind=kind, workers=2), add_up, str(tmp_path), 2)
    assert {file.name: file.read_text() for file in tmp_path.iterdir()} == dict.fromkeys(
        "01", '1 b"the first one\'s word"'
    )


def test_an_error_of_ours_in_one_ends_all_and_is_told(kind: Literal["local", "ray"], tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="this one will not"):
        run_gang(EngineConfig(kind=kind, workers=2), fail_at_one, str(tmp_path), 2)


def test_a_death_of_one_ends_all(tmp_path: Path) -> None:
    with pytest.raises(PartialRun, match="resumes"):
        run_gang(EngineConfig(workers=2), die_at_one, str(tmp_path), 2)


def test_a_gang_that_cannot_be_seated_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"engine\.workers is 2"):
        run_gang(EngineConfig(workers=2), add_up, str(tmp_path), 3)
    with pytest.raises(ConfigError, match="Beam"):
        run_gang(EngineConfig(kind="beam", workers=2), add_up, str(tmp_path), 2)
