"""Which worker sees which GPU: decided without one, from environment, device files and settings."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.infra import engine_tasks as tasks
from trichord.infra.config import EngineConfig
from trichord.infra.engines import Done
from trichord.infra.engines.gpus import choose_gpus, cluster_share, least_taken, local_gpus, worker_environment
from trichord.infra.engines.local import LocalEngine
from trichord.infra.errors import ConfigError

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("environment", "files", "found"),
    [
        ({}, ["null", "nvidiactl", "nvidia-uvm"], ()),
        ({}, ["nvidia0", "nvidiactl", "nvidia1"], ("0", "1")),
        ({}, ["nvidia5"], ("0",)),  # a container numbers the ones it was given from 0
        ({"CUDA_VISIBLE_DEVICES": ""}, ["nvidia0"], ()),
        ({"CUDA_VISIBLE_DEVICES": "-1"}, ["nvidia0"], ()),
        ({"CUDA_VISIBLE_DEVICES": "3, 1"}, ["nvidia0"], ("3", "1")),
        ({"CUDA_VISIBLE_DEVICES": "2,-1,0"}, [], ("2",)),
        ({"CUDA_VISIBLE_DEVICES": "GPU-8f6,MIG-1a2"}, [], ("GPU-8f6", "MIG-1a2")),
    ],
)
def test_gpus_are_those_that_cuda_would_show(environment, files, found):
    assert local_gpus(environment, files) == found


def test_each_new_worker_goes_where_the_fewest_are():
    taken: list[str | None] = [None, None]
    for _ in range(5):
        taken.append(least_taken(("0", "1"), taken))
    assert taken[2:] == ["0", "1", "0", "1", "0"]
    taken.remove("1")  # one died: its place is filled first
    assert least_taken(("0", "1"), taken) == "1"


def test_a_device_that_is_wanted_and_not_there_is_named_before_anything_runs(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    engine = LocalEngine(EngineConfig(device="cuda"))
    with pytest.raises(ConfigError, match=r"engine\.device is cuda"):
        engine.map_actors(tasks.make_visible_gpus, [1], accelerator=True)
    assert choose_gpus(EngineConfig(device="cpu"), ("0",)) == ()
    assert choose_gpus(EngineConfig(device="auto"), ()) == ()


def test_a_worker_is_told_of_its_gpu_or_that_there_is_none_or_nothing():
    assert worker_environment(EngineConfig(), "3") == {"CUDA_VISIBLE_DEVICES": "3"}
    assert worker_environment(EngineConfig(device="cpu"), None) == {"CUDA_VISIBLE_DEVICES": ""}
    assert worker_environment(EngineConfig(), None) == {}


@pytest.mark.parametrize(
    ("device", "per_gpu", "workers", "gpus", "share"),
    [
        ("auto", 1, 8, 0.0, (0.0, 8)),
        ("auto", 1, 8, 2.0, (1.0, 2)),
        ("auto", 4, 8, 2.0, (0.25, 8)),
        ("auto", 4, 2, 2.0, (0.25, 2)),
        ("cpu", 4, 8, 2.0, (0.0, 8)),
        ("cuda", 2, 8, 0.0, (0.5, 8)),  # the cluster may grow
        ("cuda", 2, 8, 1.0, (0.5, 2)),
    ],
)
def test_no_more_actors_are_started_than_a_cluster_has_room_for(device, per_gpu, workers, gpus, share):
    assert cluster_share(EngineConfig(device=device, actors_per_gpu=per_gpu, workers=workers), gpus) == share


@pytest.mark.parametrize(
    ("per_gpu", "workers", "seen"),
    [(1, 4, ["0", "1"]), (2, 4, ["0", "0", "1", "1"]), (2, 3, ["0", "0", "1"])],
)
def test_local_actors_are_spread_over_the_gpus(monkeypatch, per_gpu, workers, seen):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    with LocalEngine(EngineConfig(workers=workers, actors_per_gpu=per_gpu)) as engine:
        outcomes = engine.map_actors(tasks.make_visible_gpus, range(len(seen)), accelerator=True)
        results = [outcome.result for outcome in outcomes if isinstance(outcome, Done)]
        assert sorted(str(gpu) for gpu, _ in results) == seen
        assert len({worker for _, worker in results}) == len(seen)
        more = list(engine.map_actors(tasks.make_visible_gpus, range(20), accelerator=True))
        assert len({outcome.result[1] for outcome in more if isinstance(outcome, Done)}) <= len(seen)
        (plain,) = engine.map(tasks.visible_gpus, [0])
        assert isinstance(plain, Done)
        assert plain.result[0] == "0,1"  # a task that is not an encoding actor sees what the driver sees
        assert plain.result[1] not in {worker for _, worker in results}


def test_on_the_cpu_no_local_worker_sees_a_gpu(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    with LocalEngine(EngineConfig(workers=1, device="cpu")) as engine:
        (actor,) = engine.map_actors(tasks.make_visible_gpus, [0], accelerator=True)
        (task,) = engine.map(tasks.visible_gpus, [0])
    assert isinstance(actor, Done)
    assert isinstance(task, Done)
    assert actor.result[0] == task.result[0] == ""


CLUSTER = """
import json, sys
import ray
from trichord.infra.config import EngineConfig
from trichord.infra.engines import open_engine
from tests.infra import engine_tasks as tasks
ray.init("local", num_cpus=4, num_gpus=2, include_dashboard=False,
         log_to_driver=False, configure_logging=False)
seen = {}
for device in ("auto", "cpu"):
    with open_engine(EngineConfig(kind="ray", workers=4, actors_per_gpu=2, device=device)) as engine:
        outcomes = engine.map_actors(tasks.make_visible_gpus, range(4), accelerator=True)
        seen[device] = sorted(str(outcome.result[0]) for outcome in outcomes)
print(json.dumps(seen))
"""


@pytest.mark.full
@pytest.mark.xdist_group("ray")
def test_ray_gives_each_actor_its_share_of_a_gpu():
    done = subprocess.run(
        [sys.executable, "-c", CLUSTER], cwd=ROOT, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert json.loads(done.stdout.splitlines()[-1]) == {"auto": ["0", "0", "1", "1"], "cpu": ["", "", "", ""]}
