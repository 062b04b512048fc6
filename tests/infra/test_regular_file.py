"""A file that a user names is read at once or refused at once: nothing hangs, and nothing is read without end."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from trichord.infra.lake.stores import NotRegular, open_source
from trichord.infra.regular_file import NotAFileError, open_regular, read_regular


def test_a_pipe_and_a_folder_are_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(pipe := tmp_path / "pipe")
    for path, number in ((pipe, errno.EINVAL), (tmp_path, errno.EISDIR)):
        with pytest.raises(NotAFileError) as refused:
            open_regular(path)
        assert (refused.value.errno, refused.value.filename) == (number, str(path))
        with pytest.raises(NotRegular, match="not a regular file"):
            open_source(str(path))


def test_a_file_and_a_link_to_it_are_read_up_to_the_limit(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"12345")
    (tmp_path / "link").symlink_to("file")
    for name in ("file", "link"):
        assert read_regular(tmp_path / name, 5) == b"12345"
        with pytest.raises(OSError, match="more than the 4 bytes"):
            read_regular(tmp_path / name, 4)
        with open_source(str(tmp_path / name)) as raw, open_regular(tmp_path / name) as buffered:
            assert raw.read() == buffered.read() == b"12345"


def test_a_name_that_no_file_can_have_is_a_missing_file() -> None:
    for read in (open_regular, open_source):
        with pytest.raises(FileNotFoundError):
            read("a\0b")
