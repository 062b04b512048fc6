"""Everything that is measured of a space, and every path that a figure of it can have."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from infra.config import EvaluateConfig
from infra.digest import generator
from pipelines.evaluation.consistency import consistency
from pipelines.evaluation.figures import figures
from pipelines.evaluation.held_out import FORMS, MODALITIES, HeldOut
from pipelines.evaluation.intervals import Bootstrap
from pipelines.evaluation.retrieval import evaluate


def measure(held_out: HeldOut, k: int, seed: int, config: EvaluateConfig) -> dict[str, Any]:
    """`evaluate` with confidence intervals, and `consistency` under its name."""
    bootstrap = Bootstrap(resamples=config.bootstrap, confidence=config.confidence, seed=seed)
    return evaluate(held_out, k, seed, bootstrap) | {"consistency": consistency(held_out, k, seed)}


@cache
def known_paths(k: int) -> frozenset[str]:
    """Every path that a figure can have, from measuring a small made-up space in which everything can be asked."""
    rows = 8 * len(FORMS)  # so many that each form is drawn
    vectors = generator("known paths").normal(size=(rows, 4)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    everything = HeldOut(
        keys=tuple(map(str, range(rows))),
        text_ids=np.arange(rows),
        present=np.ones((rows, len(MODALITIES)), dtype=bool),
        queries=dict.fromkeys(MODALITIES, vectors),
        other_caption=np.ones(rows, dtype=bool),
        gallery=dict.fromkeys(FORMS, vectors),
    )
    return frozenset(path for path, _ in figures(measure(everything, k, 0, EvaluateConfig(bootstrap=2))))
