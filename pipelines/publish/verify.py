"""verify: prove that every file of the lake that matters is whole."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from trichord.infra.errors import StorageError, TrichordError
from trichord.infra.lake import layout
from trichord.infra.lake.publication import Publication
from trichord.infra.lake.shard import verify_shard
from trichord.pipelines.core.model_store import load_model
from trichord.pipelines.core.result import Result
from trichord.pipelines.core.workspace import Workspace
from trichord.pipelines.index.milvus_collections import verify_collections
from trichord.pipelines.index.partition_map import read_partitions
from trichord.pipelines.publish.examine import Examination, examine
from trichord.pipelines.publish.lost_tables import AGAIN, find_lost_tables


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified(Result):
    """What was verified.

    Attributes:
        publications: number of kept publications.
        files: number of files.
        bytes: their size.
        damaged_caches: caches, and files that nothing needs, that are damaged; what needs one makes it again.
        notes: lake-relative paths of these.
    """

    publications: int
    files: int
    bytes: int
    damaged_caches: int
    notes: tuple[str, ...]


def verify(workspace: Workspace) -> Verified:
    """Hash every file of the lake again, and check the counts of the kept publications.

    Raises:
        StorageError: something is damaged or missing; the message names every such file.
    """
    found = examine(workspace)
    problems = [str(problem) for problem in found.all_problems.values()]
    whole = [row for row in found.kept if row.id not in found.problems]
    if not found.logs and not found.unreadable:
        for row in whole:
            problems += _check(workspace, row)
        problems += _try(lambda: verify_collections(workspace, whole))
    if problems:
        raise StorageError(_message(workspace, found, problems))
    if lost := [str(one) for one in find_lost_tables(workspace.lake, found.tables)]:
        raise StorageError("\n  ".join([f"{workspace.lake.root} has lost tables:", *lost]) + f"\n{AGAIN}")
    return Verified(
        publications=len(found.kept),
        files=len(found.sizes),
        bytes=sum(found.sizes.values()),
        damaged_caches=len(found.caches),
        notes=tuple(problem.path for problem in found.caches),
    )


def _message(workspace: Workspace, found: Examination, problems: Sequence[str]) -> str:
    hidden = f"\n  … and {len(problems) - 100:,} more" if len(problems) > 100 else ""
    listed = "\n  ".join(problems[:100]) + hidden
    return (
        f"{len(problems)} problems in {len(found.sizes):,} files of {workspace.lake.root}:\n  {listed}\n"
        "Run `trichord recover`, which shows what it would do; `trichord recover --yes` does it."
    )


def _check(workspace: Workspace, row: Publication) -> list[str]:
    """Check what hashes do not say: that counts, maps and model of a whole publication fit together."""
    problems, rows = list[str](), dict[str, int]()
    for name, version in row.table_versions.items():
        shards = workspace.table(name).shards(version).values()
        rows[name] = sum(ref.rows for ref in shards)
        for ref in shards:
            problems += _try(lambda ref=ref: verify_shard(workspace.lake, ref, hashed=False))  # type: ignore[misc]
        if name == "records" and set(read_partitions(workspace, row.manifest).values()) != {ref.path for ref in shards}:
            problems.append(f"{layout.partitions_path(row.manifest)} does not list the records of {row.id}")
    left = rows["records"] - rows["duplicates"] - row.counts.rows_disagreeing
    if left != row.counts.rows_kept:
        problems.append(
            f"{row.id}: records − duplicates − disagreeing = {left}, but {row.counts.rows_kept} were published"
        )
    model = workspace.project.model
    return problems + _try(lambda: load_model(workspace.lake, row.model, row.fingerprint, model))


def _try(check: Callable[[], object]) -> list[str]:
    try:
        check()
    except (TrichordError, FileNotFoundError) as error:
        return [str(error).splitlines()[0]]
    return []
