"""What the machine offers to compute on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


def compute_device() -> torch.device:
    """Return where encoders run: the GPU that this process sees, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def describe_device() -> str:
    """Return a line for `trichord doctor`: what encoders run on."""
    if compute_device().type == "cuda":
        return f"{torch.cuda.get_device_name(0)} for Hugging Face encoders, torch {torch.__version__}"
    return f"CPU, {torch.get_num_threads()} threads, torch {torch.__version__}"


def multiplies_bfloat16() -> bool:
    """Return True if this processor multiplies matrices of bfloat16 in hardware (AVX512-BF16 or AMX)."""
    able = torch.cpu.get_capabilities()
    return bool(able.get("avx512_bf16") or able.get("amx_bf16"))


@contextmanager
def exact_numerics(strict: bool) -> Iterator[None]:
    """Run a block by one thread and by kernels that answer alike every time, in full precision; else as it comes."""
    if not strict:
        yield
        return
    cudnn = torch.backends.cudnn
    with torch_threads(1), cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False):
        yield


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
