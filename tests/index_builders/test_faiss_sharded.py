"""Sharded FAISS answers as exact search does, is a pure function of its vectors, and never loads a damaged byte."""

from __future__ import annotations

import hashlib
import os
import pickle  # noqa: TID251 - a builder travels to workers as engines send it
import subprocess
import sys

import faiss
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from tests.index_builders.corpus import FIELDS, SPACE, STORAGE, build, damaged, matrix, tables, unit, vector_table
from trichord.index_builders.exact import exact_hits, recall_at_k
from trichord.index_builders.faiss_kinds import train
from trichord.index_builders.faiss_search import open_searcher
from trichord.index_builders.faiss_sharded import FaissBuilder, put_quantiser
from trichord.index_builders.index_kinds import IndexPlan
from trichord.index_builders.manifest import read_manifest
from trichord.index_builders.row_labels import read_keys
from trichord.index_builders.tune import tune
from trichord.infra.digest import generator
from trichord.infra.errors import FingerprintMismatch, StorageError
from trichord.infra.lake import layout
from trichord.infra.lake.lake import Lake

PLAN = IndexPlan(kind="ivf_flat", nlist=8)


def _halves(shards: dict[str, pa.Table], parts: int = 3) -> list[list[str]]:
    names = sorted(shards)
    return [names[part::parts] for part in range(parts)]


@pytest.mark.parametrize("nlist", [None, 16])
@pytest.mark.parametrize("views", [("fused",), ("text", "image", "audio")])
def test_search_over_several_shards_equals_exact_search_over_their_union(tmp_path, nlist, views):
    shards, queries = tables(7, 120, 16, views=views), unit(50, 16, "q")
    lake = str(tmp_path)
    searcher = open_searcher(Lake(STORAGE, lake), build(lake, shards, _halves(shards), views=views, nlist=nlist), SPACE)
    for collapse in (False, True):
        truth = exact_hits(
            queries, shards.values(), 10, dimension=16, fingerprint=SPACE, views=len(views), collapse=collapse
        )
        found = searcher.search(queries, 10, collapse=collapse, settings={"nprobe": nlist or 1})  # all cells: exact
        np.testing.assert_allclose(found.scores, truth.scores, atol=1e-6)
        assert recall_at_k(found, truth) == 1.0
        if collapse:
            assert all(len(set(keys)) == 10 for keys in found.keys)
    assert set(found.rows(0)[0]) == {"key", "score", "view", "source"}
    assert found.rows(0)[0]["source"] == found.rows(0)[0]["key"].split("/")[0]


@pytest.mark.parametrize("nlist", [None, 16])
def test_a_search_of_one_view_equals_exact_search_over_its_rows_alone(tmp_path, nlist):
    views = ("text", "image")
    shards, queries, lake = tables(3, 80, 16, views=views), unit(20, 16, "q"), str(tmp_path)
    searcher = open_searcher(Lake(STORAGE, lake), build(lake, shards, _halves(shards), views=views, nlist=nlist), SPACE)
    for view in views:
        alone = [table.filter(pc.equal(table["view"], view)) for table in shards.values()]
        truth = exact_hits(queries, alone, 10, dimension=16, fingerprint=SPACE)
        found = searcher.search(queries, 10, view=view, settings={"nprobe": nlist or 1})  # all cells: exact
        np.testing.assert_allclose(found.scores, truth.scores, atol=1e-6)
        assert recall_at_k(found, truth) == 1.0
        assert set(found.views.ravel()) == {view}
    with pytest.raises(ValueError, match="image, text, not 'audio'"):
        searcher.search(queries, 10, view="audio")


