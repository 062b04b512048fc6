"""A scoped plan is the whole plan: after any edits within its scope, part for part and partition for partition."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.conftest import Place
from trichord.infra.config import (
    FieldMap,
    FolderSource,
    ManifestSource,
    ParquetSource,
    PrepareConfig,
    Source,
    StorageConfig,
)
from trichord.infra.errors import StorageError
from trichord.infra.lake.lake import Lake
from trichord.infra.lake.storage import Storage
from trichord.transforms.collect import Plan, Scope, partitions, plan_parts, plan_source, replan_source
from trichord.transforms.collect.last_plan import keep_plan, kept_parts, last_plan, settings_of
from trichord.transforms.collect.plan_parts import read_plan

STORAGE = Storage(StorageConfig())
ROWS, LIMIT = 90, 4


@pytest.fixture(autouse=True)
def _small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts are as small as the sources, so that they are divided and joined."""
    monkeypatch.setattr(plan_parts, "MAX_ROWS", 16)
    monkeypatch.setattr(plan_parts, "MAX_GROUPS", 5)


def whole(source: Source, lake: Lake, limit: int = LIMIT) -> Plan:
    return plan_source(source, lake, rows_per_partition=limit, cache=None)


def scoped(source: Source, lake: Lake, last: Plan, limit: int = LIMIT, **scope: Any) -> Plan:
    found = replan_source(source, lake, Scope(source=source.name, **scope), last, rows_per_partition=limit)
    assert found is not None
    return found


def without_counts(plan: Plan) -> Plan:
    """A plan without what only a whole plan counts: filled fields and ignored files."""
    return replace(plan, fields=(), endings={})


class Manifest:
    """A manifest without media; some rows cannot be read."""

    def __init__(self, folder: Path) -> None:
        self.source = ManifestSource(kind="manifest", name="s", path=str(folder / "m.jsonl"))
        self._path, self.rows = folder / "m.jsonl", dict[str, Any]()

    def put(self, key: str, draw: random.Random) -> None:
        row: dict[str, Any] = {"id": key, "text": f"text {draw.random()}", "split": draw.choice(["train", "test", ""])}
        if draw.random() < 0.1:
            row |= draw.choice([{"text": 7}, {"image": "not/there.jpg"}, {"text": ""}, {"group": "\x07"}])
        self.rows[key] = row

    def write(self) -> None:
        self._path.write_text("".join(json.dumps(row) + "\n" for row in self.rows.values()))


class Folder:
    """A folder of texts, two files of some."""

    def __init__(self, folder: Path) -> None:
        self.source = FolderSource(kind="folder", name="s", path=str(folder / "files"))
        self._root, self.rows = folder / "files", dict[str, list[str]]()

    def put(self, key: str, draw: random.Random) -> None:
        self.rows[key] = [f"{draw.random()}"] * draw.choice([1, 1, 2])

    def write(self) -> None:
        shutil.rmtree(self._root, ignore_errors=True)
        for key, texts in self.rows.items():
            for text, ending in zip(texts, (".txt", ".TXT"), strict=False):
                path = self._root / f"{key}{ending}"
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text)


def edit(data: Manifest | Folder, draw: random.Random, number: int) -> set[str]:
    """Change a few rows, or all that have a name like one; returns the keys that were touched."""
    touched: set[str] = set()
    many = draw.random() < 0.08
    for step in range(draw.choice([25, 40]) if many else draw.choice([1, 1, 1, 2, 3])):
        kind = draw.choice(["add", "change", "delete", "rename"])
        known = sorted(data.rows)
        if kind == "add" or len(known) < ROWS // 2:
            key = f"{draw.choice('abc')}/{draw.choice(['', 'x.', 'y '])}{number}-{step}"
            data.put(key, draw)
            touched.add(key)
            continue
        key = draw.choice(known)
        touched.add(key)
        if kind == "change":
            data.put(key, draw)
        elif kind == "delete" or many:
            del data.rows[key]
        else:
            touched.add(f"{key}r{number}")
            data.rows[f"{key}r{number}"] = data.rows.pop(key)
            if isinstance(data, Manifest):
                data.rows[f"{key}r{number}"]["id"] = f"{key}r{number}"
    return touched


