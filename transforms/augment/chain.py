"""The chain of `augment`: variants are added, then changed by one op per kind of change."""

from __future__ import annotations

from trichord.infra.config import AugmentConfig
from trichord.transforms.augment.audio import audio_steps
from trichord.transforms.augment.image import image_steps
from trichord.transforms.augment.text import Filler, Rewriter, text_steps
from trichord.transforms.augment.variants import Variants
from trichord.transforms.op import Op


def augment_chain(config: AugmentConfig, fill: Filler | None = None, rewrite: Rewriter | None = None) -> tuple[Op, ...]:
    """Return the ops that make the variants of records.

    Pictures come first: the original words decide whether one may be mirrored.

    Raises:
        ConfigError: a dictionary named in the settings is missing.
    """
    return (
        Variants(copies=config.copies),
        *image_steps(config.image, config.seed),
        *text_steps(config.text, config.seed, fill, rewrite),
        *audio_steps(config.audio, config.seed),
    )
