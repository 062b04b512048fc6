"""Import files in the folder or bucket that a Milvus server reads, verified on the way there and after the import."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import BinaryIO, Self

from trichord.infra import digest
from trichord.infra.bucket_uri import is_remote, split_remote
from trichord.infra.config import MilvusConfig
from trichord.infra.errors import ConfigError, ServiceError
from trichord.infra.lake.storage import Storage
from trichord.infra.scratch import scratch_folder

CHUNK_BYTES = 1 << 22


class Wrong(ServiceError):
    """The server holds, or was shown, something else than it was given; the collection is of no use."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Staged:
    """The folder of one attempt at one collection: as we write it, and as the server names it."""

    storage: Storage
    folder: str
    named: str

    @classmethod
    def of(cls, storage: Storage, config: MilvusConfig, collection: str, attempt: int) -> Self:
        """Return the folder of an attempt. Raise ConfigError where no folder is shared with the server."""
        if config.bulk_folder is None:
            raise ConfigError(
                f"milvus.bulk is {config.bulk}, but milvus.bulk_folder does not say where the server reads files.\n"
                "Name a folder or bucket that both reach, or set milvus.bulk: insert."
            )
        named = config.bulk_path or config.bulk_folder
        if config.bulk_path is None and is_remote(named):
            named = split_remote(named)[2]
        part = f"{collection}-{attempt}"
        return cls(storage=storage, folder=storage.join(config.bulk_folder, part), named=f"{named.rstrip('/')}/{part}")

    def put(self, source: Callable[[], AbstractContextManager[BinaryIO]], sha256: str) -> str:
        """Copy a verified file there, unless it is there and whole; return the server's name of it."""
        uri = self._uri(sha256)
        if not (self.storage.exists(uri) and digest.sha256_hex(self.storage.chunks(uri)) == sha256):
            with source() as file, scratch_folder("import") as folder:
                local = os.path.join(folder, "file")
                state = hashlib.sha256()
                with open(local, "xb") as copy:
                    while chunk := file.read(CHUNK_BYTES):
                        state.update(chunk)
                        copy.write(chunk)
                if state.hexdigest() != sha256:
                    raise Wrong(f"The import file {sha256[:12]} changed while it was copied. Run it again.")
                os.chmod(local, 0o644)
                self.storage.put_file(local, uri)
        return f"{self.named}/{sha256}.parquet"

    def verify(self, sha256: str) -> None:
        """Raise Wrong unless the file that the server has read is still the one that was put there."""
        try:
            found = digest.sha256_hex(self.storage.chunks(self._uri(sha256)))
        except FileNotFoundError:
            found = "gone"
        if found != sha256:
            raise Wrong(f"{self._uri(sha256)} is {found[:12]}: it changed while Milvus imported it.")

    def remove(self, sha256: str) -> None:
        """Remove an imported file."""
        self.storage.delete(self._uri(sha256))

    def clear(self) -> None:
        """Remove whatever an attempt left."""
        for stat in list(self.storage.list(self.folder)):
            self.storage.delete(stat.uri)

    def _uri(self, sha256: str) -> str:
        return self.storage.join(self.folder, f"{sha256}.parquet")