def test_more_neighbours_than_rows_are_padded_and_left_out_of_a_querys_rows(tmp_path):
    lake, shards = str(tmp_path), tables(2, 3, 16)
    hits = open_searcher(Lake(STORAGE, lake), build(lake, shards, _halves(shards, 2)), SPACE).search(
        unit(4, 16, "q"), 9
    )
    assert hits.keys.shape == (4, 9)
    assert [key is None for key in hits.keys[0]] == [False] * 6 + [True] * 3
    assert np.isneginf(hits.scores[:, 6:]).all()
    assert len(hits.rows(0)) == 6
    empty = tables(1, 1, 16)
    none = {name: table.slice(0, 0) for name, table in empty.items()}
    builder = FaissBuilder(plan=IndexPlan(kind="flat"), dimension=16, fingerprint=SPACE, views=())
    manifest = builder.manifest([builder.build(Lake(STORAGE, lake), list(none), none.values())])
    assert open_searcher(Lake(STORAGE, lake), manifest, SPACE).search(unit(1, 16, "q"), 3).rows(0) == []


def test_ivf_reaches_the_recall_it_was_asked_for_on_other_queries(tmp_path):
    lake, shards = str(tmp_path), tables(10, 800, 32)
    searcher = open_searcher(Lake(STORAGE, lake), build(lake, shards, _halves(shards), nlist=64), SPACE)
    sample, other = unit(200, 32, "sample"), unit(200, 32, "other")
    truth = exact_hits(sample, shards.values(), 10, dimension=32, fingerprint=SPACE)
    choice = tune(searcher.plan, lambda found: recall_at_k(searcher.search(sample, 10, settings=found), truth), 0.97)
    truth = exact_hits(other, shards.values(), 10, dimension=32, fingerprint=SPACE)
    assert choice.recall >= 0.97
    assert recall_at_k(searcher.search(other, 10, settings=choice.settings), truth) >= 0.94
    assert choice.settings["nprobe"] < 64


def test_the_manifest_is_the_same_on_another_lake_and_for_any_order_of_shards(tmp_path):
    shards = tables(6, 100, 16)
    groups = _halves(shards)
    first = build(str(tmp_path / "one"), shards, groups, nlist=8)
    again = build(str(tmp_path / "two"), dict(reversed(shards.items())), [g[::-1] for g in groups[::-1]], nlist=8)
    assert again.digest == first.digest
    assert again.to_bytes() == first.to_bytes()
    assert str(tmp_path) not in first.to_bytes().decode()
    assert read_manifest(Lake(STORAGE, str(tmp_path / "one")), first.path, first.digest) == first
    assert first.rows == 600
    assert first.counts == {"source:source0": 300, "source:source1": 300, "view:fused": 600}
    assert all(STORAGE.exists(f"{tmp_path}/one/{file.path}") for file in first.files())


TRAINING = """
import sys, hashlib, faiss
from tests.index_builders.corpus import unit
from trichord.index_builders.faiss_kinds import train
from trichord.index_builders.index_kinds import IndexPlan
plan = IndexPlan(kind="ivf_flat", nlist=64)
faiss.omp_set_num_threads(int(sys.argv[1]))
print(hashlib.sha256(train(plan, unit(6000, 64, "sample"), 3)).hexdigest(), faiss.omp_get_max_threads())
"""


def test_the_trained_quantiser_has_the_same_bytes_in_any_process_with_any_threads():
    sample = unit(6_000, 64, "sample")
    plan = IndexPlan(kind="ivf_flat", nlist=64)
    here = hashlib.sha256(train(plan, sample, 3)).hexdigest()
    for threads in ("1", "2", "5"):
        made = subprocess.run([sys.executable, "-c", TRAINING, threads], capture_output=True, text=True, check=True)
        assert made.stdout.split() == [here, threads]
        assert made.stderr == ""
    assert hashlib.sha256(train(plan, sample, 4)).hexdigest() != here


