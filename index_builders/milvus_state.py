"""What a load has done so far, noted in the lake before and after each step, so that a rerun resumes, nothing doubled.

`index/collections/<collection>.json` holds the attempt (a collection that failed a check is dropped and filled again),
the import jobs by the SHA-256 of their file, and, once everything was verified, the digest of the content.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any, Self

from index_builders.files import FOLDER
from infra import digest
from infra.lake.storage import Storage

STATES = f"{FOLDER}/collections"


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadState:
    """How far the filling of a collection got. `content` is set when it was verified; jobs map a file to its import."""

    collection: str
    attempt: int = 0
    jobs: tuple[tuple[str, str, bool], ...] = ()  # sha256, job id, whether it is complete
    content: str | None = None

    def job(self, sha256: str) -> tuple[str, bool] | None:
        """The import of a file: its id and whether it is complete; None where none was asked for."""
        return next(((job, done) for file, job, done in self.jobs if file == sha256), None)

    def with_job(self, sha256: str, job: str, *, done: bool) -> Self:
        """The state with an import noted."""
        others = tuple(known for known in self.jobs if known[0] != sha256)
        return replace(self, jobs=(*others, (sha256, job, done)))


def state_path(collection: str) -> str:
    """Lake-relative path of a collection's state."""
    return f"{STATES}/{collection}.json"


def read_state(storage: Storage, lake_uri: str, collection: str) -> LoadState:
    """The noted state; a blank one where nothing was noted, or the note is damaged (then all is done again)."""
    try:
        noted: dict[str, Any] = json.loads(storage.read(storage.join(lake_uri, state_path(collection))))
        jobs = tuple((str(file), str(job), bool(done)) for file, job, done in noted["jobs"])
        return LoadState(collection=collection, attempt=noted["attempt"], jobs=jobs, content=noted["content"])
    except (FileNotFoundError, KeyError, TypeError, ValueError):
        return LoadState(collection=collection)


def write_state(storage: Storage, lake_uri: str, state: LoadState) -> LoadState:
    """Note a state durably, and return it."""
    storage.write(storage.join(lake_uri, state_path(state.collection)), digest.canonical_json(asdict(state)))
    return state


def noted_collections(storage: Storage, lake_uri: str) -> Iterator[tuple[str, int]]:
    """Every collection that this lake ever began to fill and has not dropped, with the time of its last note in ns."""
    for stat in storage.list(storage.join(lake_uri, STATES)):
        yield stat.uri.rsplit("/", 1)[-1].removesuffix(".json"), stat.mtime_ns


def forget(storage: Storage, lake_uri: str, collection: str) -> None:
    """Remove the note of a dropped collection."""
    storage.delete(storage.join(lake_uri, state_path(collection)))
