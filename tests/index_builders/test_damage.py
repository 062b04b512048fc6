"""Flipped bits and cut files of every kind of index are refused before the library that would load them sees a byte."""

from __future__ import annotations

from collections.abc import Callable

import faiss
import pyarrow.parquet as pq
import pytest

from tests.index_builders.backends import annoy_manifest, milvus_manifest
from tests.index_builders.corpus import SPACE, STORAGE, build, damaged, matrix, tables
from tests.index_builders.test_faiss_kinds import PLANS, D
from trichord.index_builders.faiss_search import open_searcher
from trichord.index_builders.faiss_sharded import FaissBuilder, put_quantiser
from trichord.index_builders.manifest import read_manifest
from trichord.index_builders.milvus.rows import import_batches
from trichord.infra.digest import generator
from trichord.infra.errors import StorageError
from trichord.infra.lake.lake import Lake

FLIPS, CUTS = 60, 10  # of each kind


@pytest.fixture
def seen(monkeypatch) -> list[str]:
    """What was loaded by FAISS, Annoy or Parquet."""
    calls: list[str] = []

    def watched(name: str, real: Callable[..., object]) -> Callable[..., object]:
        def call(*args, **kwargs):
            calls.append(name)
            return real(*args, **kwargs)

        return call

    for module, name in ((faiss, "read_index"), (pq, "ParquetFile"), (pq, "read_table")):
        monkeypatch.setattr(module, name, watched(name, getattr(module, name)))
    return calls


@pytest.mark.parametrize("kind", [*PLANS, "annoy"])
def test_every_flipped_bit_and_every_truncation_is_refused_before_anything_sees_a_byte(
    tmp_path, monkeypatch, seen, kind
):
    lake, shards = str(tmp_path), tables(4, 80, D)
    groups = [sorted(shards)[:2], sorted(shards)[2:]]
    if kind == "annoy":
        pytest.importorskip("annoy", reason="built where there is a C++ compiler")
        from trichord.index_builders import annoy

        real = annoy._read
        monkeypatch.setattr(annoy, "_read", lambda *given: (seen.append("annoy"), real(*given))[1])
        manifest = annoy_manifest(lake, shards, groups)
        opener: Callable[..., object] = annoy.open_annoy
    else:
        manifest, opener = build(lake, shards, groups, plan=PLANS[kind]), open_searcher
    files = [manifest.path] + [path for s in manifest.shards for path in (s.index.path, s.keys.path)]
    random = generator("damage", kind)
    seen.clear()
    for number in range(FLIPS + CUTS):
        path = tmp_path / files[number % len(files)]
        sound = path.read_bytes()
        path.write_bytes(damaged(sound, random, flip=number < FLIPS))
        with pytest.raises(StorageError, match=r"damaged|another version"):
            opener(Lake(STORAGE, lake), read_manifest(Lake(STORAGE, lake), manifest.path, manifest.digest), SPACE)
        path.write_bytes(sound)
    assert seen == []
    opener(Lake(STORAGE, lake), read_manifest(Lake(STORAGE, lake), manifest.path), SPACE)
    assert len(seen) == 4


def test_damaged_codes_make_no_shard(tmp_path):
    plan, lake, shards = PLANS["ivf_rabitq"], str(tmp_path), tables(2, 150, D)
    quantiser = put_quantiser(Lake(STORAGE, lake), matrix(shards), plan, seed=7)
    builder = FaissBuilder(plan=plan, dimension=D, fingerprint=SPACE, views=("fused",), quantiser=quantiser)
    inputs, random = sorted(shards), generator("damage", "codes")
    blocks = {
        address: builder.encode(Lake(STORAGE, lake), address, shards[address], builder.encoder(Lake(STORAGE, lake)))
        for address in inputs
    }
    for number in range(FLIPS + CUTS):
        path = tmp_path / blocks[inputs[number % 2]].path
        sound = path.read_bytes()
        path.write_bytes(damaged(sound, random, flip=number < FLIPS))
        with pytest.raises(StorageError, match="damaged"):
            builder.build(Lake(STORAGE, lake), inputs, (shards[a].select(builder.columns) for a in inputs), blocks)
        path.write_bytes(sound)


def test_damaged_import_files_reach_no_server(tmp_path, seen):
    from trichord.index_builders.hashed_files import open_verified

    shards = tables(2, 80, D)
    manifest = milvus_manifest(str(tmp_path), shards, [[address] for address in sorted(shards)])
    random = generator("damage", "import")
    seen.clear()
    for number in range(FLIPS + CUTS):
        shard = manifest.shards[number % 2]
        path = tmp_path / shard.index.path
        sound = path.read_bytes()
        path.write_bytes(damaged(sound, random, flip=number < FLIPS))
        with (
            pytest.raises(StorageError, match="damaged"),
            open_verified(Lake(STORAGE, str(tmp_path)), shard.index) as file,
        ):
            list(import_batches(file, 10))
        path.write_bytes(sound)
    assert seen == []
