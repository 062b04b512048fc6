"""Verified files as FAISS indexes: not one byte is read that was not hashed, and shards are mapped, not copied."""

from __future__ import annotations

import os
from typing import Any, BinaryIO

import faiss
import numpy as np

from trichord.index_builders.faiss_kinds import blank, described, expected
from trichord.index_builders.hashed_files import FileRef, open_verified
from trichord.index_builders.index_kinds import IndexPlan
from trichord.index_builders.manifest import IndexManifest, Quantiser
from trichord.infra.errors import StorageError
from trichord.infra.lake.lake import Lake


def read_template(lake: Lake, quantiser: Quantiser, plan: IndexPlan, dimension: int) -> Any:
    """Return the trained, empty index that shards start from.

    Raises:
        StorageError: the file is missing, damaged, or not what the plan says.
    """
    with open_verified(lake, quantiser.file) as file:
        data = np.frombuffer(file.read(), dtype=np.uint8)
    try:
        index = faiss.deserialize_index(data)
    except RuntimeError as wrong:
        raise StorageError(f"FAISS cannot read {quantiser.file.path}, made by another version? {wrong}") from wrong
    _require(index, described(blank(plan, dimension)), quantiser.file, dimension, 0)
    return index


def read_shard_index(file: BinaryIO, ref: FileRef, manifest: IndexManifest, rows: int) -> Any:
    """Return a shard's index over an opened, verified file, mapped where FAISS can. The mapping outlives the handle.

    Raises:
        StorageError: FAISS cannot read it, or it is not what the manifest describes.
    """
    plan = plan_of(manifest)
    descriptor = os.dup(file.fileno())  # the file that was hashed, whatever has its name by now
    try:
        index = faiss.read_index(f"/proc/self/fd/{descriptor}", faiss.IO_FLAG_MMAP_IFC)
    except RuntimeError as wrong:
        raise StorageError(f"FAISS cannot read {ref.path}, made by another version? {wrong}") from wrong
    finally:
        os.close(descriptor)
    _require(index, expected(plan), ref, manifest.dimension, rows)
    return index


def plan_of(manifest: IndexManifest) -> IndexPlan:
    """Return the plan that a manifest states.

    Raises:
        StorageError: it is none of this version.
    """
    try:
        return IndexPlan(kind=manifest.kind, **manifest.params)  # type: ignore[arg-type]
    except (TypeError, ValueError) as wrong:
        raise StorageError(f"The manifest describes no index of this version of trichord: {wrong}") from wrong


def _require(index: Any, types: tuple[str, ...], ref: FileRef, dimension: int, rows: int) -> None:
    found = (described(index), index.d, index.ntotal, index.metric_type)
    wanted = (types, dimension, rows, faiss.METRIC_INNER_PRODUCT)
    if found != wanted:
        raise StorageError(
            f"{ref.path} is {found[0]} with (dimension, rows, metric) {found[1:]}; "
            f"the manifest says {types} with {wanted[1:]}. Run `trichord reindex`."
        )
