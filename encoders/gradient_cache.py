"""Gradients of a loss over a whole batch in the memory of a chunk of it (GradCache, Gao et al., arXiv 2101.06983)."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from trichord.encoders.distributed import ProcessGroup


def backward(
    encode: Callable[[slice], Tensor],
    rows: int,
    chunk: int | None,
    loss: Callable[[Tensor], Tensor],
    process_group: ProcessGroup | None = None,
) -> Tensor:
    """Add the gradients of `loss(encode(all rows))` to the parameters' and return its value.

    A batch of more than `chunk` rows is encoded twice: without a graph for the loss and its gradient by the vectors,
    then chunk by chunk with one, into which that gradient is fed. A process group shares what is between
    the two: each process encodes its own part and has the gradients of that part alone (all have those of `loss`).

    Args:
        encode: vectors (n, ...) of the rows of a slice; called twice for a row, so it must draw nothing by itself.
        rows: of the batch.
        chunk: rows encoded with a graph at a time; None: all.
        loss: scalar of the vectors of all rows.
        process_group: the processes that share the batch.
    """
    if process_group is None and (chunk is None or chunk >= rows):
        value = loss(encode(slice(0, rows)))
        value.backward()
        return value.detach()
    mine = slice(0, rows) if process_group is None else process_group.part(rows)
    size = chunk or max(1, mine.stop - mine.start)
    parts = [slice(start, min(start + size, mine.stop)) for start in range(mine.start, mine.stop, size)]
    with torch.no_grad():
        vectors = torch.cat([encode(part) for part in parts or [mine]])
        if process_group is not None:
            vectors = process_group.all_gather(vectors, rows)
    value = loss(vectors.requires_grad_())
    value.backward()
    assert vectors.grad is not None
    for part in parts:
        encode(part).backward(vectors.grad[part])
    return value.detach()
