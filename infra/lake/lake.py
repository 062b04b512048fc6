"""Lake: a folder of a disk or a bucket, and the storage that reaches it, as one value."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from trichord.infra.errors import StorageError
from trichord.infra.lake.storage import Stat, Storage, is_remote


@dataclass(frozen=True, slots=True)
class Lake:
    """Where all that a project makes is kept. Paths given to its methods are relative to `root`.

    Attributes:
        storage: reads and writes by URI, of sources too.
        root: URI of the lake: an absolute path or `s3://bucket/prefix`.
    """

    storage: Storage
    root: str

    @property
    def remote(self) -> bool:
        """Return True where the lake is in a bucket."""
        return is_remote(self.root)

    def uri(self, *parts: str) -> str:
        """Return the URI of a place in the lake.

        Raises:
            StorageError: a part, which may come from a file of the lake, leads out of it.
        """
        for part in parts:
            if ".." in part and ".." in part.split("/"):
                raise StorageError(f"{part[:200]!r} is not a place in the lake {self.root}. Run `trichord recover`")
        return self.storage.join(self.root, *parts)

    def read(self, *parts: str, max_bytes: int | None = None) -> bytes:
        """Return the content of a file. Raise as `Storage.read`."""
        return self.storage.read(self.uri(*parts), max_bytes=max_bytes)

    def write(self, path: str, data: bytes) -> None:
        """Write a file durably, replacing what was there; readers see old or new, never between."""
        self.storage.write(self.uri(path), data)

    def write_if_absent(self, path: str, data: bytes) -> bool:
        """Write a file unless there is one. See `Storage.write_if_absent`."""
        return self.storage.write_if_absent(self.uri(path), data)

    def exists(self, *parts: str) -> bool:
        """Return True where there is such a file (a folder is not)."""
        return self.storage.exists(self.uri(*parts))

    def delete(self, *parts: str) -> None:
        """Remove a file; nothing happens when there is none."""
        self.storage.delete(self.uri(*parts))

    def list(self, *parts: str, temporary: bool = False) -> Iterator[Stat]:
        """Return every file below a folder of the lake. See `Storage.list`."""
        return self.storage.list(self.uri(*parts), temporary=temporary)

    def relative(self, uri: str) -> str:
        """Return the lake-relative path of a URI in the lake."""
        return uri.removeprefix(self.root.rstrip("/") + "/")
