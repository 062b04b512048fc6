"""What is expected of a sound: samples and rate by construction."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from tests.transforms.formats import Expected, Read, Refused, Variant
from tests.transforms.formats.sound_parts import RATE_HZ

EXACT, LAW, LOSSY = 2e-4, 0.03, 0.2


def plays(*parts: npt.NDArray[np.float32], rate_hz: int = RATE_HZ, within: float = EXACT, spare: int = 0) -> Read:
    """The parts, one behind another, are all there is, but for `spare` samples at the end."""
    expected = np.concatenate(parts)

    def check(decoded: object) -> bool:
        assert isinstance(decoded, tuple)
        samples, found_hz = decoded
        least = min(len(samples), len(expected))
        if found_hz != rate_hz or abs(len(samples) - len(expected)) > spare or not least:
            return False
        return bool(np.abs(samples[:least] - expected[:least]).max() <= within)

    return Read(check)


def lasts(seconds: float, rate_hz: int, within_s: float, tones_hz: tuple[float, ...]) -> Read:
    """It is this long, and its equal parts are these tones."""

    def check(decoded: object) -> bool:
        assert isinstance(decoded, tuple)
        samples, found_hz = decoded
        if found_hz != rate_hz or abs(len(samples) / rate_hz - seconds) > within_s:
            return False
        size = len(samples) // len(tones_hz)
        for number, hz in enumerate(tones_hz):
            part = samples[number * size : (number + 1) * size]
            spectrum = np.abs(np.fft.rfft(part * np.hanning(len(part))))
            if abs(int(spectrum.argmax()) * rate_hz / len(part) - hz) > 2 * rate_hz / len(part):
                return False
        return True

    return Read(check)


def sound(form: str, variant: str, data: bytes, expected: Expected | str, ending: str) -> Variant:
    """A variant of one file; a string is what its refusal says."""
    wanted = Refused(expected) if isinstance(expected, str) else expected
    return Variant("sound", form, variant, {f"a{ending}": data}, wanted)


Make = Callable[[str, bytes, Expected | str], Variant]


def maker(form: str, ending: str) -> Make:
    """Return what makes variants of one format."""
    return lambda variant, data, expected: sound(form, variant, data, expected, ending)
