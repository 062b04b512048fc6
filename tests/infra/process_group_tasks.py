"""Tasks of the process group tests; workers import them from here."""

from __future__ import annotations

from pathlib import Path

from tests.infra.engine_tasks import TwoArguments
from trichord.infra.engines.process_group import Rank


def add_up(folder: str, rank: Rank) -> None:
    """Every process adds its rank to the others' by a collective call and leaves the sum in a file."""
    import torch
    import torch.distributed as dist

    from trichord.encoders.distributed import join

    with join(rank) as process_group:
        total = torch.tensor(float(process_group.rank))
        dist.all_reduce(total)
        told = process_group.broadcast(b"the first one's word" if process_group.rank == 0 else b"another's")
        Path(folder, f"{process_group.rank}").write_text(f"{int(total)} {told!r}")


def fail_at_one(folder: str, rank: Rank) -> None:
    """One process refuses while the others wait for it, and is slow to say so."""
    import time

    from trichord.encoders.distributed import join

    try:
        with join(rank) as process_group:
            if process_group.rank == 1:
                raise TwoArguments("train.loss", "this one: will\nnot")
            process_group.broadcast(b"")
            process_group.broadcast(b"")
    except TwoArguments:
        time.sleep(0.5)
        raise


def die_at_one(folder: str, rank: Rank) -> None:
    """One process dies while the others wait for it."""
    import os

    from trichord.encoders.distributed import join

    with join(rank) as process_group:
        if process_group.rank == 1:
            os._exit(9)
        process_group.broadcast(b"")
        process_group.broadcast(b"")
