"""One index of the same vector tables on every backend, for the contract tests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa

from tests.index_builders.corpus import FIELDS, SPACE, STORAGE
from tests.index_builders.corpus import build as build_faiss
from trichord.index_builders.base import Searcher
from trichord.index_builders.faiss_search import open_searcher
from trichord.index_builders.manifest import IndexManifest, write_manifest
from trichord.index_builders.milvus.builder import MilvusBuilder
from trichord.index_builders.milvus.client import MilvusPlace, connected
from trichord.index_builders.milvus.load import Loader
from trichord.index_builders.milvus.search import MilvusSearcher
from trichord.infra.config import MilvusConfig
from trichord.infra.lake.lake import Lake


@dataclass(frozen=True, slots=True, kw_only=True)
class Backend:
    """A backend and the lake that its files are in."""

    name: str
    lake: str
    place: MilvusPlace | None = None

    def build(
        self, shards: Mapping[str, pa.Table], groups: Sequence[Sequence[str]], *, views: Sequence[str] = ("fused",)
    ) -> IndexManifest:
        """An index of these groups of vector shards, ready to be searched."""
        if self.name == "annoy":
            return annoy_manifest(self.lake, shards, groups, views=views)
        if self.place is None:
            return build_faiss(self.lake, dict(shards), groups, views=views)
        manifest = milvus_manifest(self.lake, shards, groups, views=views, prefix=self.place.config.prefix)
        with connected(self.place) as milvus:
            Loader(Lake(STORAGE, self.lake), milvus, manifest).ensure()
        return manifest

    def open(self, manifest: IndexManifest, fingerprint: str = SPACE) -> Searcher:
        """Open it for a client of a space."""
        if self.name == "annoy":
            from trichord.index_builders.annoy import open_annoy

            return open_annoy(Lake(STORAGE, self.lake), manifest, fingerprint)
        if self.place is None:
            return open_searcher(Lake(STORAGE, self.lake), manifest, fingerprint)
        return MilvusSearcher(self.place, manifest, fingerprint)


def annoy_manifest(
    lake: str, shards: Mapping[str, pa.Table], groups: Sequence[Sequence[str]], *, views: Sequence[str] = ("fused",)
) -> IndexManifest:
    """Forests of these groups of vector shards, searched so hard that they are exact."""
    from trichord.index_builders.annoy import AnnoyBuilder

    builder = AnnoyBuilder(
        trees=8, dimension=_dimension(shards), fingerprint=SPACE, views=tuple(views), metadata=FIELDS
    )
    made = [builder.build(Lake(STORAGE, lake), sorted(group), (shards[a] for a in sorted(group))) for group in groups]
    manifest = builder.manifest(made, search={"all": {"search_k": 100_000}})
    write_manifest(Lake(STORAGE, lake), manifest)
    return manifest


def milvus_manifest(
    lake: str,
    shards: Mapping[str, pa.Table],
    groups: Sequence[Sequence[str]],
    *,
    views: Sequence[str] = ("fused",),
    prefix: str = "test",
    partitions: int = 0,
) -> IndexManifest:
    """Import files of these groups of vector shards, and their manifest; no server is asked."""
    builder = replace(milvus_builder(_dimension(shards), views=views, prefix=prefix), partitions=partitions)
    made = [builder.build(Lake(STORAGE, lake), sorted(group), (shards[a] for a in sorted(group))) for group in groups]
    manifest = builder.manifest(made)
    write_manifest(Lake(STORAGE, lake), manifest)
    return manifest


def milvus_builder(dimension: int, *, views: Sequence[str] = ("fused",), prefix: str = "test") -> MilvusBuilder:
    """A builder of exact collections."""
    return MilvusBuilder(
        dimension=dimension,
        fingerprint=SPACE,
        views=tuple(views),
        index_type="FLAT",
        index_params={},
        prefix=prefix,
        metadata=FIELDS,
    )


def place(uri: str, **settings: Any) -> MilvusPlace:
    """A place of tests."""
    return MilvusPlace(config=MilvusConfig(uri=uri, **settings), uri=uri)


def _dimension(shards: Mapping[str, pa.Table]) -> int:
    return next(len(table.column("vector")[0]) for table in shards.values() if table.num_rows)
