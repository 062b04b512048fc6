"""One picture whose samples are known in every depth, and the checks of what is decoded."""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.transforms.formats import Expected, Read, Variant
from trichord.infra import digest
from trichord.transforms.batch import Image

HEIGHT, WIDTH = 24, 32
RGB: Image = digest.generator("scene").integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
RGB[:8, :12] = (250, 3, 40)  # and a flat corner
GREY = RGB[:, :, 1].copy()
GREY[0, :2] = 0, 255


def deep(values: Image, bits: int, order: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the values as samples of so many bits, and the 8-bit values that they stand for, rounded."""
    kind = "u1" if bits <= 8 else "u2" if bits <= 16 else "u4"
    most = (1 << bits) - 1
    samples = (values.astype(np.float64) * most / 255).round()
    if bits > 8:  # no sample is a multiple of what 8 bits can say
        samples = np.clip(samples + (digest.generator("low bits").integers(0, most // 600, values.shape)), 0, most)
    return samples.astype(f"{order}{kind}"), (samples * 255 / most).round().astype(np.uint8)


def over_white(rgb: Image, alpha: np.ndarray) -> np.ndarray:
    """Return a picture over white, as floats."""
    share = alpha[:, :, None] / 255
    return np.asarray(rgb * share + 255 * (1 - share))


def same(expected: np.ndarray) -> Read:
    """The decoded picture is this one, (H, W) or (H, W, 3)."""
    return close(expected, 0)


def close(expected: np.ndarray, most: float) -> Read:
    """The decoded picture differs from this one by so much in no value."""
    wanted = np.repeat(expected[:, :, None], 3, 2) if expected.ndim == 2 else expected

    def check(found: Any) -> bool:
        return found.shape == wanted.shape and bool(np.abs(found.astype(float) - wanted).max() <= most)

    return Read(check)


BLOCK = 16
SMOOTH: Image = np.repeat(np.repeat(RGB[::6, ::5][:, :6], BLOCK, 0), BLOCK, 1)  # flat blocks, (64, 96, 3)


def near(expected: np.ndarray, most: float = 12) -> Read:
    """The decoded picture has the shape of this one of flat blocks, and about its colour in the middle of each.

    Lossy codecs blur the borders of the blocks, most of all where colours have fewer samples.
    """
    middle = np.s_[BLOCK // 2 :: BLOCK, BLOCK // 2 :: BLOCK]
    inner = close(expected[middle], most)
    wide = expected.shape if expected.ndim == 3 else (*expected.shape, 3)
    return Read(lambda found: found.shape == wide and inner.check(found[middle]))


def picture_variant(form: str, variant: str, ending: str, data: bytes, expected: Expected) -> Variant:
    """Return a variant of one file."""
    return Variant(kind="picture", format=form, variant=variant, files={f"picture.{ending}": data}, expected=expected)
