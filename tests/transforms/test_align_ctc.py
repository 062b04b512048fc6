"""CTC alignment: a known answer from made-up emissions, and a tiny model saved to and loaded from disk."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import numpy as np
import pytest

from trichord.encoders.ctc import HuggingFaceCtc
from trichord.infra.config import AlignConfig
from trichord.infra.errors import ConfigError
from trichord.transforms.align.ctc import CtcAligner, Floats, align_labels
from trichord.transforms.align.speech import speech_ops
from trichord.transforms.align.transcript import tokens_of
from trichord.transforms.batch import Batch, Row, Waveform
from trichord.transforms.op import recipe_of, run_chain

LABELS = ["-", "|", "a", "c", "d", "g", "o", "t"]  # label 0 is the blank
FRAME_S = 0.02


def emission(path: str, certain: float = 0.9) -> Floats:
    """One frame a character of `path`, its label with probability `certain`, the rest shared among the others."""
    probabilities = np.full((len(path), len(LABELS)), (1 - certain) / (len(LABELS) - 1), np.float32)
    for frame, char in enumerate(path):
        probabilities[frame, LABELS.index(char)] = certain
    return np.log(probabilities)


def labels(word: str) -> list[int]:
    return [LABELS.index(char) for char in word if char in LABELS[2:]]


class Planted:
    """A model that hears what is planted."""

    blank, delimiter, fingerprint = 0, 1, "planted"

    def __init__(self, path: str) -> None:
        self.path = path

    def labels(self, word: str) -> list[int]:
        return labels(word)

    def __call__(self, wave: Waveform) -> tuple[Floats, float]:
        return emission(self.path), FRAME_S


def test_words_are_found_at_the_frames_where_they_were_planted() -> None:
    spans = align_labels(emission("--ccaat--|-dd-oog---"), [labels("cat"), labels("dog")], 0, 1)
    assert spans is not None
    assert [(span.start, span.stop) for span in spans if span] == [(2, 7), (11, 17)]
    assert all(span is not None and span.score == pytest.approx(0.9, abs=1e-5) for span in spans)


def test_a_word_that_is_not_spoken_has_a_low_score_and_its_neighbours_keep_theirs() -> None:
    spans = align_labels(emission("cat|dog|cat"), [labels("cat"), labels("cat"), labels("cat")], 0, 1)
    assert spans is not None
    first, second, third = (span.score for span in spans if span)
    assert first == pytest.approx(0.9, abs=1e-5)
    assert third == pytest.approx(0.9, abs=1e-5)
    assert second < 0.5


def test_a_doubled_letter_needs_the_blank_between_and_too_few_frames_give_no_alignment() -> None:
    assert align_labels(emission("t-t"), [labels("tt")], 0, 1) is not None
    assert align_labels(emission("tt"), [labels("tt")], 0, 1) is None
    assert align_labels(emission("ca"), [labels("cat")], 0, 1) is None
    assert align_labels(emission("cat"), [[]], 0, 1) is None


def test_words_without_labels_have_no_times_and_no_score() -> None:
    found = CtcAligner(emit=Planted("cat|dog"))(Waveform(np.zeros(2_240, np.float32), 16_000), tokens_of("cat 犬 dog"))
    assert found is not None
    assert [word.span for word in found.words] == [(0.0, 3 * FRAME_S), None, (4 * FRAME_S, 7 * FRAME_S)]
    assert found.score == pytest.approx(0.9 * 2 / 3, abs=1e-3)


def test_a_row_gets_its_words_and_a_wrong_transcript_is_rejected() -> None:
    config = AlignConfig(speech="ctc", ctc_model="planted", max_speech_rate_wps=None, min_speech_coverage=None)
    wave = Waveform(np.zeros(16_000, np.float32), 16_000)
    batch = Batch(
        rows=(Row(key="right", text="Cat, dog!"), Row(key="wrong", text="god tac")),
        waves=(wave, wave),
        scores=({"audio_speech_s": 1.0},) * 2,
    )
    ops = speech_ops(config, CtcAligner(emit=Planted("cat|dog")))
    after, _ = run_chain(batch, ops)
    assert [segment.text for segment in after.rows[0].segments] == ["Cat", "dog"]
    assert [(reject.key, reject.reason) for reject in after.rejects] == [("wrong", "speech_mismatch")]
    assert "planted" in json.dumps(recipe_of(ops))


def test_ctc_without_a_model_is_a_mistake_in_the_settings() -> None:
    with pytest.raises(ValueError, match="ctc_model"):
        AlignConfig(speech="ctc")
    with pytest.raises(ConfigError, match="ctc"):
        speech_ops(AlignConfig(speech="ctc", ctc_model="somewhere"))


@pytest.fixture(scope="module")
def saved_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny wav2vec 2.0 with seeded weights, as `save_pretrained` writes it."""
    import torch
    from transformers import Wav2Vec2Config, Wav2Vec2CTCTokenizer, Wav2Vec2FeatureExtractor, Wav2Vec2ForCTC

    folder = tmp_path_factory.mktemp("ctc")
    vocabulary = ["<pad>", "<s>", "</s>", "<unk>", "|", "'", *"ABCDEFGHIJKLMNOPQRSTUVWXYZ"]
    (folder / "made.json").write_text(json.dumps({letter: i for i, letter in enumerate(vocabulary)}))
    with torch.random.fork_rng():
        torch.manual_seed(3)
        model = Wav2Vec2ForCTC(
            Wav2Vec2Config(
                vocab_size=len(vocabulary),
                hidden_size=16,
                num_hidden_layers=1,
                num_attention_heads=2,
                intermediate_size=16,
                conv_dim=(8, 8),
                conv_kernel=(10, 8),
                conv_stride=(20, 16),
                num_conv_pos_embeddings=8,
                num_conv_pos_embedding_groups=2,
                pad_token_id=0,
            )
        )
    model.save_pretrained(folder)
    Wav2Vec2CTCTokenizer(str(folder / "made.json")).save_pretrained(folder)
    Wav2Vec2FeatureExtractor(feature_size=1, sampling_rate=16_000, do_normalize=True).save_pretrained(folder)
    return folder


