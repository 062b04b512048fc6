"""A collection that is changed in place ends as one that was filled anew, also after a crash on the way."""

from __future__ import annotations

import numpy as np
import pytest

from tests.index_builders.backends import milvus_builder, place
from tests.index_builders.corpus import SPACE, STORAGE, unit, vector_table
from trichord.index_builders.hashed_files import open_verified
from trichord.index_builders.manifest import write_manifest
from trichord.index_builders.milvus.builder import collection_of, content_digest
from trichord.index_builders.milvus.client import Milvus, connected
from trichord.index_builders.milvus.load import Loader
from trichord.index_builders.milvus.refresh import count_changed_rows
from trichord.index_builders.milvus.search import MilvusSearcher
from trichord.index_builders.milvus.state import read_state
from trichord.infra.digest import address
from trichord.infra.lake.lake import Lake


class Killed(BaseException):
    """Stands for the end of the process: nothing of ours catches it."""


def shards_of(*versions: int):
    """Two vector shards of 30 rows; version 1 alters 3 rows of a shard and deletes 2, version 2 alters 3 and adds 4."""
    made = {}
    for number, version in enumerate(versions):
        vectors = unit(30, 8, number)
        if version:
            vectors[:3] = unit(3, 8, number, version)
            vectors = vectors[:-2] if version == 1 else np.concatenate([vectors, unit(4, 8, number, "added")])
        made[address(number, version)] = vector_table(vectors, f"source0/{number}")
    return made


@pytest.fixture
def manifests(tmp_path):
    lake = str(tmp_path)
    builder = milvus_builder(8, prefix="refresh")

    def files(*versions):
        shards = shards_of(*versions)
        return [builder.build(Lake(STORAGE, lake), [name], [shards[name]]) for name in sorted(shards)]

    old = builder.manifest(files(0, 0))
    new = builder.manifest(files(1, 0), in_place_of=collection_of(old))
    third = builder.manifest(files(2, 1), in_place_of=collection_of(old))
    for manifest in (old, new, third):
        write_manifest(Lake(STORAGE, lake), manifest)
    return lake, place(f"{lake}/milvus.db", prefix="refresh"), old, new, third


def rows(lake, where, manifest):
    searcher = MilvusSearcher(where, manifest, SPACE)
    try:
        hits = searcher.search(unit(1, 8, "q"), manifest.rows)
        return sorted(zip(hits.keys[0], np.round(hits.scores[0], 5).tolist(), strict=True))
    finally:
        searcher.close()


def test_only_what_differs_is_changed_and_back_again(manifests):
    lake, where, old, new, _ = manifests
    assert count_changed_rows(lambda shard: open_verified(Lake(STORAGE, lake), shard.index), old, new) == 3 + 2
    with connected(where) as milvus:
        Loader(Lake(STORAGE, lake), milvus, old).ensure()
        before = rows(lake, where, old)
        Loader(Lake(STORAGE, lake), milvus, new).ensure()
        assert rows(lake, where, new) != before
        assert read_state(Lake(STORAGE, lake), collection_of(old)).serves(content_digest(new))
        assert not read_state(Lake(STORAGE, lake), collection_of(old)).serves(content_digest(old))
        Loader(Lake(STORAGE, lake), milvus, old).ensure()
        assert rows(lake, where, old) == before


@pytest.mark.parametrize("call", ["upsert", "delete", "count"])
def test_a_refresh_that_died_is_ended_by_the_next_whatever_it_aims_at(manifests, monkeypatch, call):
    lake, where, old, new, third = manifests
    with connected(where) as milvus:
        Loader(Lake(STORAGE, lake), milvus, new).ensure()  # in place of nothing: it is filled
        wanted = rows(lake, where, new)
        Loader(Lake(STORAGE, lake), milvus, third).ensure()
        last = rows(lake, where, third)
        for target, expected in ((new, wanted), (third, last)):
            Loader(Lake(STORAGE, lake), milvus, old).ensure()
            with monkeypatch.context() as patched:
                patched.setattr(Milvus, "_call", _dying_after(call))
                with pytest.raises(Killed):
                    Loader(Lake(STORAGE, lake), milvus, new).ensure()
            Loader(Lake(STORAGE, lake), milvus, target).ensure()
            assert rows(lake, where, target) == expected


def _dying_after(name):
    original = Milvus._call

    def call(self, made_by, made):
        result = original(self, made_by, made)
        if made_by == name:
            raise Killed
        return result

    return call