@pytest.mark.parametrize("edits", [50, pytest.param(250, marks=pytest.mark.full)])
@pytest.mark.parametrize("kind", [Manifest, Folder])
def test_a_scoped_plan_equals_a_whole_plan_after_each_of_many_edits(
    kind: Callable[[Path], Manifest | Folder], edits: int, tmp_path: Path
) -> None:
    draw, data = random.Random(7), kind(tmp_path)
    for i in range(ROWS):
        data.put(f"{'abc'[i % 3]}/{i}", draw)
    data.write()
    lake, other = Lake(STORAGE, str(tmp_path / "lake")), Lake(STORAGE, str(tmp_path / "other"))
    last = whole(data.source, lake)
    for number in range(edits):
        touched = edit(data, draw, number)
        data.write()
        by_prefix = len({key[0] for key in touched}) == 1 and draw.random() < 0.3
        scope = {"prefix": next(iter(touched))[:2]} if by_prefix else {"keys": frozenset(touched)}
        last = scoped(data.source, lake, last, **scope)
        assert without_counts(last) == without_counts(whole(data.source, other)), (number, scope)
    rows = [row for one in last.partitions for row in read_plan(one, lake)]
    assert rows == [row for one in whole(data.source, other).partitions for row in read_plan(one, other)]
    assert len(rows) == last.rows


def test_what_is_outside_of_the_scope_stays_as_it_was_planned(tmp_path: Path) -> None:
    data = Manifest(tmp_path)
    for i in range(40):
        data.rows[f"k{i}"] = {"id": f"k{i}", "text": f"text {i}"}
    data.write()
    lake = Lake(STORAGE, str(tmp_path / "lake"))
    last = whole(data.source, lake)
    data.rows["k3"]["text"], data.rows["k4"]["text"] = "changed", "changed too"
    data.write()
    found = scoped(data.source, lake, last, keys=frozenset(["k3", "never there"]))
    texts = {row.key: row.line["text"] for one in found.partitions for row in read_plan(one, lake)}
    assert (texts["k3"], texts["k4"]) == ("changed", "text 4")
    assert without_counts(scoped(data.source, lake, found, prefix="k4")) == without_counts(whole(data.source, lake))


def test_a_row_that_cannot_be_read_is_planned_again_whatever_the_scope(tmp_path: Path) -> None:
    data = Manifest(tmp_path)
    for i in range(20):
        data.rows[f"k{i}"] = {"id": f"k{i}", "text": f"text {i}"}
    data.rows["k3"]["text"] = 7
    data.write()
    lake = Lake(STORAGE, str(tmp_path / "lake"))
    last = whole(data.source, lake)
    data.rows["k3"]["text"], data.rows["k5"]["text"] = "readable", 8
    data.write()
    found = scoped(data.source, lake, last, keys=frozenset(["k3", "k5"]))
    assert without_counts(found) == without_counts(whole(data.source, lake))
    reasons = [row.reason for one in found.partitions for row in read_plan(one, lake) if row.reason is not None]
    assert reasons == ["row_invalid"]


class Tables:
    """A folder of Parquet files of texts, which name pictures or not."""

    def __init__(self, folder: Path, *, named: bool = False) -> None:
        self._named, self._root = named, folder / "p"
        fields = FieldMap(key="id", image="image" if named else None, audio=None)
        self.source = ParquetSource(kind="parquet", name="s", path=str(self._root), fields=fields)

    def write(self, name: str, rows: range, text: str = "text") -> None:
        self._root.mkdir(exist_ok=True)
        columns = {"id": [f"k{i}" for i in rows], "text": [f"{text} {i}" for i in rows]}
        columns |= {"image": ["x.jpg"] * len(rows)} if self._named else {}
        pq.write_table(pa.table(columns), self._root / name, row_group_size=4)

    def remove(self, name: str) -> None:
        (self._root / name).unlink()


