"""Which publications are kept, the files that each of them pins, and what is wrong with these."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from trichord.index_builders.manifest import IndexManifest, read_manifest, read_manifests
from trichord.infra import digest, log
from trichord.infra.errors import StorageError
from trichord.infra.json_values import parse_object
from trichord.infra.lake import layout
from trichord.infra.lake.checked_parquet import REMEDY
from trichord.infra.lake.pinned_file import PinnedFile, check_bytes, check_sizes, seal
from trichord.infra.lake.publication import Candidate, Pinned, Publication, Verdict
from trichord.infra.lake.shard import ShardRef
from trichord.pipelines.core.model_store import model_files
from trichord.pipelines.core.workspace import Workspace
from trichord.pipelines.index.partition_map import read_partitions, read_planned

Shards = Callable[[str, int], Mapping[str, ShardRef]]  # (table, version) -> shards by address


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """A file that is missing or damaged. `searched`: searches fail by it."""

    path: str
    problem: str
    searched: bool = False
    file: PinnedFile | None = None

    def __str__(self) -> str:
        return f"{self.path} {self.problem}"


def kept_publications(workspace: Workspace) -> list[Publication]:
    """Return the live publication and earlier ones, `keep_publications` distinct indexes in all, newest first."""
    return choose_kept(workspace.publications.rows(), workspace.project.keep_publications)


def choose_kept(history: Sequence[Publication], count: int) -> list[Publication]:
    """Return the `count` newest distinct indexes, newest first, without those that `trichord recover` gave up."""
    kept: dict[str, Publication] = {}
    given_up: set[str] = set()
    for row in reversed(history):
        if len(kept) < count and row.manifest_digest not in given_up:
            kept.setdefault(row.manifest_digest, row)
        given_up |= row.given_up
    return list(kept.values())


def seal_candidate(
    workspace: Workspace, candidate: Candidate, recipes: Iterable[str], live: Publication | None
) -> Candidate:
    """Return the candidate with the digests of the tables, model files and recipes that it pins.

    A model that the live publication has too keeps the digests that it had then.
    """
    lake = workspace.lake
    tables = {
        f"table:{name}": shards_digest(workspace.table(name).shards(version).values())
        for name, version in candidate.table_versions.items()
    }
    model = [lake.relative(stat.uri) for stat in lake.list(candidate.model)]
    known = live.seals if live is not None and live.model == candidate.model else {}
    files = {path: known.get(path) or seal(lake, path) for path in model}
    files |= {path: seal(lake, path) for path in map(layout.recipe_path, recipes)}
    return replace(candidate, seals=tables | files)


def shards_digest(shards: Iterable[ShardRef]) -> str:
    """Return the digest of a table's content: a shard's path holds the digest of its bytes."""
    return digest.address("shards", sorted(ref.path for ref in shards))


def pinned_files(workspace: Workspace, row: Pinned) -> dict[str, PinnedFile]:
    """Return every file that a publication pins, by its lake-relative path.

    Raises:
        StorageError: the manifest or a table's log is missing or damaged.
    """
    files = _own_files(row)
    for name, version in row.table_versions.items():
        files += shard_files(workspace.table(name).shards(version).values())
    for manifest in read_manifests(workspace.lake, row.manifest, row.manifest_digest):
        files += manifest.files()
    return {file.path: file for file in files}


def shard_files(shards: Iterable[ShardRef]) -> list[PinnedFile]:
    """Return the files of shards; a search reads the records of its hits."""
    return [
        PinnedFile(path=ref.path, size=ref.bytes, sha256=ref.sha256, searched=ref.table == "records") for ref in shards
    ]


def _own_files(row: Pinned) -> list[PinnedFile]:
    """Return the files that a row names itself: maps beside the manifest, the model, and the recipes."""
    partitions, plans = layout.partitions_path(row.manifest), layout.plans_path(row.manifest)
    recipes = [path for path in row.seals if not path.startswith(("table:", f"{row.model}/"))]
    return [
        PinnedFile(path=partitions, searched=True),
        PinnedFile(path=plans),
        *(PinnedFile.sealed(path, row.seals[path]) for path in recipes),
        *model_files(row),
    ]


def find_problems(
    workspace: Workspace,
    row: Pinned,
    *,
    hashed: bool,
    known: dict[str, str | None] | None = None,
    shards_of: Shards | None = None,
) -> list[Problem]:
    """Return what is missing or damaged of all that a publication pins.

    A lost cache, such as the codes that an index shard was merged from, is not a problem.

    Args:
        workspace: the project on its lake.
        row: a publication or candidate.
        hashed: read and hash every file; if False, look at sizes, and read only the small maps.
        known: files that were looked at before, path -> what is wrong; is added to.
        shards_of: reads a table's version; by default through Delta.
    """
    shards_of = shards_of or (lambda name, version: workspace.table(name).shards(version))
    problems, files = list[Problem](), _own_files(row)
    for name, version in row.table_versions.items():
        try:
            shards = shards_of(name, version).values()
            if hashed:
                workspace.table(name).log.read(version)
        except (StorageError, FileNotFoundError) as error:
            problems.append(Problem(path=layout.commit_path(name, version), problem=f"cannot be read: {_first(error)}"))
            continue
        files += shard_files(shards)
        sealed = row.seals.get(f"table:{name}")
        if sealed not in (None, shards_digest(shards)):
            text = "is not the commit that was published: it names other shards"
            problems.append(Problem(path=layout.commit_path(name, version), problem=text))
    manifests, lost = read_each_manifest(workspace, row)
    problems += lost
    for manifest in manifests:
        files += manifest.files()
    by_path = {file.path: file for file in files if not file.cached}
    known = {} if known is None else known
    new = [file for path, file in by_path.items() if path not in known]
    wrong = (check_bytes if hashed else check_sizes)(workspace.lake, new)
    wrong |= _check_maps(workspace, row, {file.path for file in new} - wrong.keys())
    known.update({file.path: wrong.get(file.path) for file in new})
    return problems + [
        Problem(path=path, problem=problem, searched=file.searched, file=file)
        for path, file in sorted(by_path.items())
        if (problem := known[path]) is not None
    ]


def read_each_manifest(workspace: Workspace, row: Pinned) -> tuple[list[IndexManifest], list[Problem]]:
    """Return the manifests of a publication that can be read, and a problem for each that cannot."""
    manifests, problems = list[IndexManifest](), list[Problem]()
    wanted = [row.manifest]
    for path in wanted:
        try:
            manifests.append(read_manifest(workspace.lake, path, row.manifest_digest if path == row.manifest else None))
        except StorageError as error:
            problems.append(Problem(path=path, problem=f"cannot be read: {_first(error)}", searched=True))
        else:
            wanted += manifests[-1].also if path == row.manifest else ()
    return manifests, problems


def _check_maps(workspace: Workspace, row: Pinned, paths: set[str]) -> dict[str, str]:
    """Check the two maps beside the manifest, which hold their own check."""
    wrong = {}
    for path, read in (
        (layout.partitions_path(row.manifest), read_partitions),
        (layout.plans_path(row.manifest), read_planned),
    ):
        if path in paths:
            try:
                read(workspace, row.manifest)
            except (StorageError, TypeError, ValueError):
                wrong[path] = "is damaged"
    return wrong


def missing_files(workspace: Workspace, row: Pinned, shards_of: Shards | None = None) -> list[str]:
    """List the files of a publication that are missing or have another size, without reading them."""
    return [problem.path for problem in find_problems(workspace, row, hashed=False, shards_of=shards_of)]


def require_whole(workspace: Workspace, row: Pinned, name: str, shards_of: Shards | None = None) -> None:
    """Hash every file that a publication pins.

    Args:
        workspace: the project on its lake.
        row: the publication.
        name: of it, in the error.
        shards_of: reads a table's version; by default through Delta.

    Raises:
        StorageError: a file is missing or damaged.
    """
    problems = find_problems(workspace, row, hashed=True, shards_of=shards_of)
    if problems:
        shown = "\n".join(f"  {problem}" for problem in problems[:10])
        raise StorageError(
            f"{name} cannot go live: {len(problems)} of its files are missing or damaged.\n{shown}\n"
            "Run `trichord recover`: it finds the newest whole publication, and sets damaged files aside so that "
            "`trichord reindex` makes them again."
        )


def read_candidate(workspace: Workspace) -> tuple[Candidate, Verdict] | None:
    """Return the last candidate and the gate's verdict on it; None if there is none.

    Raises:
        StorageError: it is damaged.
    """
    if not workspace.lake.exists(layout.CANDIDATE):
        return None
    return parse_candidate(workspace.lake.read(layout.CANDIDATE), workspace.lake.uri(layout.CANDIDATE))


def find_candidate(workspace: Workspace) -> tuple[Candidate, Verdict] | None:
    """Return the last candidate as `read_candidate` does; None if it is damaged, which the log reports."""
    try:
        return read_candidate(workspace)
    except StorageError as error:
        log.event("candidate_damaged", detail=_first(error))
        return None


def candidate_bytes(candidate: Candidate, verdict: Verdict) -> bytes:
    """Return the bytes of the stored candidate."""
    stored = {"candidate": candidate.to_dict(), "verdict": verdict.to_dict()}
    return digest.canonical_json(stored | {"check": digest.address(stored)})


def parse_candidate(data: bytes, place: str) -> tuple[Candidate, Verdict]:
    """Parse the bytes of a stored candidate. Raise StorageError where they are damaged."""
    try:
        stored = parse_object(data)
        check = stored.pop("check")
        if check != digest.address(stored):
            raise ValueError("its check does not match")
        return Candidate.from_dict(stored["candidate"]), Verdict.from_dict(stored["verdict"])  # type: ignore[arg-type]
    except (KeyError, TypeError, ValueError) as error:
        raise StorageError(f"{place} is damaged: {error}.\n{REMEDY}.") from error


def _first(error: Exception) -> str:
    return str(error).splitlines()[0]
