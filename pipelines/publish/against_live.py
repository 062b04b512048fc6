"""The gate's checks of a candidate against the live publication: what it lacks, and what it does worse.

Pure functions: figures in, checks out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from statistics import NormalDist
from typing import Any

from trichord.infra.config import GateConfig
from trichord.infra.lake.publication import Check, Publication, SourceContents
from trichord.pipelines.evaluation.change import FEW, Change, compare_on, deviations, share_level, standard_error
from trichord.pipelines.evaluation.figures import PLACES, figures
from trichord.pipelines.evaluation.galleries import MODALITIES
from trichord.pipelines.evaluation.holdout import K
from trichord.pipelines.evaluation.outcomes import Outcomes
from trichord.pipelines.publish.contents import languages_of
from trichord.pipelines.publish.evaluate import Figures

_MEASURE = rf"(?:recall|precision|ndcg|mrr|map)_at_{K}|retention_overall"
KEPT = re.compile(  # what the live index has, the candidate has too
    rf"recall_at_{K}\.\w+\.\w+|mixed\.(?:{_MEASURE}|retention\.[\w+]+)|mixed\.by_query\.\w+\.(?:{_MEASURE})"
    rf"|all_views\.\w+\.recall_at_{K}\.\w+"
)
COMPARED = re.compile(  # what may not fall by more than its spread
    rf"mixed\.(?:ndcg_at_{K}|retention_overall|retention\.[\w+]+)|all_views\.\w+\.recall_at_{K}\.\w+"
)
NAMED = 12  # missing figures that a message names

Contents = Mapping[str, SourceContents]


def missing_check(
    evaluation: Mapping[str, Any], live: Publication, before: Outcomes | None, contents: Contents
) -> Check:
    """Check that every figure of the live publication is measured again.

    The retention of a form is exempt where fewer than `FEW` records made it and each of its modalities is still found:
    such a form comes and goes with single records.
    """
    now, then = dict(figures(evaluation)), dict(figures(live.verdict.evaluation))
    wanted = [path for path, value in then.items() if value is not None and KEPT.fullmatch(path)]
    found = _modalities_found(now)
    wanted.sort(key=lambda path: not path.startswith("recall"))  # the matrix says most
    missing = [path for path in wanted if now.get(path) is None and not _is_rare(path, before, found)]
    lost = [name for name in MODALITIES if name in _modalities_found(then) - found]
    detail = f"figures of {live.id} that are measured again"
    if missing:
        more = f" and {len(missing) - NAMED} more" if len(missing) > NAMED else ""
        detail = f"not measured any more: {', '.join(missing[:NAMED])}{more}"
    return Check(
        name="figures_against_live",
        passed=not missing,
        value=len(wanted) - len(missing),
        threshold=len(wanted),
        detail=detail,
        evidence=tuple(line for name in lost for line in modality_evidence(name, contents, live.verdict.contents)),
    )


def modality_evidence(name: str, contents: Contents, before: Contents) -> Iterator[str]:
    """Say how many records of each source have a modality, first those that lost it."""
    now = {source: one.modalities.get(name, 0) for source, one in contents.items()}
    then = {source: one.modalities.get(name, 0) for source, one in before.items()}
    for source in sorted({*now, *then}, key=lambda source: (now.get(source, 0) - then.get(source, 0), source))[:5]:
        was = f"{then[source]:,} → " if source in then else ""
        yield f"source {source}: {was}{now.get(source, 0):,} records with {name}"


def loss_checks(
    measured: Figures, live: Publication, before: Outcomes | None, limits: GateConfig, confidence: float
) -> Iterator[Check]:
    """Check that no figure falls by more than its spread.

    On the records that both measured, record by record; else the errors of both figures are added. The confidence is
    that of all figures together. A figure that `max_drop_of` limits is left to it.
    """
    now, then = dict(figures(measured.evaluation)), dict(figures(live.verdict.evaluation))
    paths = [path for path, value in then.items() if value is not None and COMPARED.fullmatch(path)
             and now.get(path) is not None and path not in limits.max_drop_of]  # fmt: skip
    level = share_level(confidence, len(paths))
    for path in paths:
        change, on = compare_figure(path, measured, before), "the same {} test records"
        if change is None:
            change, on = _compare_apart(path, now, then, measured.outcomes, before), "other test records"
        if change.error is not None:
            fall = deviations(level) * change.error
            allowed, threshold = f"more than {fall:.3f} is not chance", change.before - fall
        else:
            allowed = f"of {change.records} records, {change.fallen} fell and {change.risen} rose"
            threshold = change.before
        yield Check(
            name=f"against_live:{path}",
            passed=not change.is_loss(level),
            value=round(change.after, PLACES),
            threshold=round(threshold, PLACES),
            detail=f"the live index reached {change.before:.3f} on {on.format(change.records)}; {allowed}",
        )


def compare_figure(path: str, measured: Figures, before: Outcomes | None) -> Change | None:
    """Compare a figure with the live index's on the records that both measured; None where they are few."""
    if before is None or measured.common is None:
        return None
    known = set(before.keys)
    return compare_on([key for key in measured.common.keys if key in known], path, before, measured.common)


