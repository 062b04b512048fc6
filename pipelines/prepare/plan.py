"""plan: which record shards should exist, given what the sources hold now."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches

from trichord.infra import digest, log
from trichord.infra.codes import mistaken_language, near_country, near_language
from trichord.infra.config import InventorySource, Project, Source
from trichord.infra.endings import sort_endings, tell_unread
from trichord.infra.errors import ConfigError, SourceError
from trichord.infra.lake import layout
from trichord.infra.lake.storage import VersionCache, is_remote
from trichord.infra.web import Fetcher
from trichord.pipelines.core.marks import is_held_out, require_known, require_training
from trichord.pipelines.core.recipes import current_recipe, shard_address
from trichord.pipelines.core.runs import SourceState
from trichord.pipelines.core.workspace import Workspace
from trichord.pipelines.prepare.aligner import open_aligner
from trichord.pipelines.prepare.modalities import SourceRows, require_modalities
from trichord.pipelines.prepare.plan_workers import open_workers
from trichord.transforms.align.words import Aligner
from trichord.transforms.chain import prepare_chain
from trichord.transforms.clean.language import KNOWN_LANGUAGES
from trichord.transforms.clean.national_ids import REGIONS
from trichord.transforms.clean.pii import known_regions
from trichord.transforms.collect import Plan as SourcePlan
from trichord.transforms.collect import Scope, by_source, plan_source, replan_source
from trichord.transforms.collect.last_plan import keep_plan, last_plan, settings_of
from trichord.transforms.collect.partitions import MAX_PARTITIONS, Partition

MANY_PARTITIONS = 1_000  # of a source, on which it is worth to have few rows in each
SMALL_PARTITION = 64  # rows: a task and its files cost about as much as the rows themselves


@dataclass(frozen=True, slots=True, kw_only=True)
class WantedShard:
    """A partition and the address of its records shard."""

    source: Source
    rank: int  # position of the source in the project file: earlier sources survive as duplicates
    partition: Partition
    address: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The wanted record shards of all sources."""

    shards: tuple[WantedShard, ...]
    rows: int
    recipe: str
    endings: Mapping[str, int]  # files that are not read, by their ending
    marks: Mapping[str, Mapping[str, int]]  # source -> train/test mark -> rows, where planning reads the rows
    sources: tuple[SourceRows, ...] = ()
    recipes: tuple[str, ...] = ()  # digests of the sources' recipes

    @property
    def partitions(self) -> dict[str, list[Partition]]:
        """All partitions, by source."""
        found: dict[str, list[Partition]] = {}
        for shard in self.shards:
            found.setdefault(shard.source.name, []).append(shard.partition)
        return found

    @property
    def wanted(self) -> frozenset[str]:
        """Addresses of all wanted record shards."""
        return frozenset(shard.address for shard in self.shards)


def make_plan(workspace: Workspace, scope: Scope | Iterable[Scope] | None = None) -> Plan:
    """Look at every source and compute the addresses of the shards that it should give.

    With a `scope`, or one for each of several sources, only what it holds is looked at; all else is as in the last
    plans, which the lake keeps. A source without a usable last plan is looked at as a whole.

    Raises:
        ConfigError: the scope names an unknown source, or two are of one.
        SourceError: a source cannot be read at all, does not hold what its settings name, or no source has a modality
            that the model's encoders or the index name.
    """
    project = workspace.project
    scopes = by_source(scope)
    for name in scopes or ():
        require_source(project, name)
    aligner = open_aligner(project.prepare.align)
    _check(project, aligner)
    recipes = [current_recipe(workspace, source, aligner)[0] for source in project.sources]
    cache_uri, cache = workspace.lake.uri(layout.PLAN_VERSIONS), None
    shards: list[WantedShard] = []
    sources: list[SourceRows] = []
    plans: list[SourcePlan] = []
    endings = Counter[str]()
    marks: dict[str, Mapping[str, int]] = {}
    with Fetcher(project.web, workspace.lake) as fetcher, open_workers(workspace) as workers:
        for rank, source in enumerate(project.sources):
            found = _plan_scope(workspace, source, scopes.get(source.name), fetcher) if scopes is not None else None
            if found is None:
                cache = cache or VersionCache.load(workspace.storage, cache_uri)
                found = plan_source(
                    source,
                    workspace.lake,
                    rows_per_partition=project.prepare.rows_per_partition,
                    cache=cache,
                    fetcher=fetcher,
                    config=project.prepare,
                    checked=True,
                    workers=workers,
                )
            plans.append(found)
            sources.append(
                SourceRows(
                    source=source.name,
                    rows=found.rows,
                    usable=found.usable,
                    unmarked=found.unmarked,
                    fields=found.fields,
                    lacks=found.lacks,
                    listed_s=found.listed_s,
                    endings=found.endings,
                )
            )
            endings.update(found.endings)
            marks[source.name] = found.marks
            shards.extend(
                WantedShard(
                    source=source,
                    rank=rank,
                    partition=partition,
                    address=shard_address(partition, recipes[rank]),
                )
                for partition in found.partitions
            )
    require_modalities(project, sources)
    for source, found in zip(project.sources, plans, strict=True):
        keep_plan(workspace.lake, source, _settings(project, source), found)
    if cache is not None:
        cache.save(workspace.storage, cache_uri, keep_unused=scopes is not None)
    rows = sum(shard.partition.rows for shard in shards)
    return Plan(
        shards=tuple(shards),
        rows=rows,
        recipe=digest.address("recipes", recipes),
        endings=sort_endings(endings),
        sources=tuple(sources),
        marks=marks,
        recipes=tuple(dict.fromkeys(recipes)),
    )


