"""Everything that an evaluation measures, and every path that a figure of it can have."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from functools import cache

import numpy as np

from trichord.encoders.calibration import Calibration
from trichord.infra.config import EvaluateConfig, GateConfig
from trichord.infra.digest import generator
from trichord.infra.errors import ConfigError
from trichord.pipelines.evaluation.calibrate import calibrate
from trichord.pipelines.evaluation.consistency import consistency
from trichord.pipelines.evaluation.figures import figures, suggest_paths
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


def require_figures(limits: GateConfig, k: int, measured: Collection[str] = ()) -> None:
    """Refuse paths that no figure of an evaluation has.

    Args:
        limits: section `gate` of the project file.
        k: depth of the measures.
        measured: paths of an evaluation at hand.

    Raises:
        ConfigError: there are such paths; the message suggests known ones.
    """
    named = [(section, path) for section in ("least", "most", "max_drop_of") for path in getattr(limits, section)]
    known = known_paths(k) | set(measured) if named else set()
    lines = []
    for section, path in named:
        if path not in known:
            near = suggest_paths(path, sorted(known))
            lines.append(f"  gate.{section}: {path}{': did you mean ' + ', '.join(near) + '?' if near else ''}")
    if lines:
        raise ConfigError(
            "The gate names figures that no evaluation has:\n"
            + "\n".join(lines)
            + "\nEvery figure is in docs/evaluation.md; `trichord evaluate --json` prints those of the live index."
        )
