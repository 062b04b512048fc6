"""Look at every file of a lake: what is damaged, what it belongs to, and what is only a cache.

Tables are read from their commits and the copies of these, not through Delta, so that damage of a log is found and
does not hide what else there is to find.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass

from trichord.infra import digest
from trichord.infra.digest import sha256_hex
from trichord.infra.errors import StorageError
from trichord.infra.json_values import parse_object
from trichord.infra.lake import layout
from trichord.infra.lake.checked_parquet import is_whole as is_whole_parquet
from trichord.infra.lake.commit_log import Damage
from trichord.infra.lake.lake import Lake
from trichord.infra.lake.layout import Kind
from trichord.infra.lake.logged_table import LoggedTables
from trichord.infra.lake.pinned_file import PinnedFile, check_bytes
from trichord.infra.lake.publication import Candidate, Pinned, Publication, Verdict
from trichord.infra.lake.publications import rows_in
from trichord.infra.lake.schema import TABLES
from trichord.infra.lake.shard import parse_shard_path, read_shard
from trichord.pipelines.core.recipes import is_whole_recipe
from trichord.pipelines.core.runs import is_whole_note
from trichord.pipelines.core.workspace import Workspace
from trichord.pipelines.publish.lost_tables import is_lost
from trichord.pipelines.publish.pinned import Problem, choose_kept, find_problems, read_candidate, shard_files

_NAMED = re.compile(
    r".*/[0-9a-f]{32}\.(?P<file>[0-9a-f]{64})\.[a-z.]+"
    rf"|{layout.INDEX}/manifests/(?P<manifest>[0-9a-f]{{64}})\.json"
    rf"|{layout.OUTCOMES}/(?P<outcomes>[0-9a-f]{{64}})\.parquet"
    rf"|{layout.DOWNLOADS}/[0-9a-f]{{2}}/(?P<content>[0-9a-f]{{64}})"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Examination:
    """What was found in a lake.

    Attributes:
        history: all publications that are known, first to last.
        unreadable: what is wrong with the table `publications`, apart from its log; empty if nothing is.
        logs: table -> what is damaged of its log.
        tables: reads the tables by their logs.
        kept: the kept publications, newest first.
        problems: id of a kept publication -> its problems.
        candidate: the last candidate with its verdict, if it is whole.
        remade: paths that the newest versions of the tables, or the problems of the candidate, name: `reindex` makes
            these files again.
        others: problems of files that no kept publication pins, and that are not caches.
        caches: problems of caches and of files that nothing needs.
        sizes: size of each file that was read, by path.
    """

    history: Sequence[Publication]
    unreadable: Sequence[Problem]
    logs: Mapping[str, Sequence[Damage]]
    tables: LoggedTables
    kept: Sequence[Publication]
    problems: Mapping[str, Sequence[Problem]]
    candidate: tuple[Candidate, Verdict] | None
    remade: Set[str]
    others: Sequence[Problem]
    caches: Sequence[Problem]
    sizes: Mapping[str, int]

    @property
    def all_problems(self) -> dict[str, Problem]:
        """Every problem that is not of a cache, once, by path."""
        logs = [Problem(path=one.path, problem=one.problem) for damages in self.logs.values() for one in damages]
        pinned = [problem for problems in self.problems.values() for problem in problems]
        return {one.path: one for one in (*logs, *self.unreadable, *pinned, *self.others)}


def examine(workspace: Workspace) -> Examination:
    """Hash and check every file of the lake.

    Raises:
        StorageError: the lake cannot be read.
    """
    lake, tables, known = workspace.lake, LoggedTables(workspace.lake), dict[str, str | None]()

    def find(row: Pinned) -> list[Problem]:
        return find_problems(workspace, row, hashed=True, known=known, shards_of=tables.shards)

    history, unreadable = _read_history(workspace, tables)
    kept = choose_kept(history, workspace.project.keep_publications)
    problems = {row.id: found for row in kept if (found := find(row))}
    candidate = _candidate(workspace)
    of_candidate = find(candidate[0]) if candidate is not None else []
    heads = _heads(tables)
    known |= dict.fromkeys(heads, None) | check_bytes(lake, [heads[path] for path in heads.keys() - known.keys()])
    of_heads = [Problem(path=path, problem=text, file=heads[path]) for path in heads if (text := known[path])]
    known |= dict.fromkeys((one.path for one in unreadable), None)
    loose, sizes = _check_loose_files(workspace, known)
    notes = [one for one in loose if layout.kind_of(one.path) is Kind.NOTE]
    return Examination(
        history=history,
        unreadable=unreadable,
        logs={name: damages for name in TABLES if (damages := tables.examine(name))},
        tables=tables,
        kept=kept,
        candidate=candidate,
        problems=problems,
        remade=heads.keys() | {one.path for one in of_candidate},
        others=[*of_candidate, *of_heads, *notes],
        caches=[one for one in loose if one not in notes],
        sizes=sizes,
    )


def _heads(tables: LoggedTables) -> dict[str, PinnedFile]:
    """Return the shards of the tables' newest versions; of those whose log is whole enough to say."""
    found: dict[str, PinnedFile] = {}
    for name in set(TABLES) - {"publications"}:  # whose shard `_read_history` reads
        try:
            shards = tables.shards(name, tables.newest(name)) if tables.newest(name) >= 0 else {}
        except StorageError:
            continue
        found |= {file.path: file for file in shard_files(shards.values())}
    return found


