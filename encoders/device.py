"""What the machine offers to compute on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


def describe_device() -> str:
    """One line for `trichord doctor`: what encoders run on, and what stands idle."""
    line = f"CPU, {torch.get_num_threads()} threads, torch {torch.__version__}"
    if torch.cuda.is_available():
        return f"{line}; {torch.cuda.get_device_name(0)} is there, but encoders of this version run on the CPU"
    return line


@contextmanager
def torch_threads(count: int | None) -> Iterator[None]:
    """Run a block with `count` torch threads (None: as they are), because sums in another order have other bits."""
    before = torch.get_num_threads()
    if count is None or count == before:
        yield
        return
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