def require_source(project: Project, name: str) -> None:
    """Raise ConfigError unless the project has a source of this name."""
    names = [source.name for source in project.sources]
    if name not in names:
        near = get_close_matches(name, names, 1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise ConfigError(f"there is no source {name!r}{hint}\nThe project has: {', '.join(names)}")


def _settings(project: Project, source: Source) -> str:
    return settings_of(source, project.prepare.rows_per_partition, project.prepare)


def _plan_scope(workspace: Workspace, source: Source, scope: Scope | None, fetcher: Fetcher) -> SourcePlan | None:
    """Return a source's plan without looking at it as a whole; None if that is necessary.

    Without a `scope`, none of its rows is looked at.
    """
    project, lake = workspace.project, workspace.lake
    last = last_plan(lake, source, _settings(project, source))
    if last is not None and scope is None:
        return last
    found = None
    if last is not None and scope is not None:
        found = replan_source(
            source,
            lake,
            scope,
            last,
            rows_per_partition=project.prepare.rows_per_partition,
            fetcher=fetcher,
            config=project.prepare,
        )
    if found is None and not (scope is not None and scope.whole):
        log.event("source_planned_whole", source=source.name, last_plan="unusable" if last is None else "not enough")
    return found


def plan_training(workspace: Workspace, scope: Scope | Iterable[Scope] | None = None) -> Plan:
    """Make the plan of a run that trains; `scope` as of `make_plan`.

    Raises:
        ConfigError: a mark that planning reads means no part, or a model must be trained and marks hold out all rows.
        SourceError: a source cannot be read at all.
    """
    plan = make_plan(workspace, scope)
    project = workspace.project
    require_known(project.train, project.sources, plan.marks)
    held_out = not any(source.unmarked for source in plan.sources) and is_held_out(project.train, plan.marks)
    if held_out and not _has_model(workspace):
        require_training(plan.marks)
    return plan


def source_states(plan: Plan) -> dict[str, SourceState]:
    """Return what each source holds, for the note of the run: equal versions have equal rows with equal media."""
    partitions = plan.partitions
    versions = {name: sorted([one.id, one.version] for one in held) for name, held in partitions.items()}
    return {
        source.source: SourceState(rows=source.rows, version=digest.address("source", versions.get(source.source, [])))
        for source in plan.sources
    }


def find_warnings(plan: Plan, project: Project) -> Iterator[str]:
    """Yield warnings of files that are not read, sources that give nothing, old inventories, and many partitions.

    Args:
        plan: of the project's sources.
        project: says which inventory is old.
    """
    for name, days in _old_inventories(plan, project):
        yield (
            f"Source {name}: its inventory is {days:.0f} days old. Objects that were written since are missing, and a "
            "run fails at those that were changed or deleted. Check that S3 still writes the inventory, and that "
            "`path` is its newest."
        )
    for source in plan.sources:
        if unread := tell_unread(source.endings):
            yield f"Source {source.source}: {unread}."
        if source.rows and not source.usable:
            rows = "its only row is" if source.rows == 1 else f"all its {source.rows:,} rows are"
            yield (
                f"Source {source.source}: {rows} rejected. After a run, `trichord rejects ls` lists why; correct "
                "`path`, `fields` or the data."
            )
    for name, partitions in plan.partitions.items():
        if warning := warn_of_partitions(name, len(partitions), sum(one.rows for one in partitions)):
            yield warning


def warn_of_partitions(source: str, partitions: int, rows: int) -> str | None:
    """Return a warning if a source has too many partitions, or many small ones."""
    advice = "set `prepare.rows_per_partition` to auto, or make its data files larger."
    if partitions > MAX_PARTITIONS:
        return (
            f"Source {source} has {partitions:,} partitions. Each is a task and three files; keep them under "
            f"{MAX_PARTITIONS:,}: {advice}"
        )
    if partitions > MANY_PARTITIONS and rows < SMALL_PARTITION * partitions:
        return (
            f"Source {source} has {partitions:,} partitions with {rows / partitions:.1f} rows on average. Each is a "
            f"task and three files, which cost more than so few rows: {advice}"
        )
    return None


def _old_inventories(plan: Plan, project: Project) -> Iterator[tuple[str, float]]:
    """Yield the sources whose inventory is older than `warn_after_days`, with its age in days."""
    listed_s = {source.source: source.listed_s for source in plan.sources}
    for source in project.sources:
        made_s = listed_s.get(source.name)
        if isinstance(source, InventorySource) and made_s is not None:
            days = (time.time() - made_s) / 86_400
            if days > source.warn_after_days:
                yield source.name, days


def _has_model(workspace: Workspace) -> bool:
    """Return True if today's settings keep the live model."""
    live = workspace.publications.live()
    reused = live is not None and workspace.project.train.policy == "reuse"
    return live is not None and reused and live.recipe["model"] == workspace.model_settings()


def _told(unknown: Iterable[str], near: Callable[[str], str | None]) -> str:
    hints = {word: near(word) for word in unknown}
    return ", ".join(f"{word} (did you mean `{hint}`?)" if hint else word for word, hint in hints.items())


def _check(project: Project, aligner: Aligner | None) -> None:
    """Raise if the project names something that does not exist.

    Raises:
        ConfigError: a limit is set for an op that no source has, or a language is unknown.
        SourceError: a media root is not a folder.
    """
    for source in project.sources:
        root = getattr(source, "media_root", None)
        if root is not None and not is_remote(root) and not os.path.isdir(root):
            raise SourceError(f"There is no folder {root}. Fix `media_root` of source {source.name!r}.")
    for setting, named in (
        ("prepare.text.languages", project.prepare.text.languages),
        ("augment.text.languages", project.augment.text.languages),
    ):
        if unknown := sorted(set(named) - KNOWN_LANGUAGES):
            raise ConfigError(
                f"{setting}: unknown language: {_told(unknown, near_language)}.\n"
                f"Known: {', '.join(sorted(KNOWN_LANGUAGES))}"
            )
    if (spoken := project.rag.language) and (meant := mistaken_language(spoken)):
        raise ConfigError(f"rag.language: unknown language: {spoken}.\nDid you mean `{meant}`? Use codes of ISO 639.")
    allowed = project.prepare.text.languages
    if project.prepare.align.speech == "pocketsphinx" and allowed and "en" not in allowed:
        raise ConfigError(
            f"prepare.align.speech: pocketsphinx knows English only, and prepare.text.languages allows "
            f"{', '.join(allowed)}.\nUse align.speech: ctc, with a model of that language in align.ctc_model, or off."
        )
    if (region := project.prepare.text.phone_region) is not None and region not in known_regions():
        raise ConfigError(
            f"prepare.text.phone_region: unknown country: {_told([region], near_country)}.\n"
            "Use a code of ISO 3166, for example CN or DE."
        )
    if unknown := sorted(set(project.prepare.text.pii_regions) - known_regions()):
        raise ConfigError(
            f"prepare.text.pii_regions: unknown country: {_told(unknown, near_country)}.\n"
            f"Use codes of ISO 3166, for example CN or DE. Identity numbers are known of: {', '.join(sorted(REGIONS))}"
        )
    if project.gate.max_reject_ratio_of:
        chains = (prepare_chain(project.prepare, source, aligner) for source in project.sources)
        names = {op.name for chain in chains for op in chain} | {"read", "worker"}
        for name in sorted(project.gate.max_reject_ratio_of):
            if name in names and f"threshold:{name}" not in names:
                continue
            near = get_close_matches(name, names, 1) if f"threshold:{name}" not in names else [f"threshold:{name}"]
            hint = f"; did you mean `{near[0]}`?" if near else ""
            raise ConfigError(
                f"gate.max_reject_ratio_of: no op of this project rejects rows under the name {name!r}{hint}\n"
                f"Known: {', '.join(sorted(names))}"
            )
