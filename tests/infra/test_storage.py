"""Storage, the same cases on a local disk and in a bucket of each provider."""

from __future__ import annotations

import copy
import os
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import accumulate
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.conftest import Place
from trichord.infra.config import StorageConfig
from trichord.infra.errors import ConfigError, StorageError
from trichord.infra.lake import storage as storage_module
from trichord.infra.lake import stores
from trichord.infra.lake.storage import LineTooLong, Stat, Storage, TooLarge, VersionCache


@pytest.fixture
def place(any_place: Place) -> Place:
    return any_place


NAMES = ["plain.txt", "with space & #1%20?.jpg", "\u00e4\u732b.wav", "deep/er/.hidden", "deep-er/x"]


def test_what_was_written_is_read_back_under_any_name(place: Place) -> None:
    for number, name in enumerate(NAMES):
        uri = place.storage.join(place.uri, name)
        content = bytes([number]) * 1000
        place.storage.write(uri, b"older")
        place.storage.write(uri, content)
        assert place.storage.read(uri) == content
        assert place.storage.read(uri, max_bytes=1000) == content
        assert place.storage.read_range(uri, 990, 100) == content[:10]
        assert place.storage.exists(uri)
        assert place.storage.stat(uri).size == 1000
        with place.storage.open(uri) as file:
            assert (file.seek(-3, os.SEEK_END), file.read()) == (997, content[:3])
            assert (file.seek(5), file.read(4), file.tell()) == (5, content[:4], 9)


def test_a_listing_is_recursive_sorted_and_exact(place: Place) -> None:
    for name in NAMES:
        place.storage.write(place.storage.join(place.uri, name), name.encode())
    found = list(place.storage.list(place.uri))
    assert [stat.uri for stat in found] == sorted(place.storage.join(place.uri, name) for name in NAMES)
    assert found == [place.storage.stat(stat.uri) for stat in found]
    inside = [stat.uri for stat in place.storage.list(place.storage.join(place.uri, "deep"))]
    assert inside == [place.storage.join(place.uri, "deep/er/.hidden")]
    assert list(place.storage.list(place.storage.join(place.uri, "nothing"))) == []
    assert list(place.storage.list(found[-1].uri)) == []


def test_the_folders_of_a_folder_are_listed_without_what_is_in_them(place: Place) -> None:
    for path in ("b/1", "b/2", "b/deep/3", "b0", "b0x/4", "a-file", "z/5", "ä/6"):
        place.storage.write(place.storage.join(place.uri, path), b"x")
    assert list(place.storage.folders(place.uri)) == ["b", "b0x", "z", "ä"]
    assert list(place.storage.folders(place.storage.join(place.uri, "b"))) == ["deep"]
    assert list(place.storage.folders(place.storage.join(place.uri, "none"))) == []


def test_what_is_not_there_is_a_file_not_found(place: Place) -> None:
    place.storage.write(place.storage.join(place.uri, "file"), b"x")
    for name in ["none", "file/below", "n\0ul", "\ud800", "n" * 5000, "../x" * 2000]:
        uri = place.uri + "/" + name
        for ask in (place.storage.read, place.storage.stat, lambda uri: place.storage.read_range(uri, 0, 1)):
            with pytest.raises(FileNotFoundError):
                ask(uri)
        assert not place.storage.exists(uri)
    place.storage.delete(place.storage.join(place.uri, "none"))


def test_a_folder_is_no_file(place: Place) -> None:
    place.storage.write(place.storage.join(place.uri, "folder/file"), b"x")
    folder = place.storage.join(place.uri, "folder")
    assert not place.storage.exists(folder)
    with pytest.raises((FileNotFoundError, StorageError)):
        place.storage.read(folder)


def test_only_one_of_racing_writers_finds_the_place_empty(place: Place) -> None:
    uri = place.storage.join(place.uri, "once")
    barrier = threading.Barrier(6)

    def write(number: int) -> bool:
        barrier.wait()
        return place.storage.write_if_absent(uri, bytes([number]) * 100)

    with ThreadPoolExecutor(6) as pool:
        won = list(pool.map(write, range(6)))
    assert sum(won) == 1
    assert place.storage.read(uri) == bytes([won.index(True)]) * 100


def test_a_reader_sees_the_old_or_the_new_content_never_a_mix(place: Place) -> None:
    uri = place.storage.join(place.uri, "changing")
    contents = [bytes([number]) * 300_000 for number in range(2)]
    place.storage.write(uri, contents[0])
    done = threading.Event()

    def write() -> None:
        for number in range(20):
            place.storage.write(uri, contents[number % 2])
        done.set()

    with ThreadPoolExecutor(1) as pool:
        writing = pool.submit(write)
        while not done.is_set():
            assert place.storage.read(uri) in contents
        writing.result()


