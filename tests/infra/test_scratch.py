"""Scratch folders: gone when their block ends, and when their process was killed, with the next run."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from trichord.infra.scratch import remove_abandoned, scratch_folder

KILLED = (
    "import os, signal\n"
    "from trichord.infra.scratch import scratch_folder\n"
    "with scratch_folder('train') as folder:\n"
    "    open(os.path.join(folder, 'features'), 'w').close()\n"
    "    os.kill(os.getpid(), signal.SIGKILL)\n"
)


@pytest.fixture
def temporary(tmp_path, monkeypatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def test_a_scratch_folder_ends_with_its_block_whatever_ends_that(temporary):
    with suppress(SystemExit), scratch_folder("train") as folder:
        Path(folder, "features").touch()
        assert Path(folder).parent == temporary
        raise SystemExit
    assert list(temporary.iterdir()) == []


@pytest.fixture
def use_up() -> Iterator[Callable[[], None]]:
    """Takes every descriptor that this process may still open."""
    taken: list[int] = []
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)

    def take() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(map(int, os.listdir("/proc/self/fd"))) + 8, hard))
        with suppress(OSError):
            while True:
                taken.append(os.open(os.devnull, os.O_RDONLY))

    yield take
    for descriptor in taken:
        os.close(descriptor)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_without_descriptors_no_folder_is_left(temporary, use_up, monkeypatch):
    with scratch_folder("train") as folder:
        Path(folder, "features").touch()
        names = [folder]

        def mkdir(path: str, mode: int, make: Callable[[str, int], None] = os.mkdir) -> None:
            names.append(path)
            make(path, mode)

        monkeypatch.setattr(os, "mkdir", mkdir)
        use_up()
        with pytest.raises(OSError, match="Too many open files"), scratch_folder("group"):
            pass
        assert [path for path in names if os.path.exists(path)] == [folder]
    assert not os.path.exists(folder)


def test_what_a_killed_process_left_goes_and_nothing_else(temporary):
    killed = subprocess.run([sys.executable, "-c", KILLED], check=False, env={**os.environ, "TMPDIR": str(temporary)})
    assert killed.returncode == -9
    (left,) = temporary.iterdir()
    users = [temporary / name for name in ("trichord-train", "trichord-my-data.tmp", "trichord-train-0123.tmp")]
    for one in users:
        one.mkdir()
    with scratch_folder("index") as folder:
        assert remove_abandoned() == [str(left)]
        assert sorted(temporary.iterdir()) == sorted([*users, Path(folder)])
