"""Small models of every family that the encoders are proven on, with drawn weights, saved as any model is.

Tokenizers and processors are the families' own; only sizes are small.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers as hf
from transformers.convert_slow_tokenizer import bytes_to_unicode

from trichord.encoders.frozen import load_encoders
from trichord.encoders.huggingface import HuggingFaceEncoder
from trichord.infra.config import ModelConfig
from trichord.infra.digest import generator

LETTERS = "abcdefghijklmnopqrstuvwxyz"
TEXTS = (
    "Two small red circles at the top left.",
    "a dog",
    "",
    "Ünïcode — and a question?",
    "A long one. " * 40,
    "the same length of words here again",
)


def pictures(count: int) -> list[np.ndarray]:
    """Pictures of several shapes, among them the smallest and the narrowest."""
    shapes = [(48, 64), (64, 48), (3, 90), (1, 1), (40, 40), (200, 120)]
    rng = generator("pictures")
    return [rng.integers(0, 256, (*shapes[i % len(shapes)], 3), dtype=np.uint8) for i in range(count)]


def clips(*seconds: float) -> list[np.ndarray]:
    """Tones in noise at 16 kHz."""
    rng, found = generator("clips"), []
    for i, length in enumerate(seconds):
        time = np.arange(max(1, round(length * 16_000))) / 16_000
        tone = 0.3 * np.sin(2 * np.pi * 200 * (i + 1) * time) + 0.05 * rng.normal(size=len(time))
        found.append(tone.astype(np.float32))
    return found


def _save(folder: Path, model: type, config: Any, *processors: Any) -> Path:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model(config).save_pretrained(folder)
    for processor in processors:
        processor.save_pretrained(folder)
    return folder


_SIZE: dict[str, Any] = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}


def _word_pieces(folder: Path) -> Any:
    folder.mkdir(exist_ok=True)
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *LETTERS, *(f"##{letter}" for letter in LETTERS), "dog"]
    (folder / "vocab.txt").write_text("\n".join(words), encoding="utf-8")
    return hf.BertTokenizer(vocab=str(folder / "vocab.txt"), model_max_length=64)


def bert(folder: Path) -> Path:
    tokenizer = _word_pieces(folder)
    config = hf.BertConfig(**_SIZE, vocab_size=len(tokenizer), max_position_embeddings=64)
    return _save(folder, hf.BertModel, config, tokenizer)


def electra(folder: Path) -> Path:
    """Its embeddings are narrower than its states."""
    tokenizer = _word_pieces(folder)
    config = hf.ElectraConfig(**_SIZE, embedding_size=8, vocab_size=len(tokenizer), max_position_embeddings=64)
    return _save(folder, hf.ElectraModel, config, tokenizer)


def roberta(folder: Path) -> Path:
    """Byte pairs, and positions that begin behind the padding token's number: of 64, 62 can be used."""
    names = ["<s>", "<pad>", "</s>", "<unk>", *bytes_to_unicode().values(), "do", "dog", "<mask>"]
    vocabulary = {name: i for i, name in enumerate(names)}
    merges: Any = [("d", "o"), ("do", "g")]
    tokenizer = hf.RobertaTokenizer(vocab=vocabulary, merges=merges)
    config = hf.RobertaConfig(
        **_SIZE, vocab_size=len(names), max_position_embeddings=64, pad_token_id=1, bos_token_id=0, eos_token_id=2
    )
    return _save(folder, hf.RobertaModel, config, tokenizer)


def sentence_bert(folder: Path, modes: tuple[str, ...] = ("mean_tokens",), normalise: bool = True) -> Path:
    """A BERT with the files that sentence-transformers writes beside it."""
    bert(folder)
    kinds = ["Transformer", "Pooling", *(["Normalize"] if normalise else [])]
    paths = ["", "1_Pooling", "2_Normalize"]
    modules = [
        {"idx": i, "name": str(i), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for i, (kind, path) in enumerate(zip(kinds, paths, strict=False))
    ]
    known = ("cls_token", "mean_tokens", "max_tokens", "mean_sqrt_len_tokens")
    pooling = {"word_embedding_dimension": 16} | {f"pooling_mode_{name}": name in modes for name in known}
    (folder / "modules.json").write_text(json.dumps(modules), encoding="utf-8")
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(pooling), encoding="utf-8")
    (folder / "sentence_bert_config.json").write_text('{"max_seq_length": 48}', encoding="utf-8")
    return folder


