"""The members of a tar file and their places, in bounded memory, whatever the archive claims."""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import re
import tarfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, BinaryIO, cast

import pyarrow as pa

from trichord.infra.errors import SourceError
from trichord.infra.lake.storage import Storage, is_remote
from trichord.infra.lake.stores import CHUNK_BYTES, open_source
from trichord.infra.scratch import scratch_folder

MAX_HEADER_BYTES = 1 << 20  # of one extended header
MAX_HEADERS_BYTES = 3 << 20  # of all that precede a member
MAX_EMPTY_READS = 8
MAX_GLOBAL_RECORDS = 100  # every member gets a copy of them; git writes one
_DIGITS = re.compile(rb"\d{200}")  # tarfile looks for a number before each digit of a run
_RECORD = re.compile(rb"([1-9]\d{0,6}) ")
_BLOCK = 512
# what tarfile raises on damaged headers besides its own errors
_PARSE_ERRORS = (tarfile.TarError, OSError, ValueError, LookupError, ArithmeticError, TypeError, RecursionError)


class ArchiveError(Exception):
    """An archive that cannot be read as a whole; the message says why."""


@dataclass(frozen=True, slots=True)
class Member:
    """A file of an archive. `fault` says why it is not read: it is not a regular file."""

    name: str
    offset: int
    size: int
    fault: str = ""


def members(path: str) -> Iterator[Member]:
    """Yield every member but folders, in the archive's order, without its content.

    Raises:
        ArchiveError: the archive is damaged, truncated, or continues after its end mark.
    """
    with open_source(path, buffering=-1) as file:
        guarded = _Guarded(file)
        try:
            with tarfile.TarFile(
                fileobj=cast("IO[bytes]", guarded), encoding="utf-8", errors="surrogateescape", tarinfo=_Info
            ) as archive:
                yield from _walk(archive, guarded)
                end = archive.offset
        except _PARSE_ERRORS as error:
            raise ArchiveError(f"{type(error).__name__}: {error}") from error
        _require_end(file, end)


def _walk(archive: tarfile.TarFile, guarded: _Guarded) -> Iterator[Member]:
    last = -1
    while (info := archive.next()) is not None:
        guarded.left = MAX_HEADERS_BYTES
        if len(archive.pax_headers) > MAX_GLOBAL_RECORDS:
            raise ArchiveError(f"a global header of more than {MAX_GLOBAL_RECORDS} records")
        archive.members.clear()  # type: ignore[attr-defined]  # it would remember every member
        if not last < info.offset_data <= archive.offset or info.size < 0:
            raise ArchiveError(f"{_shown(info.name)} at byte {info.offset_data} points back")
        last = info.offset_data
        if info.isdir():
            continue
        fault = _fault(info)
        if not fault and info.offset_data + info.size > guarded.size:
            raise ArchiveError(f"truncated: {_shown(info.name)} needs {info.size} bytes")
        yield Member(info.name, info.offset_data, info.size, fault)


def _fault(info: tarfile.TarInfo) -> str:
    if info.issym() or info.islnk():
        return f"a link to {_shown(info.linkname)}"
    if info.issparse():
        return "a sparse file"
    return "" if info.isreg() else "a device, a pipe or something else that is not a file"


def _require_end(file: BinaryIO, end: int) -> None:
    """Check that the archive ends here: tarfile takes any damaged header for the end and loses what follows."""
    file.seek(end)
    block = file.read(_BLOCK)
    if not block:
        raise ArchiveError("truncated: it ends without an end mark")
    while block:
        if block.count(0) < len(block):
            raise ArchiveError(f"a damaged header, or another archive, at byte {file.tell() - len(block)}")
        block = file.read(CHUNK_BYTES)


def _shown(name: str) -> str:
    return repr(name.encode("utf-8", "backslashreplace").decode()[:200])


