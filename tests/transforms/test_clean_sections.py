"""A sound is filtered as SciPy and pyloudnorm do it, and without what these import for it."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from pyloudnorm import IIRfilter
from scipy import signal

from trichord.infra.digest import generator
from trichord.transforms.clean import loudness, sections


@pytest.mark.parametrize("found", [True, False])
def test_a_sound_is_filtered_to_the_bits_that_scipy_gives(found, monkeypatch):
    if not found:
        monkeypatch.setattr(sections, "_find_loop", lambda: None)
    assert (sections._find_loop() is not None) == found
    random = generator("sections")
    for order, rows in ((1, 1), (2, 7), (5, 4_001)):
        filters, samples = signal.butter(order, 0.3, output="sos"), random.normal(size=rows)
        before = samples.copy()
        assert np.array_equal(sections.sosfilt(filters, samples), signal.sosfilt(filters, samples))
        assert np.array_equal(samples, before)


def test_the_standards_filters_are_pyloudnorms_to_the_last_bit():
    for rate_hz in (4_000, 8_000, 11_025, 16_000, 22_050, 44_100, 48_000, 96_000, 192_000):
        shelf = IIRfilter(4.0, 1 / np.sqrt(2), 1500.0, rate_hz, "high_shelf")
        high_pass = IIRfilter(0.0, 0.5, 38.0, rate_hz, "high_pass")
        expected = np.stack([np.concatenate((one.b, one.a)) for one in (shelf, high_pass)])
        assert np.array_equal(loudness._sections(rate_hz), expected)


def test_loudness_imports_neither_signals_nor_statistics():
    told = "import sys, numpy as np; from trichord.transforms.clean.loudness import loudness; "
    told += "from trichord.transforms.batch import Waveform; loudness(Waveform(np.ones(9_000, np.float32), 8_000)); "
    told += "print({'scipy.signal', 'scipy.stats', 'pyloudnorm'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", told], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
