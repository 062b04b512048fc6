"""What the operating system refuses is a StorageError whose advice fits, whichever library reports it."""

from __future__ import annotations

import errno
import os
import sqlite3

import pyarrow as pa
import pytest

from trichord.infra.engines.failure import Failure
from trichord.infra.errors import ConfigError, StorageError
from trichord.infra.lake import shard
from trichord.infra.lake.lake import Lake
from trichord.infra.lake.shard import ShardWriter
from trichord.infra.lake.storage import Storage
from trichord.infra.lake.stores import LocalStore
from trichord.infra.system_errors import as_storage_error

SCHEMA = pa.schema([("n", pa.int64())])


@pytest.mark.parametrize(
    ("error", "advice"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "The disk is full"),
        (OSError(errno.EDQUOT, "Disk quota exceeded"), "quota"),
        (OSError(errno.EMFILE, "Too many open files"), "ulimit -n"),
        (OSError(errno.EROFS, "Read-only file system"), "Mount it for writing"),
        (PermissionError(errno.EACCES, "Permission denied"), "permission"),
        (RuntimeError("Error while serializing: IoError: No space left on device (os error 28)"), "The disk is full"),
        (RuntimeError('Failed to create a runtime: Os { code: 24, message: "Too many open files" }'), "ulimit -n"),
        (sqlite3.OperationalError("database or disk is full"), "The disk is full"),
    ],
)
def test_advice_fits_what_was_refused_here_and_in_a_worker(error, advice):
    known = as_storage_error(error, "/lake/x")
    assert isinstance(known, StorageError)
    assert str(known).startswith("/lake/x: ")
    assert advice in str(known)
    raised = Failure.of(error).error("otherwise")
    assert type(raised) is StorageError
    assert advice in str(raised)


@pytest.mark.parametrize(
    "error", [ValueError("x"), OSError("x"), ConfigError("(os error 28)"), FileNotFoundError(2, "x")]
)
def test_other_errors_are_none_of_the_systems(error):
    assert as_storage_error(error) is None


def write_shard(lake: Lake) -> None:
    with ShardWriter(lake, "records", "0" * 32, SCHEMA) as writer:
        writer.write(pa.table({"n": [1]}, schema=SCHEMA))
        writer.finish({})


@pytest.mark.parametrize("at", ["open_writer", "put_file"])
def test_a_shard_that_finds_no_room_leaves_nothing(storage: Storage, tmp_path, monkeypatch, at):
    def refuse(*arguments: object) -> object:
        path = str(arguments[0 if at == "open_writer" else 1])
        assert os.path.isdir(os.path.dirname(path))
        open(path, "ab").close()  # what the file system had room for
        raise OSError(errno.ENOSPC, "No space left on device", path)

    monkeypatch.setattr(*((shard, at) if at == "open_writer" else (LocalStore, at)), refuse)
    with pytest.raises(StorageError, match="The disk is full"):
        write_shard(Lake(storage, str(tmp_path)))
    assert not list(tmp_path.rglob(".tmp-*"))
