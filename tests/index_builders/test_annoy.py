"""Forests: equal bytes, filters that leave nothing out, the least effort that reaches a recall, damage refused."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from trichord.infra.lake.lake import Lake

pytest.importorskip("annoy", reason="built where there is a C++ compiler")

from tests.index_builders.backends import annoy_manifest
from tests.index_builders.corpus import SPACE, STORAGE, tables, unit
from trichord.index_builders.annoy import SEARCH_KS, TREES, AnnoyBuilder, choose_trees, open_annoy
from trichord.index_builders.exact import exact_hits, recall_at_k
from trichord.infra.errors import StorageError

D = 24


def test_equal_vectors_give_equal_bytes_whatever_was_made_before(tmp_path):
    shards = tables(3, 200, D)
    inputs = sorted(shards)
    made = []
    for place in ("one", "other"):
        builder = AnnoyBuilder(trees=4, dimension=D, fingerprint=SPACE, views=("fused",))
        if place == "other":
            builder.build(Lake(STORAGE, str(tmp_path / place)), inputs[:1], [shards[inputs[0]]])
        made.append(builder.build(Lake(STORAGE, str(tmp_path / place)), inputs, (shards[a] for a in inputs)))
    assert made[0] == made[1]
    assert builder.finished(Lake(STORAGE, str(tmp_path / "one")), {made[0].address: inputs}) == {
        made[0].address: made[0]
    }


@pytest.mark.parametrize(("view", "source"), [("text", None), ("image", "source1"), (None, "source0")])
@pytest.mark.parametrize("search_k", [64, 100_000])
def test_rows_that_are_left_out_make_room_for_others(tmp_path, view, source, search_k):
    shards, queries, views = tables(4, 300, D, views=("image", "text")), unit(20, D, "q"), ("image", "text")
    manifest = annoy_manifest(str(tmp_path), shards, [sorted(shards)[:2], sorted(shards)[2:]], views=views)
    searcher = open_annoy(Lake(STORAGE, str(tmp_path)), manifest, SPACE)
    kept = [
        table.filter(
            pc.and_(
                pc.is_in(table["view"], pa.array([view] if view else views)),
                pc.is_in(table["source"], pa.array([source] if source else ["source0", "source1"])),
            )
        )
        for table in shards.values()
    ]
    found = searcher.search(queries, 10, collapse=False, view=view, source=source, settings={"search_k": search_k})
    assert all(key is not None for key in found.keys.ravel())
    assert {*found.views.ravel()} <= ({view} if view else set(views))
    truth = exact_hits(queries, kept, 10, dimension=D, fingerprint=SPACE, views=2, collapse=False)
    assert recall_at_k(found, truth, exact_scores=True) >= (0.999 if search_k == 100_000 else 0.3)


def test_more_candidates_find_more_and_the_least_that_reach_the_recall_are_chosen(tmp_path):
    shards, queries = tables(4, 1_500, D), unit(60, D, "q")
    manifest = annoy_manifest(str(tmp_path), shards, [sorted(shards)])
    searcher = open_annoy(Lake(STORAGE, str(tmp_path)), manifest, SPACE)
    truth = exact_hits(queries, shards.values(), 10, dimension=D, fingerprint=SPACE)

    def measure(settings):
        return recall_at_k(searcher.search(queries, 10, settings=settings), truth, exact_scores=True)

    tuned = searcher.tune(measure, 0.9)
    assert tuned.recall >= 0.9
    place = SEARCH_KS.index(tuned.settings["search_k"])
    assert place == 0 or measure({"search_k": SEARCH_KS[place - 1]}) < 0.9
    sample = np.concatenate([unit(3_000, D, name) for name in "ab"])
    assert choose_trees(sample, 0.95) in TREES
    assert choose_trees(sample, 0.95) == choose_trees(sample.copy(), 0.95)


def test_a_forest_that_is_not_what_the_manifest_says_is_refused_before_it_is_read(tmp_path):
    shards = tables(1, 50, D)
    manifest = annoy_manifest(str(tmp_path), shards, [sorted(shards)])
    with pytest.raises(StorageError, match=r"Annoy cannot read|holds"):
        open_annoy(Lake(STORAGE, str(tmp_path)), replace(manifest, dimension=D * 2), SPACE)
    path = tmp_path / manifest.shards[0].index.path
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))
    with pytest.raises(StorageError, match="SHA-256"):
        open_annoy(Lake(STORAGE, str(tmp_path)), manifest, SPACE)
