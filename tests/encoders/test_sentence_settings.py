"""What a folder of sentence-transformers asks for is done as that library does it, or refused by the key's name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.encoders.models import sentence_bert
from trichord.encoders.frozen import load_encoder
from trichord.encoders.huggingface_text import HuggingFaceText
from trichord.infra.config import EncoderConfig
from trichord.infra.errors import ConfigError

WORDS = ["hello world", "Zebra QUICK", "ÀÉÎ Straße İ ΟΔΟΣ", "dog"]


def _encoder(folder: Path) -> HuggingFaceText:
    encoder = load_encoder("text", EncoderConfig(kind="huggingface", path=str(folder)), "strict")
    assert isinstance(encoder, HuggingFaceText)
    return encoder


def _write(folder: Path, name: str, content: Any) -> Path:
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_text(json.dumps(content), encoding="utf-8")
    return folder


def _cased(folder: Path) -> Path:
    """A Sentence-BERT whose tokenizer keeps capitals, which it does not know."""
    import transformers as hf

    sentence_bert(folder)
    hf.BertTokenizer(vocab=str(folder / "vocab.txt"), do_lower_case=False, model_max_length=64).save_pretrained(folder)
    return folder


_PROMPTS = {"prompts": {"query": "find this ", "document": ""}, "default_prompt_name": "query"}


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("sentence_bert_config.json", {"max_seq_length": 48, "do_lower_case": True}),
        ("sentence_bert_config.json", {"max_seq_length": 48, "do_lower_case": False}),
        ("config_sentence_transformers.json", _PROMPTS),
        ("config_sentence_transformers.json", {**_PROMPTS, "default_prompt_name": None}),
        ("config_sentence_transformers.json", {**_PROMPTS, "default_prompt_name": "document"}),
        ("1_Pooling/config.json", {"embedding_dimension": 16, "pooling_mode": ["mean", "cls"]}),
        ("1_Pooling/config.json", {"embedding_dimension": 16, "pooling_mode": ["max", "mean", "cls"]}),
        ("1_Pooling/config.json", {"embedding_dimension": 16, "pooling_mode": "cls"}),
    ],
)
def test_vectors_are_those_of_sentence_transformers(name, content, tmp_path):
    from sentence_transformers import SentenceTransformer

    folder = _write(_cased(tmp_path), name, content)
    reference = SentenceTransformer(str(folder), device="cpu", local_files_only=True).encode(WORDS)
    np.testing.assert_allclose(_encoder(folder).encode(WORDS), reference, atol=2e-5)


def test_what_changes_a_vector_changes_the_fingerprint_and_nothing_else_does(tmp_path):
    plain = _encoder(_cased(tmp_path)).fingerprint
    _write(tmp_path, "config_sentence_transformers.json", {**_PROMPTS, "default_prompt_name": None})
    assert _encoder(tmp_path).fingerprint == plain
    _write(tmp_path, "config_sentence_transformers.json", _PROMPTS)
    prompted = _encoder(tmp_path).fingerprint
    _write(tmp_path, "config_sentence_transformers.json", {**_PROMPTS, "prompts": {"query": "other "}})
    assert len({plain, prompted, _encoder(tmp_path).fingerprint}) == 3


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("sentence_bert_config.json", {"transformer_task": "fill-mask"}, "transformer_task"),
        ("sentence_bert_config.json", {"processing_kwargs": {"text": {"padding": "max_length"}}}, "processing_kwargs"),
        ("sentence_bert_config.json", {"query_length": 32}, "query_length"),
        ("sentence_bert_config.json", {"tokenizer_args": {"padding_side": "left"}}, "tokenizer_args"),
        ("sentence_bert_config.json", {"model_args": {"task": "retrieval"}}, r"model_args\.task"),
        (
            "sentence_bert_config.json",
            {"modality_config": {"text": {"method": "get_text_features"}}},
            "modality_config",
        ),
        ("config_sentence_transformers.json", {"prompts": {}, "default_prompt_name": "query"}, "default_prompt_name"),
        ("config_sentence_transformers.json", {"truncate_dim": 8}, "truncate_dim"),
        ("sentence_bert_config.json", {"max_seq_length": -1}, "max_seq_length"),
        ("sentence_bert_config.json", {"max_seq_length": "48"}, "max_seq_length"),
        ("sentence_bert_config.json", {"do_lower_case": "true"}, "do_lower_case"),
        ("modules.json", {}, "not a list of modules"),
        ("modules.json", ["Transformer"], "not a list of modules"),
        ("modules.json", "Dense", "Dense"),
        ("modules.json", "LayerNorm", "LayerNorm"),
        ("modules.json", "WeightedLayerPooling", "WeightedLayerPooling"),
        ("modules.json", "CNN", "CNN"),
        ("1_Pooling/config.json", {"pooling_mode": "weightedmean"}, "weightedmean"),
        ("1_Pooling/config.json", {"pooling_mode": "lasttoken"}, "lasttoken"),
        ("1_Pooling/config.json", {"pooling_mode_mean_sqrt_len_tokens": True}, "mean_sqrt_len"),
        ("2_Normalize/config.json", {"module_input_name": "token_embeddings"}, "Normalize of token_embeddings"),
    ],
)
def test_what_is_not_done_is_refused_by_its_name_before_any_work(name, content, said, tmp_path):
    folder = sentence_bert(tmp_path)
    if isinstance(content, str):
        content = [
            *json.loads((folder / name).read_bytes()),
            {"path": "3_More", "type": f"sentence_transformers.models.{content}"},
        ]
    with pytest.raises(ConfigError, match=said):
        _encoder(_write(folder, name, content))


@pytest.mark.parametrize(
    ("kind", "said"),
    [("custom_st.Transformer", r"code of its own \(custom_st"), ("sentence_transformers.models.BoW", "BoW"),
     ("sentence_transformers.models.WordEmbeddings", "WordEmbeddings")],
)  # fmt: skip
def test_another_first_module_than_a_transformer_is_refused(kind, said, tmp_path):
    folder = sentence_bert(tmp_path)
    modules = json.loads((folder / "modules.json").read_bytes())
    modules[0]["type"] = kind
    with pytest.raises(ConfigError, match=said):
        _encoder(_write(folder, "modules.json", modules))


def test_a_prompt_whose_tokens_do_not_count_is_refused(tmp_path):
    folder = _write(sentence_bert(tmp_path), "config_sentence_transformers.json", _PROMPTS)
    pooling = json.loads((folder / "1_Pooling" / "config.json").read_bytes())
    with pytest.raises(ConfigError, match="include_prompt"):
        _encoder(_write(folder, "1_Pooling/config.json", pooling | {"include_prompt": False}))