@pytest.mark.parametrize("nlist", [None, 8])
def test_a_rebuilt_shard_has_the_same_bytes_from_a_pickled_builder_and_is_found_as_finished(tmp_path, nlist):
    lake, shards = str(tmp_path), tables(4, 100, 16)
    build(lake, shards, [list(shards)], nlist=nlist)
    plan = IndexPlan(kind="ivf_flat", nlist=nlist) if nlist else IndexPlan(kind="flat")
    quantiser = put_quantiser(Lake(STORAGE, lake), matrix(shards), plan, seed=7) if nlist else None
    builder = FaissBuilder(
        plan=plan,
        dimension=16,
        fingerprint=SPACE,
        views=("fused",),
        quantiser=quantiser,
        metadata=FIELDS,
    )
    inputs = sorted(shards)
    wanted = {builder.address(inputs): inputs, builder.address(inputs[:2]): inputs[:2]}
    found = builder.finished(Lake(STORAGE, lake), wanted)
    assert list(found) == [builder.address(inputs)]
    threads = faiss.omp_get_max_threads()
    travelled = pickle.loads(pickle.dumps(builder))  # noqa: S301
    other = Lake(STORAGE, str(tmp_path / "other") if nlist is None else lake)
    rebuilt = travelled.build(other, inputs, map(shards.get, inputs))
    assert rebuilt == found[builder.address(inputs)]
    assert faiss.omp_get_max_threads() == threads
    assert builder.address(inputs[::-1]) == builder.address(inputs)
    with pytest.raises(ValueError, match="ascending"):
        builder.build(Lake(STORAGE, lake), inputs[::-1], ())


@pytest.mark.parametrize("harm", ["index gone", "keys cut", "receipt gone", "receipt flipped", "receipt not JSON"])
def test_a_shard_whose_files_do_not_stand_is_not_finished_and_building_it_mends_it(tmp_path, harm):
    lake, shards = str(tmp_path), tables(2, 50, 16)
    manifest = build(lake, shards, [list(shards)])
    shard = manifest.shards[0]
    receipt = tmp_path / layout.receipt_path(shard.address)
    if harm == "index gone":
        os.remove(tmp_path / shard.index.path)
    elif harm == "keys cut":
        os.truncate(tmp_path / shard.keys.path, shard.keys.bytes - 1)
    elif harm == "receipt gone":
        receipt.unlink()
    elif harm == "receipt flipped":
        receipt.write_bytes(receipt.read_bytes().replace(b'"rows":100', b'"rows":101'))
    else:
        receipt.write_bytes(b"\xff{")
    builder = FaissBuilder(plan=IndexPlan(kind="flat"), dimension=16, fingerprint=SPACE, views=("fused",))
    assert builder.finished(Lake(STORAGE, lake), {shard.address: shard.inputs}) == {}
    assert build(lake, shards, [list(shards)]).digest == manifest.digest
    assert open_searcher(Lake(STORAGE, lake), manifest, SPACE).rows == 100


def test_a_damaged_quantiser_is_refused_and_a_missing_one_is_trained_again(tmp_path):
    lake, sample = str(tmp_path), unit(500, 16, "s")
    quantiser = put_quantiser(Lake(STORAGE, lake), sample, PLAN, 0)
    path = tmp_path / quantiser.file.path
    sound, random = path.read_bytes(), generator("quantiser")
    builder = FaissBuilder(
        plan=IndexPlan(kind="ivf_flat", nlist=8),
        dimension=16,
        fingerprint=SPACE,
        views=("fused",),
        quantiser=quantiser,
        metadata=FIELDS,
    )
    for number in range(30):
        path.write_bytes(damaged(sound, random, flip=number < 20))
        with pytest.raises(StorageError, match="damaged"):
            builder.build(Lake(STORAGE, lake), [], [])
    path.unlink()
    assert put_quantiser(Lake(STORAGE, lake), sample, PLAN, 0) == quantiser
    assert path.read_bytes() == sound


