"""Everything that an evaluation measures, and every path that a figure of it can have."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np

from trichord.encoders.calibration import Calibration
from trichord.infra.config import EvaluateConfig
from trichord.infra.digest import generator
from trichord.pipelines.evaluation.calibrate import calibrate
from trichord.pipelines.evaluation.consistency import consistency
from trichord.pipelines.evaluation.figures import figures
from trichord.pipelines.evaluation.galleries import FORMS, MODALITIES, HeldOut
from trichord.pipelines.evaluation.intervals import Bootstrap
from trichord.pipelines.evaluation.query_ranking import evaluate_rankings
from trichord.pipelines.evaluation.report import Evaluation
from trichord.pipelines.evaluation.retrieval import evaluate


def measure(
    held_out: HeldOut, k: int, seed: int, config: EvaluateConfig, calibration: Calibration | None = None
) -> Evaluation:
    """Evaluate with confidence intervals, consistency, and the rankings by the model's calibration."""
    bootstrap = Bootstrap(resamples=config.bootstrap, confidence=config.confidence, seed=seed)
    return replace(
        evaluate(held_out, k, seed, bootstrap),
        consistency=consistency(held_out, k, seed),
        rankings=evaluate_rankings(held_out, calibration, k, seed),
    )


@cache
def known_paths(k: int) -> frozenset[str]:
    """Return every path that a figure can have, from a small made-up space in which everything can be asked."""
    rows = 16 * len(FORMS)  # enough that each form is drawn, also among those that judge the rankings
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
    measured = measure(everything, k, 0, EvaluateConfig(bootstrap=2), calibrate(everything))
    return frozenset(path for path, _ in figures(measured))
