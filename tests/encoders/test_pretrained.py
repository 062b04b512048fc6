"""What a model's folder must hold, and what is never read from it."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import torch
import transformers as hf

from tests.encoders.models import BUILDERS, TEXTS, loaded, modality, pictures
from trichord.encoders.frozen import load_encoders
from trichord.infra.config import EncoderConfig, ModelConfig
from trichord.infra.errors import ConfigError


@pytest.mark.parametrize("name", ["bert", "vit", "wav2vec2"])
def test_a_model_without_safetensors_processor_or_folder_is_a_configuration_error(name, tmp_path):
    saved = BUILDERS[name](tmp_path / name)
    setting = rf"model\.{modality(name)}"
    with pytest.raises(ConfigError, match=rf"{setting}\.path names no model"):
        load_encoders(ModelConfig.model_validate({modality(name): {"kind": "huggingface"}}))
    with pytest.raises(ConfigError, match=rf"no folder .* for {setting}\.path"):
        loaded(tmp_path / "missing", name)
    bare = shutil.copytree(saved, tmp_path / "bare")
    (bare / "model.safetensors").rename(bare / "pytorch_model.bin")
    with pytest.raises(ConfigError, match="only safetensors are read"):
        loaded(bare, name)
    if modality(name) != "text":
        odd = shutil.copytree(saved, tmp_path / "odd")
        (odd / "preprocessor_config.json").unlink()
        with pytest.raises(ConfigError, match=r"has no preprocessor_config\.json"):
            loaded(odd, name)
    with pytest.raises(ConfigError, match=rf"{setting}\.tokens is 3"):
        loaded(saved, name, tokens=3, pooling="max")


def test_weights_that_are_missing_are_an_error_where_they_would_be_read(tmp_path):
    bert = BUILDERS["bert"](tmp_path / "bert")
    half = hf.BertModel.from_pretrained(bert, add_pooling_layer=False)
    lacking = shutil.copytree(bert, tmp_path / "lacking")
    half.save_pretrained(lacking)  # as a masked language model is published: no pooler
    whole = loaded(bert, "bert").encode(TEXTS)
    assert np.array_equal(loaded(lacking, "bert").encode(TEXTS), whole)
    with pytest.raises(ConfigError, match=r"lacks 2 weights of its model, pooler\.dense\.bias"):
        loaded(lacking, "bert", pooling="pooler").encode(TEXTS)


def test_code_of_a_model_is_never_run(tmp_path):
    bert = BUILDERS["bert"](tmp_path / "bert")
    evil = shutil.copytree(bert, tmp_path / "evil")
    mark = tmp_path / "ran"
    (evil / "code.py").write_text(f"open({str(mark)!r}, 'w')", encoding="utf-8")
    settings = (evil / "config.json").read_text(encoding="utf-8")
    auto = '{"auto_map": {"AutoConfig": "code.Mine", "AutoModel": "code.Mine"},'
    (evil / "config.json").write_text(settings.replace('"bert"', '"mine"').replace("{", auto, 1), encoding="utf-8")
    with pytest.raises((ConfigError, ValueError), match=r"trust_remote_code|does not fit|auto_map"):
        loaded(evil, "bert").encode(["a"])
    assert not mark.exists()


def test_a_model_of_two_modalities_gives_the_tower_of_the_one_asked_for(tmp_path):
    """CLIP: its text and its image model, from one folder."""
    size = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    BUILDERS["bert"](tmp_path)  # its tokenizer stands in for CLIP's, which is another family's concern
    config = hf.CLIPConfig(
        text_config={**size, "vocab_size": 64, "max_position_embeddings": 64},
        vision_config={**size, "image_size": 32, "patch_size": 8},
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        hf.CLIPModel(config).save_pretrained(tmp_path)
    hf.CLIPImageProcessorPil(size={"shortest_edge": 32}, crop_size=32).save_pretrained(tmp_path)
    text = loaded(tmp_path, "bert")
    image = loaded(tmp_path, "vit")
    assert text.encode(TEXTS).shape == (len(TEXTS), 16)
    assert image.encode(pictures(3)).shape == (3, 16)
    assert type(text.module).__name__.startswith("CLIPText")
    assert type(image.module).__name__.startswith("CLIPVision")


def test_an_embedded_encoder_has_one_token():
    with pytest.raises(ConfigError, match=r"model\.image\.tokens is 2"):
        load_encoders(ModelConfig(image=EncoderConfig(tokens=2)))


def _weights(folder, change):
    from safetensors.torch import load_file, save_file

    changed = {name: change(name, value) for name, value in load_file(folder / "model.safetensors").items()}
    kept = {name: value for name, value in changed.items() if value is not None}
    save_file(kept, folder / "model.safetensors", metadata={"format": "pt"})


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        ("shard", "has no model-0000.-of-0000.*holds weights"),
        ("cut", "cannot be read"),
        ("index", r"has no model\.safetensors, which"),
        ("named", r"has no model\.safetensors, which"),
        ("int8", "quantised weights, .* in I8"),
        ("float8", "quantised weights, .* in F8_E4M3"),
    ],
)
def test_weights_that_cannot_be_read_are_refused_before_any_work(damage, said, tmp_path):
    folder = BUILDERS["bert"](tmp_path)
    if damage in ("int8", "float8"):
        kind = torch.int8 if damage == "int8" else torch.float8_e4m3fn
        _weights(folder, lambda name, value: value.to(kind) if value.ndim > 1 else value)
    elif damage == "named":
        (folder / "model.safetensors").rename(folder / "model.fp16.safetensors")
    else:
        model = hf.BertModel.from_pretrained(folder)
        (folder / "model.safetensors").unlink()
        model.save_pretrained(folder, max_shard_size="8KB")
        assert loaded(folder, "bert").encode(["a"]).shape == (1, 16)
        last = sorted(folder.glob("model-*.safetensors"))[-1]
        if damage == "index":
            (folder / "model.safetensors.index.json").unlink()
        elif damage == "shard":
            last.unlink()
        else:
            last.write_bytes(last.read_bytes()[:-8])
    with pytest.raises(ConfigError, match=said):
        loaded(folder, "bert")


@pytest.mark.parametrize("damage", ["no tokenizer", "another tokenizer", "nan"])
def test_a_check_finds_a_model_whose_parts_do_not_belong_together(damage, tmp_path):
    folder = BUILDERS["bert"](tmp_path)
    if damage == "no tokenizer":  # the library would make one that knows no word
        for name in ("tokenizer.json", "tokenizer_config.json", "vocab.txt"):
            (folder / name).unlink(missing_ok=True)
    elif damage == "another tokenizer":
        tokenizer = hf.AutoTokenizer.from_pretrained(folder)
        tokenizer.add_tokens(["hello"])
        tokenizer.save_pretrained(folder)
    else:
        _weights(folder, lambda name, value: value * torch.nan)
    said = {"no tokenizer": "no vocabulary", "another tokenizer": "of two models", "nan": "NaN"}[damage]
    with pytest.raises(ConfigError, match=said):
        loaded(folder, "bert").check()
