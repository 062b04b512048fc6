"""The layout of a lake: the name of every folder and file, and what may happen to each.

`PLACES` lists every file that trichord writes below the root of a lake. Functions build those paths (all are relative
to the lake), and `kind_of` says what kind a path is of, from which `gc` derives what it may remove.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from functools import cache

from trichord.infra.lake.schema import TABLES
from trichord.infra.lake.stores import TEMPORARY_PREFIX

INDEX, MODELS, ANSWERS = "index", "models", "answers"
FEATURES, DEDUP, EXCLUSIONS = "_features", "_dedup", "_exclusions"  # shards, but of no Delta table
FOOTERS, BASES = "_footers", "_bases"
PLANS, CHECKPOINTS, DOWNLOADS, TRUTH, RECIPES = "_plans", "_checkpoints", "_downloads", "_truth", "_recipes"
RUNS, OUTCOMES, PRESENCE, BACKFILLS = "_runs", "_outcomes", "_at_work", "_backfills"
LOG, COPIES, DAMAGED = "_delta_log", "_commits", "_damaged"
COLLECTIONS = f"{INDEX}/collections"

CANDIDATE = f"{INDEX}/candidate.json"
PLAN_VERSIONS = f"{PLANS}/versions.parquet"
DOWNLOAD_RECEIPTS = f"{DOWNLOADS}/receipts.parquet"
PAIRS = f"{DEDUP}/pairs.parquet"
PROBE = "_doctor"
_LEASE = "lease-"
_LITE = "<name>.db"  # what `milvus.uri` names by default

CODES = "codes"
INDEX_ENDINGS = ("faiss", "annoy", "import.parquet", "keys.parquet", "quantiser", CODES)


_BLANKS = {
    "<aa>": "[0-9a-f]{2}",
    "<address>": "[0-9a-f]{32}",
    "<sha256>": "[0-9a-f]{64}",
    "<version>": "[0-9]{20}",
    "<name>": "[^/]+",
    "<path>": ".+",
}


class Kind(StrEnum):
    """What may happen to a file of the lake."""

    PUBLISHED = "published"  # a publication can pin it; removed when old and named by nothing that is kept
    CACHE = "cache"  # can be made again; removed when old and named by nothing that is kept
    NOTE = "note"  # cannot be made again; `gc` never removes it
    TEMPORARY = "temporary"  # left by a writer that was killed; removed when old


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Files of one sort. `pattern` is a lake-relative path with blanks such as `<address>`."""

    pattern: str
    kind: Kind
    holds: str

    @property
    def folder(self) -> str:
        """The top folder, or the file's name where it is in none."""
        return self.pattern.split("/", 1)[0]

    def matches(self, path: str) -> bool:
        """Return True where the lake-relative path has this pattern."""
        return _expression(self.pattern).fullmatch(path) is not None


@cache
def _expression(pattern: str) -> re.Pattern[str]:
    expression = re.escape(pattern)
    for blank, characters in _BLANKS.items():
        expression = expression.replace(re.escape(blank), characters)
    return re.compile(expression)


