"""The chain of `prepare`: every op a row goes through, in order."""

from __future__ import annotations

from trichord.infra.config import PrepareConfig, Source
from trichord.transforms.align.modality_policy import modality_ops
from trichord.transforms.align.regions import region_ops
from trichord.transforms.align.speech import speech_ops
from trichord.transforms.align.time import time_ops
from trichord.transforms.align.words import Aligner
from trichord.transforms.clean.audio import audio_ops
from trichord.transforms.clean.image import image_ops
from trichord.transforms.clean.text import text_ops
from trichord.transforms.op import Op


def prepare_chain(
    config: PrepareConfig, source: Source | None = None, aligner: Aligner | None = None
) -> tuple[Op, ...]:
    """Return the ops of `prepare` for a source (None: a query), cheap ones first, each threshold after its measurement.

    Rows are cut by time and region before anything is decoded; decoding then takes a row's part. A query has neither a
    source to cut by nor a transcript to align.
    """
    cut = (*time_ops(source), *region_ops(source)) if source is not None else ()
    policy = modality_ops(source) if source is not None else ()
    speech = speech_ops(config.align, aligner) if source is not None else ()
    return (
        *cut,
        *text_ops(config.text),
        *policy,
        *image_ops(config.image, details=source is not None and config.dedup.near),
        *audio_ops(config.audio),
        *speech,
    )
