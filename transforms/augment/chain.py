"""The chain of `augment`: variants are added, then changed by one op a kind of change."""

from __future__ import annotations

from trichord.infra.config import AugmentConfig
from trichord.transforms.augment.audio import audio_steps
from trichord.transforms.augment.image import image_steps
from trichord.transforms.augment.text import Filler, Rewriter, text_steps
from trichord.transforms.augment.variants import Variants
from trichord.transforms.op import Op


def augment_chain(config: AugmentConfig, fill: Filler | None = None, rewrite: Rewriter | None = None) -> tuple[Op, ...]:
    """The ops that make the variants of records.

    Pictures come first: whether one may be mirrored is asked of the words as they were written.

    Raises:
        ConfigError: a dictionary that the settings name is missing.
    """
    return (
        Variants(copies=config.copies),
        *image_steps(config.image, config.seed),
        *text_steps(config.text, config.seed, fill, rewrite),
        *audio_steps(config.audio, config.seed),
    )
