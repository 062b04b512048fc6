"""Adaptation on a GPU: every objective and way of training runs there, and lowers its loss."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from tests.encoders import models
from tests.encoders.test_adapt import adapted, encoder_of
from trichord.encoders.base import Modality

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU is here"),
]


@pytest.mark.parametrize(
    ("save", "modality", "settings"),
    [
        (models.bert, "text", {"objective": "masked_language", "layers": "all"}),
        (models.bert, "text", {"objective": "views", "layers": "lora"}),
        (models.vit, "image", {"objective": "paired", "layers": "last", "last_layers": 1}),
        (models.wav2vec2, "audio", {"objective": "views", "layers": "all"}),
    ],
)
def test_an_encoder_is_adapted_on_the_gpu(
    tmp_path: Path, save: Any, modality: Modality, settings: dict[str, Any]
) -> None:
    story, _, out = adapted(tmp_path, save, modality, **settings)
    assert story["loss"][-1] < story["loss"][0]
    assert encoder_of(modality, out).module.device.type == "cuda"
