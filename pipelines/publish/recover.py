"""recover: bring a damaged lake back to its last whole state, in steps that can be repeated."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from functools import partial

from trichord.infra import log
from trichord.infra.lake import layout
from trichord.infra.lake.lease import leased
from trichord.infra.lake.publication import JsonDict
from trichord.infra.lake.publications import rows_until
from trichord.infra.lake.schema import FEEDBACK, TABLES
from trichord.infra.lake.set_aside import set_aside, set_log_aside
from trichord.infra.lake.shard import find_finished, parse_shard_path
from trichord.pipelines.core.result import Result
from trichord.pipelines.core.workspace import Workspace
from trichord.pipelines.index.milvus_collections import follow, make_ready
from trichord.pipelines.publish.diagnose import Diagnosis, diagnose
from trichord.pipelines.publish.examine import examine
from trichord.pipelines.publish.lost_tables import find_lost_tables
from trichord.pipelines.publish.pinned import Problem

PUBLICATIONS = "publications"


@dataclass(frozen=True, slots=True, kw_only=True)
class Step(Result):
    """A damaged file or table, and what is done about it. `apply` is None where only another command can help."""

    path: str
    problem: str
    action: str
    apply: Callable[[], object] | None = field(default=None, repr=False, compare=False)

    def to_dict(self) -> JsonDict:
        """Return JSON-ready values."""
        return {"path": self.path, "problem": self.problem, "action": self.action}


@dataclass(frozen=True, slots=True, kw_only=True)
class Recovery(Result):
    """What a recovery found and did, or would do.

    Attributes:
        done: True if the steps were carried out, not only listed.
        steps: what is damaged, and what is done about it, in order.
        live_before: id of the publication that was live; None if none is known.
        live: id of the publication that is live afterwards.
        searchable: True if searches work afterwards; if False, `trichord reindex` must make the index again.
        given_up: ids of earlier publications that cannot be made whole again.
        next: the command to run afterwards; empty if nothing is left to do.
    """

    done: bool
    steps: tuple[Step, ...]
    live_before: str | None
    live: str | None
    searchable: bool
    given_up: tuple[str, ...]
    next: str


def recover(workspace: Workspace, *, yes: bool) -> Recovery:
    """Find what is damaged, and repair it if `yes`.

    Logs come back from their copies, publications from their commits, and small files from what pins them. If searches
    fail by what is lost, the newest whole publication goes live, in one commit. Damaged files are set aside, not
    deleted. Killed at any point, it can be run again.

    Raises:
        CommitConflict: another run is at work, or another writer published meanwhile.
        StorageError: the lake cannot be read or written.
    """
    with leased(workspace.lake, "recover") if yes else nullcontext():
        found, steps = plan_recovery(workspace)
        work = [step for step in steps if step.apply is not None]
        for step in work if yes else ():
            assert step.apply is not None
            step.apply()
            log.event("recovered", path=step.path, action=step.action)
    again = found.needs_reindex or any(step.apply is None and step.path in TABLES for step in steps)
    return Recovery(
        done=yes,
        steps=steps,
        live_before=found.live.id if found.live is not None else None,
        live=found.live_after.id if found.live_after is not None else None,
        searchable=found.searchable,
        given_up=tuple(row.id for row in found.given_up),
        next="trichord recover --yes" if work and not yes else "trichord reindex" if again else "",
    )


def plan_recovery(workspace: Workspace) -> tuple[Diagnosis, tuple[Step, ...]]:
    """Return what is damaged, and the steps that repair it, in order. Raise as `recover`; change nothing."""
    found = diagnose(workspace, examine(workspace))
    parts = (_repair_logs, _rebuild, _publish, _set_aside)
    steps = [step for part in parts for step in part(workspace, found)]
    return found, (*steps, *_name_lost(workspace, found, steps))


def _repair_logs(workspace: Workspace, found: Diagnosis) -> Iterator[Step]:
    """Restore commits and copies; set aside the log of a table that lost a commit and its copy."""
    for name, remade in found.commits.items():
        for version, commit in () if name in found.lost_logs else remade.commits.items():
            yield Step(
                path=layout.commit_path(name, version),
                problem="is lost, and so is its copy",
                action="written again, as a publication has sealed it",
                apply=partial(_write_commit, workspace, name, version, commit),
            )
    for name in dict.fromkeys([*found.examined.logs, *sorted(found.lost_logs - {PUBLICATIONS})]):
        if name in found.lost_logs:
            yield _replace_log(workspace, found, name)
            continue
        first_cut = found.cut_logs.get(name)
        for damage in found.examined.logs[name]:
            if first_cut is not None and damage.version == first_cut:
                action = "set aside, with the commits after it: the live publication needs none of them"
                apply: Callable[[], object] = partial(set_log_aside, workspace.lake, name, since=first_cut)
            elif damage.version is not None:
                continue  # written again, or set aside with the others
            elif damage.path.endswith(".base"):
                action, apply = "written again, from the checkpoint", partial(_write_base, workspace, found, name)
            elif damage.remedy is None:
                action = "checkpoints are removed: the commits say the same"
                apply = workspace.table(name).log.forget_checkpoints
            else:
                action = "written again" if damage.path.endswith(".copy") else "restored from its copy"
                apply = partial(workspace.lake.write, damage.path, damage.remedy)
            yield Step(path=damage.path, problem=damage.problem, action=action, apply=apply)


def _write_commit(workspace: Workspace, name: str, version: int, commit: bytes) -> None:
    workspace.lake.write(layout.commit_path(name, version), commit)
    workspace.table(name).log.write_copy(version)


def _write_base(workspace: Workspace, found: Diagnosis, name: str) -> None:
    log, examined = workspace.table(name).log, found.examined
    base = log.base()
    if base is not None:
        rows = rows_until(examined.tables, base.version, examined.history) if name == PUBLICATIONS else ()
        log.write_base(replace(base, rows=rows))


def _replace_log(workspace: Workspace, found: Diagnosis, name: str) -> Step:
    lake, table = workspace.lake, workspace.table(name)

    def apply() -> None:
        if name == PUBLICATIONS and found.examined.history:
            workspace.publications.store(found.examined.history)  # if this is killed, the next run finds them here
        set_log_aside(lake, name)
        if name == "feedback":
            listed = [parsed[0] for stat in lake.list(name) if (parsed := parse_shard_path(stat.uri)) is not None]
            shards = list(find_finished(lake, name, listed, verify=True).values())
            table.reconcile(shards, schema=FEEDBACK, run="recover", recipe="recover")

    fate = {PUBLICATIONS: "the table is created again", "feedback": "its shards are committed again"}
    action = f"the log is set aside; {fate.get(name, '`trichord reindex` commits its shards again')}"
    damages = [(one.path, one.problem) for one in found.examined.logs.get(name, ()) if one.version is not None]
    folder = layout.log_folder(name)
    damages += [(one.path, one.problem) for one in found.problems if one.path.startswith(f"{folder}/")]
    path, problem = damages[0] if damages else (folder, "names no publication")
    return Step(path=path, problem=problem, action=action, apply=apply)


def _rebuild(workspace: Workspace, found: Diagnosis) -> Iterator[Step]:
    """Write the small files again whose content follows from others."""
    for problem in found.problems:
        if problem.path in found.rebuilt:
            apply = partial(workspace.lake.write, problem.path, found.rebuilt[problem.path])
            yield Step(path=problem.path, problem=problem.problem, action="written again", apply=apply)


def _publish(workspace: Workspace, found: Diagnosis) -> Iterator[Step]:
    """Make the table of publications readable and the newest whole publication live, in one commit."""
    history, row, unreadable = found.examined.history, found.row, found.examined.unreadable
    readable = not unreadable and PUBLICATIONS not in found.lost_logs
    if not history and row is None and not readable and PUBLICATIONS not in found.examined.logs:
        yield _replace_log(workspace, found, PUBLICATIONS)
    if (readable and row is None) or not (history or row):
        return
    actions = [] if readable else [f"written again with {len(history)} publications, from commits and shards"]
    if row is not None:
        actions.append(f"{found.pinned_by(row)} {'goes' if found.switched else 'stays'} live, as {row.id}")
    actions += [f"given up: {one.id}" for one in found.given_up]
    after = -1 if PUBLICATIONS in found.lost_logs else found.examined.tables.newest(PUBLICATIONS)

    def apply() -> None:
        if row is not None:
            make_ready(workspace, row)
        workspace.publications.rewrite(history, [row] if row is not None else [], after=after)
        if row is not None:
            follow(workspace, row)

    yield Step(
        path=unreadable[0].path if unreadable else PUBLICATIONS,
        problem=unreadable[0].problem if unreadable else found.why,
        action="; ".join(actions),
        apply=apply,
    )


def _set_aside(workspace: Workspace, found: Diagnosis) -> Iterator[Step]:
    """Move damaged files away, so that the next run makes them again."""
    damaged_feedback = [one for one in found.problems if one.path.startswith("feedback/") and found.is_file(one)]
    if damaged_feedback and "feedback" not in found.lost_logs:
        yield _drop_feedback(workspace, found, damaged_feedback)
    if found.candidate_lost:
        away = partial(set_aside, workspace.lake, layout.CANDIDATE)
        yield Step(path=layout.CANDIDATE, problem="names a commit that is lost", action="set aside", apply=away)
    for problem in found.problems:
        if problem.path in found.rebuilt or not found.is_file(problem):
            continue
        aside = workspace.lake.exists(problem.path)
        action = f"set aside; {found.fate(problem)}" if aside else found.fate(problem)
        apply = partial(set_aside, workspace.lake, problem.path) if aside else None
        if apply is not None or problem not in damaged_feedback:
            yield Step(path=problem.path, problem=problem.problem, action=action, apply=apply)
    for problem in found.examined.caches:
        apply = partial(set_aside, workspace.lake, problem.path)
        yield Step(path=problem.path, problem=problem.problem, action="set aside: a cache, or needed by nothing",
                   apply=apply)  # fmt: skip


def _drop_feedback(workspace: Workspace, found: Diagnosis, damaged: list[Problem]) -> Step:
    """Commit the table of ratings without its damaged shards: nothing else holds what users said."""
    tables, gone = found.examined.tables, {one.path for one in damaged}
    shards = [ref for ref in tables.shards("feedback", tables.newest("feedback")).values() if ref.path not in gone]
    apply = partial(workspace.table("feedback").reconcile, shards, schema=FEEDBACK, run="recover", recipe="recover")
    return Step(path="feedback", problem=f"{len(damaged)} of its shards are lost",
                action="committed without them: their ratings are lost", apply=apply)  # fmt: skip


def _name_lost(workspace: Workspace, found: Diagnosis, steps: list[Step]) -> Iterator[Step]:
    """Name the tables that are gone altogether, apart from those whose logs the steps before bring back."""
    for one in find_lost_tables(workspace.lake, found.examined.tables):
        folder = layout.log_folder(one.path)
        if one.path != PUBLICATIONS and not any(step.path.startswith(folder) for step in steps):
            yield Step(path=one.path, problem=one.problem, action="`trichord reindex` makes it again")
