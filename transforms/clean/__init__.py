"""Cleaning: what is decoded, measured and refused, in the order it happens."""

from __future__ import annotations

from infra.config import PrepareConfig
from transforms.clean.audio import AudioDecode
from transforms.clean.image import ImageDecode, ImageSharpness
from transforms.clean.text import TextLength, TextNormalize
from transforms.op import Op, Threshold


def prepare_chain(config: PrepareConfig) -> tuple[Op, ...]:
    """The ops of `prepare`: cheap ones first, each threshold right behind what it judges."""
    text, image, audio = config.text, config.image, config.audio
    return (
        TextNormalize(),
        TextLength(),
        Threshold(score="text_chars", reason="text_too_short", least=text.min_chars),
        Threshold(score="text_chars", reason="text_too_long", most=text.max_chars),
        ImageDecode(max_bytes=image.max_bytes, max_pixels=image.max_pixels, side=image.side),
        Threshold(score="image_min_side", reason="image_too_small", least=image.min_side),
        Threshold(score="image_aspect", reason="image_aspect", most=image.max_aspect),
        ImageSharpness(side=image.side),
        Threshold(score="image_sharpness", reason="image_blurred", least=image.min_sharpness),
        AudioDecode(max_bytes=audio.max_bytes, max_duration_s=audio.max_duration_s, rate_hz=audio.rate_hz),
        Threshold(score="audio_duration_s", reason="audio_too_short", least=audio.min_duration_s),
        Threshold(score="audio_clipping", reason="audio_clipped", most=audio.max_clipping),
    )
