"""The files of an index: content-addressed names, receipts, and the one place that opens them.

FAISS notices none of 300 one-bit flips in a Flat index, so no byte reaches it that was not hashed before.

| file, relative to the lake | what |
|---|---|
| `index/<aa>/<address>.<sha256>.faiss` | the vectors of one index shard |
| `index/<aa>/<address>.<sha256>.annoy` | the forest of one index shard, with its vectors |
| `index/<aa>/<address>.<sha256>.import.parquet` | rows as Milvus imports them |
| `index/<aa>/<address>.<sha256>.keys.parquet` | row number -> key, view, source, row_digest, partition |
| `index/<aa>/<address>.<sha256>.quantiser` | the trained, empty index that all shards start from |
| `index/<aa>/<address>.<sha256>.codes` | the codes of one vector shard's rows, row after row |
| `index/<aa>/<address>.json` | receipt: the files of an address are finished; what a resumed run looks for |
| `index/manifests/<digest>.json` | the manifest; its digest is the SHA-256 of these bytes |
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, BinaryIO

from trichord.infra import digest
from trichord.infra.errors import StorageError
from trichord.infra.json_values import JsonObject, parse_object
from trichord.infra.lake import layout
from trichord.infra.lake.lake import Lake
from trichord.infra.scratch import scratch_folder

REMEDY = "Nothing of it was loaded. Run `trichord recover`."
MAX_RECEIPT_BYTES = 16 * 2**20
_ENDINGS = "|".join(map(re.escape, layout.INDEX_ENDINGS))
_PATH = re.compile(rf"{layout.INDEX}/[0-9a-f]{{2}}/[0-9a-f]{{32}}\.[0-9a-f]{{64}}\.({_ENDINGS})")


@dataclass(frozen=True, slots=True, kw_only=True)
class FileRef:
    """A finished file of the lake: lake-relative path, size and SHA-256.

    Raises:
        ValueError: the path is not one of an index file, or contradicts the hash.
    """

    path: str
    bytes: int
    sha256: str

    def __post_init__(self) -> None:
        if not _PATH.fullmatch(self.path) or self.path.split(".")[1] != self.sha256 or self.bytes < 0:
            raise ValueError(f"not an index file of the lake: {self.path!r} ({self.bytes} bytes, {self.sha256!r})")

    @property
    def address(self) -> str:
        """Address of what the file was made of."""
        return self.path.rsplit("/", 1)[-1].split(".")[0]

    def to_json(self) -> JsonObject:
        """Return the file as a manifest or a receipt states it."""
        return {"path": self.path, "bytes": self.bytes, "sha256": self.sha256}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> FileRef:
        """Parse `to_json`'s value. Raise KeyError, TypeError or ValueError where it is something else."""
        return cls(path=value["path"], bytes=value["bytes"], sha256=value["sha256"])


def put_hashed(
    lake: Lake,
    address: str,
    ending: str,
    fill: Callable[[Callable[[bytes], int]], object],
) -> FileRef:
    """Let `fill` stream a file to disk, hash it on the way, and move it to its content address.

    A file that is there already is replaced: it may be damaged, and a sound one has the same bytes.
    """
    state, size = hashlib.sha256(), 0
    with scratch_folder("index") as folder:
        local = os.path.join(folder, ending)
        with open(local, "xb") as file:

            def write(data: bytes) -> int:
                nonlocal size
                state.update(data)
                size += len(data)
                return file.write(data)

            fill(write)
        path = layout.index_path(address, state.hexdigest(), ending)
        lake.storage.put_file(local, lake.uri(path))
    return FileRef(path=path, bytes=size, sha256=state.hexdigest())


@contextmanager
def open_verified(lake: Lake, ref: FileRef) -> Iterator[BinaryIO]:
    """Open a file after its size and SHA-256 were found to be the stated ones.

    The handle that was hashed is the handle that is read, so a file put in its place meanwhile is not.

    Raises:
        StorageError: the file is missing or is not the stated one.
    """
    uri = lake.uri(ref.path)
    try:
        size = lake.storage.stat(uri).size
    except FileNotFoundError as missing:
        raise StorageError(f"The index file {uri} is missing. {REMEDY}") from missing
    if size != ref.bytes:
        raise StorageError(f"The index file {uri} is damaged: {size} bytes, expected {ref.bytes}. {REMEDY}")
    with (
        scratch_folder("index") as folder,
        open(lake.storage.fetch(uri, folder), "rb") as file,
    ):
        found = hashlib.file_digest(file, "sha256").hexdigest()
        if found != ref.sha256:
            raise StorageError(f"The index file {uri} is damaged: its SHA-256 is {found}. {REMEDY}")
        file.seek(0)
        yield file


def write_receipt(lake: Lake, made: Mapping[str, object]) -> None:
    """State what was made at an address (`made["address"]`). Written last: where it exists, its files do."""
    lake.write(layout.receipt_path(str(made["address"])), receipt_bytes(made))


def receipt_bytes(made: Mapping[str, object]) -> bytes:
    """Return the bytes of the receipt of what was made."""
    return digest.canonical_json({"made": made, "check": digest.address(made)})


def read_receipts(lake: Lake, addresses: Iterable[str]) -> dict[str, JsonObject]:
    """Return the content of the receipts of those addresses that are finished.

    A damaged receipt counts as none, and its shard is made again: building is pure, so nothing can be lost by it.
    """
    found: dict[str, JsonObject] = {}
    for address in addresses:
        try:
            receipt = parse_object(lake.read(layout.receipt_path(address), max_bytes=MAX_RECEIPT_BYTES))
            made = receipt["made"]
            if isinstance(made, dict) and receipt["check"] == digest.address(made) and made["address"] == address:
                found[address] = made
        except (FileNotFoundError, KeyError, TypeError, ValueError):
            continue
    return found


def is_stored(lake: Lake, ref: FileRef) -> bool:
    """Return True if a file of the stated size is there (its bytes are verified when it is opened)."""
    try:
        return lake.storage.stat(lake.uri(ref.path)).size == ref.bytes
    except FileNotFoundError:
        return False