def _read_history(workspace: Workspace, tables: LoggedTables) -> tuple[list[Publication], list[Problem]]:
    """Return all publications that are known, first to last, and why the table cannot be read, if so."""
    name, lake = workspace.publications.name, workspace.lake
    newest, path = tables.newest(name), layout.log_folder(name)
    if newest < 0 and not any(True for _ in lake.list(layout.damaged_path(path))) and not is_lost(lake, tables, name):
        return [], []  # nothing was ever published; a shard without a commit is of a run that was killed
    if newest < 0:
        return _salvage(lake, tables, name), [Problem(path=path, problem="is missing", searched=True)]
    try:
        [ref] = tables.shards(name, newest).values()
        path = ref.path
        rows = [Publication.from_row(row) for row in read_shard(lake, ref, verify=True).to_pylist()]
        return sorted(rows, key=lambda row: row.sequence), []
    except (StorageError, FileNotFoundError, ValueError, KeyError) as error:
        missing = isinstance(error, FileNotFoundError)
        why = "is missing" if missing else f"cannot be read: {str(error).splitlines()[0]}"
    return _salvage(lake, tables, name), [Problem(path=path, problem=why, searched=True)]


def _salvage(lake: Lake, tables: LoggedTables, name: str) -> list[Publication]:
    """Return the publications that commits and whole shards hold, first to last."""
    found: dict[int, Publication] = {}
    for stat in lake.list(name):
        if parse_shard_path(stat.uri) is not None:
            try:
                for row in read_shard(lake, lake.relative(stat.uri), verify=True).to_pylist():
                    found[row["sequence"]] = Publication.from_row(row)
            except (StorageError, FileNotFoundError, ValueError, KeyError):
                continue
    for actions in tables.commits(name):
        found |= {row.sequence: row for row in rows_in(actions or [])}
    return [found[sequence] for sequence in sorted(found)]


def _candidate(workspace: Workspace) -> tuple[Candidate, Verdict] | None:
    try:
        return read_candidate(workspace)
    except StorageError:
        return None  # `_check_loose_files` reports it


def _check_loose_files(workspace: Workspace, known: Mapping[str, str | None]) -> tuple[list[Problem], dict[str, int]]:
    """Check the files that no kept publication and no table names by what they say of themselves.

    Returns:
        (the problems, the size of each file of the lake by path).
    """
    lake, problems, sizes = workspace.lake, list[Problem](), dict[str, int]()
    answers = sorted({place.folder for place in layout.PLACES if "/" in place.pattern} & set(layout.FOLDERS))
    for stat in (stat for top in answers for stat in lake.list(top)):
        path = lake.relative(stat.uri)
        sizes[path] = stat.size
        place = layout.place_of(path)
        if path in known or place is None or place.folder == layout.DAMAGED:
            continue
        try:
            if not is_whole(lake, path):
                problems.append(Problem(path=path, problem="is damaged"))
        except FileNotFoundError:
            continue  # removed since the listing
    return problems, sizes


def is_whole(lake: Lake, path: str) -> bool:
    """Return False if a file does not hold what its name or its own check says; True if nothing says it.

    Raises:
        FileNotFoundError: there is no such file.
    """
    if (named := _NAMED.fullmatch(path)) is not None:
        return sha256_hex(lake.storage.chunks(lake.uri(path))) in named.groups()
    top, name = path.split("/", 1)[0], path.rsplit("/", 1)[-1]
    if top in TABLES or top in (layout.MODELS, layout.CHECKPOINTS):
        return True  # logs have copies; models are sealed where a publication pins them
    if path.endswith(".parquet"):
        return is_whole_parquet(lake.storage, lake.uri(path))
    if not path.endswith(".json"):
        return True
    data = lake.read(path)
    if top == layout.RECIPES:
        return is_whole_recipe(name.removesuffix(".json"), data)
    try:
        stored = parse_object(data)
    except ValueError:
        return False
    if top == layout.RUNS:
        return is_whole_note(stored)
    check = stored.pop("check", None)
    if path == layout.CANDIDATE:
        return check == digest.address(stored)
    if check is None:
        return top != layout.INDEX or path.startswith((layout.COLLECTIONS, f"{layout.INDEX}/manifests/"))
    return check == digest.address(stored.get("made", stored.get("noted")))
