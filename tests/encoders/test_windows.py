"""Long inputs are read to their end, the shortest have a vector, and padding reaches none."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoFeatureExtractor, AutoModel

from tests.encoders.models import BUILDERS, bert, clips, roberta
from trichord.encoders.huggingface_audio import HuggingFaceAudio
from trichord.encoders.huggingface_text import HuggingFaceText
from trichord.infra.config import EncoderConfig

SPEECH = ("wav2vec2", "wav2vec2_layer", "hubert", "hubert_layer")


@pytest.fixture(scope="module", params=SPEECH)
def speech(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return BUILDERS[request.param](tmp_path_factory.mktemp(request.param))


def audio_encoder(path: Path, **settings: object) -> HuggingFaceAudio:
    config = EncoderConfig.model_validate({"kind": "huggingface", "path": str(path), **settings})
    return HuggingFaceAudio(config, "strict")


@pytest.mark.parametrize("build", [bert, roberta])
def test_the_end_of_a_long_text_changes_its_vector_and_no_token_is_lost(tmp_path, build):
    encoder = HuggingFaceText(EncoderConfig(kind="huggingface", path=str(build(tmp_path)), max_tokens=512), "strict")
    start = "dog " * 300
    one, other = encoder.encode([f"{start} a cat", f"{start} the end"])
    assert np.abs(one - other).max() > 1e-4
    text = "".join(f" {'abcdefghij'[i % 10]}" for i in range(500))
    windows = encoder.windows([text])
    plain = encoder.processor(text, add_special_tokens=False)["input_ids"]
    assert [token for window in windows for token in window.values[1:-1]] == plain
    assert max(len(window.values) for window in windows) == encoder.shape.positions  # what the model has learned
    assert [window.span[0] for window in windows[1:]] == [window.span[1] for window in windows[:-1]]


def test_the_end_of_a_long_clip_changes_its_vector_and_no_sample_is_lost(speech):
    encoder = audio_encoder(speech, max_s=0.5)
    (clip,) = clips(2.1)
    other = clip.copy()
    other[-4_000:] = clip[:4_000]
    one, two = encoder.encode([clip, other])
    assert np.abs(one - two).max() > 1e-4
    windows = encoder.windows([clip])
    assert [len(window.values) for window in windows] == [6_720] * 5
    assert (windows[0].span, windows[-1].span) == ((0.0, 0.2), (0.8, 1.0))


def test_a_long_clip_is_the_mean_of_its_windows_read_alone(speech):
    (clip,) = clips(2.0)
    extractor, model = AutoFeatureExtractor.from_pretrained(speech), AutoModel.from_pretrained(speech).eval()
    states = []
    for window in np.split(clip, 4):
        with torch.inference_mode():
            given = extractor(window, sampling_rate=16_000, return_tensors="pt")["input_values"]
            states.append(model(given).last_hidden_state[0].numpy())
    reference = np.concatenate(states).mean(axis=0)
    np.testing.assert_allclose(audio_encoder(speech, max_s=0.5).encode([clip])[0], reference, atol=2e-5)


def test_the_shortest_clips_have_a_finite_vector_of_their_own(speech):
    encoder = audio_encoder(speech, tokens=3)
    shortest = [*clips(0.0, 0.0001, 0.001, 0.003), np.zeros(1, np.float32), np.zeros(7_000, np.float32)]
    vectors = encoder.encode(shortest)
    assert np.isfinite(vectors).all()
    assert len(np.unique(vectors.round(5), axis=0)) >= 4
    for odd in (np.zeros(9), np.zeros((2, 9), np.float32), np.zeros(0, np.float32)):
        with pytest.raises(ValueError, match="a clip must be float32"):
            encoder.encode([odd])


def test_a_clip_at_another_rate_than_the_extractor_s_is_resampled(tmp_path):
    path = BUILDERS["hubert"](tmp_path)
    settings = path / "preprocessor_config.json"
    settings.write_text(settings.read_text(encoding="utf-8").replace("16000", "8000"), encoding="utf-8")
    (window,) = audio_encoder(path).windows(clips(0.5))
    assert len(window.values) == 4_000