def resnet(folder: Path) -> Path:
    config = hf.ResNetConfig(embedding_size=8, hidden_sizes=[16, 24], depths=[1, 1], layer_type="basic")
    return _save(folder, hf.ResNetModel, config, hf.ConvNextImageProcessorPil(size={"shortest_edge": 64}))


def efficientnet(folder: Path) -> Path:
    config = hf.EfficientNetConfig(
        image_size=64,
        width_coefficient=0.1,
        depth_coefficient=0.1,
        hidden_dim=128,
        drop_connect_rate=0.0,
        initializer_range=0.66,  # with the usual 0.02 every output of drawn weights is zero
    )
    processor = hf.EfficientNetImageProcessorPil(size={"height": 64, "width": 64})
    return _save(folder, hf.EfficientNetModel, config, processor)


def vit(folder: Path) -> Path:
    config = hf.ViTConfig(**_SIZE, image_size=32, patch_size=8)
    return _save(folder, hf.ViTModel, config, hf.ViTImageProcessorPil(size={"height": 32, "width": 32}))


_SPEECH: dict[str, Any] = {**_SIZE, "conv_dim": (8, 8, 8), "conv_kernel": (10, 3, 2), "conv_stride": (5, 4, 4)}
# Narrow groups: torch 2.11 answers a bfloat16 convolution of even width wrongly where a group has under 16 channels
# and the CPU has AMX (oneDNN 3.10.2), so such convolutions are kept in float32.
_SPEECH |= {"num_feat_extract_layers": 3, "num_conv_pos_embeddings": 8, "num_conv_pos_embedding_groups": 8}


def wav2vec2(folder: Path) -> Path:
    """As wav2vec2-base: the first layer normalises over time, and no mask is made."""
    extractor = hf.Wav2Vec2FeatureExtractor(do_normalize=True, return_attention_mask=False)
    return _save(folder, hf.Wav2Vec2Model, hf.Wav2Vec2Config(**_SPEECH, feat_extract_norm="group"), extractor)


def wav2vec2_layer(folder: Path) -> Path:
    """As wav2vec2-large-lv60: layer normalisation, and padding is masked."""
    extractor = hf.Wav2Vec2FeatureExtractor(do_normalize=True, return_attention_mask=True)
    config = hf.Wav2Vec2Config(**_SPEECH, feat_extract_norm="layer", do_stable_layer_norm=True)
    return _save(folder, hf.Wav2Vec2Model, config, extractor)


def hubert(folder: Path) -> Path:
    """As hubert-base."""
    extractor = hf.Wav2Vec2FeatureExtractor(do_normalize=False, return_attention_mask=False)
    return _save(folder, hf.HubertModel, hf.HubertConfig(**_SPEECH, feat_extract_norm="group"), extractor)


def hubert_layer(folder: Path) -> Path:
    """As hubert-large."""
    extractor = hf.Wav2Vec2FeatureExtractor(do_normalize=True, return_attention_mask=True)
    config = hf.HubertConfig(**_SPEECH, feat_extract_norm="layer", do_stable_layer_norm=True)
    return _save(folder, hf.HubertModel, config, extractor)


BUILDERS: dict[str, Callable[[Path], Path]] = {
    build.__name__: build
    for build in (
        bert,
        roberta,
        electra,
        sentence_bert,
        resnet,
        efficientnet,
        vit,
        wav2vec2,
        wav2vec2_layer,
        hubert,
        hubert_layer,
    )
}


def modality(name: str) -> str:
    """What a family reads."""
    return "text" if name in list(BUILDERS)[:4] else "image" if name in list(BUILDERS)[4:7] else "audio"


def loaded(path: Path, name: str, numerics: str = "strict", **settings: Any) -> HuggingFaceEncoder:
    """The encoder that a project file with these settings gets."""
    given = {"kind": "huggingface", "path": str(path), "max_s": 1.0, **settings}
    config = ModelConfig.model_validate({modality(name): given, "numerics": numerics})
    encoder = load_encoders(config).by_modality[modality(name)]  # type: ignore[index]
    assert isinstance(encoder, HuggingFaceEncoder)
    return encoder