def _list_places() -> tuple[Place, ...]:
    rows = [
        *((f"{table}/<aa>/<address>.<sha256>.parquet", Kind.PUBLISHED, f"shard of {table}") for table in TABLES),
        *((f"{table}/{LOG}/<version>.json", Kind.NOTE, f"commit of {table}") for table in TABLES),
        *((f"{table}/{LOG}/<path>", Kind.NOTE, f"checkpoint of {table}'s commits") for table in TABLES),
        *((f"{table}/{COPIES}/<version>.copy", Kind.NOTE, f"copy of a commit of {table}") for table in TABLES),
        *((f"{table}/{COPIES}/<version>.base", Kind.NOTE, f"base of the log of {table}") for table in TABLES),
        *(
            (f"{INDEX}/<aa>/<address>.<sha256>.{ending}", Kind.PUBLISHED, "file of an index shard")
            for ending in INDEX_ENDINGS
            if ending != CODES
        ),
        (f"{INDEX}/<aa>/<address>.<sha256>.{CODES}", Kind.CACHE, "codes that an index shard is merged from"),
        (f"{INDEX}/<aa>/<address>.json", Kind.PUBLISHED, "receipt: the files of this address are finished"),
        (f"{INDEX}/manifests/<sha256>.json", Kind.PUBLISHED, "manifest of an index"),
        (f"{INDEX}/manifests/<sha256>.partitions.json", Kind.PUBLISHED, "records shard of each partition"),
        (f"{INDEX}/manifests/<sha256>.plans.json", Kind.PUBLISHED, "where each partition is planned"),
        (f"{COLLECTIONS}/<name>.json", Kind.NOTE, "how far a Milvus collection is filled"),
        (CANDIDATE, Kind.NOTE, "index that the gate measured last, with its verdict"),
        (f"{MODELS}/<address>/<path>", Kind.PUBLISHED, "file of a trained model"),
        (f"{FEATURES}/<aa>/<address>.<sha256>.parquet", Kind.CACHE, "features of a records shard"),
        (f"{DEDUP}/<aa>/<address>.<sha256>.parquet", Kind.CACHE, "duplicates found in a set of signatures"),
        (f"{EXCLUSIONS}/<aa>/<address>.<sha256>.parquet", Kind.CACHE, "rows that a run leaves out"),
        (f"{FOOTERS}/<name>.parquet", Kind.CACHE, "what the footers of a table's shards say"),
        (f"{BASES}/<name>.parquet", Kind.CACHE, "shard of each partition that the last run made"),
        (PAIRS, Kind.CACHE, "pairs of rows that the last run compared"),
        (PLAN_VERSIONS, Kind.CACHE, "SHA-256 of the source files that were hashed"),
        (f"{PLANS}/last-<name>.parquet", Kind.CACHE, "last plan of a source"),
        (f"{PLANS}/<address>.parquet", Kind.CACHE, "part of a plan, or members of a tar"),
        (f"{CHECKPOINTS}/train-<address>/<path>", Kind.CACHE, "unfinished training"),
        (DOWNLOAD_RECEIPTS, Kind.CACHE, "what is known of each URL"),
        (f"{DOWNLOADS}/<aa>/<sha256>", Kind.CACHE, "downloaded content"),
        (f"{TRUTH}/<address>.parquet", Kind.CACHE, "exact neighbours of sampled queries"),
        (f"{RECIPES}/<address>.json", Kind.NOTE, "recipe that shards were made by"),
        (f"{OUTCOMES}/<sha256>.parquet", Kind.CACHE, "what each held-out record added to a candidate's figures"),
        (f"{OUTCOMES}/<address>.parquet", Kind.CACHE, "held-out records as a model embedded them"),
        (f"{RUNS}/<name>.json", Kind.NOTE, "what a run did and took"),
        (f"{DAMAGED}/<path>", Kind.CACHE, "damaged file that `trichord recover` set aside"),
        (f"{BACKFILLS}/<address>", Kind.TEMPORARY, "a backfill that is not finished"),
        (f"{PRESENCE}/run-<name>", Kind.TEMPORARY, "a run that is at work"),
        (f"{PRESENCE}/gc-<name>", Kind.TEMPORARY, "a `gc` that is removing files"),
        (f"{PRESENCE}/{_LEASE}<version>", Kind.TEMPORARY, "which run may commit"),
        (f"{ANSWERS}/<address>.json", Kind.NOTE, "answer to a question, with its sources"),
        (_LITE, Kind.NOTE, "Milvus Lite's own file"),
        (f"{_LITE}/<path>", Kind.NOTE, "Milvus Lite's own files"),
        (f"{PROBE}/probe-<name>", Kind.TEMPORARY, "probe of `trichord doctor`"),
    ]
    return tuple(Place(pattern=pattern, kind=kind, holds=holds) for pattern, kind, holds in rows)


PLACES = _list_places()
FOLDERS = tuple(dict.fromkeys(place.folder for place in PLACES if "/" in place.pattern and place.folder != _LITE))


def place_of(path: str) -> Place | None:
    """Return the place of a lake-relative path; None where trichord writes no such file."""
    folder = path.split("/", 1)[0]
    return next((place for place in PLACES if place.folder in (folder, _LITE) and place.matches(path)), None)


def kind_of(path: str) -> Kind | None:
    """Return the kind of a lake-relative path; None where it is in none of our folders.

    Files of unknown names in our folders, such as those that another version wrote, count as caches.
    """
    place = place_of(path)
    if place is None and path.split("/", 1)[0] not in FOLDERS:
        return None
    if place is not None and place.kind is Kind.NOTE:
        return Kind.NOTE
    if path.rsplit("/", 1)[-1].startswith(TEMPORARY_PREFIX):
        return Kind.TEMPORARY
    return place.kind if place is not None else Kind.CACHE


def probe_path(name: str) -> str:
    """Return the path of a file that `trichord doctor` writes and removes."""
    return f"{PROBE}/probe-{name}"


def shard_path(table: str, address: str, sha256: str) -> str:
    """Return the path of a shard of a table, of `FEATURES`, `DEDUP` or `EXCLUSIONS`."""
    return f"{shard_folder(table, address)}/{address}.{sha256}.parquet"


