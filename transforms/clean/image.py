"""Pictures: decoding to canonical size, shape and sharpness."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar

import cv2

from infra.config import ImageConfig
from transforms.batch import Batch, Image
from transforms.media import IMAGE_LIBRARIES, MediaError, decode_image, shrink_image
from transforms.op import Op, Threshold


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageDecode(Op):
    """Decodes raw pictures, measures them as they came, and shrinks them so that the longer side is at most `side`.

    All in one op, so that a batch never holds more than one picture of full size. Measures `image_min_side` (pixels of
    the shorter side) and `image_aspect` (longer over shorter side).
    """

    version: ClassVar[int] = 1

    max_bytes: int
    max_pixels: int
    side: int

    @property
    def name(self) -> str:
        """The op's name."""
        return "image_decode"

    def settings(self) -> dict[str, Any]:
        """With the libraries that decode: another version may give other pixels."""
        return Op.settings(self) | {"libraries": IMAGE_LIBRARIES}

    def __call__(self, batch: Batch) -> Batch:
        """Apply the op."""
        images, measured, refused = list(batch.images), [dict[str, float]() for _ in batch.rows], {}
        for i, raw in enumerate(batch.raw_images):
            if raw is None:
                continue
            try:
                images[i], measured[i] = self._decoded(raw)
            except MediaError as error:
                refused[i] = (error.reason, error.detail)
        decoded = replace(batch, images=tuple(images), raw_images=(None,) * len(batch))
        return decoded.with_scores(measured).reject(refused, self.name)

    def _decoded(self, raw: bytes) -> tuple[Image, dict[str, float]]:
        rgb = decode_image(raw, max_pixels=self.max_pixels, max_bytes=self.max_bytes)
        short, long = sorted(rgb.shape[:2])
        return shrink_image(rgb, self.side), {"image_min_side": float(short), "image_aspect": long / short}


def sharpness(rgb: Image, side: int) -> float:
    """Variance of the Laplacian of the picture's grey values at canonical size.

    It means nothing across sizes (FACTS: 3.3 to 140 for one picture), so smaller pictures are enlarged (bicubic) and
    larger ones shrunk until the longer side is `side`. Pech-Pacheco et al., "Diatom autofocusing in brightfield
    microscopy", ICPR 2000.
    """
    rgb = shrink_image(rgb, side)
    height, width = rgb.shape[:2]
    if max(height, width) < side:
        scale = side / max(height, width)
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        rgb = cv2.resize(rgb, size, interpolation=cv2.INTER_CUBIC)  # type: ignore[assignment]
    edges = cv2.Laplacian(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY), cv2.CV_16S)
    return float(cv2.meanStdDev(edges)[1].item() ** 2)


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageSharpness(Op):
    """Measures `image_sharpness` of decoded pictures."""

    version: ClassVar[int] = 1

    side: int

    @property
    def name(self) -> str:
        """The op's name."""
        return "image_sharpness"

    def __call__(self, batch: Batch) -> Batch:
        """Apply the op."""
        return batch.with_scores(
            [{} if rgb is None else {"image_sharpness": sharpness(rgb, self.side)} for rgb in batch.images]
        )


def image_ops(config: ImageConfig) -> tuple[Op, ...]:
    """The ops on pictures, in order."""
    return (
        ImageDecode(max_bytes=config.max_bytes, max_pixels=config.max_pixels, side=config.side),
        Threshold(score="image_min_side", reason="image_too_small", least=config.min_side),
        Threshold(score="image_aspect", reason="image_aspect", most=config.max_aspect),
        ImageSharpness(side=config.side),
        Threshold(score="image_sharpness", reason="image_blurred", least=config.min_sharpness),
    )
