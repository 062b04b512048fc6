"""Every kind of index goes the same way: trained once, encoded in blocks, merged; equal bytes, true answers."""

from __future__ import annotations

import faiss
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from tests.index_builders.corpus import SPACE, STORAGE, build, matrix, tables, unit
from trichord.index_builders import faiss_kinds
from trichord.index_builders.exact import exact_hits, recall_at_k
from trichord.index_builders.faiss_search import open_searcher
from trichord.index_builders.faiss_sharded import FaissBuilder, put_quantiser
from trichord.index_builders.index_kinds import KINDS, IndexPlan
from trichord.infra.errors import ConfigError
from trichord.infra.lake.lake import Lake

D = 32
PLANS = {
    "flat": IndexPlan(kind="flat"),
    "flat_fp16": IndexPlan(kind="flat_fp16"),
    "sq8": IndexPlan(kind="sq8"),
    "sq4": IndexPlan(kind="sq4", refine="sq8"),
    "rabitq": IndexPlan(kind="rabitq", bits=4),
    "pq_fast": IndexPlan(kind="pq_fast", parts=16, refine="flat"),
    "pq_fast alone": IndexPlan(kind="pq_fast", parts=32),
    "pq_fast sq8": IndexPlan(kind="pq_fast", parts=16, refine="sq8"),
    "hnsw": IndexPlan(kind="hnsw"),
    "ivf_flat": IndexPlan(kind="ivf_flat", nlist=8),
    "ivf_fp16": IndexPlan(kind="ivf_fp16", nlist=8),
    "ivf_sq8": IndexPlan(kind="ivf_sq8", nlist=8),
    "ivf_sq4": IndexPlan(kind="ivf_sq4", nlist=8, refine="fp16"),
    "ivf_rabitq": IndexPlan(kind="ivf_rabitq", nlist=8, bits=5),
    "ivf_pq": IndexPlan(kind="ivf_pq", nlist=8, parts=16, refine="flat"),
    "ivf_pq_fast": IndexPlan(kind="ivf_pq_fast", nlist=8, parts=16, refine="sq8"),
}
LEAST = {"sq4": 0.95, "rabitq": 0.85, "pq_fast alone": 0.75, "ivf_rabitq": 0.9, "pq_fast sq8": 0.95}
SETTINGS = {"nprobe": 8, "ef_search": 200, "depth": 16}


def test_every_kind_that_can_be_asked_for_is_tried_here():
    assert {plan.kind for plan in PLANS.values()} == set(KINDS)


@pytest.mark.parametrize("name", PLANS)
def test_every_kind_answers_nearly_as_exact_search_does_also_when_rows_are_left_out(tmp_path, name):
    plan, views, lake = PLANS[name], ("image", "text"), str(tmp_path)
    shards, queries = tables(4, 300, D, views=views), unit(40, D, "q")
    names = sorted(shards)
    manifest = build(lake, shards, [names[:2], names[2:]], views=views, plan=plan)
    searcher = open_searcher(Lake(STORAGE, lake), manifest, SPACE)
    for view, source in ((None, None), ("text", None), ("image", "source1")):
        kept = [
            table.filter(
                pc.and_(
                    pc.is_in(table["view"], pa.array([view] if view else views)),
                    pc.is_in(table["source"], pa.array([source] if source else ["source0", "source1"])),
                )
            )
            for table in shards.values()
        ]
        truth = exact_hits(queries, kept, 10, dimension=D, fingerprint=SPACE, views=2, collapse=False)
        found = searcher.search(queries, 10, collapse=False, view=view, source=source, settings=SETTINGS)
        assert recall_at_k(found, truth, exact_scores=plan.exact_scores) >= LEAST.get(name, 0.97)
        assert all(key is not None for key in found.keys.ravel())
        if view:
            assert set(found.views.ravel()) == {view}


