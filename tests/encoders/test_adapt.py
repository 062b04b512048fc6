"""Adaptation: what is said to be trained is trained, a held-out loss falls, and what is saved is a model like any."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers as hf
from safetensors.numpy import load_file

from tests.encoders import models
from trichord.encoders.adapt import Sample, adapt, open_objective
from trichord.encoders.base import Modality
from trichord.encoders.frozen import load_encoders
from trichord.encoders.huggingface import HuggingFaceEncoder
from trichord.infra import digest
from trichord.infra.config import AdaptConfig, EncoderConfig, ModelConfig
from trichord.infra.errors import ConfigError

WIDTH = 6  # of the other modality's features


@dataclass(frozen=True)
class Planted:
    """Inputs of four kinds, whose other modality says which; 24 a batch, three batches an epoch and one held out."""

    modality: Modality
    steps: int = 3

    def epoch(self, number: int) -> Iterator[Sequence[Sample]]:
        for step in range(self.steps):
            yield self._batch(digest.generator("epoch", number, step))

    def held_out(self) -> Iterator[Sequence[Sample]]:
        yield self._batch(digest.generator("held out"))

    def _batch(self, rng: np.random.Generator) -> list[Sample]:
        return [self._sample(int(kind), rng) for kind in rng.integers(0, 4, 24)]

    def _sample(self, kind: int, rng: np.random.Generator) -> Sample:
        given, view = (self._drawn(kind, rng) for _ in range(2))
        features = np.eye(4, WIDTH, dtype=np.float32)[kind] + 0.3 * rng.normal(size=WIDTH).astype(np.float32)
        return Sample(
            given=given, view=given if self.modality == "text" else view, others={_other(self.modality): features}
        )

    def _drawn(self, kind: int, rng: np.random.Generator) -> Any:
        if self.modality == "text":
            return " ".join(["abcd"[kind] * 2, *("xyz"[int(i)] for i in rng.integers(0, 3, 2)), "abcd"[kind]])
        if self.modality == "image":
            picture = rng.integers(0, 60, (40, 40, 3), dtype=np.uint8)
            picture[(kind // 2) * 20 :][:20, (kind % 2) * 20 :][:, :20] = 220
            return picture
        time = np.arange(3_200) / 16_000
        return (0.3 * np.sin(2 * np.pi * 300 * 2**kind * time) + 0.02 * rng.normal(size=3_200)).astype(np.float32)


def _other(modality: Modality) -> Modality:
    return "image" if modality == "text" else "text"


def adapted(folder: Path, save: Any, modality: Modality, **settings: Any) -> tuple[Any, Path, Path]:
    """Adapt a small model; what came of it, the model's folder and the adapted one's."""
    base, out = folder / "base", folder / "out"
    base.mkdir()
    out.mkdir()
    save(base)
    config = AdaptConfig.model_validate({"epochs": 6, "batch_size": 24, "learning_rate": 3e-3, **settings})
    encoder = encoder_of(modality, base)
    story = adapt(encoder, config, Planted(modality), {_other(modality): WIDTH}, str(out), 1)
    return story, base, out


def encoder_of(modality: Modality, path: Path) -> HuggingFaceEncoder:
    config = ModelConfig().model_copy(update={modality: EncoderConfig(kind="huggingface", path=str(path))})
    encoder = load_encoders(config).by_modality[modality]
    assert isinstance(encoder, HuggingFaceEncoder)
    return encoder


@pytest.mark.parametrize(
    ("save", "modality", "settings"),
    [
        (models.bert, "text", {"objective": "masked_language", "layers": "all"}),
        (models.electra, "text", {"objective": "masked_language", "layers": "lora"}),
        (models.bert, "text", {"objective": "views", "layers": "all"}),
        (models.roberta, "text", {"objective": "paired", "layers": "lora"}),
        (models.vit, "image", {"objective": "views", "layers": "last", "last_layers": 1}),
        (models.resnet, "image", {"objective": "paired", "layers": "all"}),
        (models.wav2vec2, "audio", {"objective": "views", "layers": "all"}),
        (models.hubert, "audio", {"objective": "paired", "layers": "lora"}),
    ],
    ids=lambda value: (
        value.__name__ if callable(value) else str(value.get("layers")) if isinstance(value, dict) else value
    ),
)
def test_adaptation_lowers_the_held_out_loss_and_saves_a_model(
    tmp_path: Path, save: Any, modality: Modality, settings: Mapping[str, Any]
) -> None:
    story, base, out = adapted(tmp_path, save, modality, **settings)
    if settings["objective"] == "views":
        assert story["held_out_after"] < story["held_out_before"]
    else:  # a head that is new says nothing before it is trained
        assert story["held_out_before"] is None
        assert story["held_out_after"] < story["loss"][0]
    assert len(story["loss"]) == 6
    before, after = encoder_of(modality, base), encoder_of(modality, out)
    assert before.fingerprint != after.fingerprint
    assert before.dimension == after.dimension
    inputs = [sample.given for sample in next(Planted(modality).held_out())][:4]
    vectors = after.encode(inputs)
    assert np.isfinite(vectors).all()
    assert not np.allclose(vectors, before.encode(inputs), atol=1e-4)
    assert set(load_file(out / "model.safetensors")) <= set(
        load_file(base / "model.safetensors")
    )  # adapters are merged


def test_only_the_last_layers_change_where_only_they_are_trained(tmp_path: Path) -> None:
    _, base, out = adapted(tmp_path, models.bert, "text", objective="paired", layers="last", last_layers=1)
    old, new = (load_file(folder / "model.safetensors") for folder in (base, out))
    changed = {name for name in new if not np.array_equal(old[name], new[name])}
    assert changed
    assert all(".layer.1." in name for name in changed)


def test_a_head_that_the_model_came_with_has_a_loss_before(tmp_path: Path) -> None:
    story, _, _ = adapted(tmp_path, masked_bert, "text", objective="masked_language", layers="all")
    assert story["held_out_after"] < story["held_out_before"]


def masked_bert(folder: Path) -> None:
    """A BERT with its own head."""
    models.bert(folder)
    config = hf.BertConfig.from_pretrained(folder)
    torch.manual_seed(0)
    hf.BertForMaskedLM(config).save_pretrained(folder)


def test_paired_inputs_of_one_kind_come_together(tmp_path: Path) -> None:
    _, base, out = adapted(tmp_path, models.vit, "image", objective="paired", layers="all")
    before, after = (_same_kind(encoder_of("image", folder)) for folder in (base, out))
    assert after > before + 0.05


def _same_kind(encoder: HuggingFaceEncoder) -> float:
    """How much nearer inputs of one kind are than those of different kinds: means of centred cosines."""
    rng, planted = digest.generator("kinds"), Planted("image")
    kinds = np.arange(40) % 4
    vectors = encoder.encode([planted._drawn(int(kind), rng) for kind in kinds])
    vectors = vectors - vectors.mean(axis=0)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    cosines, alike = vectors @ vectors.T, kinds[:, None] == kinds
    return float(cosines[alike & ~np.eye(40, dtype=bool)].mean() - cosines[~alike].mean())


def test_paired_inputs_without_partners_are_refused(tmp_path: Path) -> None:
    @dataclass(frozen=True)
    class Alone(Planted):
        def _sample(self, kind: int, rng: np.random.Generator) -> Sample:
            return replace(super()._sample(kind, rng), others={})

    models.bert(tmp_path / "base")
    (tmp_path / "out").mkdir()
    encoder, config = encoder_of("text", tmp_path / "base"), AdaptConfig(objective="paired", layers="last")
    with pytest.raises(ConfigError, match="and another modality"):
        adapt(encoder, config, Alone("text"), {"image": WIDTH}, str(tmp_path / "out"), 1)
    assert not list((tmp_path / "out").iterdir())


@pytest.mark.parametrize(
    ("save", "modality", "objective"),
    [(models.bert, "text", "masked_language"), (models.bert, "text", "views"), (models.vit, "image", "paired")],
)
def test_all_that_an_objective_computes_with_lies_where_encoders_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, save: Any, modality: Modality, objective: str
) -> None:
    """Shown by torch's device without storage; tests/gpu trains on a real one."""
    for module in ("trichord.encoders.huggingface", "trichord.encoders.adapt"):
        monkeypatch.setattr(f"{module}.compute_device", lambda: torch.device("meta"))
    save(tmp_path)
    config = AdaptConfig.model_validate({"objective": objective})
    found = open_objective(encoder_of(modality, tmp_path), config, {_other(modality): WIDTH})
    held = {name: tensor.device.type for name, tensor in (*found.named_parameters(), *found.named_buffers())}
    assert set(held.values()) == {"meta"}
    assert "scale" in held or objective == "masked_language"
    if objective == "masked_language":
        given: dict[str, torch.Tensor] = {}
        found.network.register_forward_pre_hook(lambda _, __, named: given.update(named), with_kwargs=True)
        with pytest.raises((NotImplementedError, RuntimeError), match="meta"):  # it gets as far as the network
            found(next(Planted(modality).held_out()))
        assert {tensor.device.type for tensor in given.values()} == {"meta"}


def test_the_same_settings_give_the_same_weights(tmp_path: Path) -> None:
    files = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        _, _, out = adapted(tmp_path / name, models.bert, "text", objective="views", epochs=1)
        files.append((out / "model.safetensors").read_bytes())
    assert files[0] == files[1]


def test_low_rank_adapters_for_a_model_without_linear_layers_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"adapt\.layers"):
        adapted(tmp_path, models.resnet, "image", objective="views", layers="lora")


def test_the_processors_files_are_kept_as_they_were(tmp_path: Path) -> None:
    _, base, out = adapted(tmp_path, models.bert, "text", objective="views", epochs=1)
    kept = [name for name in ("vocab.txt", "tokenizer.json", "tokenizer_config.json") if (base / name).exists()]
    assert kept
    assert all((base / name).read_bytes() == (out / name).read_bytes() for name in kept)
    assert json.loads((out / "config.json").read_bytes())["hidden_size"] == 16
