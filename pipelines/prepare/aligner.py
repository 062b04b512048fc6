"""The model that aligns speech with its transcript, where a project asks for one; transforms are handed it."""

from __future__ import annotations

from trichord.infra.config import AlignConfig
from trichord.transforms.align.words import Aligner


def open_aligner(config: AlignConfig) -> Aligner | None:
    """The CTC model of the project; None where speech is aligned by the embedded aligner, or not at all."""
    if config.speech != "ctc" or config.ctc_model is None:
        return None
    from trichord.encoders.ctc import HuggingFaceCtc  # torch
    from trichord.transforms.align.ctc import CtcAligner

    return CtcAligner(emit=HuggingFaceCtc(config.ctc_model))
