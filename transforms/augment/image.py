"""Changes of pictures by albumentations. What a text says of a picture stays true of its variant."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal, TypeAlias

import numpy as np

from trichord.infra.config.augment import ImageAugment
from trichord.transforms.augment.variants import Draft, Drawn, Step, drawn_before, uniform
from trichord.transforms.augment.words import names_colour, says_foreign_side, says_side, swap_sides, words_of
from trichord.transforms.batch import Image, Row

Numbers: TypeAlias = dict[str, float]  # what was drawn, by name
AppliedParams: TypeAlias = Sequence[tuple[str, Mapping[str, Any]]]  # by transform, as albumentations reports them

_REFLECT_101 = 4  # cv2.BORDER_REFLECT_101
_LINEAR = 1  # cv2.INTER_LINEAR


def image_steps(config: ImageAugment, seed: int) -> tuple[Step, ...]:
    """Return the changes of a picture with a probability above 0, in order."""
    c, floor = config, config.min_box_keep
    steps: tuple[Step, ...] = (
        Rotate(seed=seed, p=c.rotate.p, max_degrees=c.rotate.max_degrees),
        Scale(seed=seed, p=c.scale.p, least=c.scale.min_factor, most=c.scale.max_factor, min_box_keep=floor),
        Crop(seed=seed, p=c.crop.p, min_keep=c.crop.min_keep, min_box_keep=floor),
        Flip(seed=seed, p=c.flip.p, mirror_text=c.mirror_text),
        Colour(
            seed=seed,
            p=c.colour.p,
            brightness=c.colour.brightness,
            contrast=c.colour.contrast,
            saturation=c.colour.saturation,
            hue=c.colour.hue,
        ),
        Blur(seed=seed, p=c.blur.p, max_sigma=c.blur.max_sigma),
        Compression(seed=seed, p=c.compression.p, least=c.compression.min_quality, most=c.compression.max_quality),
    )
    return tuple(step for step in steps if step.p > 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageStep(Step):
    """A change of the picture by one albumentations transform, whose generator is seeded from the variant's."""

    medium: ClassVar[str] = "image"
    packages: ClassVar[tuple[str, ...]] = ("albumentations", "albucore", "opencv-python-headless", "numpy")

    def apply(self, draft: Draft, rng: np.random.Generator) -> Draft | None:
        """Return the variant with its picture changed."""
        if draft.image is None:
            return None
        drawn = self.draw(draft, rng)
        if drawn is None:
            return None
        os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # its first import would access the network
        import albumentations

        height, width = draft.image.shape[:2]
        transform = self.transform(albumentations, drawn, height, width)
        seed = int(rng.integers(2**32))
        made = albumentations.Compose([transform], seed=seed, save_applied_params=True)(image=draft.image)
        image: Image = np.ascontiguousarray(made["image"])
        return replace(
            self.reword(draft), image=image, drawn={**drawn, **self.read_placement(made["applied_transforms"])}
        )

    def draw(self, draft: Draft, rng: np.random.Generator) -> Numbers | None:
        """Draw for a variant; None if the change would make its words untrue."""
        raise NotImplementedError

    def transform(self, library: Any, drawn: Numbers, height: int, width: int) -> Any:
        """Return the albumentations transform for what was drawn."""
        raise NotImplementedError

    def read_placement(self, params: AppliedParams) -> Drawn:
        """Return what albumentations drew itself."""
        del params
        return {}

    def reword(self, draft: Draft) -> Draft:
        """Return the variant with the words that the change asks for."""
        return draft


