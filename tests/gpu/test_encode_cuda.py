"""Encoders on a GPU: the CPU's vectors within what the precision allows, the same bits every time, a share each."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pytest
import torch

from tests import built_models
from tests.pipelines.model.planted_shard import records_shard
from trichord.encoders.frozen import Encoders, load_encoders
from trichord.encoders.huggingface import HuggingFaceEncoder
from trichord.encoders.views import MODALITIES
from trichord.infra.config import EncoderConfig, EngineConfig, ModelConfig
from trichord.infra.engines import Done, open_engine
from trichord.infra.errors import ConfigError
from trichord.infra.lake.lake import Lake
from trichord.pipelines.model.encode import FeatureActor
from trichord.pipelines.model.encode_items import EncodeItem
from trichord.pipelines.model.feature_cache import read_features
from trichord.pipelines.model.prefetch import Blocks

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU is here"),
]
ROWS = 60


@pytest.fixture(scope="module")
def paths(tmp_path_factory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("models")
    return {
        "text": str(built_models.bert(folder / "bert", width=64, heads=4)),
        "image": str(built_models.vit(folder / "vit", width=64, heads=4)),
        "audio": str(built_models.wav2vec2(folder / "wav2vec2", width=64, heads=4)),
    }


def config(paths: dict[str, str], precision: str = "float32", numerics: str = "strict") -> ModelConfig:
    chosen = {name: EncoderConfig(kind="huggingface", path=path, precision=precision) for name, path in paths.items()}
    return ModelConfig(**chosen, numerics=numerics)


@dataclass(frozen=True)
class Factory:
    """Makes a features actor in its worker."""

    lake: Lake
    config: ModelConfig

    def __call__(self) -> FeatureActor:
        return FeatureActor(self.lake, load_encoders(self.config))


def item(lake: Lake, number: int) -> EncodeItem:
    return EncodeItem(address=f"{number:032x}", partition="planted/0", records=records_shard(lake, ROWS))


def values(lake: Lake, made: FeatureActor, number: int) -> dict[str, np.ndarray]:
    """Features of the planted shard, present ones alone."""
    ref = made(item(lake, number)).ref
    [(_, features)] = read_features(lake, ref, made.encoders.dimensions)
    return {name: features.values[name][features.present[:, m]] for m, name in enumerate(MODALITIES)}


def cosines(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    lengths = np.linalg.norm(one, axis=1) * np.linalg.norm(other, axis=1)
    return np.einsum("nd,nd->n", one, other) / lengths


@pytest.fixture
def on_cpu() -> Iterator[pytest.MonkeyPatch]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.cuda, "is_available", lambda: False)
        yield patch


@pytest.mark.parametrize(("precision", "least"), [("float32", 0.9999), ("bfloat16", 0.99), ("float16", 0.99)])
def test_a_gpu_gives_the_vectors_of_the_cpu(storage, tmp_path, paths, on_cpu, precision, least):
    lake = Lake(storage, str(tmp_path))
    cpu = values(lake, FeatureActor(lake, load_encoders(config(paths))), 1)
    on_cpu.undo()
    encoders = load_encoders(config(paths, precision))
    gpu = values(lake, FeatureActor(lake, encoders), 2)
    for name in MODALITIES:
        encoder = encoders.by_modality[name]
        assert isinstance(encoder, HuggingFaceEncoder)
        assert encoder.module.device.type == "cuda"
        assert cosines(cpu[name], gpu[name]).min() > least


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_on_a_gpu_features_have_the_same_bits_however_a_shard_is_cut(storage, tmp_path, paths, precision):
    made = {}
    for number, blocks in enumerate((Blocks(), Blocks(rows=16, first_rows=5, part_rows=3))):
        lake = Lake(storage, str(tmp_path / str(number)))
        actor = FeatureActor(lake, load_encoders(config(paths, precision)), blocks)
        made[number] = actor(item(lake, 1)).ref.sha256
    assert made[0] == made[1]


def test_several_actors_share_a_gpu_and_give_the_bytes_of_one(storage, tmp_path, paths):
    lake = Lake(storage, str(tmp_path))
    alone = FeatureActor(lake, load_encoders(config(paths)))
    wanted = [alone(item(lake, number)).ref.sha256 for number in range(4)]
    torch.cuda.empty_cache()
    other = Lake(storage, str(tmp_path / "other"))
    items = [item(other, number) for number in range(4)]
    with open_engine(EngineConfig(workers=2, actors_per_gpu=2, device="cuda")) as engine:
        outcomes = list(engine.map_actors(Factory(other, config(paths)), items, accelerator=True))
    assert all(isinstance(outcome, Done) for outcome in outcomes), outcomes
    found = {outcome.item.address: outcome.result.ref.sha256 for outcome in outcomes if isinstance(outcome, Done)}
    assert [found[one.address] for one in items] == wanted


@pytest.fixture
def little_memory() -> Iterator[None]:
    """So little room that a large pass of long texts does not fit, while small ones do."""
    torch.cuda.empty_cache()
    total = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.set_per_process_memory_fraction(160e6 / total)
    yield
    torch.cuda.set_per_process_memory_fraction(1.0)
    torch.cuda.empty_cache()


def long_texts(encoders: Encoders) -> np.ndarray:
    return encoders.by_modality["text"].encode(["a long text of many words " * 12] * 1_024)


def test_fast_numerics_answer_a_full_gpu_by_smaller_passes(little_memory, paths, tmp_path):
    large = built_models.bert(tmp_path / "bert", width=512, layers=2, heads=16)
    encoders = load_encoders(config(paths | {"text": str(large)}, numerics="fast"))
    vectors = long_texts(encoders)
    assert np.isfinite(vectors).all()
    assert cosines(vectors[:1].repeat(1_024, axis=0), vectors).min() > 0.999


def test_strict_numerics_say_that_a_gpu_is_full_and_what_to_do(little_memory, paths, tmp_path):
    large = built_models.bert(tmp_path / "bert", width=512, layers=2, heads=16)
    encoders = load_encoders(config(paths | {"text": str(large)}))
    with pytest.raises(ConfigError, match="does not fit into memory"):
        long_texts(encoders)