def test_data_files_are_planned_again_by_their_paths(tmp_path: Path) -> None:
    data, lake = Tables(tmp_path), Lake(STORAGE, str(tmp_path / "lake"))
    for number in range(4):
        data.write(f"{number}.parquet", range(number * 10, number * 10 + 10))
    last = whole(data.source, lake)
    data.write("2.parquet", range(20, 33), "other")
    data.remove("3.parquet")
    found = scoped(data.source, lake, last, keys=frozenset(["2.parquet", "3.parquet"]))
    assert without_counts(found) == without_counts(whole(data.source, lake))
    data.write("10.parquet", range(100, 101))
    found = scoped(data.source, lake, found, prefix="1")
    assert without_counts(found) == without_counts(whole(data.source, lake))


def test_a_file_that_changes_the_marks_of_others_needs_a_whole_plan(tmp_path: Path) -> None:
    data, lake = Tables(tmp_path), Lake(STORAGE, str(tmp_path / "lake"))
    data.write("train-0.parquet", range(9))
    data.write("train-1.parquet", range(9, 20))
    last = whole(data.source, lake)

    def replan(last: Plan, name: str) -> Plan | None:
        scope = Scope(source="s", keys=frozenset([name]))
        return replan_source(data.source, lake, scope, last, rows_per_partition=LIMIT)

    data.write("test-0.parquet", range(20, 25))
    assert replan(last, "test-0.parquet") is None
    last = whole(data.source, lake)
    data.write("test-1.parquet", range(25, 27))
    found = replan(last, "test-1.parquet")
    assert found is not None
    assert found.partitions == whole(data.source, lake).partitions
    data.remove("test-0.parquet")
    last, found = found, replan(found, "test-0.parquet")
    assert found is not None
    assert found.partitions == whole(data.source, lake).partitions
    data.remove("test-1.parquet")
    assert replan(found, "test-1.parquet") is None


def test_sources_whose_files_give_marks_to_rows_are_planned_whole(tmp_path: Path) -> None:
    data, lake = Tables(tmp_path, named=True), Lake(STORAGE, str(tmp_path / "lake"))
    data.write("0.parquet", range(9))
    last = whole(data.source, lake)
    assert last.partitions[0].part is None
    scope = Scope(source="s", prefix="k1")
    assert replan_source(data.source, lake, scope, last, rows_per_partition=LIMIT) is None


