"""The index manifest: which files an index is made of, each with its SHA-256."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from trichord.index_builders.hashed_files import REMEDY, FileRef, is_stored, read_receipts, receipt_bytes
from trichord.index_builders.measured import Measured
from trichord.infra import digest
from trichord.infra.errors import StorageError
from trichord.infra.json_values import JsonObject, parse_object
from trichord.infra.lake import layout
from trichord.infra.lake.lake import Lake
from trichord.infra.lake.pinned_file import PinnedFile

FORMAT = 3
MAX_MANIFEST_BYTES = 256 * 2**20
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexShard:
    """One finished index shard. `counts` holds rows by 'view:<view>' and by 'source:<source>'."""

    address: str
    index: FileRef
    keys: FileRef
    rows: int
    inputs: tuple[str, ...]
    counts: Mapping[str, int]
    blocks: tuple[FileRef, ...] = ()  # the cached codes it was merged from; no search needs them

    def to_json(self) -> JsonObject:
        """Return the shard as a manifest states it."""
        return {
            "address": self.address,
            **self.index.to_json(),
            "keys_path": self.keys.path,
            "keys_bytes": self.keys.bytes,
            "keys_sha256": self.keys.sha256,
            "rows": self.rows,
            "inputs": list(self.inputs),
            "counts": dict(self.counts),
            "blocks": [block.to_json() for block in self.blocks],
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> IndexShard:
        """Read `to_json`'s value. Raise KeyError, TypeError or ValueError where it is something else."""
        return cls(
            address=value["address"],
            index=FileRef.from_json(value),
            keys=FileRef(path=value["keys_path"], bytes=value["keys_bytes"], sha256=value["keys_sha256"]),
            rows=value["rows"],
            inputs=tuple(value["inputs"]),
            counts=dict(value["counts"]),
            blocks=tuple(FileRef.from_json(block) for block in value["blocks"]),
        )


