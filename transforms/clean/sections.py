"""Filter a sound by second-order sections: SciPy's own loop, without importing `scipy.signal`.

That package imports half of SciPy, 0.7 s of CPU in every worker that meets a sound; its compiled loop needs none of it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from importlib.machinery import PathFinder
from importlib.util import find_spec, module_from_spec
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Floats: TypeAlias = npt.NDArray[np.float64]


def sosfilt(sections_S6: Floats, samples_N: Floats) -> Floats:
    """Return what `scipy.signal.sosfilt` does, bit for bit: float64 (N,), from a state of rest."""
    loop = _find_loop()
    if loop is None:
        from scipy import signal

        return np.asarray(signal.sosfilt(sections_S6, samples_N))
    return _run(loop, sections_S6, samples_N)


def _run(loop: Callable[..., object], sections_S6: Floats, samples_N: Floats) -> Floats:
    filtered_1N = np.array(samples_N, np.float64, ndmin=2)  # a copy: the loop writes into it
    loop(np.ascontiguousarray(sections_S6, np.float64), filtered_1N, np.zeros((1, len(sections_S6), 2)))
    filtered_N: Floats = filtered_1N[0]
    return filtered_N


@cache
def _find_loop() -> Callable[..., object] | None:
    """Return SciPy's compiled loop; None if this version of SciPy has none that filters as expected."""
    scipy = find_spec("scipy")
    folders = [f"{folder}/signal" for folder in (scipy.submodule_search_locations or ())] if scipy is not None else []
    spec = PathFinder.find_spec("_sosfilt", folders)
    if spec is None or spec.loader is None:
        return None
    try:
        module = module_from_spec(spec)
        spec.loader.exec_module(module)
        loop: Callable[..., object] = module._sosfilt
        right = _run(loop, np.array([[2.0, 1.0, 0.5, 1.0, -0.5, 0.25]]), np.array([1.0, 0.0, 0.0]))
    except (ImportError, AttributeError, TypeError, ValueError):
        return None
    return loop if right.tolist() == [2.0, 2.0, 1.0] else None
