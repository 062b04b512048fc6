"""Process groups that share each training step: each process encodes its part of the batch, all have all vectors.

The loss and its gradient by the vectors are computed by each process from the same bits; gradients of the network are
summed. So all stay equal, and equal one process up to the order of sums.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor, nn

from trichord.infra.engines.process_group import Rank


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessGroup:
    """This process among those that train together."""

    rank: int
    world_size: int

    def part(self, rows: int) -> slice:
        """Return the rows of a batch that are this process's to encode."""
        return self._part(self.rank, rows)

    def _part(self, rank: int, rows: int) -> slice:
        return slice(rows * rank // self.world_size, rows * (rank + 1) // self.world_size)

    def all_gather(self, mine: Tensor, rows: int) -> Tensor:
        """Return the vectors of all `rows` from each process's own part; no gradient flows through."""
        parts = [self._part(rank, rows) for rank in range(self.world_size)]
        sizes = [part.stop - part.start for part in parts]
        longest = max(sizes)  # gloo gathers equal shapes
        padded = mine.new_zeros(longest, *mine.shape[1:])
        padded[: len(mine)] = mine
        found = [torch.empty_like(padded) for _ in sizes]
        dist.all_gather(found, padded)
        return torch.cat([part[:size] for part, size in zip(found, sizes, strict=True)])

    def all_reduce_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Sum the gradients of all processes; a parameter that no row of this part used has none yet."""
        for parameter in parameters:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
            dist.all_reduce(parameter.grad)

    def broadcast(self, data: bytes | None) -> bytes | None:
        """Return on every process the bytes that rank 0 gives; None where it gives none."""
        size = torch.tensor(-1 if data is None else len(data))
        dist.broadcast(size, 0)
        if size < 0:
            return None
        carried = torch.empty(int(size), dtype=torch.uint8)
        if data is not None and self.rank == 0:
            carried = torch.frombuffer(bytearray(data), dtype=torch.uint8)
        dist.broadcast(carried, 0)
        return carried.numpy().tobytes()


@contextmanager
def join(rank: Rank) -> Iterator[ProcessGroup]:
    """Join the process group at `rank`, and leave it at the end of the block.

    After an error the process stays in the group until it is ended. Otherwise the others would meet a closed connection
    and could report that before this process reports its own error.
    """
    if rank.init_method is not None:
        dist.init_process_group("gloo", init_method=rank.init_method, rank=rank.rank, world_size=rank.world_size)
    yield ProcessGroup(rank=rank.rank, world_size=rank.world_size)
    if rank.init_method is not None:
        dist.destroy_process_group()
