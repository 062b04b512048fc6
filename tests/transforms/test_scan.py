"""Planning on workers: however a manifest is cut, and wherever its portions are scanned, the plan is the same."""

from __future__ import annotations

import json
import os
import random
from collections.abc import Callable, Iterable, Iterator
from copy import deepcopy
from dataclasses import fields
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeVar

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.transforms.bucket_media import of_media, put, requests
from trichord.infra.config import EngineConfig, FolderSource, ManifestSource, StorageConfig
from trichord.infra.engines import open_engine
from trichord.infra.errors import SourceError
from trichord.infra.lake import layout, versions
from trichord.infra.lake.lake import Lake
from trichord.infra.lake.storage import Changed, Storage, VersionCache
from trichord.pipelines.core.workspace import run_all
from trichord.transforms.collect import Plan, plan_source, scan
from trichord.transforms.collect.drafts import Draft
from trichord.transforms.collect.manifest import Portion, portions_of, read_manifest
from trichord.transforms.collect.tally import Tally
from trichord.transforms.collect.workers import Workers

STORAGE = Storage(StorageConfig())
FILES, LEAST_BYTES = 12, 1_000
I = TypeVar("I")  # noqa: E741
R = TypeVar("R")


@pytest.fixture(autouse=True)
def _small_spans(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scan, "PORTION_BYTES", 1_000)
    monkeypatch.setattr(scan, "_HELD", 1)  # the driver leaves the rest to the workers
    monkeypatch.setattr(versions, "SETTLED_NS", 0)  # files that were just written are remembered


def backwards(task: Callable[[I], R], items: Iterable[I]) -> Iterator[R]:
    """Two workers of this process, each with its own copy of the task, and results in another order than the items."""
    copies: list[Callable[[I], R]] = [deepcopy(task) for _ in range(2)]
    for number, item in enumerate(reversed(list(items))):
        yield copies[number % 2](item)


def portions(source: ManifestSource) -> list[Portion]:
    return list(portions_of(source, STORAGE, STORAGE.stat(source.path).size, scan.PORTION_BYTES))


def processes(task: Callable[[I], R], items: Iterable[I]) -> Iterator[R]:
    with open_engine(EngineConfig(workers=2)) as engine:
        yield from run_all(engine, task, items, "failed", actors=True)