class _Info(tarfile.TarInfo):
    """A member whose extended header is checked before tarfile parses it: with patterns that a hostile one makes slow.

    Its search for a character set reads each run of digits once a digit (CVE-2024-6232), and a record that claims to be
    shorter than its keyword is read again and again.
    """

    def _proc_pax(self, archive: tarfile.TarFile) -> tarfile.TarInfo:
        file = cast("_Guarded", archive.fileobj)
        start = file.tell()
        _check_records(file.read(self.size))
        file.seek(start)
        return cast(tarfile.TarInfo, super()._proc_pax(archive))  # type: ignore[misc]  # typeshed leaves it out


def _check_records(header: bytes) -> None:
    """Raise ArchiveError unless an extended header is records `length keyword=value` + newline, end to end."""
    if _DIGITS.search(header):
        raise ArchiveError("an extended header with 200 digits in a row")
    at = 0
    while (found := _RECORD.match(header, at)) is not None:
        end = at + int(found[1])
        if end <= found.end() or header[end - 1 : end] != b"\n" or header.find(b"=", found.end(), end) < 0:
            raise ArchiveError(f"a record of an extended header that is not {int(found[1])} bytes long")
        at = end


class _Guarded:
    """A file that refuses what only a hostile archive needs: to read backwards, endlessly, or all at once."""

    def __init__(self, file: BinaryIO) -> None:
        self._file, self._empty, self.left = file, 0, MAX_HEADERS_BYTES
        self.size = os.fstat(file.fileno()).st_size

    def read(self, length: int) -> bytes:
        if not 0 <= length <= MAX_HEADER_BYTES:
            raise ArchiveError(f"a header of {length} bytes at byte {self._file.tell()}")
        self.left -= length
        if self.left < 0:
            raise ArchiveError(f"a member with headers of more than {MAX_HEADERS_BYTES} bytes")
        data = self._file.read(length)
        self._empty += not data
        if self._empty > MAX_EMPTY_READS:
            raise ArchiveError("truncated: it ends within a header")
        return data

    def seek(self, offset: int) -> int:
        return self._file.seek(offset)

    def tell(self) -> int:
        return self._file.tell()


@contextmanager
def local_tar(storage: Storage, uri: str, max_unpacked_bytes: int) -> Iterator[str]:
    """Yield a local path of the plain tar: the file itself, or a temporary file that was downloaded or unpacked.

    Raises:
        SourceError: a compressed tar is damaged or larger than `max_unpacked_bytes`.
    """
    with scratch_folder("tar") as folder:
        path = storage.fetch(uri, folder)
        ending = uri.lower().rpartition(".")[2]
        if ending == "tar":
            yield path
            return
        plain = os.path.join(folder, "plain.tar")
        try:
            _unpack(path, plain, max_unpacked_bytes, ending)
        except (EOFError, zlib.error, lzma.LZMAError, ArchiveError, pa.ArrowException) as error:
            raise SourceError(f"{uri}: {error}. Fix or remove the file") from error
        except OSError as error:  # also what gzip, bz2 and pyarrow raise on damage; a disk's errors have a number
            if error.errno is not None:
                raise
            raise SourceError(f"{uri}: {error}. Fix or remove the file") from error
        if is_remote(uri):
            os.unlink(path)
        yield plain


def _open_packed(file: BinaryIO, ending: str) -> IO[bytes]:
    """Open a compressed file by the last part of its name's ending."""
    if ending in ("gz", "tgz"):
        return cast("IO[bytes]", gzip.GzipFile(fileobj=file))
    if ending in ("bz2", "tbz2"):
        return bz2.BZ2File(file)
    if ending in ("xz", "txz"):
        return lzma.LZMAFile(file)
    return cast("IO[bytes]", pa.CompressedInputStream(pa.PythonFile(file, mode="r"), "zstd"))


def _unpack(path: str, plain: str, limit: int, ending: str) -> None:
    with open_source(path) as file, _open_packed(file, ending) as packed, open(plain, "xb") as out:
        while chunk := packed.read(CHUNK_BYTES):
            if out.tell() + len(chunk) > limit:
                raise ArchiveError(f"it unpacks to more than {limit:,} bytes (`max_unpacked_bytes`)")
            out.write(chunk)
