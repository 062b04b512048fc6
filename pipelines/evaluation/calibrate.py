"""calibrate: validation records → the calibration that goes into the model. Test records judge it."""

from __future__ import annotations

import numpy as np

from trichord.encoders.calibration import Calibration, Labelled, fit
from trichord.pipelines.evaluation.galleries import FORMS, MODALITIES, HeldOut
from trichord.pipelines.evaluation.mixed import find_forms, stack


def calibrate(validation: HeldOut) -> Calibration | None:
    """Fit on validation records, in the order of their keys; None where they are too few.

    Views are the seven forms, and `fused`: all modalities that a record has.
    """
    part = validation.take(np.argsort(validation.places()))
    labels = part.labels()
    queries = {name: _where(part.queries[name], labels, part.has(name)) for name in MODALITIES}
    views = {form: _where(part.gallery[form], labels, part.has(form)) for form in FORMS}
    whole = find_forms(part.present)
    rows = np.flatnonzero(whole >= 0)
    views["fused"] = Labelled(vectors=stack(part, rows, whole), labels=labels[rows])
    calibration = fit(queries, views)
    return calibration if calibration.lines else None


def _where(vectors_ND: np.ndarray, labels_N: np.ndarray, chosen_N: np.ndarray) -> Labelled:
    return Labelled(vectors=vectors_ND[chosen_N], labels=labels_N[chosen_N])
