"""calibrate: half of the held-out records → the calibration that goes into the model; the other half judges it."""

from __future__ import annotations

import numpy as np

from trichord.encoders.calibration import Calibration, Labelled, fit
from trichord.infra import digest
from trichord.pipelines.evaluation.galleries import FORMS, MODALITIES, HeldOut
from trichord.pipelines.evaluation.mixed import find_forms, stack


def is_fitted_on(key: str) -> bool:
    """Return True for the half of held-out records, by the key's digest, that calibrate. The others judge."""
    return digest.hash64(f"calibration/{key}") % 2 == 0


def calibrate(held_out: HeldOut) -> Calibration | None:
    """Fit on the calibrating half of the held-out records, in the order of their keys; None where they are too few.

    Views are the seven forms, and `fused`: all modalities that a record has.
    """
    chosen = [row for row in np.argsort(held_out.places()) if is_fitted_on(held_out.keys[row])]
    part = held_out.take(np.array(chosen, dtype=np.int64))
    labels = part.labels()
    queries = {name: _where(part.queries[name], labels, part.has(name)) for name in MODALITIES}
    views = {form: _where(part.gallery[form], labels, part.has(form)) for form in FORMS}
    whole = find_forms(part.present)
    rows = np.flatnonzero(whole >= 0)
    views["fused"] = Labelled(vectors=stack(part, rows, whole), labels=labels[rows])
    calibration = fit(queries, views)
    return calibration if calibration.lines else None


def select_judges(held_out: HeldOut) -> HeldOut:
    """Select the held-out records that no calibration was fitted on."""
    return held_out.take(np.array([row for row, key in enumerate(held_out.keys) if not is_fitted_on(key)], np.int64))


def _where(vectors_ND: np.ndarray, labels_N: np.ndarray, chosen_N: np.ndarray) -> Labelled:
    return Labelled(vectors=vectors_ND[chosen_N], labels=labels_N[chosen_N])