def _compare_apart(
    path: str,
    now: Mapping[str, float | None],
    then: Mapping[str, float | None],
    outcomes: Outcomes | None,
    before: Outcomes | None,
) -> Change:
    value, old = now[path], then[path]
    assert value is not None
    assert old is not None
    own = standard_error(path, outcomes) if outcomes is not None else None
    other = standard_error(path, before) if before is not None else _error_of_interval(path, then)
    error = None if own is None else (own**2 + (own if other is None else other) ** 2) ** 0.5
    parts = outcomes.parts.get(path) if outcomes is not None else None
    return Change(before=old, after=value, error=error, records=0 if parts is None else int((parts[1] > 0).sum()))


def _error_of_interval(path: str, then: Mapping[str, float | None]) -> float | None:
    """Return a figure's standard error by its stored interval, which is taken as one of 95 %, and its draws."""
    head, _, rest = path.partition(".")
    if head == "all_views":
        query, _, rest = rest.partition(".")
        head = f"{head}.{query}"
    low, high = (then.get(f"{head}.intervals.{rest}.{end}") for end in (0, 1))
    return None if low is None or high is None else (high - low) / (2 * NormalDist().inv_cdf(0.975))


def contents_checks(contents: Contents, live: Publication, limits: GateConfig) -> Iterator[Check]:
    """Check that no source, no modality of a source and no language loses more than its share of records.

    Languages of fewer than `FEW` records come and go with single records and are not compared.
    """
    before, kept = live.verdict.contents, 1 - limits.max_row_drop
    everywhere = {name: sum(one.modalities.get(name, 0) for one in contents.values()) for name in MODALITIES}
    for source, old in before.items():
        new = contents.get(source, SourceContents(records=0))
        if len(before) > 1:
            yield _count_check(f"records_of:{source}", new.records, old.records, kept, f"records of source {source}")
        for name in MODALITIES:
            if everywhere[name] and old.modalities.get(name, 0):  # a modality that is gone everywhere has its own check
                what = f"records of source {source} with {name}"
                now, then = new.modalities.get(name, 0), old.modalities[name]
                share = min(1.0, new.records / old.records)  # records that are gone have their own check
                yield _count_check(f"{name}_of:{source}", now, then, kept * share, what)
    spoken = languages_of(contents)
    for language, then in sorted(languages_of(before).items()):
        if then >= FEW and spoken:  # records that carry no language at all cannot be compared
            evidence = tuple(
                f"source {source}: {one.languages[language]:,} → "
                f"{contents[source].languages.get(language, 0) if source in contents else 0:,} records in {language}"
                for source, one in before.items()
                if language in one.languages
            )
            what = f"records in language {language}"
            yield _count_check(f"language:{language}", spoken.get(language, 0), then, kept, what, evidence)


def rejected_checks(
    recorded: Mapping[str, int], rejected: Mapping[str, int], live: Publication | None
) -> Iterator[Check]:
    """Fail each source of which every row was rejected; one that the live index knows is compared with it instead.

    Args:
        recorded: rows of each source that became records, duplicates included.
        rejected: rejected rows of each source; those with fewer than `FEW` come and go with single rows.
        live: the live publication.
    """
    before = live.verdict.contents if live is not None else {}
    for source, rows in sorted(rejected.items()):
        if rows >= FEW and not recorded.get(source) and not (len(before) > 1 and source in before):
            detail = f"records of source {source}: all its {rows:,} rows were rejected; `trichord rejects ls` lists why"
            yield Check(name=f"records_of:{source}", passed=False, value=0, threshold=1, detail=detail)


def source_evidence(contents: Contents, before: Contents) -> tuple[str, ...]:
    """Say which sources lost records."""
    now = {source: contents[source].records if source in contents else 0 for source in before}
    fallen = sorted((now[source] - one.records, source) for source, one in before.items())
    return tuple(
        f"source {source}: {before[source].records:,} → {now[source]:,} records"
        for change, source in fallen
        if change < 0
    )[:5]


def modality_checks(expected: Mapping[str, str], contents: Contents, live: Publication | None) -> Iterator[Check]:
    """Check that some record has each modality that the project file names or the live publication has."""
    before = live.verdict.contents if live is not None else {}
    for name in MODALITIES:
        records = sum(one.modalities.get(name, 0) for one in contents.values())
        then = sum(one.modalities.get(name, 0) for one in before.values())
        if not then and name not in expected:
            continue
        why = f"{expected[name]} of the project file names it" if name in expected else f"{live and live.id} has it"
        yield Check(
            name=f"modality:{name}",
            passed=records > 0,
            value=records,
            threshold=1,
            detail=f"records with {name}: {why}",
            evidence=() if records else tuple(modality_evidence(name, contents, before)),
        )


def _count_check(name: str, now: int, then: int, kept: float, what: str, evidence: tuple[str, ...] = ()) -> Check:
    least = int(then * kept)
    return Check(
        name=name,
        passed=now >= least,
        value=now,
        threshold=least,
        detail=f"{what}; the live index holds {then:,}",
        evidence=() if now >= least else evidence,
    )


def _modalities_found(known: Mapping[str, float | None]) -> set[str]:
    """Return the modalities that are asked or found in the matrix."""
    cells = (path.split(".")[1:] for path, value in known.items()
             if value is not None and path.startswith(f"recall_at_{K}."))  # fmt: skip
    return {name for cell in cells for name in cell}


def _is_rare(path: str, before: Outcomes | None, found: set[str]) -> bool:
    head, _, form = path.rpartition("retention.")
    if head != "mixed." or before is None or path not in before.parts:
        return False
    return int((before.parts[path][1] > 0).sum()) < FEW and set(form.split("+")) <= found
