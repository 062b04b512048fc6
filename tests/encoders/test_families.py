"""A vector is the plain model's own, alone, whatever its family pads, masks or draws; else the family is refused."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers as hf
from PIL import Image

from tests.encoders import families, models
from tests.encoders.models import clips, pictures
from trichord.encoders.device import torch_threads
from trichord.encoders.families import _PADDED_SOUND, _PADDED_TEXT
from trichord.encoders.huggingface_audio import HuggingFaceAudio
from trichord.encoders.huggingface_image import HuggingFaceImage
from trichord.encoders.huggingface_text import HuggingFaceText
from trichord.infra.config import EncoderConfig
from trichord.infra.errors import ConfigError

WORDS = ("a dog", "two small red circles", "the quick brown fox jumps over the lazy dog")


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    with torch_threads(1):
        yield


def _config(folder: Path, **more: Any) -> EncoderConfig:
    return EncoderConfig.model_validate({"kind": "huggingface", "path": str(folder), **more})


def _edit(folder: Path, name: str = "config.json", **keys: Any) -> Path:
    file = folder / name
    stored = json.loads(file.read_bytes()) if file.exists() else {}
    file.write_text(json.dumps(stored | keys), encoding="utf-8")
    return folder


@pytest.mark.parametrize("name", families.TEXTS)
def test_a_text_gives_the_plain_model_s_own_mean_in_any_company(name, tmp_path):
    folder, tokenizer = families.save_text(tmp_path, name)
    encoder = HuggingFaceText(_config(folder), "strict")
    found = encoder.encode(WORDS)
    plain = families.TEXTS[name][0].from_pretrained(folder).eval()
    plain = plain.get_encoder() if plain.config.is_encoder_decoder else getattr(plain, "text_model", plain)
    with torch.inference_mode():
        coded = [{"input_ids": tokenizer(text, return_tensors="pt")["input_ids"]} for text in WORDS]
        reference = [plain(**one).last_hidden_state[0].mean(dim=0).numpy() for one in coded]
    np.testing.assert_allclose(found, np.stack(reference), atol=2e-5)
    assert reference[0].std() > 1e-4
    assert np.array_equal(encoder.encode([WORDS[2], "dog " * 90, WORDS[0]])[2], found[0])


@pytest.mark.parametrize("name", families.PICTURES)
def test_a_picture_gives_the_plain_model_s_own_mean_each_time(name, tmp_path):
    folder, processor = families.save_picture(tmp_path, name)
    encoder = HuggingFaceImage(_config(folder), "strict")
    given = pictures(3)
    model, _, before = families.PICTURES[name]
    plain, more = model.from_pretrained(folder).eval(), {}
    if name == "vit mae":  # its mask and its order of patches are drawn, if nothing says otherwise
        plain.config.mask_ratio, more = 0.0, {"noise": torch.arange(16.0)[None]}
    reference = []
    for picture in given:
        with torch.inference_mode():
            made = plain(**processor(Image.fromarray(picture), return_tensors="pt"), **more)
        one = made.pooler_output[0].ravel() if before is None else made.last_hidden_state[0][before:].mean(dim=0)
        reference.append(one.numpy())
    np.testing.assert_allclose(encoder.encode(given), np.stack(reference), atol=2e-5)
    assert np.array_equal(encoder.encode([given[1]] * 2)[1], encoder.encode(given)[1])


def test_parts_of_a_masked_autoencoder_are_in_reading_order(tmp_path):
    folder, _ = families.save_picture(tmp_path, "vit mae")
    whole, parts = (HuggingFaceImage(_config(folder, tokens=n, pooling="mean"), "strict") for n in (1, 4))
    vectors = parts.encode(pictures(2)).reshape(2, 4, 16)
    np.testing.assert_allclose(vectors.mean(axis=1), whole.encode(pictures(2)), atol=2e-5)
    assert vectors.std(axis=1).max() > 1e-3


@pytest.mark.parametrize("name", families.SOUNDS)
def test_a_sound_gives_the_plain_model_s_own_mean_in_any_company(name, tmp_path):
    folder, extractor = families.save_sound(tmp_path, name)
    encoder, given = HuggingFaceAudio(_config(folder, max_s=1.0), "strict"), clips(0.5, 0.31, 0.9)
    plain = families.SOUNDS[name][0].from_pretrained(folder).eval()
    with torch.inference_mode():
        made = [plain(**extractor(clip, sampling_rate=16_000, return_tensors="pt")) for clip in given]
    reference = np.stack([one.last_hidden_state[0].mean(dim=0).numpy() for one in made])
    np.testing.assert_allclose(encoder.encode(given), reference, atol=2e-5)


def test_the_silence_that_fills_a_clip_up_does_not_count(tmp_path):
    """Whisper reads 30 s: of half a second, 25 of 1,500 states are of the clip."""
    sizes: dict[str, Any] = {"vocab_size": 20, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
    config = hf.WhisperConfig(**families._TWO, **sizes, decoder_start_token_id=1, max_source_positions=1_500)
    extractor = hf.WhisperFeatureExtractor()
    folder = models._save(tmp_path, hf.WhisperModel, config, extractor)
    plain = hf.WhisperModel.from_pretrained(folder).eval().get_encoder()
    clip = clips(0.5)[0]
    with torch.inference_mode():
        states = plain(**extractor(clip, sampling_rate=16_000, return_tensors="pt")).last_hidden_state[0]
    found = HuggingFaceAudio(_config(folder), "strict").encode([clip])[0]
    np.testing.assert_allclose(found, states[:25].mean(dim=0).numpy(), atol=1e-4)


def test_frames_that_fill_a_clip_up_do_not_count(tmp_path):
    """Wav2Vec2-BERT's extractor fills up to an even number of frames, and masks the last one."""
    config = hf.Wav2Vec2BertConfig(**models._SIZE, feature_projection_input_dim=160)
    extractor = hf.SeamlessM4TFeatureExtractor()
    folder = models._save(tmp_path, hf.Wav2Vec2BertModel, config, extractor)
    plain = hf.Wav2Vec2BertModel.from_pretrained(folder).eval()
    for clip in clips(0.5, 0.31):
        coded = extractor(clip, sampling_rate=16_000, return_tensors="pt")
        with torch.inference_mode():
            states = plain(**coded).last_hidden_state[0][coded["attention_mask"][0].bool()]
        found = HuggingFaceAudio(_config(folder), "strict").encode([clip])[0]
        np.testing.assert_allclose(found, states.mean(dim=0).numpy(), atol=2e-5)


