"""What is looked at in tiles is what looking at whole pictures finds."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from trichord.infra.digest import generator
from trichord.transforms.dedup import places
from trichord.transforms.dedup.places import Grey, Places

NOISE, WINDOW, UNSEEN = 12.0, 7, 6.0


def differences(a: Grey, b: Grey) -> Grey:
    """The definition, for every place at once."""

    def mean(plane: Grey) -> Grey:
        return np.asarray(cv2.blur(plane, (WINDOW, WINDOW), borderType=cv2.BORDER_REFLECT), np.float32)

    contrast = (mean(a * a) - mean(a) ** 2 + mean(b * b) - mean(b) ** 2).clip(0)
    padded = np.pad(b, 1, mode="edge")
    height, width = b.shape
    left = []
    for dy in range(3):
        for dx in range(3):
            apart = a - padded[dy : dy + height, dx : dx + width]
            left.append(mean(apart * apart) - np.minimum(mean(apart) ** 2, UNSEEN * UNSEEN))
    return np.asarray(np.min(left, axis=0) / (contrast + NOISE * NOISE), np.float32)


@pytest.mark.parametrize("kind", ["noise", "patch", "edges", "equal"])
def test_tiles_find_the_largest_difference_and_the_map(kind: str) -> None:
    rng = generator("test-places", kind)
    a = np.asarray(
        cv2.GaussianBlur(rng.integers(0, 256, (300, 420)).astype(np.float32), (0, 0), 3) * 4 - 384, np.float32
    )
    b = a + rng.normal(0, 3, a.shape).astype(np.float32) if kind != "equal" else a.copy()
    if kind == "patch":
        b[120:135, 250:262] += 60  # across two tiles
    if kind == "edges":
        b[:3], b[:, -4:] = b[:3] + 50, b[:, -4:] - 50
    inside = np.ones(a.shape, bool)
    inside[:, :20] = kind == "edges"
    expected = differences(a, b)
    expected[~inside] = 0
    found = Places(a, b, inside, noise=NOISE, window=WINDOW, unseen=UNSEEN)
    assert found.most() == pytest.approx(float(expected.max()), abs=1e-3)
    for least in (0.05, 0.19):
        clear = np.abs(expected - least) > 1e-3
        assert (found.reach(least) == (expected >= least))[clear].all()


def test_tiles_without_a_difference_are_not_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    passes = [0]
    blur = cv2.blur

    def counting(*given: object, **named: object) -> object:
        passes[0] += 1
        return blur(*given, **named)  # type: ignore[call-overload] # handed on

    monkeypatch.setattr(places.cv2, "blur", counting)
    a = np.full((1_024, 1_024), 200, np.float32)
    b = a.copy()
    b[440:450, 440:450] = 60
    found = Places(a, b, np.ones(a.shape, bool), noise=NOISE, window=WINDOW, unseen=UNSEEN)
    assert found.most() > 0.38
    assert found.reach(0.19).sum() < 600
    assert passes[0] <= 22  # of 64 tiles
