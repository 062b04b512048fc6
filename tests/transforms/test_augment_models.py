"""Texts changed by models from a path: masked or sequence-to-sequence, safetensors only, equal every time."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from transformers import (
    BertConfig,
    BertForMaskedLM,
    BertTokenizer,
    PreTrainedTokenizerFast,
    T5Config,
    T5ForConditionalGeneration,
)

from tests.transforms.test_augment import NEVER
from trichord.encoders.text_generators import MaskFiller, Paraphraser
from trichord.infra import digest
from trichord.infra.config import AugmentConfig
from trichord.infra.errors import ConfigError
from trichord.transforms.augment.chain import augment_chain
from trichord.transforms.augment.text import Filler, Rewriter
from trichord.transforms.augment.variants import copy_of, list_changes
from trichord.transforms.augment.words import protected_words
from trichord.transforms.batch import Batch, Row
from trichord.transforms.op import recipe_of, run_chain

WORDS = ["a", "the", "dog", "cat", "sleeps", "runs", "beside", "old", "bench", "tree", "not", "left", "two", "small"]
TEXT = "A small dog sleeps beside the old bench, not left of two trees."


@pytest.fixture(scope="module")
def masked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A BERT of two layers with drawn weights."""
    folder = tmp_path_factory.mktemp("masked")
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS, "##s", ",", "."]
    (folder / "vocab.txt").write_text("\n".join(words), encoding="utf-8")
    BertTokenizer(vocab=str(folder / "vocab.txt")).save_pretrained(folder)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        config = BertConfig(
            vocab_size=len(words), hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32
        )
        BertForMaskedLM(config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def sequence(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A T5 of one layer with drawn weights and a tokenizer of whole words."""
    folder = tmp_path_factory.mktemp("sequence")
    vocabulary = {word: i for i, word in enumerate(["<pad>", "</s>", "<unk>", *WORDS])}
    core = {
        "version": "1.0",
        "added_tokens": [],
        "pre_tokenizer": {"type": "Whitespace"},
        "model": {"type": "WordLevel", "vocab": vocabulary, "unk_token": "<unk>"},
    }
    (folder / "words.json").write_text(json.dumps(core), encoding="utf-8")
    PreTrainedTokenizerFast(
        tokenizer_file=str(folder / "words.json"),
        pad_token="<pad>",
        eos_token="</s>",
        unk_token="<unk>",
        model_max_length=64,
    ).save_pretrained(folder)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        config = T5Config(vocab_size=len(vocabulary), d_model=16, d_kv=8, d_ff=32, num_layers=1, num_heads=2)
        model = T5ForConditionalGeneration(config)
        assert model.generation_config is not None
        model.generation_config.decoder_start_token_id = 0
        model.save_pretrained(folder)
    return folder


def changed(rows: tuple[Row, ...], fill: Filler | None, rewrite: Rewriter | None = None) -> dict[str, Row]:
    text = {**NEVER["text"], "contextual": {"p": 1.0, "max_share": 0.4}, "rewrite": {"p": 1.0}}
    config = AugmentConfig.model_validate({"copies": 4, **NEVER, "text": text})
    after, _ = run_chain(Batch(rows=rows), augment_chain(config, fill, rewrite))
    assert after.rejects == ()
    return {row.key: row for row in after.rows if copy_of(row) is not None}


def test_a_masked_model_replaces_words_and_nothing_else(masked: Path) -> None:
    fill = MaskFiller(str(masked), 5)
    rows = changed((Row(key="a", text=TEXT, captions=(TEXT,)),), fill)
    assert len({row.text for row in rows.values()}) > 1
    for row in rows.values():
        assert row.text is not None
        assert row.text != TEXT
        assert len(row.text.split(" ")) == len(TEXT.split(" "))
        assert protected_words(row.text) >= protected_words(TEXT)
        assert json.loads(list_changes(row)[0]) == {"changed": 2, "op": "text_contextual"}
    assert changed((Row(key="a", text=TEXT, captions=(TEXT,)),), MaskFiller(str(masked), 5)) == rows
    both = changed((Row(key="b", text="the dog runs"), Row(key="a", text=TEXT, captions=(TEXT,))), fill)
    assert {key: row for key, row in both.items() if key in rows} == rows


def test_a_sequence_model_rewrites_and_the_same_draw_gives_the_same(sequence: Path) -> None:
    rewrite = Paraphraser(str(sequence), "a ", 4, 12)
    found = [rewrite("the dog runs", digest.generator(i)) for i in range(8)]
    assert found == [Paraphraser(str(sequence), "a ", 4, 12)("the dog runs", digest.generator(i)) for i in range(8)]
    assert len(set(found)) > 1
    assert "the dog runs" not in found
    assert rewrite("dog " * 50, digest.generator(0)) == "dog " * 50


def test_a_rewriting_that_loses_a_negation_or_a_number_is_discarded() -> None:
    class Says:
        fingerprint = "says"

        def __init__(self, words: str) -> None:
            self._words = words

        def __call__(self, text: str, rng: object) -> str:
            return self._words

    row = Row(key="a", text="There are 3 cats, not dogs")
    for words, taken in (
        ("Cats there are 3, dogs not", True),
        ("There are 3 cats", False),
        ("", False),
        ("4 cats", False),
    ):
        made = changed((row,), None, Says(words))
        assert {variant.text for variant in made.values()} == {words if taken else row.text}


def test_a_model_counts_by_its_bytes_and_settings_and_not_by_its_place(masked: Path, tmp_path: Path) -> None:
    moved = Path(shutil.copytree(masked, tmp_path / "elsewhere"))
    one = MaskFiller(str(masked), 5).fingerprint
    assert MaskFiller(str(moved), 5).fingerprint == one
    assert MaskFiller(str(moved), 6).fingerprint != one
    data = bytearray((moved / "model.safetensors").read_bytes())
    data[-3] ^= 1
    (moved / "model.safetensors").write_bytes(data)
    assert MaskFiller(str(moved), 5).fingerprint != one
    config = AugmentConfig(copies=1)
    recipes = [recipe_of(augment_chain(config, MaskFiller(str(path), 5))) for path in (masked, moved)]
    assert digest.canonical_json(recipes[0]) != digest.canonical_json(recipes[1])


def test_a_folder_without_safetensors_or_of_another_kind_is_a_configuration_error(masked: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"augment\.text\.contextual\.path"):
        MaskFiller(str(tmp_path / "none"), 5)
    folder = tmp_path / "pickled"
    folder.mkdir()
    (folder / "config.json").write_text("{}", encoding="utf-8")
    (folder / "pytorch_model.bin").write_bytes(b"x")
    with pytest.raises(ConfigError, match="only safetensors are read"):
        Paraphraser(str(folder), "", 4, 64)
    with pytest.raises(ConfigError, match="does not fit"):
        Paraphraser(str(masked), "", 4, 64)("the dog", digest.generator(0))
