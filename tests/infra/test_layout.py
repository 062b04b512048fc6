"""The layout of a lake: every path that is built is known, with its kind, and nothing else is."""

from __future__ import annotations

import pytest

from trichord.infra.lake import layout
from trichord.infra.lake.layout import Kind
from trichord.infra.lake.schema import TABLES
from trichord.infra.lake.stores import temporary_name

ADDRESS, SHA256 = "a" * 32, "b" * 64
MANIFEST = layout.manifest_path(SHA256)


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        *((layout.shard_path(table, ADDRESS, SHA256), Kind.PUBLISHED) for table in TABLES),
        *((layout.commit_path(table, 7), Kind.NOTE) for table in TABLES),
        *((layout.copy_path(table, 7), Kind.NOTE) for table in TABLES),
        *((layout.base_path(table, 7), Kind.NOTE) for table in TABLES),
        (f"{layout.log_folder('records')}/_last_checkpoint", Kind.NOTE),
        (layout.damaged_path(MANIFEST), Kind.CACHE),
        *((layout.index_path(ADDRESS, SHA256, ending), Kind.PUBLISHED) for ending in layout.INDEX_ENDINGS[:-1]),
        (layout.index_path(ADDRESS, SHA256, layout.CODES), Kind.CACHE),
        (layout.receipt_path(ADDRESS), Kind.PUBLISHED),
        (MANIFEST, Kind.PUBLISHED),
        (layout.partitions_path(MANIFEST), Kind.PUBLISHED),
        (layout.collection_path("trichord_0123"), Kind.NOTE),
        (layout.CANDIDATE, Kind.NOTE),
        (f"{layout.model_path(ADDRESS)}/model.safetensors", Kind.PUBLISHED),
        (layout.shard_path(layout.FEATURES, ADDRESS, SHA256), Kind.CACHE),
        (layout.shard_path(layout.DEDUP, ADDRESS, SHA256), Kind.CACHE),
        (layout.shard_path(layout.EXCLUSIONS, ADDRESS, SHA256), Kind.CACHE),
        (layout.PLAN_VERSIONS, Kind.CACHE),
        (layout.footers_path("records"), Kind.CACHE),
        (layout.footers_path(layout.FEATURES), Kind.CACHE),
        (layout.plan_path(ADDRESS), Kind.CACHE),
        (layout.last_plan_path("my.source"), Kind.CACHE),
        (f"{layout.CHECKPOINTS}/{layout.checkpoints_name(ADDRESS)}/epoch.safetensors", Kind.CACHE),
        (layout.DOWNLOAD_RECEIPTS, Kind.CACHE),
        (layout.content_path(SHA256), Kind.CACHE),
        (layout.truth_path(ADDRESS), Kind.CACHE),
        (layout.recipe_path(ADDRESS), Kind.NOTE),
        (layout.answer_path(ADDRESS), Kind.NOTE),
        (layout.probe_path("0123456789abcdef"), Kind.TEMPORARY),
        (layout.presence_path("run-reindex-0123456789ab-1-1-0f"), Kind.TEMPORARY),
        ("milvus.db", Kind.NOTE),
    ],
)
def test_every_path_that_is_built_is_known_with_its_kind(path: str, kind: Kind) -> None:
    place = layout.place_of(path)
    assert place is not None
    assert place.kind is kind
    assert layout.kind_of(path) is kind


@pytest.mark.parametrize("path", [f"records/{ADDRESS}.parquet", f"index/{ADDRESS}.json", "_plans/x", "mine/a"])
def test_other_names_are_unknown(path: str) -> None:
    assert layout.place_of(path) is None


def test_what_a_killed_writer_leaves_is_temporary_everywhere_but_in_a_delta_log() -> None:
    name = temporary_name()
    left = [f"{folder}/{name}" for folder in layout.FOLDERS]
    left += [f"{layout.model_path(ADDRESS)}/{name}", f"{layout.COLLECTIONS}/{name}"]
    assert {layout.kind_of(path) for path in left} == {Kind.TEMPORARY}
    assert layout.kind_of(f"{layout.log_folder('records')}/{name}") is Kind.NOTE


def test_unknown_files_in_our_folders_are_caches_and_others_are_not_ours() -> None:
    assert {layout.kind_of(f"{folder}/other.bin") for folder in layout.FOLDERS} == {Kind.CACHE}
    assert layout.kind_of("mine/other.bin") is None
    assert layout.kind_of(f"mine/{temporary_name()}") is None