def find_finished_shards(lake: Lake, wanted: Iterable[str]) -> dict[str, IndexShard]:
    """Return those of the wanted addresses whose receipt and files exist."""
    receipts = read_receipts(lake, wanted)
    shards = {address: IndexShard.from_json(made) for address, made in receipts.items()}
    return {
        address: shard
        for address, shard in shards.items()
        if is_stored(lake, shard.index) and is_stored(lake, shard.keys)
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantiser:
    """The trained, empty index that every shard starts from. `error` is how far its codes are from the sample."""

    address: str
    file: FileRef
    error: float = 0.0

    def to_json(self) -> JsonObject:
        """Return the quantiser as a manifest states it."""
        return {
            "address": self.address,
            **self.file.to_json(),
            "error": self.error,
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Quantiser:
        """Read `to_json`'s value. Raise KeyError, TypeError or ValueError where it is something else."""
        return cls(address=value["address"], file=FileRef.from_json(value), error=value["error"])


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexManifest:
    """One whole index. Equal for equal vectors: it knows no lake path, worker count, date or order of shards."""

    kind: str
    params: Mapping[str, Any]
    dimension: int
    fingerprint: str
    views: tuple[str, ...]
    shards: tuple[IndexShard, ...]
    quantiser: Quantiser | None = None
    search: Mapping[str, Mapping[str, int]] = field(default_factory=dict)  # by view, and `all` for any view
    metadata: tuple[str, ...] = ()  # fields of the records' metadata that rows can be chosen by
    metric: str = "ip"
    missed: tuple[Mapping[str, Any], ...] = ()  # kinds that were built first: kind, params, and the recall they reached
    measured: Measured | None = None  # what a sample of the vectors showed, by which the kind was chosen
    also: tuple[str, ...] = ()  # lake-relative paths of the manifests of the publication's other backends

    def __post_init__(self) -> None:
        object.__setattr__(self, "shards", tuple(sorted(self.shards, key=lambda shard: shard.address)))
        object.__setattr__(self, "views", tuple(sorted(self.views)))
        repeated = [a for a, n in Counter(shard.address for shard in self.shards).items() if n > 1]
        if repeated:
            raise ValueError(f"shard {repeated[0]} is in the manifest twice")

    @property
    def rows(self) -> int:
        """Vectors in the index."""
        return sum(shard.rows for shard in self.shards)

    @property
    def counts(self) -> dict[str, int]:
        """Vectors by view and by source, over all shards."""
        total: Counter[str] = Counter()
        for shard in self.shards:
            total.update(shard.counts)
        return dict(sorted(total.items()))

    def to_bytes(self) -> bytes:
        """Return the canonical JSON whose SHA-256 is the manifest's digest."""
        return digest.canonical_json(
            {
                "format": FORMAT,
                "kind": self.kind,
                "params": dict(self.params),
                "dimension": self.dimension,
                "metric": self.metric,
                "fingerprint": self.fingerprint,
                "views": list(self.views),
                "shards": [shard.to_json() for shard in self.shards],
                "quantiser": self.quantiser.to_json() if self.quantiser else None,
                "search": {view: dict(settings) for view, settings in self.search.items()},
                "rows": self.rows,
                "counts": self.counts,
                **({"metadata": list(self.metadata)} if self.metadata else {}),
                **({"missed": [dict(one) for one in self.missed]} if self.missed else {}),
                **({"measured": self.measured.to_json()} if self.measured else {}),
                **({"also": list(self.also)} if self.also else {}),
            }
        )

    @property
    def digest(self) -> str:
        """SHA-256 of the manifest, 64 hex characters."""
        return digest.sha256_hex(self.to_bytes())

    @property
    def path(self) -> str:
        """Lake-relative path of the manifest."""
        return layout.manifest_path(self.digest)

    def files(self) -> list[PinnedFile]:
        """Return every file that the index needs or a night reuses: what `gc` keeps."""
        shards = [ref for shard in self.shards for ref in (shard.index, shard.keys)]
        trained = [self.quantiser.file] if self.quantiser else []
        made = [shard.to_json() for shard in self.shards] + ([self.quantiser.to_json()] if self.quantiser else [])
        blocks = [block for shard in self.shards for block in shard.blocks]
        cached = [
            *map(_pinned, blocks),
            *(_receipt({"address": block.address, **block.to_json()}) for block in blocks),
        ]
        return [
            replace(PinnedFile.of_content(self.path, self.to_bytes()), searched=True),
            *(replace(_pinned(ref), searched=True) for ref in shards),
            *map(_pinned, trained),
            *map(_receipt, made),
            *(replace(file, cached=True) for file in cached),
        ]


def _pinned(ref: FileRef) -> PinnedFile:
    return PinnedFile(path=ref.path, size=ref.bytes, sha256=ref.sha256)


def _receipt(made: JsonObject) -> PinnedFile:
    return PinnedFile.of_content(layout.receipt_path(str(made["address"])), receipt_bytes(made))


def write_manifest(lake: Lake, manifest: IndexManifest) -> str:
    """Write a manifest under its digest and return its lake-relative path."""
    lake.write(manifest.path, manifest.to_bytes())
    return manifest.path


def read_manifest(lake: Lake, path: str, manifest_digest: str | None = None) -> IndexManifest:
    """Read a manifest after verifying it against the digest that its name (or the publication) states.

    Raises:
        StorageError: it is missing, damaged, too large, of another version, or not the one that was asked for.
    """
    uri = lake.uri(path)
    stated = path.rsplit("/", 1)[-1].removesuffix(".json")
    if manifest_digest not in (None, stated) or not _SHA256.fullmatch(stated) or path != layout.manifest_path(stated):
        raise StorageError(f"{path!r} is not the index manifest {manifest_digest}. Run `trichord recover`.")
    try:
        data = lake.storage.read(uri, max_bytes=MAX_MANIFEST_BYTES)
    except FileNotFoundError as missing:
        raise StorageError(f"The index manifest {uri} is missing. {REMEDY}") from missing
    found = digest.sha256_hex(data)
    if found != stated:
        raise StorageError(f"The index manifest {uri} is damaged: its SHA-256 is {found}. {REMEDY}")
    try:
        return _parsed(parse_object(data))
    except (KeyError, TypeError, ValueError) as wrong:
        raise StorageError(
            f"The index manifest {uri} was written by another version of trichord ({wrong!r}). {REMEDY}"
        ) from wrong


def read_manifests(lake: Lake, path: str, manifest_digest: str | None = None) -> tuple[IndexManifest, ...]:
    """Return the manifests of all backends of a publication, the pinned one first. Raise as `read_manifest`."""
    first = read_manifest(lake, path, manifest_digest)
    return (first, *(read_manifest(lake, other) for other in first.also))


def _parsed(value: Mapping[str, Any]) -> IndexManifest:
    if value["format"] != FORMAT:
        raise ValueError(f"format {value['format']}, expected {FORMAT}")
    return IndexManifest(
        kind=value["kind"],
        params=value["params"],
        dimension=value["dimension"],
        metric=value["metric"],
        fingerprint=value["fingerprint"],
        views=tuple(value["views"]),
        shards=tuple(IndexShard.from_json(shard) for shard in value["shards"]),
        quantiser=Quantiser.from_json(value["quantiser"]) if value["quantiser"] else None,
        search={view: dict(settings) for view, settings in value["search"].items()},
        metadata=tuple(value.get("metadata", ())),
        missed=tuple(dict(one) for one in value.get("missed", ())),
        measured=Measured.from_json(value["measured"]) if "measured" in value else None,
        also=tuple(value.get("also", ())),
    )