def test_a_missing_file_or_manifest_is_said_by_name(tmp_path):
    lake, shards = str(tmp_path), tables(2, 20, 16)
    manifest = build(lake, shards, [list(shards)])
    os.remove(tmp_path / manifest.shards[0].keys.path)
    with pytest.raises(StorageError, match=r"keys\.parquet is missing"):
        open_searcher(Lake(STORAGE, lake), manifest, SPACE)
    with pytest.raises(StorageError, match="is missing"):
        read_manifest(Lake(STORAGE, lake), f"index/manifests/{'0' * 64}.json")
    for path, digest in (("index/../secret.json", None), (manifest.path, "0" * 64), ("/etc/passwd", None)):
        with pytest.raises(StorageError, match=r"is not (the index manifest|a place in the lake)"):
            read_manifest(Lake(STORAGE, lake), path, digest)


def test_a_sound_file_that_is_not_what_the_manifest_says_is_refused(tmp_path):
    lake, shards = str(tmp_path), tables(2, 20, 16)
    names = sorted(shards)
    manifest = build(lake, shards, [[names[0]], [names[1]]])
    ivf = build(lake, shards, [[names[0]], [names[1]]], nlist=2)
    builder = FaissBuilder(plan=IndexPlan(kind="flat"), dimension=16, fingerprint=SPACE, views=("fused",))
    with pytest.raises(StorageError, match="IndexIVFFlat"):
        open_searcher(Lake(STORAGE, lake), builder.manifest(ivf.shards), SPACE)
    with pytest.raises(FingerprintMismatch, match=r"space-a.*space-b"):
        open_searcher(Lake(STORAGE, lake), manifest, "space-b")
    with pytest.raises(ValueError, match="twice"):
        builder.manifest([*manifest.shards, manifest.shards[0]])


def test_a_repeated_row_and_a_view_that_is_not_indexed_are_refused_by_key(tmp_path):
    table = vector_table(unit(10, 8, "r"), "photos/1")
    builder = FaissBuilder(plan=IndexPlan(kind="flat"), dimension=8, fingerprint=SPACE, views=("fused",))
    with pytest.raises(StorageError, match="'photos/1-00000', view 'fused' is in the vectors twice"):
        builder.build(Lake(STORAGE, str(tmp_path)), ["a", "b"], [table, table.slice(0, 1)])
    with pytest.raises(StorageError, match="'photos/2-00000', view 'text'"):
        builder.build(Lake(STORAGE, str(tmp_path)), ["a"], [vector_table(unit(2, 8, "r"), "photos/2", views=("text",))])
    assert not os.path.exists(tmp_path / "index")


@pytest.mark.parametrize(
    "queries", [np.zeros((1, 16)), np.full((1, 16), np.nan), np.ones((1, 16)), np.ones((1, 15)), np.ones(16)]
)
def test_queries_that_are_not_unit_vectors_of_the_space_are_a_callers_mistake(tmp_path, queries):
    lake, shards = str(tmp_path), tables(1, 20, 16)
    searcher = open_searcher(Lake(STORAGE, lake), build(lake, shards, [list(shards)]), SPACE)
    with pytest.raises(ValueError, match="quer"):
        searcher.search(queries, 3)
    for k, nprobe in ((0, None), (3, 0)):
        with pytest.raises(ValueError, match="settings"):
            searcher.search(unit(1, 16, "q"), k, settings={} if nprobe is None else {"nprobe": nprobe})


def test_the_keys_file_names_each_row_of_the_index(tmp_path):
    lake, shards = str(tmp_path), tables(3, 20, 16)
    searcher = open_searcher(Lake(STORAGE, lake), build(lake, shards, _halves(shards, 2)), SPACE)
    asked = ["source0/2-00004", "source1/1-00000", "source0/2-00005", "nowhere"]
    assert searcher.partitions_of(asked) == dict(zip(asked, ["source0/2", "source1/1", "source0/2"], strict=False))
    manifest = build(lake, shards, [list(shards)])
    keys = read_keys(Lake(STORAGE, lake), manifest.shards[0])
    expected = pa.concat_tables([shards[name] for name in sorted(shards)])
    named = ["key", "view", "source", "row_digest", "partition"]
    assert keys.column_names == [*named, "meta.licence", "meta.new", "meta.page"]
    assert keys.select(named).equals(expected.select(named))
