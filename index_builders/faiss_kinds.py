"""Every kind of index as FAISS makes it: trained once, rows encoded by the vector shard, codes laid side by side.

`sa_encode` gives the code of a row (with its cell before it), `add_sa_codes` appends codes as `add` would have: the
bytes are equal (tests), so a block of codes may come from a cache. Fast scan is another order of the same codes.
Shape letters: N rows, D dimension, B bytes of a code.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import faiss
import numpy as np

from trichord.index_builders.index_kinds import IndexPlan
from trichord.index_builders.vectors import find_unsound
from trichord.infra.errors import ConfigError

QUERY_BITS = (
    8  # of a value of a query that meets RaBitQ codes: 0, whole floats, finds no more and takes 13 to 28 times as long
)
ITERATIONS = 20
OPQ_ITERATIONS, OPQ_PQ_ITERATIONS = 8, 4  # FAISS: 50, which takes minutes and gains little
EF_CONSTRUCTION = 128
_BASES = {
    "flat": "IndexFlat",
    "flat_fp16": "IndexScalarQuantizer",
    "sq8": "IndexScalarQuantizer",
    "sq4": "IndexScalarQuantizer",
    "rabitq": "IndexRaBitQ",
    "pq_fast": "IndexPQFastScan",
    "hnsw": "IndexHNSWFlat",
    "ivf_flat": "IndexIVFFlat",
    "ivf_fp16": "IndexIVFScalarQuantizer",
    "ivf_sq8": "IndexIVFScalarQuantizer",
    "ivf_sq4": "IndexIVFScalarQuantizer",
    "ivf_rabitq": "IndexIVFRaBitQ",
    "ivf_pq": "IndexIVFPQ",
    "ivf_pq_fast": "IndexIVFPQFastScan",
}


@contextmanager
def one_thread() -> Iterator[None]:
    """Run a block by one thread: bytes must not depend on how many there are."""
    threads = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)
    try:
        yield
    finally:
        faiss.omp_set_num_threads(threads)


def blank(plan: IndexPlan, dimension: int) -> Any:
    """Return an untrained, empty index of a plan."""
    index = faiss.index_factory(dimension, plan.factory(dimension), faiss.METRIC_INNER_PRODUCT)
    _, base, _ = taken_apart(index)
    if isinstance(base, faiss.IndexPQ | faiss.IndexIVFPQ):
        codes: Any = base  # its stubs lack the flag
        codes.do_polysemous_training = False  # seconds for an order of codes that no search here uses
    if isinstance(base, faiss.IndexHNSW):
        base.hnsw.efConstruction = EF_CONSTRUCTION
    return index


def taken_apart(index: Any) -> tuple[Any | None, Any, Any | None]:
    """Return the transformation before, the index that is searched, and the codes that rank candidates again."""
    inner, refine, before = faiss.downcast_index(index), None, None  # these borrow: the caller holds what owns them
    if isinstance(inner, faiss.IndexRefine):
        refine = faiss.downcast_index(inner.refine_index)
        inner = faiss.downcast_index(inner.base_index)
    if isinstance(inner, faiss.IndexPreTransform):
        before, inner = inner, faiss.downcast_index(inner.index)
    return before, inner, refine


def train(plan: IndexPlan, sample_ND: np.ndarray, seed: int) -> bytes:
    """Train an empty index: equal sample, equal bytes. Raise ValueError as `trained`."""
    return bytes(faiss.serialize_index(trained(plan, sample_ND, seed)).tobytes())


def trained(plan: IndexPlan, sample_ND: np.ndarray, seed: int, *, iterations: int | None = None) -> Any:
    """Return an empty index that was trained on a sample.

    Args:
        plan: a kind that is trained.
        sample_ND: float32 (N, D), L2-normalised.
        seed: of the k-means.
        iterations: of k-means, if not as many as an index needs.

    Raises:
        ValueError: too few rows, or a row that is not finite and of unit length.
    """
    sample = np.ascontiguousarray(sample_ND, dtype=np.float32)
    least = max(plan.nlist or 1, {"pq": 256, "pq_fast": 16}.get(plan.code, 1))
    if sample.ndim != 2 or len(sample) < least:
        raise ValueError(f"{plan.kind}, {plan.params}: cannot be trained on a sample of shape {sample.shape}")
    if find_unsound(sample).any():
        raise ValueError(
            f"row {np.flatnonzero(find_unsound(sample))[0]} of the sample is not finite and of unit length"
        )
    index = blank(plan, sample.shape[1])
    before, base, _ = taken_apart(index)
    if plan.nlist is not None:
        base.cp.seed, base.cp.niter, base.cp.spherical = seed, iterations or ITERATIONS, True
        base.cp.min_points_per_centroid = 1  # the choice sees to enough points; no warning on stderr below that
        base.cp.max_points_per_centroid = max(256, -(-len(sample) // plan.nlist))  # the sample is used whole
    if plan.code in ("pq", "pq_fast"):
        base.pq.cp.seed, base.pq.cp.min_points_per_centroid = seed, 1
        base.pq.cp.max_points_per_centroid = max(1, min(len(sample), plan.code_rows) // base.pq.ksub)
        base.pq.cp.niter = iterations or base.pq.cp.niter
    rotation = None if before is None else faiss.downcast_VectorTransform(before.chain.at(0))
    if isinstance(rotation, faiss.OPQMatrix):
        codes = faiss.ProductQuantizer(rotation.d_in, plan.parts or 1, 8)
        codes.cp.seed, codes.cp.min_points_per_centroid, codes.cp.niter = seed, 1, OPQ_PQ_ITERATIONS
        rotation.pq, rotation.niter = codes, OPQ_ITERATIONS
    if plan.device == "cuda":
        base.clustering_index = clustering = on_gpu(faiss.IndexFlatIP(base.d))  # noqa: F841 - what FAISS borrows lives
    with one_thread():
        index.train(sample)
    if plan.device == "cuda":
        base.clustering_index = None  # it lived here
    return index


def on_gpu(index: Any) -> Any:
    """Return the index on this process's first GPU.

    Raises:
        ConfigError: FAISS was built for none, or this process sees none.
    """
    if not hasattr(faiss, "StandardGpuResources") or not faiss.get_num_gpus():
        raise ConfigError(
            "index.device is cuda, but FAISS finds no GPU here. Install trichord[gpu] in place of trichord[cpu] where "
            "workers run, or set index.device: cpu."
        )
    return faiss.index_cpu_to_gpu(faiss.StandardGpuResources(), 0, index)


def cells_on_gpu(index: Any) -> Any:
    """Return the cells of a trained IVF index as an exact index on the GPU. Raise ConfigError as `on_gpu`."""
    _, base, _ = taken_apart(index)
    cells = faiss.IndexFlatIP(base.d)
    cells.add(base.quantizer.reconstruct_n(0, base.nlist))
    return on_gpu(cells)


def encode(index: Any, vectors_ND: np.ndarray, cells: Any | None = None) -> np.ndarray:
    """Return the codes of rows that are added later, uint8 (N, B): cell, code, and the refining code beside it.

    `cells`, of `cells_on_gpu`, finds the cell of each row in place of the index's own quantiser.
    """
    before, base, refine = taken_apart(index)
    with one_thread():
        transformed = vectors_ND if before is None else _transformed(before, vectors_ND)
        codes = [base.sa_encode(transformed) if cells is None else _in_cells(base, cells, transformed)]
        if refine is not None and not isinstance(refine, faiss.IndexFlat):
            codes.append(refine.sa_encode(vectors_ND))
    return np.hstack(codes)


def _in_cells(base: Any, cells: Any, rows_ND: np.ndarray) -> np.ndarray:
    rows = np.ascontiguousarray(rows_ND, dtype=np.float32)
    _, found_N1 = cells.search(rows, 1)
    codes_NB = np.empty((len(rows), base.sa_code_size()), dtype=np.uint8)
    pointers = [faiss.swig_ptr(array) for array in (rows, found_N1, codes_NB)]
    base.encode_vectors(len(rows), *pointers, True)  # True: the cell comes before the code
    return codes_NB


def _transformed(before: Any, rows_ND: np.ndarray) -> np.ndarray:
    for place in range(before.chain.size()):
        rows_ND = faiss.downcast_VectorTransform(before.chain.at(place)).apply(rows_ND)
    return rows_ND


def append(index: Any, codes_NB: np.ndarray | None, vectors_ND: np.ndarray | None) -> None:
    """Add rows: by their codes, or where there are none (float32 storage, graphs) by their vectors."""
    before, base, refine = taken_apart(index)
    with one_thread():
        if codes_NB is None:
            base.add(vectors_ND)
        else:
            width = base.sa_code_size()
            base.add_sa_codes(np.ascontiguousarray(codes_NB[:, :width]))
            if refine is not None and codes_NB.shape[1] > width:
                refine.add_sa_codes(np.ascontiguousarray(codes_NB[:, width:]))
        if refine is not None and refine.ntotal < base.ntotal:
            refine.add(vectors_ND)
    for outer in (index, before):
        if outer is not None:
            outer.ntotal = base.ntotal


def finished(plan: IndexPlan, index: Any) -> tuple[Any, Any]:
    """Return the index in the form in which it is searched: 4-bit codes in the order of fast scan.

    Returns:
        (the index, what must live as long: fast scan borrows the cells of what it is made from).
    """
    if plan.code != "pq_fast":
        return index, None
    _, base, refine = taken_apart(index)
    fast: Any = faiss.IndexPQFastScan(base) if plan.nlist is None else faiss.IndexIVFPQFastScan(base)
    if refine is None:
        return fast, index
    index.base_index = fast
    fast.this.disown()  # the refining index owns it now, and no longer what it had before
    base.this.own(True)
    return index, base


def described(index: Any) -> tuple[str, ...]:
    """Return names of the types an index is made of, from the outside in."""
    whole = faiss.downcast_index(index)
    if isinstance(whole, faiss.IndexRefine):
        return ("IndexRefine", *described(whole.base_index), *described(whole.refine_index))
    if isinstance(whole, faiss.IndexPreTransform):
        return ("IndexPreTransform", *described(whole.index))
    return ("IndexFlat" if isinstance(whole, faiss.IndexFlat) else type(whole).__name__,)


def expected(plan: IndexPlan) -> tuple[str, ...]:
    """Return what `described` says of a finished shard of this plan."""
    base: tuple[str, ...] = (_BASES[plan.kind],)
    if plan.code in ("rabitq", "pq"):
        base = ("IndexPreTransform", *base)
    if plan.refine is None:
        return base
    return ("IndexRefine", *base, "IndexFlat" if plan.refine == "flat" else "IndexScalarQuantizer")


def search_params(plan: IndexPlan, settings: Mapping[str, int], selected: Any | None) -> tuple[Any, list[Any]]:
    """Return FAISS's search parameters, and what must live as long as they do.

    Args:
        plan: the kind.
        settings: `nprobe`, `ef_search`, `depth` as far as the kind has them.
        selected: an IDSelector, or None for all rows.
    """
    base: Any
    if plan.nlist is not None:
        base = faiss.IVFRaBitQSearchParameters() if plan.code == "rabitq" else faiss.SearchParametersIVF()
        base.nprobe = settings["nprobe"]
        if plan.code == "rabitq":
            base.qb, base.centered = QUERY_BITS, False
    elif plan.kind == "hnsw":
        base = faiss.SearchParametersHNSW()  # type: ignore[attr-defined] # its stubs lack it
        base.efSearch = settings["ef_search"]
    elif plan.code == "rabitq":
        base = faiss.RaBitQSearchParameters()
        base.qb, base.centered = QUERY_BITS, False
    else:
        base = faiss.SearchParameters()
    if selected is not None:
        base.sel = selected
    params: Any = base if selected is not None or plan.selects else None
    alive: list[Any] = [base, selected]
    if plan.code in ("rabitq", "pq"):
        params = faiss.SearchParametersPreTransform()
        params.index_params = base
        alive.append(params)
    if plan.refine is not None:
        outer = faiss.IndexRefineSearchParameters()
        outer.k_factor = settings["depth"]
        if params is not None:
            outer.base_index_params = params
        params = outer
    return params, alive


def quantisation_error(index: Any, rows_ND: np.ndarray) -> float:
    """Return the mean squared distance of unit rows from their codes, six decimals; for IVF-Flat from their cells.

    A drift of the vectors away from what was trained on shows here before it costs recall.
    """
    if not len(rows_ND):
        return 0.0
    before, base, _ = taken_apart(index)
    with one_thread():
        rows = rows_ND if before is None else _transformed(before, rows_ND)
        if isinstance(base, faiss.IndexIVFFlat):
            _, cells_N1 = base.quantizer.search(rows, 1)
            near = base.quantizer.reconstruct_batch(cells_N1[:, 0])
        else:
            near = base.sa_decode(base.sa_encode(rows))
    return round(float(((rows - near) ** 2).sum(axis=1).mean()), 6)