def lines(seed: int, rows: int) -> list[bytes]:
    """Rows with media that are there, missing, or on the web; lines that are no rows, blank ones, and a long one."""
    draw = random.Random(seed)
    found: list[bytes] = []
    for i in range(rows):
        row: dict[str, Any] = {
            "id": f"k{i}",
            "text": f"wörter {draw.random()}",
            "split": draw.choice(["train", "test"]),
        }
        match draw.randrange(8):
            case 0 | 1:
                row["image"] = f"{draw.randrange(FILES)}.jpg"
            case 2:
                row["image"] = "missing.jpg"
            case 3:
                row["captions"] = ["one", "two"]
            case 4:
                row["id"] = "" if draw.random() < 0.5 else f"k{draw.randrange(rows)}"
            case 5:
                row |= {"more": {"inner": i}, f"column {draw.randrange(5)}": i}
        line = json.dumps(row, ensure_ascii=False).encode()
        found.append(draw.choice([line, line, line, line + b"\r", b"{broken" + line[:20], b"", b"[1]", b"\xff"]))
    found.insert(rows // 2, b'{"id": "long", "text": "' + b"x" * 3_000 + b'"}')
    return found


def write(folder: Path, seed: int = 0, rows: int = 120, end: bytes = b"\n") -> ManifestSource:
    folder.mkdir(exist_ok=True)
    for i in range(FILES):
        (folder / f"{i}.jpg").write_bytes(b"picture %d" % i)
        os.utime(folder / f"{i}.jpg", (1_600_000_000, 1_600_000_000))
    (folder / "rows.jsonl").write_bytes(b"\n".join(lines(seed, rows)) + end)
    return ManifestSource(kind="manifest", name="s", path=str(folder / "rows.jsonl"))


def planned(
    source: ManifestSource | FolderSource, lake: Lake, workers: Any, **more: Any
) -> tuple[Plan, dict[str, bytes]]:
    """The plan, and the bytes of its parts and of the kept versions."""
    uri = lake.uri(layout.PLAN_VERSIONS)
    cache = VersionCache.load(STORAGE, uri)
    pool = None if workers is None else Workers(run=workers, least_bytes=LEAST_BYTES)
    plan = plan_source(source, lake, rows_per_partition=8, cache=cache, workers=pool, **more)
    cache.save(STORAGE, uri)
    return plan, {path.name: path.read_bytes() for path in sorted(Path(lake.root).rglob("*")) if path.is_file()}


@settings(max_examples=6, deadline=None)
@given(seed=st.integers(0, 10_000), rows=st.integers(1, 150), end=st.sampled_from([b"", b"\n", b"\n\n"]))
def test_a_plan_made_in_portions_is_the_plan_made_in_one_go(
    tmp_path_factory: pytest.TempPathFactory, seed: int, rows: int, end: bytes
) -> None:
    folder = tmp_path_factory.mktemp("portions")
    source = write(folder / "data", seed, rows, end)
    alone, divided = (Lake(STORAGE, str(folder / name)) for name in ("alone", "divided"))
    for _ in range(2):  # and again, with the versions that the first time kept
        assert planned(source, divided, backwards) == planned(source, alone, None)
    kept = VersionCache.load(STORAGE, divided.uri(layout.PLAN_VERSIONS))
    assert (kept.get(STORAGE.stat(f"{folder}/data/1.jpg")) is not None) == (
        b'"1.jpg"' in Path(source.path).read_bytes()
    )
    assert len(portions(source)) >= 3  # the long line alone is as long as that


def table_of(seed: int, rows: int) -> bytes:
    """A table whose cells hold lines, quotes and what is not CSV, in rows that are good, blank, too short or broken."""
    draw = random.Random(seed)
    made = ["", '"broken"x', "id,text,image,split"] if draw.random() < 0.3 else ["\ufeffid,text,image,split"]
    texts = ["plain", '"two\nlines"', '"a ""quoted"" word"', 'a 5" disk', '"1,2"', "", '"\n\n,\n"', "x\ry"]
    for i in range(rows):
        image = draw.choice(["", f"{draw.randrange(FILES)}.jpg", "missing.jpg"])
        good = f"k{i},{draw.choice(texts)},{image},{draw.choice(['train', 'test'])}"
        made.append(draw.choice([good] * 6 + ["", f"k{i},short", f'k{i},"bad" quote,,', "\udcff,b,c,d", f"{good}\r"]))
    if draw.random() < 0.3:
        made.append('k,"never closed,,\n\nto the end')
    return "\n".join(made).encode(errors="surrogateescape") + draw.choice([b"", b"\n"])


@settings(max_examples=6, deadline=None)
@given(seed=st.integers(0, 10_000), rows=st.integers(30, 150), name=st.sampled_from(["rows.csv", "rows.tsv"]))
def test_a_table_planned_in_portions_is_that_planned_in_one_go(
    tmp_path_factory: pytest.TempPathFactory, seed: int, rows: int, name: str
) -> None:
    folder = tmp_path_factory.mktemp("tables")
    write(folder / "data", rows=1)
    data = table_of(seed, rows)
    path = folder / "data" / name
    path.write_bytes(data.replace(b",", b"\t") if name.endswith("tsv") else data)
    source = ManifestSource(kind="manifest", name="s", path=str(path))
    alone, divided = (Lake(STORAGE, str(folder / kind)) for kind in ("alone", "divided"))
    assert planned(source, divided, backwards) == planned(source, alone, None)
    whole, sum_of = Tally(source), Tally(source)
    drafts = list(read_manifest(source, STORAGE, whole))
    found = list[Draft]()
    for portion in portions(source):
        part = Tally(source)
        found += read_manifest(source, STORAGE, part, portion)
        sum_of.add(part)
    assert found == drafts
    assert {one.name: getattr(sum_of, one.name) for one in fields(Tally)} == {
        one.name: getattr(whole, one.name) for one in fields(Tally)
    }
    assert len(portions(source)) >= 2 or len(data) < 2_000


def tree(folder: Path, seed: int) -> FolderSource:
    """A folder of texts and pictures, deep and loose, hidden and unknown ones among them."""
    draw = random.Random(seed)
    top = draw.choice([["train", "test"], ["a", "b b", "c", ".hidden", "b"], ["only"], []])
    for i in range(draw.choice([1, 40, 90])):
        parts = [draw.choice(top)] if top and draw.random() < 0.9 else []
        parts += [draw.choice(["x", "y", "x.txt"]) for _ in range(draw.randrange(3))]
        path = folder.joinpath(*parts, draw.choice([f"{i}.txt", f"{i}.jpg", f"{i // 2}.wav", f".{i}.txt", f"{i}.doc"]))
        if not any(parent.is_file() for parent in path.parents):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"content %d" % i)
            os.utime(path, (1_600_000_000, 1_600_000_000))
    return FolderSource(kind="folder", name="s", path=str(folder))


