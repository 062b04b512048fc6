"""What every backend owes its callers: exact hits where it is exact, one space, sound vectors, no trace of the gone."""

from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pytest

from tests.index_builders.backends import Backend, milvus_manifest, place
from tests.index_builders.corpus import FIELDS, SPACE, STORAGE, tables, unit, vector_table
from trichord.index_builders.exact import exact_hits
from trichord.index_builders.milvus.client import connected
from trichord.index_builders.milvus.load import Loader
from trichord.index_builders.milvus.search import MilvusSearcher
from trichord.infra.digest import address
from trichord.infra.errors import FingerprintMismatch, StorageError
from trichord.infra.lake.lake import Lake

K = 5


@pytest.fixture(
    params=[
        "faiss",
        "annoy",
        "lite",
        pytest.param("server", marks=[pytest.mark.server, pytest.mark.xdist_group("milvus")]),
    ]
)
def backend(request, tmp_path):
    lake = str(tmp_path)
    if request.param == "annoy":
        pytest.importorskip("annoy", reason="built where there is a C++ compiler")
    if request.param in ("faiss", "annoy"):
        return Backend(name=request.param, lake=lake)
    if request.param == "lite":
        return Backend(name="lite", lake=lake, place=place(f"{lake}/milvus.db", prefix="contract"))
    server = request.getfixturevalue("milvus_server")
    return Backend(name="server", lake=lake, place=place(**server.project, prefix="contract"))


def exact(queries, shards, **options):
    return exact_hits(queries, shards.values(), K, dimension=queries.shape[1], fingerprint=SPACE, **options)


def pairs(hits, n):
    return set(zip(hits.keys[n], hits.views[n], strict=True))


def test_exact_hits_collapse_views_labels_and_one_space(backend):
    views = ("image", "text")
    shards = tables(4, 60, 16, views=views)
    names = sorted(shards)
    searcher = backend.open(backend.build(shards, [names[:2], names[2:]], views=views))
    assert (searcher.rows, searcher.dimension, searcher.views) == (240, 16, views)
    queries = unit(8, 16, "queries")

    for collapse in (False, True):
        found, truth = (
            searcher.search(queries, K, collapse=collapse),
            exact(queries, shards, views=2, collapse=collapse),
        )
        assert np.allclose(found.scores, truth.scores, atol=1e-5)
        assert [pairs(found, n) for n in range(8)] == [pairs(truth, n) for n in range(8)]
    assert all(len(set(keys)) == K for keys in searcher.search(queries, K).keys)

    images = searcher.search(queries, K, view="image")
    assert set(images.views.ravel()) == {"image"}
    only = {name: table.filter(pa.compute.equal(table["view"], "image")) for name, table in shards.items()}
    assert np.allclose(images.scores, exact(queries, only).scores, atol=1e-5)

    wanted = [*images.keys[0], "not there"]
    assert searcher.partitions_of(wanted) == {key: key.rsplit("-", 1)[0] for key in images.keys[0]}
    with pytest.raises(ValueError, match="audio"):
        searcher.search(queries, K, view="audio")
    with pytest.raises(ValueError, match="unit length"):
        searcher.search(queries * 2, K)


@pytest.mark.parametrize(
    "where",
    [{"licence": "CC0"}, {"licence": 'CC "BY"', "page": 1}, {"new": True}, {"page": 3}, {"page": 99}, {"licence": "1"}],
)
def test_rows_are_chosen_by_source_and_metadata(backend, where):
    shards = tables(4, 60, 16)
    names = sorted(shards)
    searcher = backend.open(backend.build(shards, [names[:2], names[2:]]))
    assert searcher.metadata == FIELDS
    queries = unit(6, 16, "queries")
    for source in (None, "source1"):
        found = searcher.search(queries, K, source=source, where=where)
        truth = exact(queries, {name: chosen(table, source, where) for name, table in shards.items()})
        assert [pairs(found, n) for n in range(6)] == [pairs(truth, n) for n in range(6)]
        assert np.allclose(found.scores, truth.scores, atol=1e-5)
    with pytest.raises(ValueError, match=r"not 'tags': add it to index\.metadata"):
        searcher.search(queries, K, where={"tags": "a"})


