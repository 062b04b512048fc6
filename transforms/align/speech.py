"""Speech and transcript: whether the text is what is said, and when each word is."""

from __future__ import annotations

from infra.config import AlignConfig
from transforms.op import Op


def speech_ops(config: AlignConfig) -> tuple[Op, ...]:
    """The ops that align speech with its transcript."""
    del config
    return ()
