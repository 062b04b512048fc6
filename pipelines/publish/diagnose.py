"""Decide what can be done about the damage that an examination found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from trichord.infra.errors import StorageError
from trichord.infra.lake import layout
from trichord.infra.lake.lake import Lake
from trichord.infra.lake.publication import Publication
from trichord.infra.lake.shard import ShardRef, iter_shard, parse_shard_path
from trichord.pipelines.core.workspace import Workspace
from trichord.pipelines.index.partition_map import partitions_bytes
from trichord.pipelines.publish.examine import Examination
from trichord.pipelines.publish.lost_commits import Remade, find_lost_commits
from trichord.pipelines.publish.pinned import Problem
from trichord.pipelines.publish.publish import next_publication


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """What is damaged, and what follows.

    Attributes:
        examined: what was found.
        problems: every problem but those of logs, of the table of publications, and of caches.
        rebuilt: path -> content of the files that can be written again.
        commits: lost commits that can be written again, by table.
        cut_logs: tables that lost a commit together with its copy which the publication that is live afterwards does
            not need: table -> the first such version.
        lost_logs: tables that lost a commit which it needs, or whose commit is not the one that is live.
        live: the publication that was live; None if none is known.
        row: the row that `recover` appends; None if the live publication stays as it is.
        switched: True if the row makes another index live.
        searchable: True if searches work afterwards.
        candidate_lost: True if the last candidate, which is not live, needs a commit that stays lost.
        given_up: earlier publications that cannot be made whole again.
        why: why a row is appended.
    """

    examined: Examination
    problems: Sequence[Problem]
    rebuilt: Mapping[str, bytes]
    commits: Mapping[str, Remade]
    cut_logs: Mapping[str, int]
    lost_logs: frozenset[str]
    live: Publication | None
    row: Publication | None
    switched: bool
    searchable: bool
    candidate_lost: bool
    given_up: Sequence[Publication]
    why: str

    @property
    def live_after(self) -> Publication | None:
        """The publication that is live afterwards."""
        return self.row or self.live

    @property
    def needs_reindex(self) -> bool:
        """Return True if only a run can make whole what is live or wanted."""
        gone = {one.path for row in self.given_up for one in self.examined.problems.get(row.id, ())}
        pinned = {one.path for problems in self.examined.problems.values() for one in problems}
        left = [
            one
            for one in self.problems
            if one.path not in self.rebuilt and (not _is_note(one.path) or (one.path in pinned and self.is_file(one)))
            and not one.path.startswith("feedback/")
            and (one.path not in gone or one.path in self.examined.remade)
        ]  # fmt: skip
        return bool(left) or self.switched or bool(self.lost_logs - {"publications", "feedback"}) or not self.live_after

    def is_file(self, problem: Problem) -> bool:
        """Return True if the problem is of a file that can be set aside: a commit is not."""
        return _table_of_commit(problem.path) is None

    def pinned_by(self, row: Publication) -> str:
        """Return the id of the publication whose index a row makes live."""
        same = [one.id for one in self.examined.history if one.manifest_digest == row.manifest_digest]
        return same[-1] if same else f"the last candidate, {row.manifest_digest[:12]},"

    def fate(self, problem: Problem) -> str:
        """Return what becomes of a lost file, in words."""
        path = problem.path
        if path.startswith(f"{layout.ANSWERS}/"):
            return "the answer is lost: it can no longer be rated"
        if path == layout.CANDIDATE:
            return "the next `trichord reindex` writes one again"
        if _is_note(path):
            return "written again where it is needed"
        if path.startswith("feedback/"):
            return "its ratings are lost"
        lacking = self.examined.problems
        owners = [row for row in self.examined.kept if any(one.path == path for one in lacking.get(row.id, ()))]
        if owners and all(row in self.given_up for row in owners) and path not in self.examined.remade:
            return f"lost with {owners[0].id}"
        return "`trichord reindex` makes it again"


def diagnose(workspace: Workspace, found: Examination) -> Diagnosis:
    """Decide which publication is live afterwards, which are given up, and which files can be written again."""
    pinned = [problem for problems in found.problems.values() for problem in problems]
    problems = list({one.path: one for one in (*pinned, *found.others)}.values())
    rebuilt = _find_rebuilt(workspace.lake, found, problems)
    live = found.history[-1] if found.history else None
    commits = find_lost_commits(
        workspace, found.tables, [*found.kept, *([found.candidate[0]] if found.candidate else [])]
    )
    healed = rebuilt.keys() | _restored(found)
    healed |= {layout.commit_path(name, version) for name, remade in commits.items() for version in remade.whole}
    broken = {row.id: [one for one in found.problems.get(row.id, ()) if one.path not in healed] for row in found.kept}
    searchable = live is not None and not any(one.searched for one in broken.get(live.id, ()))
    whole = [row for row in found.kept if not broken[row.id]]
    target = whole[0] if whole and not searchable else None
    stays = None if target is not None or live is None else live.manifest_digest
    remade = {path for path in found.remade if _table_of_commit(path) is None}
    remade |= {one.path for one in broken.get(live.id, ())} if stays and live else set()
    given_up = [
        row
        for row in found.kept
        if row.manifest_digest != stays and broken[row.id]
        and (row is live or any(one.path not in remade for one in broken[row.id]))
    ]  # fmt: skip
    row, candidate = None, found.candidate
    if live is not None and (target is not None or given_up):
        chosen = target or live
        gone = frozenset(one.manifest_digest for one in given_up)
        row = next_publication(found.history, "recover", chosen, chosen.verdict, gone)
    elif live is None and found.unreadable and candidate is not None and candidate[1].passed and not found.others:
        row = next_publication([], "recover", *candidate)
    after = target or live
    of_after = {one.path for one in broken.get(after.id, ())} if after is not None else set()
    lost = frozenset(table for path in of_after if (table := _table_of_commit(path)) is not None)
    cut = _find_cut(found, commits, after)
    lost |= {name for name, version in cut.items() if version < 0}
    if found.unreadable and not found.history:
        lost |= {"publications"}
    first = broken[live.id][0] if live is not None and broken.get(live.id) else None
    return Diagnosis(
        examined=found,
        problems=[one for one in problems if one not in found.unreadable],
        rebuilt=rebuilt,
        commits=commits,
        cut_logs={name: version for name, version in cut.items() if name not in lost},
        lost_logs=lost,
        live=live,
        row=row,
        switched=target is not None,
        searchable=searchable or row is not None,
        candidate_lost=any(_table_of_commit(one.path) and one.path not in healed | of_after for one in found.others),
        given_up=given_up,
        why=str(first) if first is not None and target is not None else "earlier publications have lost files",
    )


def _table_of_commit(path: str) -> str | None:
    """Return the table of a commit; None for another file."""
    table, _, rest = path.partition("/")
    return table if rest.startswith(f"{layout.LOG}/") else None


def _find_cut(found: Examination, commits: Mapping[str, Remade], live: Publication | None) -> dict[str, int]:
    """Return the tables with commits that stay lost: the first one, or -1 where what goes live needs it."""
    cut = {}
    for name, damages in found.logs.items():
        remade = commits[name].commits if name in commits else {}
        lost = [one.version for one in damages if one.version is not None and one.version not in remade]
        if lost:
            pinned = live.table_versions.get(name) if live is not None else None
            cut[name] = min(lost) if pinned is not None and pinned < min(lost) else -1
    return cut


def _restored(found: Examination) -> frozenset[str]:
    """Return the paths of the commits that are restored from their copies."""
    return frozenset(one.path for damages in found.logs.values() for one in damages if one.remedy is not None)


def _find_rebuilt(lake: Lake, found: Examination, problems: Sequence[Problem]) -> dict[str, bytes]:
    rebuilt = {one.path: one.file.content for one in problems if one.file is not None and one.file.content is not None}
    paths = {one.path for one in problems}
    for row in found.kept:
        path = layout.partitions_path(row.manifest)
        if path in paths:
            try:
                shards = found.tables.shards("records", row.table_versions["records"]).values()
                rebuilt[path] = partitions_bytes(dict(_partition_of(lake, ref) for ref in shards))
            except (StorageError, FileNotFoundError, StopIteration):
                continue  # a shard is lost too, or holds no row: `reindex` writes the map again
    return rebuilt


def _partition_of(lake: Lake, ref: ShardRef) -> tuple[str, str]:
    """Return the partition of a records shard, and its path."""
    batch = next(iter_shard(lake, ref, ["partition"], 1))
    return str(batch.column("partition")[0].as_py()), ref.path


def _is_note(path: str) -> bool:
    return layout.kind_of(path) is layout.Kind.NOTE and parse_shard_path(path) is None
