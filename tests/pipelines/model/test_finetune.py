"""`adapt` on a lake: a model folder that the project file can name, and nothing else."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.encoders import models
from tests.pipelines.lakes import workspace_of
from tests.pipelines.model.planted_shard import records_shard
from trichord.encoders.base import Modality
from trichord.infra.config import EncoderConfig, ManifestSource, ModelConfig, Project, TrainConfig
from trichord.infra.errors import ConfigError
from trichord.infra.lake.lake import Lake
from trichord.infra.lake.storage import Storage
from trichord.pipelines.core.exclusions import Exclusions
from trichord.pipelines.evaluation.parts import Parts
from trichord.pipelines.model import finetune as adapting
from trichord.pipelines.model.finetune import AdaptTask, LakeSamples, adapt


@pytest.mark.parametrize(
    ("modality", "objective"), [("text", "paired"), pytest.param("image", "views", marks=pytest.mark.full)]
)
def test_an_encoder_is_adapted_to_the_lakes_records(
    lake_copy: Path, tmp_path: Path, modality: Modality, objective: str
) -> None:
    base, out = tmp_path / "base", tmp_path / "models" / "ours"
    base.mkdir()
    (models.bert if modality == "text" else models.vit)(base)
    adapting = f"{{objective: {objective}, layers: all, learning_rate: 1e-3, epochs: 3}}"
    encoder = f"{{kind: huggingface, path: {base}, adapt: {adapting}}}"
    workspace = workspace_of(lake_copy, f"model.{modality}={encoder}")
    told = adapt(workspace, modality, out).to_dict()
    if objective == "paired":
        assert told["held_out_before"] is None
        assert told["held_out_after"] < told["loss"][0]
    else:
        assert told["held_out_after"] < told["held_out_before"]
    story = json.loads((out / "adapt.json").read_bytes())
    assert story["loss"] == told["loss"]
    assert [file.name for file in out.parent.iterdir()] == ["ours"]
    with pytest.raises(ConfigError, match="exists already"):
        adapt(workspace, modality, out)


def test_an_encoder_without_an_objective_is_refused(lake_copy: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"adapt\.objective is none"):
        adapt(workspace_of(lake_copy), "text", tmp_path / "x")


def lake_samples(lake: Lake, **settings: object) -> LakeSamples:
    """Sounds of two shards; every fourth row has none, and a part holds 8 rows."""
    encoder = EncoderConfig.model_validate({"adapt": {"objective": "paired", **settings}})
    return LakeSamples(
        lake=lake,
        project=Project(
            lake=lake.root,
            sources=(ManifestSource(kind="manifest", name="planted", path="x"),),
            model=ModelConfig(audio=encoder),
        ),
        modality="audio",
        records=[records_shard(lake, rows, side=8, seconds=0.02) for rows in (30, 41)],
        exclusions=Exclusions(lake=lake),
        parts=Parts(config=TrainConfig(validation=0.25, test=0.0)),
        others=None,
    ).divide()


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adapting, "ROWS", 8)


@pytest.mark.usefixtures("small_parts")
@pytest.mark.parametrize(("size", "limit"), [(20, 1_000), (4, 1_000), (20, 25), (3, 4)])
def test_batches_are_full_over_parts_and_shards_and_steps_are_counted(
    storage: Storage, tmp_path: Path, size: int, limit: int
) -> None:
    samples = lake_samples(Lake(storage, str(tmp_path)), batch_size=size, max_records=limit)
    everything = lake_samples(Lake(storage, str(tmp_path)), batch_size=1_000)
    [training], [held] = list(everything.epoch(1)), list(everything.held_out())
    assert len(training) + len(held) == 54, "rows with a sound: 23 of 30 and 31 of 41"
    batches = list(samples.epoch(1))
    assert [len(batch) for batch in batches[:-1]] == [size] * (len(batches) - 1)
    assert 1 < len(batches[-1]) <= size
    assert 0 <= min(limit, len(training)) - sum(map(len, batches)) <= 1
    assert samples.steps == len(batches)


def test_a_worker_that_does_not_reach_the_folder_says_so(storage: Storage, tmp_path: Path) -> None:
    task = AdaptTask(lake_samples(Lake(storage, str(tmp_path / "lake"))), str(tmp_path / "elsewhere"))
    with pytest.raises(ConfigError, match="another machine"):
        task("audio")
    assert not (tmp_path / "elsewhere").exists()