@pytest.mark.parametrize("name", [name for name, plan in PLANS.items() if plan.cached])
def test_shards_merged_from_cached_codes_have_the_bytes_of_shards_made_whole(tmp_path, name):
    plan, lake, shards = PLANS[name], str(tmp_path), tables(3, 120, D)
    quantiser = put_quantiser(Lake(STORAGE, lake), matrix(shards), plan, seed=7)
    builder = FaissBuilder(plan=plan, dimension=D, fingerprint=SPACE, views=("fused",), quantiser=quantiser)
    inputs = sorted(shards)
    whole = builder.build(Lake(STORAGE, lake), inputs, (shards[a] for a in inputs))
    for address in reversed(inputs):
        builder.encode(Lake(STORAGE, lake), address, shards[address], builder.encoder(Lake(STORAGE, lake)))
    blocks = builder.blocks(Lake(STORAGE, lake), inputs)
    assert sorted(blocks) == inputs
    merged = builder.build(Lake(STORAGE, lake), inputs, (shards[a].select(builder.columns) for a in inputs), blocks)
    assert (merged.index, merged.keys) == (whole.index, whole.keys)
    assert plan.refine == "flat" or "vector" not in builder.columns


def test_what_was_deleted_stands_in_no_file_that_the_new_index_names(tmp_path):
    for name in ("flat", "pq_fast", "ivf_sq8", "hnsw"):
        plan, lake, shards = PLANS[name], str(tmp_path / name), tables(3, 60, D)
        gone = sorted(shards)[1]
        quantiser = put_quantiser(Lake(STORAGE, lake), matrix(shards), plan, seed=7) if plan.trained else None
        builder = FaissBuilder(plan=plan, dimension=D, fingerprint=SPACE, views=("fused",), quantiser=quantiser)
        for address in sorted(shards) if plan.cached else ():
            builder.encode(Lake(STORAGE, lake), address, shards[address], builder.encoder(Lake(STORAGE, lake)))
        inputs = [address for address in sorted(shards) if address != gone]
        shard = builder.build(
            Lake(STORAGE, lake), inputs, (shards[a] for a in inputs), builder.blocks(Lake(STORAGE, lake), inputs)
        )
        files = [shard.index, shard.keys, *shard.blocks]
        kept = b"".join(STORAGE.read(f"{lake}/{file.path}", max_bytes=2**24) for file in files)
        vectors = np.array(shards[gone]["vector"].to_pylist(), dtype=np.float32)
        codes = [row.tobytes() for row in vectors]
        names = [key.encode() for key in shards[gone]["key"].to_pylist()]
        assert not any(trace in kept for trace in (*codes, *names))
        assert builder.block_address(gone) not in str(builder.manifest([shard]).files())


@pytest.mark.skipif(hasattr(faiss, "StandardGpuResources"), reason="FAISS was built for GPUs")
def test_an_index_for_a_gpu_that_is_not_there_is_refused_with_what_to_do(tmp_path):
    plan = IndexPlan(kind="ivf_flat", nlist=8, device="cuda")
    with pytest.raises(ConfigError, match=r"trichord\[gpu\].*index\.device: cpu"):
        put_quantiser(Lake(STORAGE, str(tmp_path)), matrix(tables(2, 100, D)), plan, seed=7)


@pytest.mark.parametrize("name", [name for name in PLANS if name.startswith("ivf_")])
def test_cells_found_beside_the_index_give_its_codes(name):
    """What a GPU does, done by an exact index on the CPU."""
    rows = unit(600, D, "rows")
    index = faiss.deserialize_index(np.frombuffer(faiss_kinds.train(PLANS[name], rows, 7), np.uint8))
    _, base, _ = faiss_kinds.taken_apart(index)
    cells = faiss.IndexFlatIP(base.d)
    cells.add(base.quantizer.reconstruct_n(0, base.nlist))
    assert (faiss_kinds.encode(index, rows, cells) == faiss_kinds.encode(index, rows)).all()
