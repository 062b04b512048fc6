"""The model that aligns speech with its transcript, if a project uses one; it is passed to transforms."""

from __future__ import annotations

from trichord.infra.config import AlignConfig
from trichord.transforms.align.words import Aligner


def open_aligner(config: AlignConfig) -> Aligner | None:
    """Open the project's CTC model; None if the built-in aligner is used, or none."""
    if config.speech != "ctc" or config.ctc_model is None:
        return None
    from trichord.encoders.ctc import HuggingFaceCtc  # torch
    from trichord.transforms.align.ctc import CtcAligner

    return CtcAligner(emit=HuggingFaceCtc(config.ctc_model))
