"""Several backends of one publication: built, measured, switched and collected together, or not at all."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.bench.rollback_load import measure, two_publications
from tests.pipelines.lakes import rows_of, unknown_files, workspace_of, write_rows
from trichord.index_builders.manifest import read_manifests
from trichord.index_builders.milvus.builder import collection_of
from trichord.index_builders.milvus.client import connected
from trichord.index_builders.milvus.search import MilvusSearcher
from trichord.infra.errors import GateFailed, ServiceError
from trichord.pipelines.core.workspace import Workspace
from trichord.pipelines.index.open import place_of, require_place
from trichord.pipelines.publish import publish as publishing
from trichord.pipelines.publish.doctor import doctor
from trichord.pipelines.publish.gc import gc
from trichord.pipelines.publish.publish import rollback
from trichord.pipelines.publish.status import status
from trichord.pipelines.publish.verify import verify
from trichord.pipelines.reindex import reindex
from trichord.pipelines.search.search import open_live, record_texts

BOTH = ("index.backends=[faiss, milvus]", "milvus.index_type=FLAT", "engine.workers=1", "gate.max_row_drop=1")


def live_collection(workspace):
    live = workspace.publications.live()
    assert live is not None
    manifests = read_manifests(workspace.lake, live.manifest, live.manifest_digest)
    return collection_of(manifests[1])


def milvus_of(workspace: Workspace) -> dict[str, Any]:
    found = status(workspace).milvus
    assert found is not None
    return found


def test_both_backends_answer_alike_and_are_switched_and_collected_together(lake_copy, monkeypatch):
    workspace = workspace_of(lake_copy, *BOTH, "gc_grace_s=0", "milvus.keep_collections=1")
    reindex(workspace)
    first, told = live_collection(workspace), milvus_of(workspace)
    assert (told["alias_of"], told["in_step"]) == (first, True)
    live = workspace.publications.live()
    assert live is not None
    assert {"milvus_rows", "milvus_recall_at_10"} <= {check.name for check in live.verdict.checks}

    by_faiss, by_milvus = open_live(workspace, backend="faiss"), open_live(workspace, backend="milvus")
    queries, _ = by_faiss.model.encode(_query(workspace), "fused")
    one, other = by_faiss.searcher.search(queries, 10), by_milvus.searcher.search(queries, 10)
    assert np.allclose(one.scores, other.scores, atol=1e-5)
    assert set(one.keys[0]) == set(other.keys[0])
    keys = list(one.keys[0])
    assert record_texts(workspace, by_faiss, keys) == record_texts(workspace, by_milvus, keys)
    assert isinstance(by_milvus.searcher, MilvusSearcher)
    by_milvus.searcher.close()
    assert reindex(workspace).unchanged
    assert {check.name: check.ok for check in doctor(workspace).checks}["milvus server"]

    corpus = lake_copy.parent / "corpus"
    write_rows(corpus, rows_of(corpus)[: len(rows_of(corpus)) // 2])
    # A process that dies between the commit and the alias leaves readers of the alias on the old collection ...
    with monkeypatch.context() as patched:
        patched.setattr(publishing, "follow", lambda *_: (_ for _ in ()).throw(ServiceError("killed here")))
        with pytest.raises(ServiceError, match="killed here"):
            reindex(workspace)
    assert milvus_of(workspace)["alias_of"] == first
    assert not milvus_of(workspace)["in_step"]
    reindex(workspace)  # ... and the next run puts it right
    second = live_collection(workspace)
    assert second != first
    assert milvus_of(workspace)["alias_of"] == second

    assert gc(workspace, delete=False).collections == (first,)
    assert gc(workspace, delete=True).collections == (first,)
    with connected(require_place(place_of(workspace))) as milvus:
        assert milvus.collections() == [second]
    assert unknown_files(lake_copy.parent / "lake") == []
    rollback(workspace)  # the dropped collection is filled again from its import files, then made live
    assert milvus_of(workspace)["alias_of"] == first
    assert verify(workspace).publications == 3  # with the one that FAISS alone held


def test_a_gate_that_fails_for_one_backend_switches_none(lake_copy):
    before = workspace_of(lake_copy).publications.live()
    workspace = workspace_of(lake_copy, *BOTH, "milvus.uri=http://127.0.0.1:9")
    with pytest.raises(ServiceError, match="cannot be reached"):
        reindex(workspace)
    assert workspace.publications.live() == before
    workspace = workspace_of(lake_copy, *BOTH, "gate.min_ann_recall=1.0", "gate.max_drop_of={mixed.recall_at_10: -1}")
    with pytest.raises(GateFailed):
        reindex(workspace)
    assert workspace.publications.live() == before
    assert milvus_of(workspace)["alias_of"] is None


@pytest.mark.server
@pytest.mark.xdist_group("milvus")
def test_switches_under_searching_clients_give_whole_answers(milvus_server, tmp_path):
    found = measure(two_publications(tmp_path, milvus_server, records=120), clients=64, switches=3)
    assert found["wrong"] == {}
    assert set(found["answers"]) == {"faiss", "milvus", "alias"}


def _query(workspace):
    from trichord.pipelines.search.search import read_query

    return read_query(workspace.project.prepare, "two blue squares", None, None)


@pytest.mark.full
def test_forests_are_built_measured_searched_and_kept_with_the_index_beside_them(lake_copy):
    pytest.importorskip("annoy", reason="built where there is a C++ compiler")
    workspace = workspace_of(lake_copy, "index.backends=[faiss, annoy]", "engine.workers=1", "gate.max_row_drop=1")
    reindex(workspace)
    live = workspace.publications.live()
    assert live is not None
    checks = {check.name: check for check in live.verdict.checks}
    assert checks["annoy_rows"].passed
    assert float(checks["annoy_recall_at_10"].value or 0) >= 0.95
    forest = read_manifests(workspace.lake, live.manifest, live.manifest_digest)[1]
    assert (forest.kind, forest.search["all"]["search_k"] > 0) == ("annoy", True)
    by_faiss, by_annoy = open_live(workspace, backend="faiss"), open_live(workspace, backend="annoy")
    queries, _ = by_faiss.model.encode(_query(workspace), "fused")
    one = by_faiss.searcher.search(queries, 10)
    other = by_annoy.searcher.search(queries, 10, settings={"search_k": 10**6})
    assert np.allclose(one.scores, other.scores, atol=1e-5)
    assert set(one.keys[0]) == set(other.keys[0])
    assert reindex(workspace).unchanged
    for path in (live.manifest, forest.path):
        (lake_copy.parent / "lake" / path).unlink()
    assert reindex(workspace).manifest_digest == live.manifest_digest  # made again as they were

    corpus = lake_copy.parent / "corpus"
    write_rows(corpus, rows_of(corpus)[: len(rows_of(corpus)) // 2])
    reindex(workspace)
    after = workspace.publications.live()
    assert after is not None
    kept = read_manifests(workspace.lake, after.manifest, after.manifest_digest)[1]
    assert kept.params == forest.params  # a night keeps the trees, so that it builds only what changed
    assert unknown_files(lake_copy.parent / "lake") == []
    assert gc(workspace, delete=True).files >= 0
    rollback(workspace)
    assert verify(workspace).publications == 3
    assert open_live(workspace, backend="annoy").searcher.search(queries, 1).keys[0, 0] is not None
