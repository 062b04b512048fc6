"""What an event is about: rows of the project's sources, and nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trichord.infra.config import Project
from trichord.infra.events.event import Event
from trichord.pipelines.watch.channels import watched_folders
from trichord.pipelines.watch.looks import MOST_KEYS, coalesce
from trichord.pipelines.watch.places import Look, Places

SOURCES: list[dict[str, Any]] = [
    {"name": "loose", "kind": "folder", "path": "s3://b/loose/"},
    {"name": "rows", "kind": "manifest", "path": "/data/rows.jsonl"},
    {
        "name": "coco",
        "kind": "captions",
        "path": "/coco/a.json",
        "media_root": "/photos",
        "splits": {"test": "/coco/t"},
    },
    {"name": "classes", "kind": "imagefolder", "path": "s3://b/classes"},
    {"name": "parts", "kind": "parquet", "path": "s3://b/parts", "media_root": "s3://b/media"},
    {"name": "one", "kind": "parquet", "path": "/one/rows.parquet"},
    {"name": "tars", "kind": "webdataset", "path": "s3://b/tars/t-{000..013}.tar"},
    {"name": "table", "kind": "delta", "path": "s3://b/table"},
    {"name": "listed", "kind": "inventory", "path": "s3://i/daily", "media_root": "s3://b/listed"},
]  # fmt: skip
PLACES = Places(Project.model_validate({"lake": "/data/lake", "sources": SOURCES}))
WHOLE = {name: {Look(name)} for name in (source["name"] for source in SOURCES)}


def key(source: str, place: str) -> set[Look]:
    return {Look(source, "key", place)}


@pytest.mark.parametrize(
    ("uri", "looks"),
    [
        ("s3://b/loose/a/b c.txt", key("loose", "a/b c")),
        ("s3://b/loose/a/b.JPG", key("loose", "a/b")),
        ("s3://b/loose/a/", {Look("loose", "prefix", "a/")}),
        ("s3://b/loose", WHOLE["loose"]),
        ("s3://b/loose/a.zip", set()),
        ("s3://b/loose/.hidden/a.txt", set()),
        ("s3://b/loose/a\\b.txt", WHOLE["loose"]),
        (f"s3://b/loose/{'k' * 300}.txt", key("loose", "k" * 300)),
        ("/data/rows.jsonl", WHOLE["rows"]),
        ("/data/pictures/a.jpg", WHOLE["rows"]),
        ("/coco/a.json", WHOLE["coco"]),
        ("/coco/t", WHOLE["coco"]),
        ("/photos/1.jpg", WHOLE["coco"]),
        ("s3://b/classes/cat/1.jpg", WHOLE["classes"]),
        ("s3://b/parts/a/1.parquet", key("parts", "a/1.parquet")),
        ("s3://b/media/1.jpg", WHOLE["parts"]),
        ("/one/rows.parquet", key("one", "rows.parquet")),
        ("/one/1.jpg", WHOLE["one"]),
        ("s3://b/tars/t-001.tar", key("tars", "t-001.tar")),
        ("s3://b/tars/readme.txt", set()),
        ("s3://b/table/_delta_log/00000000000000000007.json", WHOLE["table"]),
        ("s3://b/table/part-1.parquet", set()),
        ("s3://i/daily/2026-12-01T01-00Z/manifest.json", WHOLE["listed"]),
        ("s3://i/daily/data/1.parquet", set()),
        ("s3://b/listed/1.jpg", set()),
    ],
)
def test_a_place_means_the_rows_that_it_may_change(uri: str, looks: set[Look]) -> None:
    assert PLACES.is_known(Event(uri=uri))
    assert PLACES.looks(Event(uri=uri)) == looks


@pytest.mark.parametrize(
    "uri",
    ["s3://b", "s3://b/loosely/a.txt", "s3://c/loose/a.txt", "gs://b/loose/a.txt", "/etc/passwd", "/coco/b.json", "/",
     "/data/lake/records/x.parquet", "http://b/loose/a.txt", "/oner/x.parquet"],
)  # fmt: skip
def test_a_place_of_no_source_is_unknown(uri: str) -> None:
    assert not PLACES.is_known(Event(uri=uri))
    assert PLACES.looks(Event(uri=uri)) == set()


@pytest.mark.parametrize(
    ("source", "path", "looks"),
    [
        ("loose", "", WHOLE["loose"]),
        ("loose", "a/1.txt", key("loose", "a/1")),
        ("loose", "a/", {Look("loose", "prefix", "a/")}),
        ("rows", "a.jpg", WHOLE["rows"]),
        ("parts", "a/1.parquet", key("parts", "a/1.parquet")),
        ("tars", "t-001.tar", key("tars", "t-001.tar")),
        ("table", "_delta_log/00000000000000000007.json", WHOLE["table"]),
        ("listed", "1.jpg", set()),
    ],
)
def test_a_sender_may_name_a_source_and_a_path(source: str, path: str, looks: set[Look]) -> None:
    assert PLACES.is_known(Event(source=source, path=path))
    assert PLACES.looks(Event(source=source, path=path)) == looks
    assert not PLACES.is_known(Event(source="unknown", path=path))


names = st.sampled_from(["loose", "parts", "rows"])
places = st.text("ab/", min_size=1, max_size=6)
some_looks = st.sets(
    st.builds(Look, names, st.sampled_from(["key", "prefix"]), places) | st.builds(Look, names), max_size=12
)


@given(looks=some_looks)
def test_the_scopes_of_a_run_hold_every_row_of_every_look_and_one_scope_is_one_source(looks: set[Look]) -> None:
    scopes = {scope.source: scope for scope in coalesce(looks)}
    assert len(scopes) == len(coalesce(looks)) == len({look.source for look in looks})
    for look in looks:
        scope = scopes[look.source]
        assert scope.whole or look.kind != "whole"
        for after in ("", "a", "b/a") if look.kind != "key" else ("",):
            assert scope.holds(look.place + after)
    for source, scope in scopes.items():
        mine = {look for look in looks if look.source == source}
        if {look.kind for look in mine} == {"key"}:
            assert scope.keys == frozenset(look.place for look in mine), "keys alone are looked at by themselves"


def test_a_source_with_too_many_keys_is_looked_at_as_a_whole() -> None:
    looks = {Look("loose", "key", str(number)) for number in range(MOST_KEYS + 1)}
    (scope,) = coalesce(looks)
    assert scope.whole
    (scope,) = coalesce(list(looks)[:MOST_KEYS])
    assert scope.keys is not None
    assert len(scope.keys) == MOST_KEYS


def test_the_folders_that_are_watched_are_the_outermost_local_ones(tmp_path: Path) -> None:
    for name in ("a/b", "c"):
        (tmp_path / name).mkdir(parents=True)
    sources = [
        {"name": "one", "kind": "folder", "path": f"{tmp_path}/a"},
        {"name": "two", "kind": "manifest", "path": f"{tmp_path}/a/b/rows.jsonl"},
        {"name": "three", "kind": "manifest", "path": f"{tmp_path}/c/rows.jsonl", "media_root": "s3://b/x"},
        {"name": "four", "kind": "webdataset", "path": f"{tmp_path}/c/t-{{000..013}}.tar"},
        {"name": "five", "kind": "folder", "path": "s3://b/loose"},
    ]
    project = Project.model_validate({"lake": f"{tmp_path}/lake", "sources": sources})
    assert watched_folders(project) == [f"{tmp_path}/a", f"{tmp_path}/c"]
