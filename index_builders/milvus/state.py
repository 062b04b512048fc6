"""What a load has done so far, noted in the lake before and after each step: a rerun resumes, and nothing is doubled.

`index/collections/<collection>.json` holds the attempt (a collection that failed a check is dropped and filled again),
the import jobs by the SHA-256 of their file, what the collection was last verified to hold, and what it is being
changed into where it is refreshed in place.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from typing import Self, TypedDict, cast

from trichord.infra import digest
from trichord.infra.json_values import parse_object
from trichord.infra.lake import layout
from trichord.infra.lake.lake import Lake


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """Rows of a collection: digest of the content, and lake-relative path of a manifest of it."""

    content: str
    manifest: str


class _Noted(TypedDict):
    """The note as JSON."""

    attempt: int
    jobs: list[tuple[str, str, bool]]
    held: dict[str, str] | None
    toward: dict[str, str] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadState:
    """How far the filling of a collection got.

    `jobs` are (SHA-256 of the file, id of its import, whether that is complete). `held` is set when the content was
    verified, and stays while a refresh is under way `toward` another one.
    """

    collection: str
    attempt: int = 0
    jobs: tuple[tuple[str, str, bool], ...] = ()
    held: Held | None = None
    toward: Held | None = None

    def job(self, sha256: str) -> tuple[str, bool] | None:
        """Return the import of a file: its id and whether it is complete; None where none was asked for."""
        return next(((job, done) for file, job, done in self.jobs if file == sha256), None)

    def with_job(self, sha256: str, job: str, *, done: bool) -> Self:
        """Return the state with an import noted."""
        others = tuple(known for known in self.jobs if known[0] != sha256)
        return replace(self, jobs=(*others, (sha256, job, done)))

    def holds(self, content: str) -> bool:
        """Return True if the collection was verified to hold this content, and nothing has been changed since."""
        return self.held is not None and self.held.content == content and self.toward is None

    def serves(self, content: str) -> bool:
        """Return True if a reader of this content may search the collection: it holds it, or changes from or to it."""
        return self.held is None or content in {held.content for held in (self.held, self.toward) if held is not None}


def read_state(lake: Lake, collection: str) -> LoadState:
    """Return the noted state; a blank one where nothing was noted, or the note is damaged (then all is done again)."""
    try:
        noted = cast(_Noted, parse_object(lake.read(layout.collection_path(collection))))
        return LoadState(
            collection=collection,
            attempt=noted["attempt"],
            jobs=tuple((str(file), str(job), bool(done)) for file, job, done in noted["jobs"]),
            held=Held(**noted["held"]) if noted["held"] else None,
            toward=Held(**noted["toward"]) if noted["toward"] else None,
        )
    except (FileNotFoundError, KeyError, TypeError, ValueError):
        return LoadState(collection=collection)


def write_state(lake: Lake, state: LoadState) -> LoadState:
    """Note a state durably, and return it."""
    lake.write(layout.collection_path(state.collection), digest.canonical_json(asdict(state)))
    return state


def list_noted_collections(lake: Lake) -> Iterator[tuple[str, int]]:
    """Yield every collection that this lake began to fill and did not drop, with the time of its last note in ns."""
    for stat in lake.list(layout.COLLECTIONS):
        yield stat.uri.rsplit("/", 1)[-1].removesuffix(".json"), stat.mtime_ns


def forget(lake: Lake, collection: str) -> None:
    """Remove the note of a dropped collection."""
    lake.delete(layout.collection_path(collection))