def test_a_model_from_disk_aligns_the_same_way_every_time(saved_model: Path) -> None:
    emit = HuggingFaceCtc(str(saved_model))
    assert emit.labels("cat") == [emit.labels(letter)[0] for letter in "CAT"]
    assert emit.blank == 0
    assert emit.delimiter == 4
    noise = np.random.Generator(np.random.Philox(key=1)).uniform(-0.5, 0.5, 32_000).astype(np.float32)
    log_probs, frame_s = emit(Waveform(noise, 16_000))
    assert frame_s == 0.02
    assert abs(len(log_probs) - 100) <= 2
    np.testing.assert_allclose(np.exp(log_probs).sum(axis=1), 1, atol=1e-5)
    first = CtcAligner(emit=emit)(Waveform(noise, 16_000), tokens_of("The cat sat"))
    emit(Waveform(noise[:9_000], 16_000))
    again = CtcAligner(emit=copy.copy(emit))(Waveform(noise, 16_000), tokens_of("The cat sat"))
    assert first == again
    assert first is not None
    times = [word.span for word in first.words]
    assert times == sorted(times, key=str)
    assert emit(Waveform(noise[:100], 16_000))[0].shape == (0, 32)


def test_only_safetensors_are_read_and_a_missing_model_is_named(saved_model: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="There is no folder"):
        HuggingFaceCtc(str(tmp_path / "nothing"))
    (tmp_path / "config.json").write_text((saved_model / "config.json").read_text())
    (tmp_path / "preprocessor_config.json").write_text("{}")
    (tmp_path / "pytorch_model.bin").write_bytes(b"")
    with pytest.raises(ConfigError, match="safetensors"):
        HuggingFaceCtc(str(tmp_path))
