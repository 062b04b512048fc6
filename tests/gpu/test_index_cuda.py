"""Cells on a GPU: trained and found there they are as good as the CPU's, and a project says so in its manifest."""

from __future__ import annotations

from dataclasses import replace

import faiss
import numpy as np
import pytest

from tests.bench.vectors_lake import partitions, queries
from trichord.index_builders import faiss_kinds
from trichord.index_builders.exact import exact_topk, shared
from trichord.index_builders.index_kinds import IndexPlan

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not getattr(faiss, "get_num_gpus", int)(), reason="FAISS finds no GPU"),
]
D, ROWS = 32, 20_000
PLANS = (
    IndexPlan(kind="ivf_flat", nlist=128),
    IndexPlan(kind="ivf_sq8", nlist=128),
    IndexPlan(kind="ivf_rabitq", nlist=128, bits=7),
    IndexPlan(kind="ivf_pq_fast", nlist=128, parts=16, refine="flat"),
    IndexPlan(kind="ivf_pq", nlist=128, parts=16, refine="sq8"),
)


def recall(plan: IndexPlan, vectors: np.ndarray, asked: np.ndarray) -> float:
    index = faiss.deserialize_index(np.frombuffer(faiss_kinds.train(plan, vectors[: plan.sample_rows], 7), np.uint8))
    cells = faiss_kinds.cells_on_gpu(index) if plan.device == "cuda" else None
    faiss_kinds.append(index, faiss_kinds.encode(index, vectors, cells), vectors)
    done, _alive = faiss_kinds.finished(plan, index)
    params, _kept = faiss_kinds.search_params(plan, {"nprobe": 16, "depth": 8}, None)
    _, found = done.search(asked, 10, params=params)
    truth, _ = exact_topk(asked, [vectors], 10)
    return shared(found.tolist(), truth)


@pytest.mark.parametrize("plan", PLANS, ids=lambda plan: plan.kind)
def test_cells_of_a_gpu_are_as_good_as_those_of_the_cpu(plan):
    vectors = np.concatenate([part for _, part in partitions(ROWS, D)])
    asked = queries(ROWS, D, 100)
    cpu, gpu = (recall(replace(plan, device=device), vectors, asked) for device in ("cpu", "cuda"))
    assert gpu > cpu - 0.02


@pytest.mark.parametrize("plan", PLANS, ids=lambda plan: plan.kind)
def test_the_same_gpu_gives_the_same_bytes_and_the_codes_of_the_cpu_but_for_near_ties(plan):
    vectors = np.concatenate([part for _, part in partitions(ROWS, D)])
    wanted = replace(plan, device="cuda")
    trained = [faiss_kinds.train(wanted, vectors[: plan.sample_rows], 7) for _ in range(2)]
    assert trained[0] == trained[1]
    index = faiss.deserialize_index(np.frombuffer(trained[0], np.uint8))
    codes = [faiss_kinds.encode(index, vectors, faiss_kinds.cells_on_gpu(index)) for _ in range(2)]
    assert codes[0].tobytes() == codes[1].tobytes()
    assert (codes[0] == faiss_kinds.encode(index, vectors)).all(axis=1).mean() > 0.999
