"""The training variants of a project: the chain that makes them, and everything that shapes them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from trichord.infra.config import AugmentConfig, Project
from trichord.transforms.libraries import audio_libraries, image_libraries
from trichord.transforms.op import Op, recipe_of

AUGMENT_FORMAT = 2


def open_chain(config: AugmentConfig) -> tuple[Op, ...]:
    """Open the chain with the models that the settings name; weights are loaded on first use.

    Raises:
        ConfigError: a model or dictionary is missing.
    """
    from trichord.transforms.augment.chain import augment_chain

    fill = rewrite = None
    contextual, rewriting = config.text.contextual, config.text.rewrite
    if contextual.path is not None and contextual.p > 0:
        from trichord.encoders.text_generators import MaskFiller

        fill = MaskFiller(contextual.path, contextual.top)
    if rewriting.path is not None and rewriting.p > 0:
        from trichord.encoders.text_generators import Paraphraser

        rewrite = Paraphraser(rewriting.path, rewriting.prefix, rewriting.beams, rewriting.max_tokens)
    return augment_chain(config, fill, rewrite)


def describe_variants(project: Project) -> list[Any]:
    """Describe a run's variants as JSON: equal where nothing about them changed; empty where none are made."""
    return augment_recipe(project, open_chain(project.augment)) if project.augment.copies else []


def augment_recipe(project: Project, chain: Sequence[Op]) -> list[Any]:
    """Return what shapes the variants of a shard beside the records and their parts: a piece of their address."""
    media = [project.prepare.audio.rate_hz, project.prepare.image.quality, image_libraries() | audio_libraries()]
    return [AUGMENT_FORMAT, recipe_of(chain), media]
