"""Accepting a failed check: which checks a person may overrule, and what a refusal is evidenced by."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable

import numpy as np

from trichord.infra.errors import ConfigError
from trichord.infra.lake.publication import Check, Publication, Verdict
from trichord.pipelines.core.workspace import Workspace
from trichord.pipelines.evaluation.galleries import MODALITIES
from trichord.pipelines.evaluation.holdout import K
from trichord.pipelines.evaluation.outcomes import Outcomes
from trichord.pipelines.evaluation.whole import known_paths
from trichord.pipelines.publish.against_live import COMPARED, compare_figure
from trichord.pipelines.publish.evaluate import Figures
from trichord.pipelines.publish.pinned import find_candidate

INTEGRITY = frozenset(
    ["rows_reconcile", "indexed_records", "held_out_records", "vectors_sound", "keys_unique", "content_matches"]
)
_KEYS = 5  # that a refusal names


def is_integrity(name: str) -> bool:
    """Return True for a check of what the index is, not of how good it is. Nobody can accept those."""
    of_backend = ":" not in name and name.endswith(("_rows", f"_recall_at_{K}"))
    return name in INTEGRITY or (of_backend and not name.startswith("rejects_of_"))


def require_acceptable(names: Collection[str], known: Iterable[str]) -> None:
    """Refuse names of checks that cannot be accepted.

    Raises:
        ConfigError: a check is unknown, or is of the index's integrity.
    """
    everything = sorted({*known, *INTEGRITY})
    lines = []
    for name in names:
        if is_integrity(name):
            lines.append(f"  {name}: it is about the integrity of the index, not about its quality")
        elif name not in everything:
            near = difflib.get_close_matches(name, everything, 3)
            lines.append(
                f"  {name}: not a check of the gate{'; did you mean ' + ', '.join(near) + '?' if near else ''}"
            )
    if lines:
        raise ConfigError(
            "These checks cannot be accepted:\n"
            + "\n".join(lines)
            + "\nThe checks that failed are in `trichord status`; docs/evaluation.md lists all."
        )


def known_checks(workspace: Workspace, live: Publication | None) -> set[str]:
    """Return the names of all checks that the next candidate may fail, beside those of integrity."""
    limits, stored = workspace.project.gate, find_candidate(workspace)
    contents = live.verdict.contents if live is not None else {}
    sources = {*(source.name for source in workspace.project.sources), *contents}
    languages = {language for one in contents.values() for language in one.languages}
    verdicts = [live.verdict] if live is not None else []
    verdicts += [stored[1]] if stored is not None else []
    return {
        "rows_against_live",
        "figures_against_live",
        "mixed_recall_against_live",
        *(f"recall_{query}_to_{other}" for query in MODALITIES for other in MODALITIES if query != other),
        *(f"modality:{name}" for name in MODALITIES),
        *(f"{what}_of:{source}" for what in ("records", *MODALITIES) for source in sources),
        *(f"language:{language}" for language in languages),
        *(f"against_live:{path}" for path in known_paths(K) if COMPARED.fullmatch(path)),
        *(f"least:{path}" for path in limits.least),
        *(f"most:{path}" for path in limits.most),
        *(f"drop:{path}" for path in limits.max_drop_of),
        *(f"rejects_of_{op}" for op in limits.max_reject_ratio_of),
        *(check.name for verdict in verdicts for check in verdict.checks),
    }


def advice(verdict: Verdict) -> list[str]:
    """Return what to type to publish the index all the same; nothing where a check of integrity failed."""
    failed = [check.name for check in verdict.failed]
    if not failed or any(is_integrity(name) for name in failed):
        return []
    flags = " ".join(f"--accept {name}" for name in failed)
    return [f"If this is intended, publish the index all the same: `trichord publish {flags}`."]


def evidence_of(check: Check, measured: Figures, before: Outcomes | None) -> tuple[str, ...]:
    """Return which sources and keys changed the figure of a check, or keep it low; nothing where that is not known."""
    path = _figure_of(check.name)
    if path is None or measured.outcomes is None or path not in measured.outcomes.parts:
        return check.evidence
    change = compare_figure(path, measured, before)
    if change is not None and change.worst:
        whole = change.after - change.before
        sources = sorted(change.by_source.items(), key=lambda one: (one[1], one[0]))[:3]
        lines = [f"source {name}: {part:+.3f} of {whole:+.3f}" for name, part in sources if part < 0]
        return (*lines, "fell most: " + ", ".join(change.worst))
    return tuple(_describe(measured.outcomes, path))


def _describe(outcomes: Outcomes, path: str) -> Iterable[str]:
    """Say what each source's records reach, lowest first, and which records are not found."""
    above, below = outcomes.parts[path]
    sources = np.array(outcomes.sources, dtype=object)
    reached = [
        (float(above[own].sum() / below[own].sum()), source, int((below[own] > 0).sum()))
        for source in sorted(set(outcomes.sources))
        for own in [sources == source]
        if below[own].sum()
    ]
    yield from (
        f"source {source}: {value:.3f} over {records} records" for value, source, records in sorted(reached)[:3]
    )
    lost = [f"{sources[i]}/{outcomes.keys[i]}" for i in np.flatnonzero((below > 0) & (above == 0))]
    if lost:
        more = f" and {len(lost) - _KEYS} more" if len(lost) > _KEYS else ""
        yield f"not found: {', '.join(lost[:_KEYS])}{more}"


def _figure_of(name: str) -> str | None:
    """Return the path of the figure that a check is about."""
    if name == "mixed_recall_against_live":
        return f"mixed.recall_at_{K}"
    kind, _, path = name.partition(":")
    if kind in ("against_live", "least", "drop"):
        return path
    query, _, gallery = name.removeprefix("recall_").partition("_to_")
    return f"recall_at_{K}.{query}.{gallery}" if name.startswith("recall_") and gallery else None