def test_put_file_moves_and_fetch_brings_back(place: Place, tmp_path: Path) -> None:
    source = tmp_path / "made here"
    source.write_bytes(b"finished")
    uri = place.storage.join(place.uri, "a/b")
    place.storage.put_file(str(source), uri)
    assert not source.exists()
    local = place.storage.fetch(uri, str(tmp_path / "cache"))
    assert Path(local).read_bytes() == b"finished"
    assert place.storage.fetch(uri, str(tmp_path / "cache")) == local
    place.storage.delete(uri)
    with pytest.raises(FileNotFoundError):
        place.storage.fetch(uri, str(tmp_path / "cache"))


def test_storage_travels_to_other_processes(place: Place) -> None:
    uri = place.storage.join(place.uri, "x")
    place.storage.write(uri, b"x")
    assert copy.deepcopy(place.storage).read(uri) == b"x"  # by the same way as a pickle


def test_too_large_a_file_is_refused_unread(place: Place) -> None:
    uri = place.storage.join(place.uri, "big")
    place.storage.write(uri, bytes(1001))
    with pytest.raises(TooLarge, match="1,001 bytes, over the limit of 1,000"):
        place.storage.read(uri, max_bytes=1000)


def test_a_sparse_terabyte_is_refused_unread(storage: Storage, tmp_path: Path) -> None:
    with (tmp_path / "huge").open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(TooLarge):
        storage.read(str(tmp_path / "huge"), max_bytes=1 << 20)


def test_a_pipe_among_the_files_is_neither_listed_nor_waited_for(storage: Storage, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "dangling").symlink_to(tmp_path / "nothing")
    (tmp_path / "circle").symlink_to(tmp_path)
    assert list(storage.list(str(tmp_path))) == []
    with pytest.raises(StorageError, match="not a regular file"):
        storage.read(str(tmp_path / "fifo"))