@dataclass(frozen=True, slots=True, kw_only=True)
class Rotate(ImageStep):
    """Rotates the picture about its middle."""

    kind: ClassVar[str] = "rotate"
    max_degrees: float

    def draw(self, draft: Draft, rng: np.random.Generator) -> Numbers:
        """Draw an angle."""
        return {"degrees": uniform(rng, -self.max_degrees, self.max_degrees)}

    def transform(self, library: Any, drawn: Numbers, height: int, width: int) -> Any:
        """Rotate by the angle."""
        angle = drawn["degrees"]
        return library.Rotate(limit=(angle, angle), border_mode=_REFLECT_101, p=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale(ImageStep):
    """Zooms in or out on the same canvas."""

    kind: ClassVar[str] = "scale"
    least: float
    most: float
    min_box_keep: float

    def draw(self, draft: Draft, rng: np.random.Generator) -> Numbers | None:
        """Draw a factor; `keep` is the share of the picture that stays visible."""
        factor = uniform(rng, self.least, self.most)
        keep = round(min(1.0, factor**-2), 4)
        return {"factor": factor, "keep": keep} if keep >= _least_keep(draft.row, self.min_box_keep) else None

    def transform(self, library: Any, drawn: Numbers, height: int, width: int) -> Any:
        """Scale about the middle."""
        factor = drawn["factor"]
        return library.Affine(scale=(factor, factor), border_mode=_REFLECT_101, p=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Crop(ImageStep):
    """Cuts out a part and resizes it to the picture's size. The box of a region is not cut away."""

    kind: ClassVar[str] = "crop"
    min_keep: float
    min_box_keep: float

    def draw(self, draft: Draft, rng: np.random.Generator) -> Numbers | None:
        """Draw the share of the area that is kept; albumentations draws its place."""
        keep = uniform(rng, self.min_keep, 1)
        return {"keep": keep} if keep >= _least_keep(draft.row, self.min_box_keep) else None

    def transform(self, library: Any, drawn: Numbers, height: int, width: int) -> Any:
        """Crop to the picture's own shape and resize to its size."""
        keep, ratio = drawn["keep"], width / height
        return library.RandomResizedCrop(
            size=(height, width),
            scale=(keep, keep),
            ratio=(ratio, ratio),
            interpolation=_LINEAR,
            p=1,
        )

    def read_placement(self, params: AppliedParams) -> Drawn:
        """Return the crop's place: x, y, right and bottom in pixels."""
        return {"corners": [int(value) for value in params[0][1]["crop_coords"]]}


@dataclass(frozen=True, slots=True, kw_only=True)
class Flip(ImageStep):
    """Mirrors the picture, unless its words say left or right and cannot be exchanged."""

    version: ClassVar[int] = 2
    kind: ClassVar[str] = "flip"
    mirror_text: Literal["skip", "swap"]

    def draw(self, draft: Draft, rng: np.random.Generator) -> Numbers | None:
        """Draw nothing; `swapped` says whether words are exchanged."""
        said = list(words_of(draft.row))
        sided = any(map(says_side, said))
        # spoken words cannot be exchanged
        if sided and (self.mirror_text == "skip" or draft.wave is not None or any(map(says_foreign_side, said))):
            return None
        return {"swapped": sided}

    def transform(self, library: Any, drawn: Numbers, height: int, width: int) -> Any:
        """Mirror."""
        return library.HorizontalFlip(p=1)

    def reword(self, draft: Draft) -> Draft:
        """Exchange left and right in text and captions."""
        row = draft.row
        text = None if row.text is None else swap_sides(row.text)
        return replace(draft, row=replace(row, text=text, captions=tuple(map(swap_sides, row.captions))))


@dataclass(frozen=True, slots=True, kw_only=True)
class Colour(ImageStep):
    """Changes brightness, contrast and saturation, and the hue if no caption names a colour."""

    version: ClassVar[int] = 2
    kind: ClassVar[str] = "colour"
    brightness: float
    contrast: float
    saturation: float
    hue: float

    def draw(self, draft: Draft, rng: np.random.Generator) -> Numbers:
        """Draw three factors and a shift of the hue."""
        drawn = {
            name: uniform(rng, 1 - spread, 1 + spread)
            for name, spread in (
                ("brightness", self.brightness),
                ("contrast", self.contrast),
                ("saturation", self.saturation),
            )
        }
        hue = uniform(rng, -self.hue, self.hue)
        return drawn | {"hue": 0.0 if any(map(names_colour, words_of(draft.row))) else hue}

    def transform(self, library: Any, drawn: Numbers, height: int, width: int) -> Any:
        """Jitter by what was drawn, in an order that albumentations draws."""
        return library.ColorJitter(**{name: (value, value) for name, value in drawn.items()}, p=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Blur(ImageStep):
    """Blurs by a Gaussian."""

    kind: ClassVar[str] = "blur"
    max_sigma: float

    def draw(self, draft: Draft, rng: np.random.Generator) -> Numbers:
        """Draw a standard deviation in pixels."""
        return {"sigma": uniform(rng, min(0.4, self.max_sigma), self.max_sigma)}

    def transform(self, library: Any, drawn: Numbers, height: int, width: int) -> Any:
        """Return a kernel of four standard deviations, never wider than the picture."""
        sigma = drawn["sigma"]
        side = 2 * max(1, min(math.ceil(4 * sigma), (min(height, width) - 1) // 2)) + 1
        return library.GaussianBlur(blur_limit=(side, side), sigma_limit=(sigma, sigma), p=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Compression(ImageStep):
    """Compresses the picture to JPEG and decodes it."""

    kind: ClassVar[str] = "compression"
    least: int
    most: int

    def draw(self, draft: Draft, rng: np.random.Generator) -> Numbers:
        """Draw a JPEG quality."""
        return {"quality": int(rng.integers(self.least, self.most + 1))}

    def transform(self, library: Any, drawn: Numbers, height: int, width: int) -> Any:
        """Compress and decode."""
        quality = drawn["quality"]
        return library.ImageCompression(quality_range=(quality, quality), compression_type="jpeg", p=1)


def _least_keep(row: Row, min_box_keep: float) -> float:
    """Return the share of the area that a further change must keep: a region's box is all subject."""
    return min_box_keep / math.prod(drawn_before(row, "keep")) if row.box is not None else 0.0
