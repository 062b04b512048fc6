"""Workers that share each training step: every one encodes its part of the batch, all have all vectors.

The loss and its gradient by the vectors are computed by each of them from the same bits; gradients of the network are
summed. So all stay equal, and equal one worker up to the order of sums.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor, nn

from trichord.infra.engines.rank import Seat


@dataclass(frozen=True, slots=True, kw_only=True)
class Crew:
    """This process among those that train together."""

    rank: int
    size: int

    def part(self, rows: int) -> slice:
        """The rows of a batch that are this process's to encode."""
        return slice(rows * self.rank // self.size, rows * (self.rank + 1) // self.size)

    def gather(self, mine: Tensor, rows: int) -> Tensor:
        """The vectors of all `rows`, from everyone's own part; no graph goes through."""
        sizes = [rows * (rank + 1) // self.size - rows * rank // self.size for rank in range(self.size)]
        longest = max(sizes)  # gloo gathers equal shapes
        padded = mine.new_zeros(longest, *mine.shape[1:])
        padded[: len(mine)] = mine
        found = [torch.empty_like(padded) for _ in sizes]
        dist.all_gather(found, padded)
        return torch.cat([part[:size] for part, size in zip(found, sizes, strict=True)])

    def sum_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Add up everyone's gradients; a parameter that nothing of this part went through has none yet."""
        for parameter in parameters:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
            dist.all_reduce(parameter.grad)

    def first_says(self, data: bytes | None) -> bytes | None:
        """What the first process has, by everyone; None where it has nothing."""
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
def join(seat: Seat) -> Iterator[Crew]:
    """Take a seat in a gang; on the way out it is given up.

    After an error it is kept until this process is ended: the others would otherwise meet a closed connection and could
    tell of it before this one has told its error.
    """
    if seat.rendezvous is not None:
        dist.init_process_group("gloo", init_method=seat.rendezvous, rank=seat.rank, world_size=seat.size)
    yield Crew(rank=seat.rank, size=seat.size)
    if seat.rendezvous is not None:
        dist.destroy_process_group()