@pytest.mark.parametrize("call", ["os.replace", "os.fsync"])
def test_a_writer_killed_in_the_middle_leaves_the_old_content(storage: Storage, tmp_path: Path, call: str) -> None:
    uri = str(tmp_path / "file")
    storage.write(uri, b"old")
    script = (
        "import os\n"
        "from trichord.infra.config import StorageConfig\nfrom trichord.infra.lake.storage import Storage\n"
        f"{call} = lambda *_: os.kill(os.getpid(), 9)\n"
        f"Storage(StorageConfig()).write({uri!r}, b'new')\n"
    )
    killed = subprocess.run([sys.executable, "-c", script], cwd=Path(__file__).parents[2], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert storage.read(uri) == b"old"
    assert [stat.uri for stat in storage.list(str(tmp_path))] == [uri]
    assert len(list(storage.list(str(tmp_path), temporary=True))) == 1


def test_a_write_that_cannot_be_made_is_a_storage_error_with_its_uri(storage: Storage, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StorageError, match=r"file/below: .*Not a directory"):
        storage.write(str(tmp_path / "file" / "below"), b"x")


def test_a_missing_bucket_is_an_error_and_not_an_empty_place(s3_config: StorageConfig) -> None:
    storage = Storage(s3_config)
    for ask in (storage.read, storage.stat, lambda uri: list(storage.list(uri))):
        with pytest.raises(StorageError):
            ask("s3://no-such-bucket/x")


def test_a_relative_path_is_the_callers_mistake(storage: Storage) -> None:
    with pytest.raises(ValueError, match="absolute"):
        storage.read("here/it/is")


@given(
    pieces=st.lists(st.sampled_from([b"\n", b"\r\n", b"a", b"\r", b"longer than a chunk", b"\xff" * 9]), max_size=40),
    chunk=st.integers(1, 12),
)
def test_lines_are_those_of_the_content_whatever_the_chunks(
    tmp_path_factory: pytest.TempPathFactory, pieces: list[bytes], chunk: int
) -> None:
    content = b"".join(pieces)
    path = tmp_path_factory.mktemp("lines") / "file"
    path.write_bytes(content)
    parts = content.split(b"\n")
    offsets = [0, *accumulate(len(part) + 1 for part in parts)]
    wanted: list[tuple[int, bytes | LineTooLong]] = [
        (offset, LineTooLong(len(part)) if len(part) > 30 else part.removesuffix(b"\r"))
        for offset, part in zip(offsets, parts, strict=False)
    ]
    if not parts[-1]:  # a final newline ends the last line and begins none
        wanted.pop()
    with pytest.MonkeyPatch.context() as small:
        small.setattr(stores, "CHUNK_BYTES", chunk)
        small.setattr(storage_module, "MAX_LINE_BYTES", 30)
        assert list(Storage(StorageConfig()).lines(str(path))) == wanted


def test_lines_of_a_bucket_are_streamed_too(place: Place) -> None:
    uri = place.storage.join(place.uri, "lines")
    place.storage.write(uri, b"".join(b"%d\n" % number for number in range(300_000)))
    numbers = [int(line) for _, line in place.storage.lines(uri) if isinstance(line, bytes)]
    assert numbers == list(range(300_000))


def settled(path: Path, content: bytes, mtime_ns: int = 10**18) -> None:
    """A file that was last written long ago."""
    path.write_bytes(content)
    os.utime(path, ns=(mtime_ns, mtime_ns))


def test_a_version_follows_the_content_and_not_the_place_or_time(storage: Storage, tmp_path: Path) -> None:
    settled(tmp_path / "one", b"same")
    settled(tmp_path / "two", b"same", 2 * 10**18)
    settled(tmp_path / "three", b"other")
    stats = [storage.stat(str(tmp_path / name)) for name in ("one", "two", "three")]
    one, two, three = (storage.version(stat, "auto", None) for stat in stats)
    assert one == two != three
    times = [storage.version(stat, "mtime_size", None) for stat in stats]
    assert times[0] != times[1]
    with pytest.raises(ConfigError, match="etag"):
        storage.version(stats[0], "etag", None)


def test_a_buckets_version_is_its_etag(s3_config: StorageConfig, tmp_path: Path) -> None:
    storage = Storage(s3_config)
    for name, content in (("x", b"1"), ("y", b"1"), ("z", b"2")):
        storage.write(f"s3://lake{tmp_path}/{name}", content)
    versions = [storage.version(stat, "auto", None) for stat in storage.list(f"s3://lake{tmp_path}")]
    assert versions[0] == versions[1] != versions[2]
    assert versions[0].startswith("etag:")
    assert storage.version(storage.stat(f"s3://lake{tmp_path}/x"), "sha256", None).startswith("sha256:6b86b273")


def test_a_hash_is_kept_while_times_and_size_stay(storage: Storage, tmp_path: Path) -> None:
    kept = str(tmp_path / "lake" / "versions.parquet")
    first, other = (Stat(f"/source/{name}", 5, 10**18, None, 10**18) for name in "ab")
    cache = VersionCache.load(storage, kept)
    cache.put(first, "ab" * 32)
    cache.put(other, "cd" * 32)
    cache.save(storage, kept)

    cache = VersionCache.load(storage, kept)
    assert cache.get(first) == "ab" * 32
    assert cache.get(replace(first, mtime_ns=10**18 + 1)) is None
    assert cache.get(replace(first, size=6)) is None
    # `cp -p` and restores keep size and mtime; the change still shows
    assert cache.get(replace(first, ctime_ns=10**18 + 1)) is None
    cache.save(storage, kept)

    cache = VersionCache.load(storage, kept)  # the other was not asked for in the second run
    assert cache.get(other) is None
    assert cache.get(first) is not None


def test_a_file_written_just_now_is_hashed_again(storage: Storage, tmp_path: Path) -> None:
    (tmp_path / "young").write_bytes(b"1")
    stat = storage.stat(str(tmp_path / "young"))
    cache = VersionCache()
    storage.version(stat, "auto", cache)
    assert cache.get(stat) is None


def test_an_unchanged_cache_is_not_written_and_a_damaged_one_is_left_behind(storage: Storage, tmp_path: Path) -> None:
    kept = tmp_path / "versions.parquet"
    stat = Stat("/x", 1, 1, None)
    cache = VersionCache()
    cache.put(stat, "ab" * 32)
    cache.save(storage, str(kept))
    os.utime(kept, ns=(1, 1))
    cache = VersionCache.load(storage, str(kept))
    assert cache.get(stat) == "ab" * 32
    cache.save(storage, str(kept))
    assert kept.stat().st_mtime_ns == 1
    for damage in (b"", b"PAR1", kept.read_bytes()[:-20]):
        kept.write_bytes(damage)
        assert VersionCache.load(storage, str(kept)).get(stat) is None


def test_a_bucket_is_a_name_without_user_and_password(s3_config: StorageConfig) -> None:
    with pytest.raises(FileNotFoundError):  # asked of no server: its error would quote the password
        Storage(s3_config).read("s3://user:pw@lake/x")
