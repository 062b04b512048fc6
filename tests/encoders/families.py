"""Small models of further families with drawn weights: what some of them do beside a plain forward pass matters."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import transformers as hf

from tests.encoders.models import _SIZE, _SPEECH, _save, _word_pieces

_PLACES: dict[str, Any] = {"max_position_embeddings": 66}
_TWO: dict[str, Any] = {"d_model": 16, "encoder_layers": 2, "decoder_layers": 2, "encoder_attention_heads": 2,
                        "decoder_attention_heads": 2, "encoder_ffn_dim": 32, "decoder_ffn_dim": 32}  # fmt: skip
_T5: dict[str, Any] = {"d_model": 16, "d_kv": 8, "d_ff": 32, "num_layers": 2, "num_heads": 2}
_CAUSAL: dict[str, Any] = {**_SIZE, **_PLACES, "num_key_value_heads": 2}
_PAIRS: dict[str, Any] = {"relative_attention": True, "pos_att_type": ["c2p", "p2c"]}
# name → the library's class, and its config by the size of the vocabulary
TEXTS: dict[str, tuple[Any, Callable[[int], Any]]] = {
    "t5": (hf.T5Model, lambda n: hf.T5Config(**_T5, vocab_size=n)),
    "t5 encoder": (hf.T5EncoderModel, lambda n: hf.T5Config(**_T5, vocab_size=n)),
    "mt5 encoder": (hf.MT5EncoderModel, lambda n: hf.MT5Config(**_T5, vocab_size=n)),
    "umt5 encoder": (hf.UMT5EncoderModel, lambda n: hf.UMT5Config(**_T5, vocab_size=n)),
    "bart": (hf.BartModel, lambda n: hf.BartConfig(**_TWO, **_PLACES, vocab_size=n)),
    "mbart": (hf.MBartModel, lambda n: hf.MBartConfig(**_TWO, **_PLACES, vocab_size=n)),
    "m2m": (hf.M2M100Model, lambda n: hf.M2M100Config(**_TWO, **_PLACES, vocab_size=n)),
    "marian": (hf.MarianModel, lambda n: hf.MarianConfig(**_TWO, **_PLACES, vocab_size=n, pad_token_id=0)),
    "pegasus": (hf.PegasusModel, lambda n: hf.PegasusConfig(**_TWO, **_PLACES, vocab_size=n)),
    "led": (
        hf.LEDModel,
        lambda n: hf.LEDConfig(**_TWO, vocab_size=n, attention_window=8, max_encoder_position_embeddings=64),
    ),
    "deberta": (hf.DebertaModel, lambda n: hf.DebertaConfig(**_SIZE, **_PLACES, **_PAIRS, vocab_size=n)),
    "deberta v2": (hf.DebertaV2Model, lambda n: hf.DebertaV2Config(**_SIZE, **_PLACES, **_PAIRS, vocab_size=n)),
    "big bird": (
        hf.BigBirdModel,
        lambda n: hf.BigBirdConfig(**_SIZE, **_PLACES, vocab_size=n, attention_type="original_full"),
    ),
    "longformer": (
        hf.LongformerModel,
        lambda n: hf.LongformerConfig(**_SIZE, **_PLACES, vocab_size=n, attention_window=8),
    ),
    "fnet": (
        hf.FNetModel,
        lambda n: hf.FNetConfig(
            hidden_size=16, num_hidden_layers=2, intermediate_size=32, vocab_size=n, **_PLACES
        ),
    ),
    "mpnet": (hf.MPNetModel, lambda n: hf.MPNetConfig(**_SIZE, **_PLACES, vocab_size=n)),
    "distilbert": (
        hf.DistilBertModel,
        lambda n: hf.DistilBertConfig(dim=16, n_layers=2, n_heads=2, hidden_dim=32, vocab_size=n, **_PLACES),
    ),
    "albert": (hf.AlbertModel, lambda n: hf.AlbertConfig(**_SIZE, **_PLACES, vocab_size=n, embedding_size=8)),
    "xlm-roberta": (hf.XLMRobertaModel, lambda n: hf.XLMRobertaConfig(**_SIZE, **_PLACES, vocab_size=n)),
    "camembert": (hf.CamembertModel, lambda n: hf.CamembertConfig(**_SIZE, **_PLACES, vocab_size=n)),
    "mobilebert": (
        hf.MobileBertModel,
        lambda n: hf.MobileBertConfig(
            **_SIZE, **_PLACES, vocab_size=n, embedding_size=16, intra_bottleneck_size=16
        ),
    ),
    "modernbert": (hf.ModernBertModel, lambda n: hf.ModernBertConfig(**_SIZE, **_PLACES, vocab_size=n, pad_token_id=0)),
    "roformer": (hf.RoFormerModel, lambda n: hf.RoFormerConfig(**_SIZE, **_PLACES, vocab_size=n)),
    "gpt2": (hf.GPT2Model, lambda n: hf.GPT2Config(n_embd=16, n_layer=2, n_head=2, n_positions=64, vocab_size=n)),
    "opt": (
        hf.OPTModel,
        lambda n: hf.OPTConfig(
            hidden_size=16, num_hidden_layers=2, num_attention_heads=2, ffn_dim=32, word_embed_proj_dim=16,
            vocab_size=n, **_PLACES,
        ),
    ),
    "llama": (hf.LlamaModel, lambda n: hf.LlamaConfig(**_CAUSAL, vocab_size=n)),
    "qwen3": (hf.Qwen3Model, lambda n: hf.Qwen3Config(**_CAUSAL, vocab_size=n, head_dim=8)),
    "bloom": (hf.BloomModel, lambda n: hf.BloomConfig(hidden_size=16, n_layer=2, n_head=2, vocab_size=n)),
    "mamba": (hf.MambaModel, lambda n: hf.MambaConfig(hidden_size=16, num_hidden_layers=2, vocab_size=n, state_size=4)),
    "bert generation": (hf.BertGenerationEncoder, lambda n: hf.BertGenerationConfig(**_SIZE, **_PLACES, vocab_size=n)),
    "clip": (hf.CLIPTextModel, lambda n: hf.CLIPTextConfig(**_SIZE, max_position_embeddings=64, vocab_size=n)),
    "siglip": (
        hf.SiglipModel,
        lambda n: hf.SiglipConfig(
            text_config={**_SIZE, "max_position_embeddings": 64, "vocab_size": n},
            vision_config={**_SIZE, "image_size": 32, "patch_size": 8},
        ),
    ),
}  # fmt: skip
_SQUARE: dict[str, Any] = {"image_size": 32, "patch_size": 8}
_STAGES: dict[str, Any] = {"image_size": 32, "patch_size": 4, "embed_dim": 8, "depths": [1, 1], "num_heads": [2, 2]}
# name → class, config, and states before the patches; None for a map, whose own summary is the vector
PICTURES: dict[str, tuple[Any, Any, int | None]] = {
    "vit mae": (hf.ViTMAEModel, hf.ViTMAEConfig(**_SIZE, **_SQUARE), 1),
    "vit msn": (hf.ViTMSNModel, hf.ViTMSNConfig(**_SIZE, **_SQUARE), 1),
    "dinov2": (hf.Dinov2Model, hf.Dinov2Config(**_SIZE, **_SQUARE), 1),
    "dinov2 with registers": (hf.Dinov2WithRegistersModel, hf.Dinov2WithRegistersConfig(**_SIZE, **_SQUARE), 5),
    "beit": (hf.BeitModel, hf.BeitConfig(**_SIZE, **_SQUARE), 1),
    "data2vec": (hf.Data2VecVisionModel, hf.Data2VecVisionConfig(**_SIZE, **_SQUARE), 1),
    "deit": (hf.DeiTModel, hf.DeiTConfig(**_SIZE, **_SQUARE), 2),
    "swin": (hf.SwinModel, hf.SwinConfig(**_STAGES, window_size=4), 0),
    "swin v2": (hf.Swinv2Model, hf.Swinv2Config(**_STAGES, window_size=4), 0),
    "convnext": (hf.ConvNextModel, hf.ConvNextConfig(hidden_sizes=[8, 16], depths=[1, 1], num_stages=2), None),
    "clip": (hf.CLIPVisionModel, hf.CLIPVisionConfig(**_SIZE, **_SQUARE), 1),
    "siglip": (hf.SiglipVisionModel, hf.SiglipVisionConfig(**_SIZE, **_SQUARE), 0),
}
_NORMED: dict[str, Any] = {**_SPEECH, "feat_extract_norm": "layer"}
_CONVOLVED = {name: value for name, value in _SPEECH.items() if name != "num_conv_pos_embeddings"}
# name → class, config, and whether its extractor makes a mask
SOUNDS: dict[str, tuple[Any, Any, bool]] = {
    "wavlm": (hf.WavLMModel, hf.WavLMConfig(**_SPEECH, feat_extract_norm="group"), False),
    "wavlm with layer norms": (hf.WavLMModel, hf.WavLMConfig(**_NORMED, do_stable_layer_norm=True), True),
    "unispeech": (hf.UniSpeechModel, hf.UniSpeechConfig(**_NORMED, do_stable_layer_norm=True), True),
    "unispeech sat": (hf.UniSpeechSatModel, hf.UniSpeechSatConfig(**_NORMED, do_stable_layer_norm=True), True),
    "data2vec": (
        hf.Data2VecAudioModel,
        hf.Data2VecAudioConfig(**_CONVOLVED, num_conv_pos_embeddings=2, conv_pos_kernel_size=5),
        True,
    ),
    "conformer": (hf.Wav2Vec2ConformerModel, hf.Wav2Vec2ConformerConfig(**_NORMED), True),
}


def save_text(folder: Path, name: str) -> tuple[Path, Any]:
    """Save a text model with a tokenizer, and return its folder and the tokenizer."""
    model, config = TEXTS[name]
    tokenizer = _word_pieces(folder)
    return _save(folder, model, config(len(tokenizer)), tokenizer), tokenizer


def save_picture(folder: Path, name: str) -> tuple[Path, Any]:
    """Save an image model with a processor, and return its folder and the processor."""
    processor = hf.ViTImageProcessorPil(size={"height": 32, "width": 32})
    return _save(folder, *PICTURES[name][:2], processor), processor


def save_sound(folder: Path, name: str) -> tuple[Path, Any]:
    """Save an audio model with an extractor, and return its folder and the extractor."""
    model, config, masked = SOUNDS[name]
    extractor = hf.Wav2Vec2FeatureExtractor(do_normalize=True, return_attention_mask=masked)
    return _save(folder, model, config, extractor), extractor
