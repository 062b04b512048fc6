"""What only a Milvus server has: index types, a token, TLS."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tests.faults.milvus import Proxy
from tests.index_builders.backends import milvus_builder, place
from tests.index_builders.corpus import SPACE, STORAGE, tables, unit
from tests.infra.web_server import certificate
from tests.milvus_server import MilvusServer
from trichord.index_builders.exact import exact_hits
from trichord.index_builders.manifest import IndexManifest, write_manifest
from trichord.index_builders.milvus.client import MilvusPlace, connected
from trichord.index_builders.milvus.load import Loader, index_params
from trichord.index_builders.milvus.search import MilvusSearcher
from trichord.infra.errors import ServiceError
from trichord.infra.lake.lake import Lake

pytestmark = [pytest.mark.server, pytest.mark.xdist_group("milvus")]
K, D = 10, 32


def collection(lake: str, index_type: str, params: Mapping[str, int]) -> IndexManifest:
    """Import files of 4,000 rows, for an index of this type."""
    shards = tables(2, 2_000, D)
    builder = replace(
        milvus_builder(D, prefix="server"), index_type=index_type, index_params=index_params(index_type, dict(params))
    )
    names = sorted(shards)
    manifest = builder.manifest([builder.build(Lake(STORAGE, lake), names, (shards[name] for name in names))])
    write_manifest(Lake(STORAGE, lake), manifest)
    return manifest


@pytest.mark.parametrize(
    ("index_type", "params", "recall"),
    [
        ("FLAT", {}, 1.0),
        ("IVF_FLAT", {"nlist": 32}, 0.99),
        ("IVF_SQ8", {"nlist": 32}, 0.95),
        ("IVF_PQ", {"nlist": 32, "m": 16}, 0.6),
        ("SCANN", {"nlist": 32}, 0.95),
        ("HNSW", {}, 0.99),
        ("DISKANN", {}, 0.95),
    ],
)
def test_an_index_of_each_type_is_loaded_tuned_and_searched(
    milvus_server: MilvusServer, tmp_path, index_type, params, recall
):
    where = place(**milvus_server.project, prefix="server")
    manifest = collection(str(tmp_path), index_type, params)
    with connected(where) as milvus:
        Loader(Lake(STORAGE, str(tmp_path)), milvus, manifest).ensure()
        searcher = MilvusSearcher(where, manifest, SPACE)
        queries = unit(50, D, "queries")
        truth = exact_hits(queries, tables(2, 2_000, D).values(), K, dimension=D, fingerprint=SPACE)

        def measure(settings: Mapping[str, int]) -> float:
            found = searcher.search(queries, K, settings=settings)
            return float(np.mean([len(set(a) & set(b)) / K for a, b in zip(found.keys, truth.keys, strict=True)]))

        tuned = searcher.tune(measure, recall)
        assert tuned.recall >= recall
        assert bool(tuned.settings) == (index_type != "FLAT")
        milvus.drop(searcher.collection)
    searcher.close()


def test_a_server_is_reached_by_tls_on_both_sides_and_by_token(milvus_server: MilvusServer, tmp_path, monkeypatch):
    (tmp_path / "theirs").mkdir()
    (tmp_path / "ours").mkdir()
    theirs, ours = certificate(tmp_path / "theirs", "127.0.0.1"), certificate(tmp_path / "ours", "client")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(theirs)
    context.load_verify_locations(ours)
    context.verify_mode = ssl.CERT_REQUIRED
    context.set_alpn_protocols(["h2"])
    manifest = collection(str(tmp_path), "FLAT", {})
    trusted = {"ca_file": str(theirs), "cert_file": str(ours), "key_file": str(ours)}
    with ExitStack() as stack:

        def behind_tls(**files: str) -> MilvusPlace:
            proxy = stack.enter_context(Proxy(milvus_server.port, context))  # a port each: clients share connections
            known: dict[str, Any] = milvus_server.project | {"uri": f"https://127.0.0.1:{proxy.port}"}
            return place(**known, **files, prefix="tls", timeout_s=5)

        for lacking in (trusted | {"ca_file": str(ours)}, {"ca_file": str(theirs)}):
            with pytest.raises(ServiceError, match="cannot be reached"), connected(behind_tls(**lacking)):
                pass
        where = behind_tls(**trusted)
        with connected(where) as milvus:
            Loader(Lake(STORAGE, str(tmp_path)), milvus, manifest).ensure()
        searcher = MilvusSearcher(where, manifest, SPACE)
        assert searcher.search(unit(1, D, "queries"), K).keys[0, 0] is not None
        searcher.close()
        monkeypatch.setenv(milvus_server.project["token_env"], "root:wrong")
        with (
            pytest.raises(ServiceError, match=r"Check milvus\.uri, milvus\.token_env"),
            connected(behind_tls(**trusted)),
        ):
            pass