@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 10_000), alone_first=st.booleans())
@example(seed=73, alone_first=False)  # no file that is read
def test_a_folder_planned_in_portions_is_that_planned_in_one_go(
    tmp_path_factory: pytest.TempPathFactory, seed: int, alone_first: bool
) -> None:
    folder = tmp_path_factory.mktemp("trees")
    (folder / "data").mkdir()
    source = tree(folder / "data", seed)
    lakes = [Lake(STORAGE, str(folder / kind)) for kind in ("alone", "divided")]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tests.transforms.test_scan.LEAST_BYTES", 2_000 if alone_first else 0)  # four rows
        patch.setattr("trichord.transforms.collect.folder._PORTIONS", 3)
        for _ in range(2):
            alone, divided = (
                outcome(source, lake, workers) for lake, workers in zip(lakes, (None, backwards), strict=True)
            )
            assert divided == alone


@pytest.mark.parametrize("seed", range(6))
def test_a_bucket_planned_in_portions_is_that_planned_in_one_go(
    tmp_path: Path, s3_config: StorageConfig, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    (tmp_path / "data").mkdir()
    tree(tmp_path / "data", seed)
    paths = [path.relative_to(tmp_path / "data").as_posix() for path in (tmp_path / "data").rglob("*")]
    files = [path for path in paths if (tmp_path / "data" / path).is_file()]
    put(f"s3://lake{tmp_path}/data", files)
    put(f"s3://lake{tmp_path}/data", [f"{path}/" for path in paths if path not in files][seed % 2 :: 2], b"")
    source = FolderSource(kind="folder", name="s", path=f"s3://lake{tmp_path}/data")
    lakes = [Lake(Storage(s3_config), str(tmp_path / kind)) for kind in ("alone", "divided")]
    monkeypatch.setattr("tests.transforms.test_scan.LEAST_BYTES", 0 if seed % 2 else 2_000)
    monkeypatch.setattr("trichord.infra.lake.bucket.PAGE", (3, 7, 1_000)[seed % 3])
    alone, divided = (outcome(source, lake, workers) for lake, workers in zip(lakes, (None, backwards), strict=True))
    assert divided == alone


def test_a_manifest_in_a_bucket_is_scanned_on_workers_and_its_media_are_listed_once(
    tmp_path: Path, s3_config: StorageConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage, place = Storage(s3_config), f"s3://lake{tmp_path}/data"
    put(place, [f"images/{i:03}.jpg" for i in range(0, 120, 2)])
    rows = [{"id": f"k{i}", "text": f"text {i}", "image": f"images/{i:03}.jpg"} for i in range(120)]
    text_only = [{"id": f"t{i}", "text": f"text {i}"} for i in range(40)]
    storage.write(f"{place}/m.jsonl", "\n".join(map(json.dumps, rows + text_only)).encode())
    source = ManifestSource(kind="manifest", name="s", path=f"{place}/m.jsonl")
    alone, divided = (Lake(storage, str(tmp_path / kind)) for kind in ("alone", "divided"))
    with requests(monkeypatch) as found:
        plan = planned(source, divided, backwards)
    assert 1 <= len(of_media(found)) <= 10  # one, or a few where the driver took a portion from the middle
    assert plan == planned(source, alone, None)


def outcome(source: FolderSource, lake: Lake, workers: Any) -> object:
    try:
        return planned(source, lake, workers)
    except SourceError as error:
        return str(error)


def test_a_small_folder_starts_no_workers(tmp_path: Path) -> None:
    def nobody(task: Callable[[I], R], items: Iterable[I]) -> Iterator[R]:
        raise AssertionError("workers were asked")

    source = tree(tmp_path / "data", 0)
    workers = Workers(run=nobody)
    plan = plan_source(source, Lake(STORAGE, str(tmp_path / "lake")), rows_per_partition=8, cache=None, workers=workers)
    assert plan.rows > 0


def test_worker_processes_make_the_same_plan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    monkeypatch.setattr(scan, "PORTION_BYTES", 3_000)
    source = write(tmp_path / "data")
    alone, divided = (Lake(STORAGE, str(tmp_path / name)) for name in ("alone", "divided"))
    found = [planned(source, lake, workers) for lake, workers in ((divided, processes), (alone, None))]
    for _, files in found:  # which versions are kept depends on how old the pictures were when they were hashed
        files.pop(Path(layout.PLAN_VERSIONS).name, None)
    assert found[0] == found[1]


@settings(max_examples=20, deadline=None)
@given(cuts=st.lists(st.integers(0, 9_000), max_size=6))
def test_each_line_is_read_in_one_portion(tmp_path_factory: pytest.TempPathFactory, cuts: list[int]) -> None:
    source = write(tmp_path_factory.getbasetemp() / "lines", rows=60)
    size = STORAGE.stat(source.path).size
    edges = [0, *sorted({min(cut, size) for cut in cuts} - {0}), size]
    parts = [list(STORAGE.lines(source.path, *span)) for span in pairwise(edges)]
    assert [line for part in parts for line in part] == list(STORAGE.lines(source.path))
    found = [Portion(start=start, stop=stop) for start, stop in pairwise(edges)]
    drafts = [draft for portion in found for draft in read_manifest(source, STORAGE, None, portion)]
    assert drafts == list(read_manifest(source, STORAGE))


def test_news_for_a_cache_whose_file_was_replaced_meanwhile_drop_nothing(tmp_path: Path) -> None:
    write(tmp_path)
    pictures = [STORAGE.stat(str(tmp_path / f"{i}.jpg")) for i in range(3)]
    uri, small = str(tmp_path / "versions"), VersionCache()
    small.put(pictures[0], "0" * 64)
    small.save(STORAGE, uri)
    worker = VersionCache.load(STORAGE, uri)
    small.put(pictures[1], "1" * 64)
    small.save(STORAGE, uri)
    driver = VersionCache.load(STORAGE, uri)
    worker.put(pictures[2], "2" * 64)
    driver.add_news(worker.news())
    driver.add_news(worker.news())  # says nothing twice
    driver.save(STORAGE, uri)
    found = VersionCache.load(STORAGE, uri)
    assert [found.get(one) for one in pictures] == [digit * 64 for digit in "012"]


def test_tallies_of_portions_add_up_to_that_of_the_whole(tmp_path: Path) -> None:
    source = write(tmp_path / "data")
    whole, sum_of = Tally(source), Tally(source)
    list(read_manifest(source, STORAGE, whole))
    for portion in portions(source):
        part = Tally(source)
        list(read_manifest(source, STORAGE, part, portion))
        sum_of.add(part)
    assert whole.records > 0
    assert whole.unread > 0
    assert {one.name: getattr(sum_of, one.name) for one in fields(Tally)} == {
        one.name: getattr(whole, one.name) for one in fields(Tally)
    }


def test_media_on_the_web_are_fetched_by_the_driver_alone(tmp_path: Path) -> None:
    source = write(tmp_path / "data")
    text = Path(source.path).read_text(encoding="utf-8", errors="surrogateescape")
    Path(source.path).write_text(
        text.replace("missing.jpg", "https://example.org/a.jpg"), encoding="utf-8", errors="surrogateescape"
    )
    asked: list[str] = []

    class Refusing:
        """Stands for a `Fetcher`; it does not pickle, and nothing can be fetched."""

        def map(self, function: Callable[[Any], Any], items: Any) -> list[Any]:
            return list(map(function, items))

        def fetch(self, url: str, limit: int) -> Any:
            from trichord.infra.web import DownloadError

            asked.append(url)
            raise DownloadError("download_refused", "not here", permanent=True)

        def __reduce__(self) -> Any:
            raise AssertionError("the fetcher travels")

    fetcher: Any = Refusing()
    alone, divided = (Lake(STORAGE, str(tmp_path / name)) for name in ("alone", "divided"))
    expected = planned(source, alone, None, fetcher=fetcher)
    fetched, asked[:] = list(asked), []
    assert planned(source, divided, backwards, fetcher=fetcher) == expected
    assert len(asked) == len(fetched) > 0


def test_a_manifest_that_changes_while_workers_scan_it_stops_the_plan(tmp_path: Path) -> None:
    source = write(tmp_path / "data")

    def meddling(task: Callable[[I], R], items: Iterable[I]) -> Iterator[R]:
        for number, item in enumerate(items):
            yield task(item)
            if number == 0:
                Path(source.path).write_bytes(Path(source.path).read_bytes() + b"\n")

    with pytest.raises(Changed, match="changed while it was being read"):
        planned(source, Lake(STORAGE, str(tmp_path / "lake")), meddling)


def test_only_large_manifests_are_divided(tmp_path: Path) -> None:
    source = write(tmp_path / "data")
    size = STORAGE.stat(source.path).size
    assert scan.is_divisible(source, STORAGE, size)
    assert not scan.is_divisible(source, STORAGE, size + 1)
    gone = source.model_copy(update={"path": str(tmp_path / "gone.jsonl")})
    assert not scan.is_divisible(gone, STORAGE, 0)
    with pytest.raises(SourceError, match="no such manifest"):
        planned(gone, Lake(STORAGE, str(tmp_path / "lake")), backwards)