def shard_folder(table: str, address: str) -> str:
    """Return the folder of a shard."""
    return f"{table}/{address[:2]}"


def footers_path(table: str) -> str:
    """Return the path of what the footers of a table's shards say."""
    return f"{FOOTERS}/{table.lstrip('_')}.parquet"


def bases_path(table: str, source: str) -> str:
    """Return the path of what the last run made of each partition of a source, in one table."""
    return f"{BASES}/{table.lstrip('_')}-{source}.parquet"


def log_folder(table: str) -> str:
    """Return the folder of a table's Delta log."""
    return f"{table}/{LOG}"


def commit_path(table: str, version: int) -> str:
    """Return the path of one commit of a table."""
    return f"{log_folder(table)}/{version:020d}.json"


def copy_path(table: str, version: int) -> str:
    """Return the path of the copy of a commit, after its SHA-256."""
    return f"{table}/{COPIES}/{version:020d}.copy"


def base_path(table: str, version: int) -> str:
    """Return the path of what a log that was shortened to begin with this version begins with, after its SHA-256."""
    return f"{table}/{COPIES}/{version:020d}.base"


def damaged_path(path: str) -> str:
    """Return where `trichord recover` puts a damaged file."""
    return f"{DAMAGED}/{path}"


def index_path(address: str, sha256: str, ending: str) -> str:
    """Return the path of a file of an index; `ending` is one of `INDEX_ENDINGS`."""
    return f"{INDEX}/{address[:2]}/{address}.{sha256}.{ending}"


def receipt_path(address: str) -> str:
    """Return the path of the receipt that says that the index files of an address are finished."""
    return f"{INDEX}/{address[:2]}/{address}.json"


def manifest_path(digest: str) -> str:
    """Return the path of the index manifest with this digest."""
    return f"{INDEX}/manifests/{digest}.json"


def run_path(run: str) -> str:
    """Return the path of what a run did and took."""
    return f"{RUNS}/{run}.json"


def backfill_path(address: str) -> str:
    """Return the path of the note of a backfill that is not finished."""
    return f"{BACKFILLS}/{address}"


def outcomes_path(sha256: str) -> str:
    """Return the path of what each held-out record added to a candidate's figures, by the file's SHA-256."""
    return f"{OUTCOMES}/{sha256}.parquet"


def held_out_path(address: str) -> str:
    """Return the path of the held-out records as a model embedded them."""
    return f"{OUTCOMES}/{address}.parquet"


def presence_path(name: str) -> str:
    """Return the path of the note of a process that is at work."""
    return f"{PRESENCE}/{name}"


def lease_path(number: int) -> str:
    """Return the path of the lease with this number."""
    return presence_path(f"{_LEASE}{number:020d}")


def lease_number(path: str) -> int | None:
    """Return the number of a lease's path; None for another file."""
    found = path.removeprefix(presence_path(_LEASE))
    return int(found) if found != path and found.isascii() and found.isdigit() else None


def plans_path(manifest: str) -> str:
    """Where each partition of an index is planned, beside its manifest."""
    return manifest.removesuffix(".json") + ".plans.json"


def partitions_path(manifest: str) -> str:
    """Return the path of the note beside a manifest (a path) that names the records shard of each partition."""
    return manifest.removesuffix(".json") + ".partitions.json"


def collection_path(collection: str) -> str:
    """Return the path of the state of a Milvus collection."""
    return f"{COLLECTIONS}/{collection}.json"


def model_path(address: str) -> str:
    """Return the folder of a trained model."""
    return f"{MODELS}/{address}"


def checkpoints_name(address: str) -> str:
    """Return the name of a model's folder of checkpoints, which is in `CHECKPOINTS` where the lake is local."""
    return f"train-{address}"


def plan_path(address: str) -> str:
    """Return the path of a part of a plan, or of the members of a tar."""
    return f"{PLANS}/{address}.parquet"


def last_plan_path(source: str) -> str:
    """Return the path of the last plan of a source."""
    return f"{PLANS}/last-{source}.parquet"


def content_path(sha256: str) -> str:
    """Return the path of a downloaded content."""
    return f"{DOWNLOADS}/{sha256[:2]}/{sha256}"


def truth_path(address: str) -> str:
    """Return the path of the exact neighbours of sampled queries."""
    return f"{TRUTH}/{address}.parquet"


def recipe_path(address: str) -> str:
    """Return the path of a recipe."""
    return f"{RECIPES}/{address}.json"


def answer_path(answer: str) -> str:
    """Return the path of an answer, by its id."""
    return f"{ANSWERS}/{answer}.json"