@pytest.mark.server
@pytest.mark.xdist_group("milvus")
def test_partitions_by_source_hold_the_same_rows(milvus_server, tmp_path):
    shards, queries = tables(4, 60, 16), unit(6, 16, "queries")
    where = place(**milvus_server.project, prefix="parts")
    answers = []
    for partitions in (0, 8):
        lake = str(tmp_path / str(partitions))
        manifest = milvus_manifest(lake, shards, [sorted(shards)], prefix="parts", partitions=partitions)
        with connected(where) as milvus:
            Loader(Lake(STORAGE, lake), milvus, manifest).ensure()
        searcher = MilvusSearcher(where, manifest, SPACE)
        answers.append([searcher.search(queries, K, source=source) for source in (None, "source1")])
    for one, other in zip(*answers, strict=True):
        assert [pairs(one, n) for n in range(6)] == [pairs(other, n) for n in range(6)]


def chosen(table, source, where):
    """The rows of a source and of these metadata, by the plainest means."""
    rows = [
        {"licence": None, **json.loads(text)} | {"source": name}
        for text, name in zip(table["meta"].to_pylist(), table["source"].to_pylist(), strict=True)
    ]
    kept = [
        (source is None or row["source"] == source) and all(row[name] == value for name, value in where.items())
        for row in rows
    ]
    return table.filter(pa.array(kept))


def test_a_client_of_another_space_is_refused(backend):
    shards = tables(1, 20, 8)
    manifest = backend.build(shards, [list(shards)])
    with pytest.raises(FingerprintMismatch, match="space-b"):
        backend.open(manifest, "space-b")


@pytest.mark.parametrize("fault", ["nan", "zero", "twice", "foreign"])
def test_nothing_unsound_gets_in(backend, fault):
    vectors = unit(10, 8, fault)
    if fault in ("nan", "zero"):
        vectors[3] = np.nan if fault == "nan" else 0
    table = vector_table(vectors, "source0/0")
    if fault == "foreign":
        table = table.set_column(table.column_names.index("fingerprint"), "fingerprint", pa.array(["space-b"] * 10))
    shards = {address("a"): table}
    if fault == "twice":
        shards[address("b")] = table
    with pytest.raises((StorageError, FingerprintMismatch)):
        backend.build(shards, [sorted(shards)])


def test_deleted_rows_leave_no_trace_and_rows_are_conserved(backend):
    shards = tables(2, 40, 8)
    gone, kept = sorted(shards)
    whole = backend.open(backend.build(shards, [[gone], [kept]]))
    vector = np.array(shards[gone]["vector"][0].as_py(), dtype=np.float32)[None]
    key = shards[gone]["key"][0].as_py()
    assert whole.search(vector, 1).keys[0, 0] == key

    rest = {kept: shards[kept]}
    searcher = backend.open(backend.build(rest, [[kept]]))
    assert (whole.rows, searcher.rows) == (80, 40)
    assert set(searcher.search(vector, 40).keys.ravel()) == set(shards[kept]["key"].to_pylist())
    assert searcher.partitions_of([key]) == {}
    assert whole.search(vector, 1).keys[0, 0] == key  # readers of the index before still see it


def test_an_empty_shard_is_no_hindrance(backend):
    shards = tables(1, 20, 8)
    shards[address("empty")] = next(iter(shards.values())).slice(0, 0)
    searcher = backend.open(backend.build(shards, [[name] for name in sorted(shards)]))
    hits = searcher.search(unit(1, 8, "q"), 30)
    assert searcher.rows == 20
    assert sum(key is not None for key in hits.keys[0]) == 20