def test_every_family_that_may_be_padded_is_tried_here():
    tried = {config(65).model_type for _, config in families.TEXTS.values()} | {"bert", "electra", "roberta", "clip"}
    assert tried | {"siglip"} >= _PADDED_TEXT
    assert {config.model_type for _, config, _ in families.SOUNDS.values()} | {"hubert", "wav2vec2"} >= _PADDED_SOUND


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"model_type": "reformer"}, "'reformer'.*drawn at random"),
        ({"model_type": "xlnet"}, "'xlnet'.*types"),
        ({"model_type": "funnel"}, "'funnel'"),
        ({"model_type": "yolos"}, "'yolos'.*not of the picture"),
        ({"model_type": "big_bird"}, r"'big_bird'.*\nSet attention_type to original_full"),
        ({"quantization_config": {"quant_method": "gptq", "bits": 4}}, "quantization_config"),
        ({"auto_map": {"AutoModel": "code.Mine"}}, "auto_map"),
    ],
)
def test_a_model_that_would_be_read_wrongly_is_refused_before_any_work(keys, said, tmp_path):
    with pytest.raises(ConfigError, match=f"(?s){said}"):
        HuggingFaceText(_config(_edit(models.bert(tmp_path), **keys)), "strict")


@pytest.mark.parametrize("made", ["encodec", "clip processor alone", "siglip2"])
def test_a_model_that_gives_no_states_is_a_configuration_error_that_names_its_family(made, tmp_path):
    if made == "encodec":
        config: Any = hf.EncodecConfig(num_filters=4, hidden_size=16, codebook_size=16, codebook_dim=16)
        models._save(tmp_path, hf.EncodecModel, config, hf.EncodecFeatureExtractor())
        encoder: Any = HuggingFaceAudio(_config(tmp_path), "strict")
    elif made == "siglip2":
        config = hf.Siglip2VisionConfig(**models._SIZE, patch_size=8, num_patches=16)
        models._save(tmp_path, hf.Siglip2VisionModel, config, hf.ViTImageProcessorPil())
        encoder = HuggingFaceImage(_config(tmp_path), "strict")
    else:  # a text model with an image processor
        models.bert(tmp_path)
        hf.ViTImageProcessorPil(size={"height": 32, "width": 32}).save_pretrained(tmp_path)
        encoder = HuggingFaceImage(_config(tmp_path), "strict")
    with pytest.raises(ConfigError, match=r"family '(encodec|siglip2_vision_model|bert)', which does not work as"):
        _ = encoder.dimension


def test_a_check_says_what_a_model_is_and_finds_one_that_draws_at_random(tmp_path, monkeypatch):
    folder, _ = families.save_picture(tmp_path, "vit mae")
    encoder = HuggingFaceImage(_config(folder), "strict")
    assert encoder.check() == "vit_mae, 16 values"
    encoder.module.config.mask_ratio = 0.75
    given = encoder._inputs
    monkeypatch.setattr(encoder, "_inputs", lambda values, size: {"pixel_values": given(values, size)["pixel_values"]})
    with pytest.raises(ConfigError, match=r"gives one input two vectors.*draws at random"):
        encoder.check()


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"size": {"shortest_edge": 32}}, "doesn't match model"),  # a square picture alone would fit
        ({"resample": 9}, "resampling filter"),
        ({"image_mean": [0.5]}, "mean must have 3"),
    ],
)
def test_a_check_tries_pictures_that_are_no_squares(keys, said, tmp_path):
    folder, _ = families.save_picture(tmp_path, "vit msn")
    encoder = HuggingFaceImage(_config(_edit(folder, "preprocessor_config.json", **keys)), "strict")
    with pytest.raises(ConfigError, match=said):
        encoder.check()


def test_pictures_that_are_filled_up_and_masked_are_refused(tmp_path, monkeypatch):
    folder, processor = families.save_picture(tmp_path, "vit msn")
    encoder = HuggingFaceImage(_config(folder), "strict")
    mask = np.ones((1, 32, 32), np.int64)
    encoder.processor = lambda *given, **how: {**processor(*given, **how), "pixel_mask": mask}
    assert encoder.check() == "vit_msn, 16 values"
    mask[0, :, 20:] = 0
    with pytest.raises(ConfigError, match="pixel_mask"):
        encoder.check()


@pytest.mark.parametrize("rate", [0, None, "16k"])
def test_a_rate_that_is_none_is_refused(rate, tmp_path):
    folder, _ = families.save_sound(tmp_path, "conformer")
    with pytest.raises(ConfigError, match=f"sampling_rate to {rate!r}"):
        HuggingFaceAudio(_config(_edit(folder, "preprocessor_config.json", sampling_rate=rate)), "strict").check()
