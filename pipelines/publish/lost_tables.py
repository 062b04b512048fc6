"""Find what a lake has lost of what its live publication and its prepared rows need; no shard is read.

A table whose folder is gone looks like one that never was. The notes of runs say which tables there were.
"""

from __future__ import annotations

from trichord.infra.errors import GateFailed, StorageError
from trichord.infra.lake import layout
from trichord.infra.lake.lake import Lake
from trichord.infra.lake.logged_table import LoggedTables
from trichord.infra.lake.pinned_file import check_sizes
from trichord.infra.lake.schema import TABLES
from trichord.pipelines.core.runs import RunNote, last_runs
from trichord.pipelines.core.workspace import Workspace
from trichord.pipelines.publish.pinned import Problem, find_problems, shard_files

PUBLICATIONS = "publications"
PREPARED = ("records", "rejects", "signatures", "duplicates", "matches")  # all that `prepare` commits, empty or not
AGAIN = "Run `trichord reindex`, or `trichord prepare` for the rows alone: it makes them again from the sources."
_PREPARES = (0, GateFailed.exit_code)  # exit codes of a `prepare` that committed everything
_SHOWN = 5


def find_lost_tables(lake: Lake, tables: LoggedTables | None = None) -> list[Problem]:
    """Return the tables without any commit to which, by the last runs' notes, a run has committed."""
    tables, found = tables or LoggedTables(lake), list[Problem]()
    for name, run in _committed(last_runs(lake)).items():
        if tables.newest(name) < 0:
            found.append(Problem(path=name, problem=f"is missing, though {run.verb} {run.id} committed to it"))
    return found


def is_lost(lake: Lake, tables: LoggedTables, table: str) -> bool:
    """Return True if a table was committed to, and nothing of its log is there."""
    return tables.newest(table) < 0 and table in _committed(last_runs(lake))


def _committed(runs: list[RunNote]) -> dict[str, RunNote]:
    """Return the tables that were committed to, and the newest run that says so, from the notes, newest first.

    Only the last run that lists its tables counts: an earlier one may have had other stages.
    """
    committed: dict[str, RunNote] = {}
    for run in runs:
        if run.verb == "prepare" and run.exit_code in _PREPARES:
            committed = {**dict.fromkeys(PREPARED, run), **committed}
        if run.versions:
            committed = {**dict.fromkeys(run.versions, run), **committed}
            break
    published = next((run for run in runs if run.publication is not None), None)
    return committed if published is None else {**committed, PUBLICATIONS: published}


def check_stored(workspace: Workspace) -> str:
    """Look for every file that the live publication and the tables' newest versions name, by its size.

    Returns:
        How many there are, in words.

    Raises:
        StorageError: one is missing or has another size, or a table is lost.
    """
    lake, live, tables = workspace.lake, workspace.publications.live(), LoggedTables(workspace.lake)
    lost, known, problems = find_lost_tables(lake, tables), dict[str, str | None](), list[Problem]()
    if live is not None:
        problems = find_problems(workspace, live, hashed=False, known=known, shards_of=tables.shards)
    heads = []
    for name in TABLES:
        try:  # through Delta, as runs do
            heads += [file for file in shard_files(workspace.table(name).shards().values()) if file.path not in known]
        except StorageError as error:
            path = layout.log_folder(name)
            problems.append(Problem(path=path, problem=f"cannot be read: {str(error).splitlines()[0]}"))
    problems += [Problem(path=path, problem=text) for path, text in check_sizes(lake, heads).items()]
    named = {one.path.split("/", 1)[0] for one in problems}
    problems += [one for one in lost if one.path not in named]
    if not problems:
        return f"all {len(known) + len(heads):,} that are needed are there"
    shown = "; ".join(str(one) for one in problems[:_SHOWN])
    more = f"; and {len(problems) - _SHOWN:,} more" if len(problems) > _SHOWN else ""
    only_rows = live is None and all(one in lost and one.path != PUBLICATIONS for one in problems)
    advice = AGAIN if only_rows else "Run `trichord recover`: it shows what it can do, and names the next command."
    raise StorageError(f"{len(problems):,} missing or damaged: {shown}{more}\n{advice}")