def test_a_folder_is_listed_only_where_the_scope_may_have_files(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    root = place.storage.join(place.uri, "files")
    for name in ("a/1", "a/2", "a/20", "a.b/1", "b/1", "b/2", "c"):
        place.storage.write(f"{root}/{name}.txt", name.encode())
    source = FolderSource(kind="folder", name="s", path=root)
    lake = Lake(place.storage, place.storage.join(place.uri, "lake"))
    last = whole(source, lake)
    seen: list[str] = []
    walk = Storage.list

    def listed(self: Storage, uri: str, **options: Any) -> Any:
        for stat in walk(self, uri, **options):
            seen.append(stat.uri)
            yield stat

    monkeypatch.setattr(Storage, "list", listed)
    place.storage.write(f"{root}/a/2.txt", b"changed")
    place.storage.write(f"{root}/a/2.jpg", b"new")
    place.storage.delete(f"{root}/a/20.txt")
    found = scoped(source, lake, last, prefix="a/2")
    assert seen == [f"{root}/a/2.jpg", f"{root}/a/2.txt"]
    assert without_counts(found) == without_counts(whole(source, lake))
    seen.clear()
    place.storage.delete(f"{root}/c.txt")
    place.storage.write(f"{root}/b/2.txt", b"changed")
    found = scoped(source, lake, found, keys=frozenset(["c", "b/2", "b/none"]))
    assert seen == [f"{root}/b/2.txt"]
    assert without_counts(found) == without_counts(whole(source, lake))


def test_a_plan_is_kept_and_found_again_by_its_settings_while_its_parts_are_there(tmp_path: Path) -> None:
    data = Manifest(tmp_path)
    for i in range(30):
        data.put(f"k{i}", random.Random(i))
    data.write()
    lake, source = Lake(STORAGE, str(tmp_path / "lake")), data.source
    plan, settings = whole(source, lake), settings_of(source, LIMIT, PrepareConfig())
    assert last_plan(lake, source, settings) is None
    keep_plan(lake, source, settings, plan)
    assert last_plan(lake, source, settings) == plan
    (file,) = (tmp_path / "lake" / "_plans").glob("last-*")
    stamp = file.stat().st_mtime_ns
    keep_plan(lake, source, settings, plan)
    assert file.stat().st_mtime_ns == stamp
    other = source.model_copy(update={"fields": FieldMap(text="other")})
    assert last_plan(lake, other, settings_of(other, LIMIT, PrepareConfig())) is None
    assert settings_of(source, LIMIT + 1, PrepareConfig()) != settings
    assert kept_parts(lake, ["s", "none"]) == {one.locator for one in plan.partitions} | {f"_plans/{file.name}"}
    lake.delete(plan.partitions[0].locator)
    assert last_plan(lake, source, settings) is None
    file.write_bytes(file.read_bytes()[:-3])
    assert last_plan(lake, source, settings) is None
    assert kept_parts(lake, ["s"]) == {f"_plans/{file.name}"}


def test_a_damaged_part_of_the_last_plan_stops_a_scoped_plan(tmp_path: Path) -> None:
    data = Manifest(tmp_path)
    data.rows["k1"] = {"id": "k1", "text": "t"}
    data.write()
    lake = Lake(STORAGE, str(tmp_path / "lake"))
    last = whole(data.source, lake)
    path = tmp_path / "lake" / last.partitions[0].locator
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(StorageError, match="damaged"):
        scoped(data.source, lake, last, keys=frozenset(["k1"]))


def test_a_source_that_outgrows_an_automatic_limit_is_planned_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(partitions, "MAX_PARTITIONS", 20)
    monkeypatch.setattr(partitions, "LEAST_LIMIT", 2)
    data, lake = Manifest(tmp_path), Lake(STORAGE, str(tmp_path / "lake"))
    for i in range(18):
        data.rows[f"k{i}"] = {"id": f"k{i}", "text": f"text {i}"}
    data.write()
    last = plan_source(data.source, lake, rows_per_partition="auto", cache=None)
    assert max(one.rows for one in last.partitions) == 2
    for i in range(18, 24):
        data.rows[f"k{i}"] = {"id": f"k{i}", "text": f"text {i}"}
        data.write()
        scope = Scope(source="s", keys=frozenset([f"k{i}"]))
        found = replan_source(data.source, lake, scope, last, rows_per_partition="auto")
        whole_plan = plan_source(data.source, lake, rows_per_partition="auto", cache=None)
        assert (found is None) == (i == 20)
        assert found is None or without_counts(found) == without_counts(whole_plan)
        last = whole_plan
    assert max(one.rows for one in last.partitions) == 4


@pytest.mark.parametrize("scope", ["caf\u00e9", "cafe\u0301"])
def test_a_key_in_either_normal_form_is_the_file_in_either(tmp_path: Path, scope: str) -> None:
    source = FolderSource(kind="folder", name="s", path=str(tmp_path / "files"))
    lake = Lake(STORAGE, str(tmp_path / "lake"))
    (tmp_path / "files").mkdir()
    for name in ("cafe\u0301.txt", "caff.txt", "a.txt"):  # as macOS writes it
        (tmp_path / "files" / name).write_text(name)
    last = whole(source, lake)
    (tmp_path / "files" / "cafe\u0301.txt").write_text("another")
    again = scoped(source, lake, last, keys=frozenset([scope]))
    assert again == whole(source, lake)
    assert again != last
    assert scoped(source, lake, last, prefix=scope[:4]) == again
